"""Where an engine finds its associations: by Connection ID, by address, by identity.

An association is found by the Connection ID in its records, or by the peer's address if they have none. A
new handshake runs beside an old association and leaves it alone (RFC 6347 section 4.2.8); the old one
makes room when

    the new one is done, if the old one is found by the address of the new one
    the new one sends its first data, if both are of one identity (spec lwm2m.md 10.2)

An identity therefore has at most two: one that sent data, and a newer one that did not yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any

from overair.protocols.dtls.association import Address, Association


class Peers:
    """The associations of an engine and its handshakes."""

    __slots__ = ("_by_address", "_by_cid", "_by_identity", "_newer", "handshakes")

    def __init__(self) -> None:
        self._by_cid: dict[bytes, Association] = {}
        self._by_address: dict[Address, Association] = {}
        self._by_identity: dict[bytes, Association] = {}
        """Those that sent data."""
        self._newer: dict[bytes, Association] = {}
        """Those that sent none yet."""
        self.handshakes: OrderedDict[Address, Association] = OrderedDict()
        """Those with a handshake in progress, or one that lingers; oldest first."""

    def __len__(self) -> int:
        """Established associations."""
        return len(self._by_identity) + len(self._newer)

    def __iter__(self) -> Iterator[Association]:
        """Established associations."""
        yield from self._by_identity.values()
        yield from self._newer.values()

    def has_cid(self, cid: bytes) -> bool:
        """Whether a Connection ID is taken."""
        return cid in self._by_cid

    # --- looking

    def find(self, cid: bytes, address: Address) -> Association | None:
        """Whose record of epoch 1 this may be; `cid` is empty if the record has none."""
        if cid:
            return self._by_cid.get(cid)
        return self._by_address.get(address) or self._handshake_without_cid(address)

    def find_other(self, association: Association, address: Address) -> Association | None:
        """Who else may have sent a record that `association` can't open: a handshake beside it."""
        other = None if association.own_cid else self._handshake_without_cid(address)
        return None if other is association else other

    def _handshake_without_cid(self, address: Address) -> Association | None:
        found = self.handshakes.get(address)
        return None if found is None or found.own_cid else found

    # --- the course of an association

    def begin(self, association: Association) -> None:
        """Its handshake begins; there is no other one at the address."""
        self.handshakes[association.address] = association
        if association.own_cid:
            self._by_cid[association.own_cid] = association

    def take_up(self, association: Association) -> None:
        """It was saved, and goes on."""
        known = self._by_identity if association.confirmed else self._newer
        known[association.identity] = association
        self._place(association)

    def establish(self, association: Association) -> list[Association]:
        """Its handshake is done; returns those that make room."""
        at_address = self._by_address.get(association.address)
        newer = self._newer.get(association.identity)
        self._newer[association.identity] = association
        self._place(association)
        displaced = [] if at_address is None else [at_address]
        if newer is not None and newer is not at_address:
            displaced.append(newer)
        return displaced

    def settle(self, association: Association) -> None:
        """Its handshake need not be kept any more."""
        _discard(self.handshakes, association.address, association)

    def confirm(self, association: Association) -> Association | None:
        """It sent data; returns the one that makes room."""
        _discard(self._newer, association.identity, association)
        older = self._by_identity.get(association.identity)
        self._by_identity[association.identity] = association
        return older

    def remove(self, association: Association) -> None:
        """It ended."""
        _discard(self.handshakes, association.address, association)
        _discard(self._by_cid, association.own_cid, association)
        _discard(self._by_address, association.address, association)
        _discard(self._by_identity, association.identity, association)
        _discard(self._newer, association.identity, association)

    def _place(self, association: Association) -> None:
        if association.own_cid:
            self._by_cid[association.own_cid] = association
        else:
            self._by_address[association.address] = association


def _discard(mapping: dict[Any, Association], key: Hashable, association: Association) -> None:
    """Take the association out of a mapping, unless another has its place."""
    if mapping.get(key) is association:
        del mapping[key]
