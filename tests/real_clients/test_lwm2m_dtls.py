"""The LwM2M door behind DTLS: clients that nobody here wrote, a restart, a change of address."""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from overair.protocols.dtls import codes, wire
from overair.protocols.lwm2m.paths import parse_path
from overair.simulator.fleet import Fleet
from overair.simulator.keys import Psk as DevicePsk
from overair.simulator.profile import identities

from ..running import ACCOUNT, Service, add_device, overair, overair_json, serving
from .coap import CoapFailedError, coap_client
from .conftest import Launch
from .devices import VALUES, Psk, leshan
from .processes import ClientProcess

IMEI = "490154203237518"
OTHER_IMEI = "867723030209919"
ENDPOINT = f"urn:imei:{IMEI}"
KEY = bytes(range(65, 81))
LINKS = b'</>;rt="oma.lwm2m";ct=11543,</1/0>,</3/0>'
DEADLINE_SECONDS = 20
CID_BYTES = 8


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await overair_json("account", "add", ACCOUNT, "--licenses", "10", data=tmp_path)
    await add_device(tmp_path, IMEI, "--psk-identity", ENDPOINT, "--psk-key", KEY.hex())
    await add_device(tmp_path, OTHER_IMEI)
    return tmp_path


@pytest.fixture
async def service(data: Path) -> AsyncIterator[Service]:
    async with serving(data, "--verbose") as running:
        yield running
        print("\n".join(running.log))


async def record_when(service: Service, imei: str = IMEI, **expected: Any) -> dict[str, Any]:
    """Return the device's record as soon as it says *expected*."""
    record: dict[str, Any] = {}
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not expected.items() <= record.items():
            record = await overair_json("device", "show", imei, "--account", ACCOUNT, data=service.data)
    return record


class Nat:
    """Between one device and the service, on a port that the device knows; `heard` is what it said."""

    def __init__(self, service_port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = ("127.0.0.1", service_port)
        self._device: tuple[str, int] | None = None
        self._inside = self._socket(self._out)
        self._outside = self._socket(self._in)
        self.heard: list[bytes] = []
        self.port: int = self._inside.getsockname()[1]

    def forget(self) -> None:
        """Give the device another port; the one that it had leads nowhere."""
        self._close(self._outside)
        self._outside = self._socket(self._in)

    def close(self) -> None:
        self._close(self._inside)
        self._close(self._outside)

    def _socket(self, readable: Any) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        self._loop.add_reader(made, readable)
        return made

    def _close(self, one: socket.socket) -> None:
        self._loop.remove_reader(one)
        one.close()

    def _out(self) -> None:
        datagram, self._device = self._inside.recvfrom(2048)
        self.heard.append(datagram)
        self._outside.sendto(datagram, self._service)

    def _in(self) -> None:
        datagram = self._outside.recv(2048)
        if self._device is not None:
            self._inside.sendto(datagram, self._device)

    def records(self) -> Iterator[wire.Record]:
        """What the device said, record by record; the service's Connection IDs have 8 bytes."""
        for datagram in self.heard:
            yield from wire.read_records(datagram, CID_BYTES)

    def offers_connection_id(self) -> bool:
        """Whether a ClientHello had the extension."""
        hellos = [
            wire.parse_client_hello(fragment.body)
            for record in self.records()
            if record.kind == codes.HANDSHAKE and record.number < 1 << 48
            for fragment in wire.read_fragments(record.fragment)
            if fragment.kind == codes.CLIENT_HELLO
        ]
        assert hellos
        return any(codes.CONNECTION_ID in hello.extensions for hello in hellos)


def behind(nat: Nat, *options: str) -> ClientProcess:
    """The device behind a NAT, with further options of its program."""
    device = leshan(f"coaps://127.0.0.1:{nat.port}", ENDPOINT, psk=Psk(ENDPOINT, KEY))
    device._command = [*device._command, *options]
    return device


async def counted(service: Service) -> dict[str, int]:
    """How often the service shook hands, resumed, and followed a device to another address."""
    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"{service.http}/metrics")).text
    found = dict(
        re.findall(r"^overair_dtls_(established|resumed|moved)_total(?:{.*})? (\d+)", text, re.MULTILINE)
    )
    return {name: int(value) for name, value in found.items()}


@pytest.mark.real_client("leshan")
@pytest.mark.parametrize(
    ("options", "offers", "after"),
    [
        (["--connection-id", "own"], True, {"established": 1, "resumed": 0, "moved": 1}),
        (["--connection-id", "yes"], True, {"established": 1, "resumed": 0, "moved": 1}),
        (
            ["--connection-id", "off", "--reconnect", "resume"],
            False,
            {"established": 2, "resumed": 1, "moved": 0},
        ),
        (
            ["--connection-id", "off", "--reconnect", "full"],
            False,
            {"established": 2, "resumed": 0, "moved": 0},
        ),
    ],
    ids=["own id", "empty id", "no id, resumed", "no id, in full"],
)
async def test_leshan_2(
    service: Service, launch: Launch, options: list[str], offers: bool, after: dict[str, int]
) -> None:
    with contextlib.closing(Nat(service.ports["coaps"])) as nat:
        device = await launch(behind(nat, *options))
        await device.expect("registered")
        record = await record_when(service, firmware=VALUES["/3/0/3"], fotaEligible=True)
        assert record["make"] == VALUES["/3/0/0"]
        await device.expect("observe", path="/3/0/3")
        assert nat.offers_connection_id() is offers
        assert any(record.kind == codes.TLS12_CID for record in nat.records()) is offers
        nat.forget()
        await device.send("update")
        await device.expect("updated")
        assert await counted(service) == after
        # It is the same registration, with the observation of before, at the new port.
        await device.send("set /3/0/3 1.5.0")
        await record_when(service, firmware="1.5.0")
        await device.send("deregister")
        await device.expect("deregistered")


@pytest.mark.real_client("leshan-1")
async def test_leshan_1(service: Service, launch: Launch) -> None:
    device = await launch(leshan(service.coaps, ENDPOINT, client="leshan-1", psk=Psk(ENDPOINT, KEY)))
    await device.expect("registered")
    await record_when(service, firmware=VALUES["/3/0/3"])


@pytest.mark.real_client("libcoap")
@pytest.mark.parametrize("backend", ["openssl", "gnutls"])
async def test_libcoap(service: Service, backend: str) -> None:
    own = Psk(ENDPOINT, KEY)
    answer = await coap_client(
        f"{service.coaps}/rd?ep={ENDPOINT}&lt=300&lwm2m=1.1&b=U",
        "post", LINKS, content_format=40, psk=own, backend=backend,
    )  # fmt: skip
    assert answer.code == "2.01"
    # Each call of this client is an association of its own; the identity is the same.
    assert (
        await coap_client(service.coaps + answer.location, "post", psk=own, backend=backend)
    ).code == "2.04"
    # Without the key nobody finds the registration, or takes its place.
    assert (await coap_client(service.coap + answer.location, "delete")).code == "4.04"
    stranger = await coap_client(f"{service.coap}/rd?ep={ENDPOINT}&lwm2m=1.1", "post", LINKS)
    assert stranger.code == "4.03"
    # The key of one device registers no other one.
    other = await coap_client(
        f"{service.coaps}/rd?ep=urn:imei:{OTHER_IMEI}&lwm2m=1.1", "post", LINKS, psk=own, backend=backend
    )
    assert other.code == "4.00"
    # The endpoint's name may be left to the identity.
    implied = await coap_client(f"{service.coaps}/rd?lwm2m=1.1", "post", LINKS, psk=own, backend=backend)
    assert implied.code == "2.01"


@pytest.mark.real_client("libcoap")
@pytest.mark.parametrize("psk", [Psk(ENDPOINT, b"another key here"), Psk("urn:imei:nobody", KEY)])
async def test_a_wrong_key_and_a_stranger_get_nothing(service: Service, psk: Psk) -> None:
    with pytest.raises(CoapFailedError):
        await coap_client(f"{service.coaps}/rd?ep={ENDPOINT}", "post", LINKS, psk=psk, backend="openssl")


async def test_a_key_that_is_removed_while_the_service_runs(service: Service) -> None:
    device = next(identities(1, first_imei=IMEI))
    fleet = Fleet(
        [device],
        ("127.0.0.1", service.ports["coaps"]),
        random=random.Random(1),
        keys=lambda _: DevicePsk(ENDPOINT.encode(), KEY),
    )
    await fleet.start()
    await record_when(service, firmware=device.profile.firmware)
    (secure,) = fleet.devices
    code, _, errors = await overair("device", "key", "remove", IMEI, "--account", ACCOUNT, data=service.data)
    assert code == 0, errors
    async with asyncio.timeout(3 * DEADLINE_SECONDS):
        while secure._client.association.established:  # type: ignore[attr-defined]
            await counted(service)
    await fleet.stop()


@pytest.mark.real_client("libcoap")
async def test_a_device_that_has_a_key_is_never_registered_without(service: Service) -> None:
    register = f"{service.coap}/rd?ep={ENDPOINT}&lwm2m=1.1"
    assert (await coap_client(register, "post", LINKS)).code == "4.03"
    code, _, errors = await overair("device", "key", "remove", IMEI, "--account", ACCOUNT, data=service.data)
    assert code == 0, errors
    assert (await coap_client(register, "post", LINKS)).code == "2.01"


async def test_sessions_outlive_a_restart_and_a_change_of_address(data: Path) -> None:
    device = next(identities(1, first_imei=OTHER_IMEI))
    identity, key = device.endpoint, bytes(range(16))
    await overair_json(
        "device", "add", OTHER_IMEI, "--account", ACCOUNT,
        "--psk-identity", identity, "--psk-key", key.hex(), data=data,
    )  # fmt: skip
    async with serving(data) as service:
        port = service.ports["coaps"]
        fleet = Fleet(
            [device],
            ("127.0.0.1", port),
            random=random.Random(1),
            keys=lambda _: DevicePsk(identity.encode(), key),
        )
        await fleet.start()
        await record_when(service, OTHER_IMEI, firmware=device.profile.firmware)
        assert await service.stop() == 0
    assert (data / "dtls-sessions").stat().st_mode & 0o777 == 0o600
    async with serving(data, coaps_port=port) as service:
        fleet.move()
        # The observation, the association and the registration are those of before; the port is another.
        loop = asyncio.get_running_loop()
        fleet.devices[0].set_value(parse_path("/3/0/3"), "moved-1", loop.time())
        fleet._settle(fleet._members[0])
        await record_when(service, OTHER_IMEI, firmware="moved-1")
        tally = fleet.standing().tally
        assert (tally.handshakes, tally.registrations) == (1, 1)
    await fleet.stop()
