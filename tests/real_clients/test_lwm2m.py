"""LwM2M clients that nobody here wrote register, and owners read what they said."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ..running import ACCOUNT, Service, add_device, add_owner, overair_json, serving
from .coap import coap_client
from .conftest import Launch
from .devices import VALUES, leshan, node

IMEI = "490154203237518"
ENDPOINT = f"urn:imei:{IMEI}"
DEADLINE_SECONDS = 20


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    await add_owner(tmp_path)
    await add_device(tmp_path, IMEI)
    async with serving(tmp_path, "--verbose") as running:
        yield running
        print("\n".join(running.log))


async def record_when(service: Service, **expected: Any) -> dict[str, Any]:
    """Return the device's record as soon as it says *expected*."""
    record: dict[str, Any] = {}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                record = await overair_json("device", "show", IMEI, "--account", ACCOUNT, data=service.data)
                if expected.items() <= record.items():
                    return record
    except TimeoutError:
        raise AssertionError(f"never became {expected}: {json.dumps(record)}") from None


def software(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["name"], entry["version"]) for entry in record["softwareList"]]


@pytest.mark.real_client("leshan")
async def test_leshan_2(service: Service, launch: Launch) -> None:
    device = await launch(leshan(service.coap, ENDPOINT))
    await device.expect("registered")
    record = await record_when(service, firmware="1.4.2")
    assert record["make"] == VALUES["/3/0/0"]
    assert record["model"] == VALUES["/3/0/1"]
    assert record["protocol"] == "LWM2M"
    assert record["fotaEligible"] is True
    assert software(record) == [("agent", "3.0.1"), ("software", "7.1")]
    assert "refreshTime" in record
    assert "statusTime" not in record  # a first inventory is no change

    await device.send("update")
    await device.expect("updated")
    # The firmware changes without a new registration: the observation tells.
    await device.expect("observe", path="/3/0/3")
    await device.send("set /3/0/3 1.5.0")
    changed = await record_when(service, firmware="1.5.0")
    assert "statusTime" in changed

    await device.send("deregister")
    await device.expect("deregistered")


@pytest.mark.real_client("leshan-1")
async def test_leshan_1(service: Service, launch: Launch) -> None:
    device = await launch(leshan(service.coap, ENDPOINT, client="leshan-1"))
    await device.expect("registered")
    record = await record_when(service, firmware="1.4.2", fotaEligible=True)
    assert record["make"] == VALUES["/3/0/0"]
    assert software(record) == [("agent", "3.0.1"), ("software", "7.1")]


@pytest.mark.real_client("lwm2m-node-lib")
@pytest.mark.parametrize("formats", [(), (42, 110, 112, 11542, 11543)])
async def test_lwm2m_node_lib(service: Service, launch: Launch, formats: tuple[int, ...]) -> None:
    device = await launch(node(service.coap, ENDPOINT, formats=formats))
    await device.expect("registered")
    record = await record_when(service, firmware="1.4.2", fotaEligible=True)
    assert record["make"] == VALUES["/3/0/0"]
    assert record["model"] == VALUES["/3/0/1"]
    # Its Update comes from another port; the registration moves there.
    await device.send("update")
    await device.expect("updated")
    await device.send("deregister")
    await device.expect("deregistered")


@pytest.mark.real_client("libcoap")
async def test_coap_client(service: Service) -> None:
    links = b'</>;rt="oma.lwm2m";ct=11543,</1/0>,</3/0>'
    answer = await coap_client(
        f"{service.coap}/rd?ep={ENDPOINT}&lt=300&lwm2m=1.1&b=U", "post", links, content_format=40
    )
    assert answer.code == "2.01"
    location = answer.location
    assert (await coap_client(f"{service.coap}{location}", "post")).code == "2.04"
    assert (await coap_client(f"{service.coap}{location}?lt=3600", "post")).code == "2.04"
    assert (await coap_client(f"{service.coap}{location}", "get")).code == "4.05"
    assert (await coap_client(f"{service.coap}/nothing", "get")).code == "4.04"
    assert (await coap_client(f"{service.coap}{location}", "delete")).code == "2.02"
    assert (await coap_client(f"{service.coap}{location}", "post")).code == "4.04"
    stranger = await coap_client(f"{service.coap}/rd?ep=urn:imei:867723030209919&lwm2m=1.1", "post", links)
    assert stranger.code == "4.03"
    assert (await coap_client(f"{service.coap}/rd?ep={ENDPOINT}&lwm2m=9.9", "post", links)).code == "4.12"
    assert (await coap_client(f"{service.coap}/rd?lwm2m=1.1", "post", links)).code == "4.00"
