"""The LwM2M door behind DTLS: clients that nobody here wrote, a restart, a change of address."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from overair.protocols.lwm2m.paths import parse_path
from overair.simulator.fleet import Fleet
from overair.simulator.keys import Psk as DevicePsk
from overair.simulator.profile import identities

from ..running import ACCOUNT, Service, add_device, add_owner, overair_json, serving
from .coap import CoapFailedError, coap_client
from .conftest import Launch
from .devices import VALUES, Psk, leshan

IMEI = "490154203237518"
OTHER_IMEI = "867723030209919"
ENDPOINT = f"urn:imei:{IMEI}"
KEY = bytes(range(65, 81))
LINKS = b'</>;rt="oma.lwm2m";ct=11543,</1/0>,</3/0>'
DEADLINE_SECONDS = 20


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await add_owner(tmp_path)
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


@pytest.mark.real_client("leshan")
@pytest.mark.parametrize("connection_id", [False, True], ids=["own id", "empty id"])
async def test_leshan_2(service: Service, launch: Launch, connection_id: bool) -> None:
    psk = Psk(ENDPOINT, KEY)
    device = await launch(leshan(service.coaps, ENDPOINT, psk=psk, connection_id=connection_id))
    await device.expect("registered")
    record = await record_when(service, firmware=VALUES["/3/0/3"], fotaEligible=True)
    assert record["make"] == VALUES["/3/0/0"]
    await device.send("update")
    await device.expect("updated")
    await device.expect("observe", path="/3/0/3")
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
