"""Associations and sessions as bytes, so that a restarted process goes on with them (spec engine.md 2).

Ages take the place of times: the clock of the next process may have another zero. Time in between does
not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from overair.protocols.dtls.association import EPOCH_1, EPOCH_2, Address, Association
from overair.protocols.dtls.errors import SavedStateError
from overair.protocols.dtls.protection import new_protection
from overair.protocols.dtls.sessions import Secretive, Session, SessionStore, TicketKey, Tickets
from overair.protocols.dtls.suites import SUITES

_VERSION: Final = 1
LEAP: Final = 1 << 24
"""How far record numbers jump when they are taken up: what was sent since the save must not be repeated."""


class SavedAssociation(Secretive, frozen=True):
    """One association; the address can be text, bytes, numbers and tuples of them."""

    address: Any
    identity: bytes
    own_cid: bytes
    peer_cid: bytes
    suite: int
    encrypt_then_mac: bool
    material: bytes
    content_bytes: int
    confirmed: bool
    write_number: int
    highest: int
    seen: int
    silent_seconds: float


class SavedState(Secretive, frozen=True):
    """All of a server."""

    version: int
    ticket_keys: tuple[TicketKey, TicketKey]
    ticket_key_age_seconds: float
    sessions: list[tuple[Session, float]]
    associations: list[SavedAssociation]


def save(associations: Iterable[Association], sessions: SessionStore, tickets: Tickets, now: float) -> bytes:
    """Write them."""
    state = SavedState(
        version=_VERSION,
        ticket_keys=tickets.keys.at(now),
        ticket_key_age_seconds=tickets.keys.age(now),
        sessions=sessions.saved(now),
        associations=[_saved(one, now) for one in associations if one.suite is not None],
    )
    return msgspec.msgpack.encode(state)


def load(saved: bytes) -> SavedState:
    """Read what `save` wrote; SavedStateError for anything else."""
    try:
        state = msgspec.msgpack.decode(saved, type=SavedState)
    except msgspec.DecodeError:
        raise SavedStateError("saved: not the state of a server") from None
    if state.version != _VERSION:
        raise SavedStateError(f"saved.version: {_VERSION}, not {state.version}")
    for entry in state.associations:
        _check(entry)
    return state


def restored(entry: SavedAssociation, now: float) -> Association:
    """The association of a saved entry that `load` gave."""
    suite = SUITES[entry.suite]
    association = Association(_address(entry.address))
    association.identity = entry.identity
    association.own_cid, association.peer_cid = entry.own_cid, entry.peer_cid
    association.suite, association.encrypt_then_mac = suite, entry.encrypt_then_mac
    association.material = entry.material
    association.protection = new_protection(
        suite, encrypt_then_mac=entry.encrypt_then_mac, material=entry.material, is_server=True
    )
    association.content_bytes = entry.content_bytes
    association.established, association.confirmed = True, entry.confirmed
    association.last_heard = now - entry.silent_seconds
    association.set_counts(entry.write_number + LEAP, entry.highest, entry.seen)
    return association


def _saved(association: Association, now: float) -> SavedAssociation:
    write_number, highest, seen = association.counts()
    return SavedAssociation(
        address=association.address,
        identity=association.identity,
        own_cid=association.own_cid,
        peer_cid=association.peer_cid,
        suite=association.suite.number if association.suite is not None else 0,
        encrypt_then_mac=association.encrypt_then_mac,
        material=association.material,
        content_bytes=association.content_bytes,
        confirmed=association.confirmed,
        write_number=write_number,
        highest=highest,
        seen=seen,
        silent_seconds=now - association.last_heard,
    )


def _check(entry: SavedAssociation) -> None:
    suite = SUITES.get(entry.suite)
    if suite is None or len(entry.material) != suite.key_block_bytes:
        raise SavedStateError("saved.associations: a suite and its key block")
    if not EPOCH_1 <= entry.write_number <= EPOCH_2 + LEAP or not EPOCH_1 - 1 <= entry.highest < EPOCH_2:
        raise SavedStateError("saved.associations: record numbers of epoch 1")


def _address(saved: Any) -> Address:
    """Tuples were written as lists."""
    return tuple(_address(part) for part in saved) if isinstance(saved, list) else saved
