"""Many simulated devices over real UDP sockets, in one process and one event loop.

Each device has a socket of its own, as it would have an address of its own, and another one while it pulls a
package from somewhere else than its server. The clock is the loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random as random_module
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final

from msgspec import Struct

from overair.protocols.coap import Peer
from overair.simulator import fetching
from overair.simulator.device import SimulatedDevice
from overair.simulator.firmware import UpdateState
from overair.simulator.keys import Psk
from overair.simulator.lifecycle import State
from overair.simulator.mainboard import Tally
from overair.simulator.misbehaviour import NONE, Misbehaviour
from overair.simulator.profile import Identity
from overair.simulator.secure import SecureDevice
from overair.simulator.transfer import Fetch
from overair.simulator.upkeep import UpdateTally

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
    """How a fleet does. `registered_once` are those that ever were registered.

    `firmware` counts the devices by the version they run, `update_states` by how far their update is.
    """

    states: dict[State, int]
    registered_once: int
    tally: Tally
    firmware: dict[str, int]
    update_states: dict[UpdateState, int]
    update_tally: UpdateTally


class _Member:
    __slots__ = ("device", "other", "registered_once", "socket", "timer")

    def __init__(self, device: SimulatedDevice, own_socket: socket.socket) -> None:
        self.device = device
        self.socket = own_socket
        self.other: tuple[Peer, socket.socket] | None = None
        """Who else it speaks to, and the socket for that."""
        self.timer: asyncio.TimerHandle | None = None
        self.registered_once = False


class Fleet:
    """Simulated devices of one server, made in a running event loop.

    With `keys`, which gives each device its own, they speak DTLS and `server` is the secure door. What goes
    wrong with them is in `misbehaviours`, by IMEI. `tls` says which servers to trust over HTTPS, if not those
    that the system trusts.
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
        misbehaviours: Mapping[str, Misbehaviour] | None = None,
        tls: ssl.SSLContext | None = None,
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
        self._misbehaviours = misbehaviours or {}
        self._tls = tls
        self._fetches: set[asyncio.Task[None]] = set()
        self._found: dict[Peer, Address | None] = {}
        """Where others are that have packages; None while it is being looked up, or if nobody knows."""
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
        self._allow_sockets()
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
        for task in tuple(self._fetches):
            task.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)
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
            try:
                self._move(member)
            except OSError as error:
                raise FleetError(f"socket: {error.strerror}") from error

    def _move(self, member: _Member) -> None:
        old = member.socket
        member.socket = _connected(old.family, old.getpeername())
        self._loop.remove_reader(old)
        old.close()
        self._loop.add_reader(member.socket, self._readable, member)

    def standing(self) -> Standing:
        """Count. Tens of milliseconds for ten thousand devices."""
        total, updates = Tally(), UpdateTally()
        for device in self.devices:
            _add(total, device.tally)
            _add(updates, device.update_tally)
        return Standing(
            states=dict(Counter(device.state for device in self.devices)),
            registered_once=self._registered_once,
            tally=total,
            firmware=dict(Counter(device.firmware for device in self.devices)),
            update_states=dict(Counter(device.update_state for device in self.devices)),
            update_tally=updates,
        )

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
        own_socket = _connected(family, address)
        member = _Member(self._device(identity, address), own_socket)
        member.device.fetcher = lambda fetch: self._fetch(member, fetch)
        self._loop.add_reader(member.socket, self._readable, member)
        return member

    def _device(self, identity: Identity, address: Address) -> SimulatedDevice:
        fault = self._misbehaviours.get(identity.imei, NONE)
        homes = frozenset({address, self._server})
        if self._keys is None:
            return SimulatedDevice(identity, address, random=self._random, misbehaviour=fault, homes=homes)
        psk = self._keys(identity)
        return SecureDevice(identity, address, psk, random=self._random, misbehaviour=fault, homes=homes)

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

    def _other_readable(self, member: _Member, peer: Peer, other: socket.socket) -> None:
        # Nobody there is as good as no answer.
        with contextlib.suppress(OSError):
            member.device.receive(other.recv(DATAGRAM_BYTES), self._loop.time(), peer)
        self._settle(member)

    def _due(self, member: _Member) -> None:
        member.timer = None
        member.device.advance(self._loop.time())
        self._settle(member)

    def _settle(self, member: _Member) -> None:
        """Send what a device has to send, and see when it is due."""
        device = member.device
        outbox = device.outbox
        for datagram, peer in outbox:
            # A full buffer or a closed port lose a datagram as any network does.
            with contextlib.suppress(OSError):
                if device.is_server(peer):
                    member.socket.send(datagram)
                else:
                    self._send_elsewhere(member, peer, datagram)
        outbox.clear()
        if device.wants_new_address:
            device.wants_new_address = False
            with contextlib.suppress(OSError):
                self._move(member)
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

    # -- packages from elsewhere -------------------------------------------------------------------

    def _send_elsewhere(self, member: _Member, peer: Peer, datagram: bytes) -> None:
        """Send to whoever has a package. OSError; the device repeats what was lost until it is known who."""
        if member.other is None or member.other[0] != peer:
            address = self._find(peer, lambda: self._send_elsewhere(member, peer, datagram))
            if address is None:
                return
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            other = _connected(family, address)
            self._forget_other(member)
            member.other = (peer, other)
            self._loop.add_reader(other, self._other_readable, member, peer, other)
        member.other[1].send(datagram)

    def _find(self, peer: Peer, once_found: Callable[[], None]) -> Address | None:
        """Return an address, at once if it is one. A name is looked up first, for whoever asks first."""
        if peer not in self._found and isinstance(peer, tuple):
            self._found[peer] = None
            host, port = str(peer[0]), int(peer[1])
            try:
                self._found[peer] = (str(ipaddress.ip_address(host)), port)
            except ValueError:
                self._spawn(self._look_up(peer, host, port, once_found))
        return self._found.get(peer)

    async def _look_up(self, peer: Peer, host: str, port: int, once_found: Callable[[], None]) -> None:
        # Neither a name that nobody knows nor a full buffer is more than no answer.
        with contextlib.suppress(OSError):
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            address = min(found, key=lambda each: each[0] != socket.AF_INET)[4]
            self._found[peer] = (str(address[0]), int(address[1]))
            once_found()

    def _fetch(self, member: _Member, fetch: Fetch) -> None:
        self._spawn(
            fetching.carry_out(fetch, time=self._loop.time, told=lambda: self._settle(member), tls=self._tls)
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def _forget_other(self, member: _Member) -> None:
        if member.other is not None:
            self._loop.remove_reader(member.other[1])
            member.other[1].close()
            member.other = None

    def _allow_sockets(self) -> None:
        """Allow two for each device if the system does, else one: few pull from elsewhere at a time."""
        try:
            allow_open_files(2 * len(self._identities) + OTHER_FILES)
        except FleetError:
            allow_open_files(len(self._identities) + OTHER_FILES)

    def _close(self) -> None:
        for member in self._members:
            if member.socket.fileno() < 0:
                continue
            self._forget_other(member)
            if member.timer is not None:
                member.timer.cancel()
                member.timer = None
            self._loop.remove_reader(member.socket)
            member.socket.close()


def _add(total: Struct, part: Struct) -> None:
    for name in total.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(part, name))


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
