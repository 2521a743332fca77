"""Files of actions: ranges, conditions, checksums, and who gets none (spec ddi.md, 2.8 to 2.10)."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from overair.platform.images import CHUNK_BYTES, ImagesUnavailable
from overair.platform.limits import Limits

from ..virtual import virtual
from .ddi_world import FILENAME, IMAGE, Target, World, open_world, watched

SIZE = len(IMAGE)
SHA1 = hashlib.sha1(IMAGE).hexdigest()
ETAG = f'"{SHA1}"'


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def offered(world: World) -> tuple[Target, int]:
    target = await world.target()
    await world.schedule()
    return target, await target.offered()


@virtual
async def test_the_whole_file(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        answer = await target.fetch(action)
        assert (answer.status_code, answer.content) == (200, IMAGE)
        headers = answer.headers
        assert headers["content-length"] == str(SIZE)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["etag"] == ETAG
        assert headers["accept-ranges"] == "bytes"
        assert headers["content-disposition"] == f"attachment;filename={FILENAME}"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["md5sum"] == hashlib.md5(IMAGE).hexdigest()
        assert headers["sha256sum"] == hashlib.sha256(IMAGE).hexdigest()
        assert "transfer-encoding" not in headers
        path = f"/softwaremodules/{action}/artifacts/{FILENAME}"
        head = await target.ask("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(SIZE)


RANGES = [
    ("bytes=0-99", 206, 0, 100),
    (f"bytes={CHUNK_BYTES - 10}-{CHUNK_BYTES + 9}", 206, CHUNK_BYTES - 10, CHUNK_BYTES + 10),
    (f"bytes={SIZE - 5}-", 206, SIZE - 5, SIZE),
    ("bytes=-7", 206, SIZE - 7, SIZE),
    (f"bytes=-{SIZE * 2}", 206, 0, SIZE),
    (f"bytes=0-{SIZE * 2}", 206, 0, SIZE),
    ("bytes=0-1,5-6", 200, 0, SIZE),
    ("lines=1-2", 200, 0, SIZE),
    (f"bytes={SIZE}-", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
]


@virtual
async def test_ranges(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        for asked, status, start, end in RANGES:
            answer = await target.fetch(action, Range=asked)
            assert (answer.status_code, answer.content) == (status, IMAGE[start:end])
            if status == 206:
                assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
            if status == 416:  # a client that has all takes this for done
                assert answer.headers["content-range"] == f"bytes */{SIZE}"


CONDITIONS = [
    ({"If_None_Match": ETAG}, 304),
    ({"If_None_Match": '"other"'}, 200),
    ({"If_Match": ETAG}, 200),
    ({"If_Match": "*"}, 200),
    ({"If_Match": '"other"'}, 412),
    ({"Range": "bytes=0-9", "If_Range": ETAG}, 206),
    ({"Range": "bytes=0-9", "If_Range": '"other"'}, 200),
    ({"Range": "bytes=0-9", "If_Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200),
]


@virtual
async def test_conditions(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        for headers, status in CONDITIONS:
            assert (await target.fetch(action, **headers)).status_code == status


@virtual
async def test_the_list_and_the_checksum(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        (listed,) = (await target.ask("GET", f"/softwaremodules/{action}/artifacts")).json()
        assert (listed["filename"], listed["size"]) == (FILENAME, SIZE)
        checksum = await target.ask("GET", listed["_links"]["md5sum"]["href"])
        assert checksum.text == f"{hashlib.md5(IMAGE).hexdigest()}  {FILENAME}"
        assert checksum.headers["content-disposition"] == f"attachment;filename={FILENAME}.MD5SUM"


@virtual
async def test_the_file_of_what_is_installed_stays_and_others_go(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        await target.feed(action, "closed", "success")
        assert (await target.fetch(action)).status_code == 200
        installed = (await target.ask("GET", f"/installedBase/{action}")).json()
        assert installed["deployment"]["chunks"][0]["version"] == "2.0"


@virtual
async def test_the_file_of_an_action_that_failed_is_gone(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        await target.feed(action, "closed", "failure")
        assert (await target.fetch(action)).status_code == 404
        assert (await target.ask("GET", f"/installedBase/{action}")).status_code == 404


NOT_THERE = [
    "/softwaremodules/{}/artifacts/other.swu",
    "/softwaremodules/{}/artifacts/{}/",
    "/softwaremodules/99/artifacts/" + FILENAME,
    "/softwaremodules/0/artifacts/" + FILENAME,
    "/softwaremodules/-1/artifacts/" + FILENAME,
    "/softwaremodules/{}/artifacts/..%2F..%2Fetc%2Fpasswd",
    "/softwaremodules/{}/artifacts/%2e%2e",
    "/softwaremodules/{}/artifacts/" + FILENAME + "%00",
    "/softwaremodules/{}/artifacts/" + FILENAME + ".SHA1SUM",
    "/softwaremodules/{}",
    "/deploymentBase/99999999999",
    "/deploymentBase/{}/feedback/more",
    "/deploymentBase",
    "/cancelAction/{}",
    "/confirmationBase/{}",
    "/installedBase/{}",
]


@virtual
async def test_what_is_not_there(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        for path in NOT_THERE:
            answer = await target.ask("GET", path.replace("{}", str(action)))
            assert answer.status_code == 404
            assert set(answer.json()) == {"exceptionClass", "errorCode", "message", "info"}


WRONG_METHODS = [
    ("POST", "", "GET"),
    ("GET", "/configData", "PUT"),
    ("DELETE", "/deploymentBase/{}", "GET"),
    ("GET", "/deploymentBase/{}/feedback", "POST"),
    ("PUT", "/softwaremodules/{}/artifacts/" + FILENAME, "GET, HEAD"),
]


@virtual
async def test_wrong_methods(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        for method, path, allowed in WRONG_METHODS:
            answer = await target.ask(method, path.replace("{}", str(action)))
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


NOTHING_SAID = [
    {},
    {"execution": "closed"},
    {"execution": "closed", "result": {}},
    {"execution": "closed", "result": {"finished": "perhaps"}},
    {"execution": "exploded", "result": {"finished": "success"}},
    {"execution": "closed", "result": {"finished": "success"}, "details": "text"},
    {"execution": "closed", "result": {"finished": "success"}, "code": "x"},
]


@virtual
async def test_feedback_that_says_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        for status in NOTHING_SAID:
            answer = await target.ask("POST", f"/deploymentBase/{action}/feedback", json={"status": status})
            assert answer.status_code == 400
            assert "deploymentBase" in await target.poll()


@virtual
async def test_feedback_as_clients_write_it(tmp_path: Path) -> None:
    """Numbers or text as id, times in any form, fields that nobody knows, 51 messages, the code as text."""
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        await target.read(action)
        result = {"finished": "none", "progress": {"cnt": 2, "of": 5}}
        for extra in ({"id": action}, {"id": str(action)}, {"time": "20261122T120000"}, {"x": [1]}):
            details = [f"line {number}" for number in range(51)]
            status = {"execution": "proceeding", "result": result, "code": "17", "details": details}
            answer = await target.ask(
                "POST", f"/deploymentBase/{action}/feedback", json={**extra, "status": status}
            )
            assert answer.status_code == 200, answer.text
        shown = (await target.ask("GET", f"/deploymentBase/{action}?actionHistory=3")).json()
        assert shown["actionHistory"]["messages"] == ["code 17", "line 50", "line 49"]


@virtual
async def test_an_image_that_is_found_damaged_is_not_served(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await offered(world)
        world.images.damage()
        assert (await target.fetch(action)).status_code == 404
        world.images.failure = ImagesUnavailable("away")
        answer = await target.fetch(action)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        world.images.failure = None
        assert (await target.fetch(action)).content == IMAGE


@virtual
async def test_an_image_that_cannot_be_read_yet_is_offered_later(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        world.images.failure = ImagesUnavailable("away")
        await world.schedule()
        await asyncio.sleep(600)
        assert "deploymentBase" not in await target.poll()
        world.images.failure = None
        await asyncio.sleep(61)
        assert "deploymentBase" in await target.poll()


@virtual
async def test_downloads_that_go_slowly_do_not_hold_up_polls_nor_each_other(tmp_path: Path) -> None:
    """One place for all: the second download is told to come later, and a poll is answered at once."""
    limits = replace(Limits(), downloads=1, download_bytes_per_second=1000.0)
    async with open_world(tmp_path, limits=limits) as world:
        target, action = await offered(world)
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow = asyncio.create_task(target.fetch(action))
        await asyncio.sleep(1)
        busy = await target.fetch(action)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "60")
        assert "deploymentBase" in await target.poll()
        assert loop.time() - began < 2
        assert (await slow).content == IMAGE
        assert loop.time() - began > SIZE / 1000 - 2  # a second's worth may go at once
