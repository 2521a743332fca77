"""Attributes become the record (spec ddi.md, 2.2 and 10; device-record.md, 3 to 5), and polls say so."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest

from overair.devices.model import Provisioning
from overair.doors.ddi.settings import changed

from ..virtual import virtual
from .ddi_world import IMEI, NEW, OLD, PACKAGE, TOKEN, open_world, watched

HOUR = 3600


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


@virtual
async def test_a_device_that_comes_for_the_first_time(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target(known=False)
        links = await target.poll()
        assert set(links) == {"configData", "sleep"}
        assert "00:04:30" <= links["sleep"] <= "00:05:30"
        shown = await world.shown()
        assert (shown["protocol"], shown["fotaEligible"]) == ("HTTP", False)
        assert "lastConnectionTime" not in shown  # nobody monitors it
        said = await target.configure(
            imei=IMEI, vendor="ACME", product="T1", fw_version=OLD, phone="+15551234567",
            hw_version="7", **{"sw.agent": "3.0", "file.map": "12"},
        )  # fmt: skip
        assert (said.status_code, said.content, said.headers["content-length"]) == (200, b"", "0")
        shown = await world.shown()
        assert {name: shown[name] for name in ("make", "model", "firmware", "mdn", "fotaEligible")} == {
            "make": "ACME", "model": "T1", "firmware": OLD, "mdn": "5551234567", "fotaEligible": True,
        }  # fmt: skip
        assert [(each["name"], each["version"]) for each in shown["softwareList"]] == [("agent", "3.0")]
        assert [(each["name"], each["version"]) for each in shown["fileList"]] == [("map", "12")]
        record = await world.record()
        assert record.attributes["hw_version"] == "7"
        assert record.refreshed_ms == world.clock.now_ms()
        assert set(await target.poll()) == {"sleep"}


@virtual
async def test_it_is_asked_again_after_a_day(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await asyncio.sleep(23.9 * HOUR)
        assert "configData" not in await target.poll()
        await asyncio.sleep(0.2 * HOUR)
        assert "configData" in await target.poll()


@virtual
async def test_an_owner_who_asks_for_a_report_gets_it_with_the_next_poll(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await world.devices.request_report(world.account.id, IMEI)
        assert len(await world.devices.open_operations()) == 1
    async with open_world(tmp_path, again=True) as world:
        target = target.like(client=world.client)
        assert "configData" in await target.poll()
        await target.configure()
        assert await world.devices.open_operations() == []
        assert "configData" not in await target.poll()


@virtual
async def test_what_is_missing_never_erases(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await target.configure("replace", **{"fw_version": "", "sw.a": "1", "sw.b": "1", "file.f": "1"})
        await target.configure("remove", imei="", make="", **{"sw.a": ""})
        await target.configure("merge", color="red")
        shown = await world.shown()
        assert (shown["make"], shown["model"], shown["firmware"]) == ("ACME", "T1", OLD)
        assert [each["name"] for each in shown["softwareList"]] == ["a", "b"]
        # A device that lists all that it has lists what it has no more by leaving it out.
        await target.configure("replace", **{"sw.b": "2"})
        shown = await world.shown()
        assert [(each["name"], each["version"]) for each in shown["softwareList"]] == [("b", "2")]
        assert [each["name"] for each in shown["fileList"]] == ["f"]


@virtual
async def test_an_identical_report_changes_nothing_but_when_it_was_read(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        before = await world.shown()
        await asyncio.sleep(60)
        await target.configure()
        after = await world.shown()
        assert after["updateTime"] == before["updateTime"]
        assert after["refreshTime"] > before["refreshTime"]


@virtual
async def test_the_last_contact_is_stored_behind(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await world.schedule(days=7)
        await asyncio.sleep(3 * HOUR)
        await target.poll()
        at_ms = world.clock.now_ms()
        await asyncio.sleep(61)
        shown = await world.shown()
        assert shown["lastConnectionTime"].startswith("2026-01-01T03:0")
        assert at_ms <= world.clock.now_ms() - 61_000


@virtual
async def test_accounts_say_how_often_their_devices_come(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await changed(
            world.database, world.account.id, seconds=7200, jitter_percent=0, confirmation=None, issuers=None
        )
        await asyncio.sleep(61)
        assert (await target.poll())["sleep"] == "02:00:00"


@virtual
async def test_a_poll_of_a_known_device_needs_no_database(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await target.poll()
        writes, reads = world.database.writes, 0
        read = world.database.read

        async def counted(query: object) -> object:
            nonlocal reads
            reads += 1
            return await read(query)  # type: ignore[arg-type]

        world.database.read = counted  # type: ignore[assignment, method-assign]
        for _ in range(10):
            await target.poll()
        assert (reads, world.database.writes - writes) == (0, 0)


BODIES: list[tuple[bytes, str | None, int]] = [
    (b'{"data":{"a":"b"}}', "application/json", 200),
    (b'{"data":{"a":"b"}}', "application/hal+json;charset=UTF-8", 200),
    (b'{"data":{"a":"b"}}', None, 200),
    (cbor2.dumps({"data": {"a": "b"}}), "application/cbor", 200),
    (b'{"data":{"a":"b"}}', "text/plain", 415),
    (b'{"data":{"a":"b"}}', "application/x-www-form-urlencoded", 415),
    (b"{", "application/json", 400),
    (b'{"data":{"a":{}}}', "application/json", 400),
    (b'{"data":{"a":"' + b"x" * 129 + b'"}}', "application/json", 400),
    (b"\xa1", "application/cbor", 400),
    (b'{"data":{"a":"' + b"x" * 200_000 + b'"}}', "application/json", 413),
    (json.dumps({"data": {f"k{n}": "v" for n in range(101)}}).encode(), "application/json", 429),
]


@virtual
async def test_bodies(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        for body, content_type, status in BODIES:
            before = await world.record()
            headers = {} if content_type is None else {"Content-Type": content_type}
            answer = await target.ask("PUT", "/configData", content=body, headers=headers)
            assert answer.status_code == status, answer.text
            if status != 200:
                assert await world.record() == before
                assert set(answer.json()) == {"exceptionClass", "errorCode", "message", "info"}


@virtual
async def test_a_body_without_a_length_is_bounded_too(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()

        async def pieces() -> object:
            for _ in range(100):
                yield b" " * 10_000

        answer = await target.ask("PUT", "/configData", content=pieces())
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/hal+json;charset=utf-8"),
        ("*/*", "application/hal+json;charset=utf-8"),
        ("application/json", "application/json;charset=utf-8"),
        ("text/html, application/cbor;q=0.5", "application/cbor"),
        ("text/html", None),
    ],
)
@virtual
async def test_the_type_of_answers(tmp_path: Path, accept: str | None, content_type: str | None) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        answer = await target.ask("GET", headers={"Accept": accept or ""})
        if content_type is None:
            assert answer.status_code == 406
            return
        assert answer.headers["content-type"] == content_type
        assert answer.headers["content-length"] == str(len(answer.content))
        assert "transfer-encoding" not in answer.headers
        body = cbor2.loads(answer.content) if "cbor" in content_type else answer.json()
        assert body["config"]["polling"]["sleep"].startswith("00:0")


@virtual
async def test_a_device_says_what_is_installed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        said = {"name": PACKAGE, "version": NEW}
        statuses = [(await target.ask("PUT", "/installedBase", json=said)).status_code for _ in range(2)]
        assert statuses == [201, 200]
        record = await world.record()
        assert record.firmware is not None
        assert (record.firmware.value, record.firmware.confirmed) == (NEW, False)
        for wrong in ({"name": PACKAGE, "version": "9"}, {"name": "x", "version": NEW}):
            assert (await target.ask("PUT", "/installedBase", json=wrong)).status_code == 404
        assert (await target.ask("PUT", "/installedBase", json={"name": PACKAGE})).status_code == 400


@virtual
async def test_a_device_of_another_protocol_that_comes_here_speaks_http_now(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.devices.add(world.account.id, [Provisioning(int(IMEI), protocol="LWM2M")])
        target = await world.target(known=False)
        assert target.token == TOKEN
        await target.poll()
        assert (await world.shown())["protocol"] == "HTTP"
