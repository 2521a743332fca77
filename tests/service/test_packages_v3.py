"""GET /firmware/{acc} of API v3 (spec api-v3.md, section 4.1)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from overair.accounts.passwords import Passwords
from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.doors.thingspace.app import openapi_document, thingspace_app
from overair.doors.thingspace.services import Services
from overair.records import V3Firmware, decode
from overair.records.times import parse_d

from ..unit.packages.world import ACCOUNT, World, firmware, image_bytes
from .fake_devices import FakeDevices
from .harness import CHEAP, PASSWORD, USER, Door, vector
from .packages_world import open_doors

PATH = f"/api/fota/v3/firmware/{ACCOUNT}"
IMAGE = image_bytes(1000)
SAMPLE = vector("v3-get-firmware.response")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_doors(tmp_path) as opened:
        yield opened.world


@pytest.fixture
async def door(world: World) -> AsyncIterator[Door]:
    """The owner's door to the world's catalogue."""
    store = SqlAccountStore(world.database)
    accounts = AccountService(store, world.clock, world.limits, passwords=Passwords(CHEAP))
    app = thingspace_app(Services(accounts, FakeDevices(), world.limits, packages=world.packages))
    await accounts.add_user(ACCOUNT, USER, PASSWORD)
    key = await accounts.add_key(ACCOUNT)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://overair.test") as client:
        yield Door(world.clock, accounts, FakeDevices(), client, key, store)


async def add(world: World, **said: object) -> None:
    file = world.data / "image.bin"
    await asyncio.to_thread(file.write_bytes, IMAGE)
    new = firmware(IMAGE, launch_ms=parse_d("2025-05-12"), **said)
    await world.packages.add(world.account.id, new, file)


async def test_firmware_is_listed_as_published(door: Door, world: World) -> None:
    await add(world)
    headers = await door.signed_in()
    assert (await door.client.get(PATH, headers=headers)).json() == []
    await world.add_device()
    answer = await door.client.get(PATH, headers=headers)
    assert (answer.status_code, answer.json()) == (200, SAMPLE)
    (row,) = decode(list[V3Firmware], answer.content)
    assert row.firmware_name == SAMPLE[0]["firmwareName"]


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (None, ["lwm2m", "oma"]),
        ("all", ["lwm2m", "oma"]),
        ("LWM2M", ["lwm2m"]),
        ("lwm2m", ["lwm2m"]),
        ("OMD-DM", ["oma"]),
        ("OMADM", ["oma"]),
        ("HTTP", []),
    ],
)
async def test_protocols(door: Door, world: World, protocol: str | None, names: list[str]) -> None:
    await world.add_device()
    for name, stored in (("lwm2m", "LWM2M"), ("oma", "OMADM"), ("http", "HTTP")):
        await add(world, name=name, protocol=stored)
    params = {} if protocol is None else {"protocol": protocol}
    answer = await door.client.get(PATH, headers=await door.signed_in(), params=params)
    assert [row["firmwareName"] for row in answer.json()] == names
    assert {row["protocol"] for row in answer.json()} <= {"LWM2M", "OMD-DM"}


async def test_a_protocol_that_nobody_published(door: Door) -> None:
    answer = await door.client.get(PATH, headers=await door.signed_in(), params={"protocol": "MQTT"})
    assert (answer.status_code, answer.json()["errorMessage"]) == (400, "Invalid protocol")


async def test_owners_need_both_tokens(door: Door) -> None:
    assert (await door.client.get(PATH)).status_code == 401
    assert (await door.client.get(PATH, headers=await door.bearer())).status_code == 400


def test_the_document_has_an_array() -> None:
    operation = openapi_document()["paths"]["/api/fota/v3/firmware/{acc}"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"type": "array", "items": {"$ref": "#/components/schemas/V3Firmware"}}
