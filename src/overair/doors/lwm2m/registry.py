"""The registrations that are alive, in memory.

Found by location (Updates), by IMEI (operations) and by peer (whatever else comes from the device).
A registration costs about 0.9 kB here, so it holds shared objects where a fleet says the same:
the object list, the raw links, versions and bindings.
"""

import math
from collections.abc import Iterable, Iterator

from overair.devices.model import Registration
from overair.protocols.coap import Peer
from overair.protocols.lwm2m import AwakeWindow, ObjectList, expires_at

SWEEP_SECONDS = 60


class Live(AwakeWindow, kw_only=True, gc=False):
    """A registration and what the gateway alone knows of it: where the device is, whether it listens.

    ``updated_ms`` is ahead of the registration's own after an Update that changed nothing else.
    """

    registration: Registration
    peer: Peer
    objects: ObjectList
    updated_ms: int
    due_minute: int = 0
    """The minute in which the registry looks whether it has expired."""
    worked: dict[tuple[int | None, ...], int | None] | None = None
    """Which of several content formats the device answered with, where it was not the first."""

    def expires_ms(self) -> float:
        """When the registration ends unless an Update comes; infinity for lifetime 0."""
        return expires_at(self.updated_ms / 1000, self.registration.lifetime_seconds) * 1000

    def take(self, registration: Registration, objects: ObjectList) -> None:
        """Replace what an Update changed."""
        if registration.queue_mode != self.registration.queue_mode:
            # Otherwise what was learned stays: a device may sleep without saying so.
            self.queue_mode = registration.queue_mode
        self.registration = registration
        self.objects = objects
        self.updated_ms = registration.updated_ms


class Registry:
    """All live registrations of this gateway."""

    def __init__(self) -> None:
        self._by_location: dict[str, Live] = {}
        self._by_imei: dict[int, Live] = {}
        self._by_peer: dict[Peer, Live] = {}
        # Minute of expiry → IMEIs. An entry may be too early, since Updates don't move it;
        # it is looked at again when its minute comes. So an Update costs nothing and nothing is scanned.
        # Each registration has one entry, or those of devices that come and go would pile up.
        self._expiries: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._by_imei)

    def __iter__(self) -> Iterator[Live]:
        return iter(self._by_imei.values())

    def by_location(self, location: str) -> Live | None:
        return self._by_location.get(location)

    def by_imei(self, imei: int) -> Live | None:
        return self._by_imei.get(imei)

    def by_peer(self, peer: Peer) -> Live | None:
        return self._by_peer.get(peer)

    def reaches(self, live: Live) -> bool:
        """Whether the device's address is still its own: a NAT may have given it to another since."""
        return self._by_peer.get(live.peer) is live

    def put(self, live: Live) -> Live | None:
        """Add a registration; returns the one of the same device that it replaced."""
        imei = live.registration.imei
        old = self._by_imei.get(imei)
        if old is not None:
            self._forget_keys(old)
            live.due_minute = old.due_minute
        self._by_imei[imei] = live
        self._by_location[live.registration.location] = live
        self._by_peer[live.peer] = live
        self.expect_expiry(live)
        return old

    def move(self, live: Live, peer: Peer) -> None:
        """The device speaks from another address now."""
        if self._by_peer.get(live.peer) is live:
            del self._by_peer[live.peer]
        live.peer = peer
        self._by_peer[peer] = live

    def remove(self, live: Live) -> None:
        """Forget a registration."""
        if self._by_imei.get(live.registration.imei) is live:
            del self._by_imei[live.registration.imei]
            self._expect_no_more(live)
        self._forget_keys(live)

    def expired(self, now_ms: int) -> Iterable[Live]:
        """Remove and return what has expired; looks only at what was due since the last call."""
        due = [minute for minute in self._expiries if minute * SWEEP_SECONDS * 1000 <= now_ms]
        gone: list[Live] = []
        for imei in [imei for minute in due for imei in self._expiries.pop(minute)]:
            live = self._by_imei.get(imei)
            if live is None:
                continue
            live.due_minute = 0
            if live.expires_ms() <= now_ms:
                self.remove(live)
                gone.append(live)
            else:
                self.expect_expiry(live)
        return gone

    def expect_expiry(self, live: Live) -> None:
        """Have the registration looked at when it may have expired; call again when that comes earlier."""
        expires_ms = live.expires_ms()
        if expires_ms == math.inf:
            return
        minute = int(expires_ms) // (SWEEP_SECONDS * 1000) + 1
        if not live.due_minute or minute < live.due_minute:
            self._expect_no_more(live)
            live.due_minute = minute
            self._expiries.setdefault(minute, set()).add(live.registration.imei)

    def _expect_no_more(self, live: Live) -> None:
        expected = self._expiries.get(live.due_minute)
        if expected is not None:
            expected.discard(live.registration.imei)
            if not expected:
                del self._expiries[live.due_minute]
        live.due_minute = 0

    def _forget_keys(self, live: Live) -> None:
        self._by_location.pop(live.registration.location, None)
        if self._by_peer.get(live.peer) is live:
            del self._by_peer[live.peer]
