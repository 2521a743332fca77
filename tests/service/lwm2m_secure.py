"""A door with DTLS and keys, on memory stores, and a device that comes through it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overair.credentials.memory import MemoryCredentialStore
from overair.credentials.ring import KeyRing
from overair.credentials.service import CredentialService
from overair.credentials.watch import CHANGE_SECONDS, KeyWatch
from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Provisioning, Registration
from overair.devices.service import DeviceService
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.platform.limits import Limits
from overair.platform.sealing import VARIABLE, Sealer
from overair.protocols import coap, dtls
from overair.protocols.coap import Message, codes

from ..virtual import LoopClock
from .lwm2m_device import ACCOUNT_ID, IMEI, OTHER_IMEI, Device

IDENTITY = f"urn:imei:{IMEI}".encode()
KEY, OTHER_KEY = b"the first key---", b"the second key--"


@dataclass
class SecureDevice(Device):
    """A device that speaks through DTLS, after :meth:`shake_hands`."""

    identity: bytes = IDENTITY
    key: bytes = KEY
    cid: bool = True
    events: list[dtls.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._established = asyncio.Event()
        parameters = dtls.DtlsParameters() if self.cid else dtls.DtlsParameters(connection_id_bytes=None)
        self.client = dtls.Client(
            identity=self.identity, key=self.key, random=random.Random(3).randbytes, parameters=parameters
        )

    async def shake_hands(self, *, resume: bool = False) -> None:
        """Begin a handshake and wait until it is over; TimeoutError if it never is."""
        self._established.clear()
        (self.client.resume if resume else self.client.start)(self._loop.time())
        self._flush()
        async with asyncio.timeout(20):
            await self._established.wait()

    def send(self, message: Message | bytes) -> None:
        self.client.send(message if isinstance(message, bytes) else coap.encode(message))
        self._flush()

    def _flush(self) -> None:
        for datagram in self.client.outbox:
            self._socket.sendto(datagram, self.server)
        self.client.outbox.clear()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                events = self.client.receive(self._socket.recv(2048), self._loop.time())
                self.events += events
                for event in events:
                    if isinstance(event, dtls.Data):
                        self._take(event.data)
                    elif isinstance(event, dtls.Established):
                        self._established.set()
                self._flush()


@dataclass
class Door:
    """The gateway behind a plain and a secure socket, with keys."""

    store: MemoryDeviceStore
    service: DeviceService
    credentials: CredentialService
    ring: KeyRing
    watch: KeyWatch
    engine: dtls.Server
    gateway: Gateway
    plain: tuple[str, int]
    secure: tuple[str, int]

    async def kept(self, imei: str = IMEI) -> Registration | None:
        """Return what a restart would find."""
        return {each.imei: each for each in await self.store.registrations()}.get(int(imei))

    async def look(self) -> None:
        """Have the keys looked at, as happens by itself now and then."""
        await asyncio.sleep(CHANGE_SECONDS)
        await self.watch.look()


@contextlib.asynccontextmanager
async def open_door(
    store: MemoryDeviceStore,
    keys: MemoryCredentialStore,
    *,
    port: int = 0,
    saved: bytes | None = None,
    killed: bool = False,
) -> AsyncIterator[Door]:
    """Open both doors; one that is *killed* at the end stores nothing more."""
    clock = LoopClock()
    service = DeviceService(store, clock, Limits())
    credentials = CredentialService(keys, Sealer(Path("/nowhere"), {VARIABLE: "0f" * 32}), clock, Limits())
    credentials._sealer.unlock(None)
    ring = credentials.key_ring()
    endpoint = coap.Endpoint(random=random.Random(1))
    gateway: Gateway

    def handle(event: coap.Event) -> None:
        gateway.handle(event)

    face = UdpFace(endpoint, handle)
    gateway = Gateway(endpoint, service, clock, Limits(), face.flush, ring.owner, ring.has_key)
    await gateway.start()
    engine = dtls.Server(keys=ring, random=random.Random(2).randbytes)
    restored = engine.restore(saved, asyncio.get_running_loop().time()) if saved else []
    gateway.security.take_up(engine, restored)
    secure = face.open_secure(engine, gateway.security.take, "127.0.0.1", port)
    plain = face.open("127.0.0.1", 0)
    watch = credentials.key_watch(ring)
    watch.on_change(gateway.security.keys_changed)
    await watch.look()
    try:
        yield Door(store, service, credentials, ring, watch, engine, gateway, plain, secure)
    finally:
        face.close()
        if killed:
            await gateway.work.close()
            await gateway._tasks.close()
        else:
            await gateway.close()


@contextlib.asynccontextmanager
async def door_and_device(**behaviour: Any) -> AsyncIterator[tuple[Door, SecureDevice]]:
    """Return a door that knows two devices and one key, and the device that has it, registered and read."""
    async with open_door(MemoryDeviceStore(), MemoryCredentialStore()) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI)), Provisioning(int(OTHER_IMEI))])
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
        with contextlib.closing(SecureDevice(door.secure, **behaviour)) as device:
            await device.shake_hands()
            assert (await device.register()).code == codes.CREATED
            await asyncio.sleep(5)
            yield door, device
