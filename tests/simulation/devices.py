"""The devices of a world: simulated ones, driven by the world's loop, each at an address of the ether."""

from __future__ import annotations

import asyncio
import contextvars
import random as random_module
from collections.abc import Callable, Iterator
from typing import Any

from overair.simulator import Misbehaviour, SecureDevice, SimulatedDevice, State
from overair.simulator.keys import Psk
from overair.simulator.lifecycle import UnexpectedEventError
from overair.simulator.profile import Identity
from overair.simulator.transfer import Fetch

from .ether import PLAIN, SECURE, Address, Ether

HOMES = frozenset({PLAIN, SECURE})
SWITCHED_ON_AGAIN_SECONDS = 3600.0
"""After that somebody switches a device on again that gave up since it was refused."""
_WORLDS = contextvars.Context()


class Member:
    """A device and where it is."""

    def __init__(self, device: SimulatedDevice, address: Address, ether: Ether) -> None:
        self.device = device
        self.address = address
        self.first_firmware = device.firmware
        self.refusals = 0
        self.heard_of: list[tuple[float, str]] = []
        """What happened to it from outside, with the time."""
        self._ether = ether
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._moves = 0
        self._is_refused = False
        self._is_open = True
        """Whether it has sent anything from its address: until then a NAT lets nothing in."""
        ether.bind(address, self._receive)

    @property
    def imei(self) -> int:
        return int(self.device.identity.imei)

    @property
    def may_be_away(self) -> bool:
        """Whether nobody can expect that it comes back: it ended in an update, or waits to be switched on."""
        return self.device.misbehaviour.name == "never-returns" or self._is_refused

    @property
    def is_secure(self) -> bool:
        return isinstance(self.device, SecureDevice)

    def do(self, what: str, action: Callable[[float], None]) -> None:
        """Do something to the device, as far as it is in a state for it."""
        try:
            action(self._loop.time())
        except UnexpectedEventError:
            return
        self.note(what)
        self.settle()

    def note(self, what: str) -> None:
        self.heard_of.append((self._loop.time(), what))

    def start(self) -> None:
        self.do("switched on", self.device.start)

    def reboot(self, seconds: float) -> None:
        self.do(f"reboots for {seconds:.0f} s", lambda now: self.device.reboot(now, seconds))

    def leave(self) -> None:
        self.do("switched off", self.device.stop)

    def move(self, address: Address) -> None:
        """Be somewhere else, without the device's knowing."""
        self._ether.release(self.address)
        self.address = address
        self._is_open = False
        self._ether.bind(address, self._receive)
        self.note(f"moved to {address[0]}:{address[1]}")

    def settle(self) -> None:
        """Send what the device has to send, and see when it is due."""
        device = self.device
        for datagram, peer in device.outbox:
            self._is_open = True
            self._ether.send(datagram, self.address, peer)  # type: ignore[arg-type]
        device.outbox.clear()
        if device.wants_new_address:
            device.wants_new_address = False
            self.move(self.another_address())
        if (device.state is State.REFUSED) is not self._is_refused:
            self._is_refused = not self._is_refused
            if self._is_refused:
                self._was_refused()
        due = device.next_due()
        if due is not None and (self._timer is None or due < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._due, context=_WORLDS)

    def another_address(self) -> Address:
        """Return one on the same host that nobody has."""
        while True:
            self._moves += 1
            address = self.address[0], 20_000 + self._moves
            if self._ether.is_free(address):
                return address

    def _receive(self, datagram: bytes, source: Address) -> None:
        if not self._is_open:
            return
        now = self._loop.time()
        ours = PLAIN if not self.is_secure else SECURE
        self.device.receive(datagram, now, None if source == ours else source)
        self.settle()

    def _due(self) -> None:
        self._timer = None
        self.device.advance(self._loop.time())
        self.settle()

    def _was_refused(self) -> None:
        self.refusals += 1
        self.note(f"refused: {self.device.refusal}")
        self._loop.call_later(SWITCHED_ON_AGAIN_SECONDS, self.start, context=_WORLDS)


class Devices:
    """All devices of a world."""

    def __init__(
        self,
        ether: Ether,
        random: random_module.Random,
        fetch: Callable[[Member, Fetch], None],
    ) -> None:
        self.members: dict[int, Member] = {}
        self._ether = ether
        self._random = random
        self._fetch = fetch

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def add(self, identity: Identity, misbehaviour: Misbehaviour, psk: Psk | None) -> Member:
        """Make a device, which is off."""
        number = len(self.members)
        address = (f"10.0.{number // 250}.{number % 250 + 1}", 10_000)
        random = random_module.Random(self._random.getrandbits(64))
        said: dict[str, Any] = {"random": random, "misbehaviour": misbehaviour, "homes": HOMES}
        device = (
            SimulatedDevice(identity, PLAIN, **said)
            if psk is None
            else SecureDevice(identity, SECURE, psk, **said)
        )
        member = Member(device, address, self._ether)
        device.fetcher = lambda fetch: self._fetch(member, fetch)
        self.members[member.imei] = member
        return member
