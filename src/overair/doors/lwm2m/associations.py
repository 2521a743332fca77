"""What becomes of DTLS associations, and of registrations whose keys came or went.

The newest association of an identity is where its device is (spec lwm2m.md, section 10.2). When the keys of
devices change, what was let in before is looked at again: an association all of whose keys are gone ends, and
so does a registration that nobody could make as it stands.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import structlog

from overair.credentials.model import Owned
from overair.devices.model import Registration, imei_text
from overair.doors.lwm2m.registrar import Registrar
from overair.doors.lwm2m.registry import Live, Registry
from overair.doors.lwm2m.security import HasKey, Owner, may_speak_for
from overair.doors.lwm2m.whereabouts import Whereabouts
from overair.platform.clock import Clock
from overair.protocols import dtls

T = TypeVar("T")

AT_ONCE = 1000  # looked at in a turn of the loop: 0.3 ms

_log = structlog.get_logger()


class Associations:
    """The associations that stand; *owner* and *has_key* tell what is true of keys right now."""

    def __init__(
        self,
        registry: Registry,
        registrar: Registrar,
        whereabouts: Whereabouts,
        owner: Owner,
        has_key: HasKey,
        clock: Clock,
        flush: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._registrar = registrar
        self._whereabouts = whereabouts
        self._owner = owner
        self._has_key = has_key
        self._clock = clock
        self._flush = flush
        self._since_ms: dict[dtls.Association, int] = {}
        self._engine: dtls.Server | None = None

    def __len__(self) -> int:
        return len(self._since_ms)

    def take_up(self, engine: dtls.Server, restored: Iterable[dtls.Association]) -> None:
        """Serve the associations of an *engine*, and those of them that outlived a restart."""
        self._engine = engine
        for association in restored:
            self._established(association)

    def take(self, event: dtls.Event) -> None:
        """Take what became of an association."""
        if isinstance(event, dtls.Established):
            self._established(event.association)
        elif isinstance(event, dtls.Moved):
            live = self._registry.by_peer(event.association)
            if live is not None:
                self._whereabouts.moved(live)
        elif isinstance(event, dtls.Closed):
            self._since_ms.pop(event.association, None)
        elif isinstance(event, dtls.HandshakeFailed):
            _log.info("handshake_failed", address=event.address, reason=event.reason)

    async def keys_changed(self, owned: Mapping[bytes, Owned]) -> None:
        """End what could not begin again with the identities that have a valid key, *owned*.

        A device may have got its key, and come, since those were read: so each end is asked for once more.
        """
        for associations in _portions(list(self._since_ms.items())):
            for association, since_ms in associations:
                if self._is_revoked(association, since_ms, owned.get(association.identity)):
                    self._end(association)
            self._flush()
            await asyncio.sleep(0)
        keyed = {one.imei for one in owned.values()}
        for lives in _portions(list(self._registry)):
            for live in lives:
                if not _was_allowed(live.registration, owned, keyed) and self._is_to_end(live):
                    _log.info("registration_revoked", imei=imei_text(live.registration.imei))
                    self._registrar.end(live)
            await asyncio.sleep(0)

    def _established(self, association: dtls.Association) -> None:
        self._since_ms[association] = self._clock.now_ms()
        imei = self._owner(association.identity)
        live = None if imei is None else self._registry.by_imei(imei)
        if live is not None and may_speak_for(live.registration, association):
            self._registrar.move(live, association)
            self._whereabouts.moved(live)

    def _is_revoked(self, association: dtls.Association, since_ms: int, owned: Owned | None) -> bool:
        """Whether the key of an association is gone: its identity has none, or only keys that are younger."""
        if owned is None:
            return self._owner(association.identity) is None
        return owned.since_ms > since_ms

    def _is_to_end(self, live: Live) -> bool:
        registration = live.registration
        if self._registry.by_imei(registration.imei) is not live:
            return False  # it has ended meanwhile
        if not registration.identity:
            return self._has_key(registration.imei)
        return self._owner(registration.identity) != registration.imei

    def _end(self, association: dtls.Association) -> None:
        if self._since_ms.pop(association, None) is None or self._engine is None:
            return
        _log.info("association_revoked", identity=association.identity, address=association.address)
        self._engine.close(association)


def _was_allowed(registration: Registration, owned: Mapping[bytes, Owned], keyed: set[int]) -> bool:
    """Whether the device could still register so: with an identity of its own, or without any key."""
    if not registration.identity:
        return registration.imei not in keyed
    mine = owned.get(registration.identity)
    return mine is not None and mine.imei == registration.imei


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]
