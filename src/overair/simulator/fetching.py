"""Packages over HTTP and HTTPS, for devices on real sockets (spec lwm2m.md 13.4).

As modules do it: one GET for all that is missing, with Range, no redirects, no chunked coding, and the
connection is closed after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from overair.simulator.firmware import Result
from overair.simulator.transfer import Fetch

SILENCE_SECONDS: Final = 60.0
"""After it the connection counts as lost."""
HEAD_BYTES_MAX: Final = 16_384
CHUNK_BYTES: Final = 4096
_NOT_THERE: Final = (404, 410)


class AnswerError(Exception):
    """An answer that brings no bytes of the file; `result` is one of object 5."""

    def __init__(self, what: str, result: int = Result.CONNECTION_LOST) -> None:
        super().__init__(what)
        self.result = result


class Head(NamedTuple):
    """What an answer says before the bytes: from which on, how many come, how many the whole has."""

    offset: int
    length: int
    size_bytes: int
    etag: bytes


async def carry_out(
    fetch: Fetch, *, time: Callable[[], float], told: Callable[[], None], tls: ssl.SSLContext | None
) -> None:
    """Fetch to the end, or until the device wants it no more; `told` is called when it was told something."""
    try:
        await _transfer(fetch, time, told, tls)
    except AnswerError as error:
        _fail(fetch, error.result, time)
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        _fail(fetch, Result.CONNECTION_LOST, time)
    else:
        if fetch.wanted:
            fetch.end(time())
    told()


def _fail(fetch: Fetch, result: int, time: Callable[[], float]) -> None:
    if fetch.wanted:
        fetch.fail(result, time())


async def _transfer(
    fetch: Fetch, time: Callable[[], float], told: Callable[[], None], tls: ssl.SSLContext | None
) -> None:
    source = fetch.source
    secure = (tls or ssl.create_default_context()) if source.is_secure else None
    async with asyncio.timeout(SILENCE_SECONDS):
        reader, writer = await asyncio.open_connection(
            source.host, source.port, ssl=secure, limit=HEAD_BYTES_MAX
        )
    try:
        writer.write(request_bytes(fetch))
        async with asyncio.timeout(SILENCE_SECONDS):
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
        if not fetch.wanted or not fetch.begin(head.offset, head.size_bytes, head.etag):
            raise AnswerError("not the bytes that were asked for")
        await _body(fetch, reader, head.length, time, told)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _body(
    fetch: Fetch,
    reader: asyncio.StreamReader,
    length: int,
    time: Callable[[], float],
    told: Callable[[], None],
) -> None:
    begin, taken = time(), 0
    while taken < length and fetch.wanted:
        async with asyncio.timeout(SILENCE_SECONDS):
            chunk = await reader.readexactly(min(CHUNK_BYTES, length - taken))
        taken += len(chunk)
        await asyncio.sleep(begin + taken / fetch.bytes_per_second - time())
        if fetch.wanted:
            fetch.take(chunk, time())
            told()


def request_bytes(fetch: Fetch) -> bytes:
    """Return the request for what is missing."""
    source = fetch.source
    host = f"[{source.host}]" if ":" in source.host else source.host
    lines = [
        f"GET {source.target} HTTP/1.1",
        f"Host: {host}:{source.port}",
        f"Range: bytes={fetch.offset}-",
        "Connection: close",
    ]
    if fetch.etag:
        lines.append(f"If-Range: {fetch.etag.decode('latin-1')}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_head(head: bytes) -> Head:
    """Read status line and header fields. AnswerError for anything that no file comes with."""
    first, *lines = head.decode("latin-1").split("\r\n")
    status = first.split(" ", 2)[1:2]
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    if status in ([str(each)] for each in _NOT_THERE):
        raise AnswerError(first, Result.INVALID_URI)
    if status not in (["200"], ["206"]) or not fields.get("content-length", "").isdecimal():
        raise AnswerError(first)
    length = int(fields["content-length"])
    etag = fields.get("etag", "").encode("latin-1")
    if status == ["200"]:
        return Head(0, length, length, etag)
    # "bytes 100-199/200"
    unit, _, span = fields.get("content-range", "").partition(" ")
    offset, _, rest = span.partition("-")
    size = rest.partition("/")[2]
    if unit != "bytes" or not offset.isdecimal() or not size.isdecimal():
        raise AnswerError("content-range")
    return Head(int(offset), length, int(size), etag)
