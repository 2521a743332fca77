"""The image host: what devices get over HTTP (spec lwm2m.md, section 13.4; RFC 9110, sections 13 and 14)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from overair.doors.images.host import entity_tag
from overair.doors.images.ranges import Part, wanted
from overair.packages.model import Package, State
from overair.platform.images import CHUNK_BYTES
from overair.platform.limits import Limits
from overair.server import _Http, _listen

from ..unit.packages.world import firmware, image_bytes, sha256
from .packages_world import Doors, app_of, open_doors

IMAGE = image_bytes()
TAG = f'"{sha256(IMAGE)[:8].hex()}"'


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as opened:
        yield opened


async def add(doors: Doors, image: bytes = IMAGE) -> Package:
    file = doors.world.data / "source.bin"
    await asyncio.to_thread(file.write_bytes, image)
    return await doors.world.packages.add(doors.world.account.id, firmware(image), file)


@pytest.fixture
async def path(doors: Doors) -> str:
    return doors.grants.give(await add(doors))


async def test_the_whole_image(doors: Doors, path: str) -> None:
    for url in (path, f"{path}/AT410-1.5.0.bin"):
        answer = await doors.client.get(url)
        assert (answer.status_code, answer.content) == (200, IMAGE)
        assert dict(answer.headers) == {
            "etag": TAG,
            "accept-ranges": "bytes",
            "content-length": str(len(IMAGE)),
            "content-type": "application/octet-stream",
        }


async def test_each_piece_that_goes_out_shows_that_the_download_is_alive(doors: Doors) -> None:
    image = bytes(3 * CHUNK_BYTES + 1)
    long = doors.grants.give(await add(doors, image), "token-of-a-long-one")
    await doors.client.get(long)
    assert doors.grants.progress == ["token-of-a-long-one"] * 4


async def test_head_is_get_without_the_image(doors: Doors, path: str) -> None:
    for headers in ({}, {"Range": "bytes=5-9"}):
        got, headed = (
            await doors.client.get(path, headers=headers),
            await doors.client.head(path, headers=headers),
        )
        assert (headed.status_code, headed.headers, headed.content) == (got.status_code, got.headers, b"")


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-999", 0, 1000),
    (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1),
    (f"bytes={CHUNK_BYTES}-", CHUNK_BYTES, len(IMAGE)),
    ("bytes=0-", 0, len(IMAGE)),
    (f"bytes=0-{len(IMAGE) * 2}", 0, len(IMAGE)),
    (f"bytes={len(IMAGE) - 1}-", len(IMAGE) - 1, len(IMAGE)),
    ("bytes=-1", len(IMAGE) - 1, len(IMAGE)),
    (f"bytes=-{len(IMAGE) * 2}", 0, len(IMAGE)),
    ("BYTES = 5 - 9", 5, 10),
]


@pytest.mark.parametrize(("asked", "start", "end"), RANGES)
async def test_a_range(doors: Doors, path: str, asked: str, start: int, end: int) -> None:
    answer = await doors.client.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, IMAGE[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(IMAGE)}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    "asked", [f"bytes={len(IMAGE)}-", f"bytes={len(IMAGE)}-{len(IMAGE) + 5}", "bytes=-0"]
)
async def test_a_range_beyond_the_end(doors: Doors, path: str, asked: str) -> None:
    answer = await doors.client.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(IMAGE)}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=", "bytes", "lines=0-5", "bytes=a-b", "bytes=0-5;",
     "bytes=+1-5", f"bytes={'9' * 30}-"],
)  # fmt: skip
async def test_what_is_no_single_range_gets_the_whole(doors: Doors, path: str, asked: str) -> None:
    answer = await doors.client.get(path, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(IMAGE))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": f'"other", W/{TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": TAG.strip('"')}, 200),
        ({"If-None-Match": TAG, "Range": "bytes=0-4"}, 304),
        ({"If-Range": TAG, "Range": "bytes=0-4"}, 206),
        ({"If-Range": '"other"', "Range": "bytes=0-4"}, 200),
        ({"If-Range": f"W/{TAG}", "Range": "bytes=0-4"}, 200),
        ({"If-Range": "Mon, 12 May 2025 00:00:00 GMT", "Range": "bytes=0-4"}, 200),
        ({"If-Range": TAG}, 200),
    ],
    ids=str,
)
async def test_conditions(doors: Doors, path: str, headers: dict[str, str], status: int) -> None:
    answer = await doors.client.get(path, headers=headers)
    assert (answer.status_code, answer.headers["etag"]) == (status, TAG)
    assert len(answer.content) == {200: len(IMAGE), 206: 5, 304: 0}[status]


@given(st.integers(1, 50), st.none() | st.integers(0, 60), st.none() | st.integers(0, 60))
def test_ranges_as_a_slice_has_them(size: int, first: int | None, last: int | None) -> None:
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    part = wanted({"range": text}.get, '"t"', size)
    numbers = list(range(size))
    if first is None:
        expected = numbers if last is None else numbers[size - min(last, size) :]
    elif last is not None and last < first:
        expected = numbers  # nonsense: the whole
    else:
        expected = numbers[first:] if last is None else numbers[first : last + 1]
    assert numbers[part.start : part.end] == expected
    assert part.status in ((206, 200) if expected else (416,))


@given(st.text(max_size=30))
def test_any_header_is_answered(text: str) -> None:
    headers = {"range": text, "if-range": None, "if-none-match": text}
    assert isinstance(wanted(headers.get, '"t"', 10), Part)


# Tokens and methods.


@pytest.mark.parametrize(
    "path",
    [
        "/f/short",
        "/f/" + "x" * 65,
        "/f/Abcdefghijkl%2E%2E",
        "/f/Abcdefghijkl%0A",
        "/f/AbcdefghijklmnoQ",
        "/f/",
        "/f",
        "/f/a/b/c",
    ],
)
async def test_tokens_that_are_none(doors: Doors, path: str) -> None:
    await add(doors)
    answer = await doors.client.get(path)
    assert answer.status_code == 404
    assert doors.grants.asked in ([], ["AbcdefghijklmnoQ"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods(doors: Doors, path: str, method: str) -> None:
    answer = await doors.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


# Damage.


async def spoil(doors: Doors, package: Package, at: int) -> None:
    def flip() -> None:
        file = doors.world.stored(package)
        content = bytearray(file.read_bytes())
        content[at] ^= 1
        file.write_bytes(content)

    await asyncio.to_thread(flip)


@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=10-20"}), ("GET", {"If-None-Match": '"x"'})],
    ids=str,
)
async def test_a_damaged_image_has_no_answer_of_success(
    doors: Doors, method: str, headers: dict[str, str]
) -> None:
    package = await add(doors)
    path = doors.grants.give(package)
    await spoil(doors, package, 5)
    for _ in range(2):
        assert (await doors.client.request(method, path, headers=headers)).status_code == 404
    assert (await doors.world.packages.get_by_id(package.id)).state is State.DAMAGED


async def test_damage_in_the_middle_cuts_the_answer_short(doors: Doors) -> None:
    package = await add(doors)
    path = doors.grants.give(package)
    await spoil(doors, package, 2 * CHUNK_BYTES + 5)
    sent: list[Any] = []
    with capture_logs() as logs:
        await _asked(doors, path, sent)
    assert sent[0]["status"] == 200
    assert b"".join(message["body"] for message in sent[1:]) == IMAGE[: 2 * CHUNK_BYTES]
    assert all(message["more_body"] for message in sent[1:])
    assert [entry["event"] for entry in logs] == ["image_damaged", "download_cut"]
    assert (await doors.client.get(path)).status_code == 404


async def test_a_grant_that_is_not_of_the_image_ends(doors: Doors) -> None:
    package = await add(doors)
    path = doors.grants.give(replace(package, size_bytes=len(IMAGE) + 10))
    sent: list[Any] = []
    await asyncio.wait_for(_asked(doors, path, sent), 10)
    assert all(message["more_body"] for message in sent[1:])


async def _asked(doors: Doors, path: str, sent: list[Any], gone: asyncio.Event | None = None) -> None:
    async def receive() -> Any:
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await doors.app(scope, receive, send)


# Bounds.


async def test_a_client_that_left_is_read_for_no_longer(doors: Doors) -> None:
    path = doors.grants.give(await add(doors))
    gone, sent = asyncio.Event(), list[Any]()
    gone.set()
    await _asked(doors, path, sent, gone)
    assert len(sent) < 5


async def test_a_client_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    limits = replace(Limits(), download_stall_seconds=0.05)
    async with open_doors(tmp_path, limits) as doors:
        path = doors.grants.give(await add(doors))

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await asyncio.wait_for(doors.app(scope, receive, send), 10)
        assert (await doors.client.get(path)).content == IMAGE


@pytest.mark.parametrize("bound", ["downloads", "downloads_per_token"])
async def test_downloads_at_once_have_a_bound(tmp_path: Path, bound: str) -> None:
    async with open_doors(tmp_path, replace(Limits(), **{bound: 1})) as doors:
        package = await add(doors)
        path, other = doors.grants.give(package), doors.grants.give(package, "another-token")
        begun, let_go = asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            begun.set()
            await let_go.wait()

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        first = asyncio.create_task(doors.app(scope, receive, send))
        await begun.wait()
        refused = await doors.client.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        elsewhere = await doors.client.get(other)
        assert elsewhere.status_code == (503 if bound == "downloads" else 200)
        let_go.set()
        await first
        assert (await doors.client.get(path)).status_code == 200


async def test_a_cap_on_bandwidth_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async with open_doors(tmp_path, replace(Limits(), download_bytes_per_second=1000.0)) as doors:
        path = doors.grants.give(await add(doors))
        monkeypatch.setattr("overair.doors.images.sending.asyncio.sleep", counted)
        await asyncio.gather(doors.client.get(path), doors.client.get(path))
    # Everything after the first second's worth has to wait for its turn.
    assert max(slept) > 2 * len(IMAGE) / 1000 - 2


# A real socket.


async def test_an_old_client_gets_its_length_and_no_chunks(doors: Doors, path: str) -> None:
    app = app_of(doors.world, doors.grants, doors.world.limits)
    config = uvicorn.Config(
        app, loop="asyncio", http="httptools", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
    http, sock = _Http(config), _listen(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    serving = asyncio.create_task(http.serve(sockets=[sock]))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nRange: bytes=100-\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == IMAGE[100:]
    assert head.startswith(b"HTTP/1.1 206")
    assert f"content-length: {len(IMAGE) - 100}".encode() in head.lower()
    assert b"connection: close" in head.lower()
    assert b"transfer-encoding" not in head.lower()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get(path)).content == IMAGE
        assert (await client.head(path)).headers["content-length"] == str(len(IMAGE))
    await http.stop(serving)


def test_the_tag_is_the_one_of_coap() -> None:
    assert entity_tag(bytes.fromhex("00112233445566778899" + "00" * 22)) == '"0011223344556677"'
