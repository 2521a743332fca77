"""Many simulated devices over real UDP sockets, in one process and one event loop.

Each device has a socket of its own, as it would have an address of its own. The clock is the loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as random_module
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from overair.simulator.device import SimulatedDevice, Tally
from overair.simulator.keys import Psk
from overair.simulator.lifecycle import State
from overair.simulator.profile import Identity
from overair.simulator.secure import SecureDevice

Address = tuple[str, int]

OTHER_FILES: Final = 64
"""Open files of the process that are not sockets of devices."""
DATAGRAM_BYTES: Final = 2048
DATAGRAMS_AT_ONCE: Final = 16
"""Read from one socket before others get their turn."""
STOP_SECONDS: Final = 10.0
_PACE_SECONDS: Final = 0.02


class FleetError(Exception):
    """A fleet that cannot be run here; the text says what stands against it."""


class Refusal(Struct, frozen=True):
    """A device that the server turned away, and with what words."""

    imei: str
    reason: str


class Standing(Struct, frozen=True):
    """How a fleet does. `registered_once` are those that ever were registered."""

    states: dict[State, int]
    registered_once: int
    tally: Tally


class _Member:
    __slots__ = ("device", "registered_once", "socket", "timer")

    def __init__(self, device: SimulatedDevice, own_socket: socket.socket) -> None:
        self.device = device
        self.socket = own_socket
        self.timer: asyncio.TimerHandle | None = None
        self.registered_once = False


class Fleet:
    """Simulated devices of one server, made in a running event loop.

    With `keys`, which gives each device its own, they speak DTLS and `server` is the secure door.
    `all_registered` is set once each of them has been registered.
    """

    def __init__(
        self,
        identities: Iterable[Identity],
        server: Address,
        *,
        random: random_module.Random,
        per_second: float = 500.0,
        keys: Callable[[Identity], Psk] | None = None,
    ) -> None:
        if not per_second > 0:
            raise FleetError("per_second: more than 0")
        self.all_registered: Final = asyncio.Event()
        self.port_closed = False
        """Whether the network ever said that nobody listens at the server's address."""
        self._identities = list(identities)
        self._server = server
        self._random = random
        self._per_second = per_second
        self._keys = keys
        self._members: list[_Member] = []
        self._registered_once = 0
        self._leaving: set[_Member] = set()
        self._all_left = asyncio.Event()
        self._ramp: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Open the sockets and begin to switch devices on, `per_second` of them each second.

        FleetError if there are no devices, the system does not allow so many sockets, or nobody knows the
        server's name.
        """
        if not self._identities:
            raise FleetError("a fleet has at least one device")
        allow_open_files(len(self._identities) + OTHER_FILES)
        family, address = await self._resolve()
        try:
            for identity in self._identities:
                self._members.append(self._member(identity, family, address))
        except OSError as error:
            opened = len(self._members)
            self._close()
            self._members.clear()
            raise FleetError(f"socket {opened + 1}: {error.strerror}") from error
        self._ramp = self._loop.create_task(self._paced(SimulatedDevice.start))

    async def stop(self, *, deregister: bool = False) -> None:
        """Close the sockets; before it, if asked, let devices de-register, and wait STOP_SECONDS for it."""
        if self._ramp is not None:
            self._ramp.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ramp
        if deregister and self._members:
            self._leaving.update(self._members)
            patience = STOP_SECONDS + len(self._members) / self._per_second
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._paced(SimulatedDevice.stop)
                    await self._all_left.wait()
        self._close()

    @property
    def devices(self) -> list[SimulatedDevice]:
        """All devices, in the order of their identities."""
        return [member.device for member in self._members]

    def move(self) -> None:
        """Give each device another port, as a NAT does that forgot them; what is under way is lost.

        FleetError if the system does not give as many sockets.
        """
        for member in self._members:
            old = member.socket
            try:
                member.socket = _connected(old.family, old.getpeername())
            except OSError as error:
                raise FleetError(f"socket: {error.strerror}") from error
            self._loop.remove_reader(old)
            old.close()
            self._loop.add_reader(member.socket, self._readable, member)

    def standing(self) -> Standing:
        """Count. Tens of milliseconds for ten thousand devices."""
        total = Tally()
        for device in self.devices:
            for name in total.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(device.tally, name))
        states = Counter(device.state for device in self.devices)
        return Standing(dict(states), self._registered_once, total)

    def refusals(self) -> list[Refusal]:
        """Return those that the server turned away."""
        return self._reasons(State.REFUSED)

    def waiting(self) -> list[Refusal]:
        """Return those whose last attempt came to nothing and that will try again, with what went wrong."""
        return self._reasons(State.WAITING)

    def _reasons(self, state: State) -> list[Refusal]:
        found = [device for device in self.devices if device.state is state]
        return [Refusal(device.identity.imei, device.refusal or "") for device in found]

    async def _resolve(self) -> tuple[int, Address]:
        host, port = self._server
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise FleetError(f"server {host}: {error.strerror}") from error
        # A name for both is more often served over IPv4: that is what the service listens on by default.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return family, (str(address[0]), int(address[1]))

    def _member(self, identity: Identity, family: int, address: Address) -> _Member:
        member = _Member(self._device(identity, address), _connected(family, address))
        self._loop.add_reader(member.socket, self._readable, member)
        return member

    def _device(self, identity: Identity, address: Address) -> SimulatedDevice:
        if self._keys is None:
            return SimulatedDevice(identity, address, random=self._random)
        return SecureDevice(identity, address, self._keys(identity), random=self._random)

    async def _paced(self, switch: Callable[[SimulatedDevice, float], None]) -> None:
        """Switch all devices, no faster than `per_second`."""
        begin = self._loop.time()
        for index, member in enumerate(self._members):
            ahead = index / self._per_second - (self._loop.time() - begin)
            if ahead > 0:
                await asyncio.sleep(max(ahead, _PACE_SECONDS))
            switch(member.device, self._loop.time())
            self._settle(member)

    def _readable(self, member: _Member) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                datagram = member.socket.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # The network says that nobody listens there; the device repeats its message in time.
                self.port_closed = True
                continue
            member.device.receive(datagram, self._loop.time())
        self._settle(member)

    def _due(self, member: _Member) -> None:
        member.timer = None
        member.device.advance(self._loop.time())
        self._settle(member)

    def _settle(self, member: _Member) -> None:
        """Send what a device has to send, and see when it is due."""
        device = member.device
        outbox = device.outbox
        for datagram, _ in outbox:
            # A full buffer or a closed port lose a datagram as any network does.
            with contextlib.suppress(OSError):
                member.socket.send(datagram)
        outbox.clear()
        if not member.registered_once and device.tally.registrations:
            member.registered_once = True
            self._registered_once += 1
            if self._registered_once == len(self._members):
                self.all_registered.set()
        if device.state is State.OFF and member in self._leaving:
            self._leaving.discard(member)
            if not self._leaving:
                self._all_left.set()
        due = device.next_due()
        timer = member.timer
        # A time that is put off keeps its timer: `advance` then finds nothing to do.
        if due is not None and (timer is None or due < timer.when()):
            if timer is not None:
                timer.cancel()
            member.timer = self._loop.call_at(due, self._due, member)

    def _close(self) -> None:
        for member in self._members:
            if member.socket.fileno() < 0:
                continue
            if member.timer is not None:
                member.timer.cancel()
                member.timer = None
            self._loop.remove_reader(member.socket)
            member.socket.close()


def _connected(family: int, address: Address) -> socket.socket:
    own_socket = socket.socket(family, socket.SOCK_DGRAM)
    try:
        own_socket.setblocking(False)
        own_socket.connect(address)
    except OSError:
        own_socket.close()
        raise
    return own_socket


def allow_open_files(count: int) -> None:
    """Let the process open so many files. FleetError if the system's hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise FleetError(f"{count} open files are needed, the limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else hard, hard))
