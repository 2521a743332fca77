"""``GET`` and ``HEAD /f/{token}`` and ``/f/{token}/{name}``: images for devices (spec lwm2m.md 8.5, 13.4).

Made for the clients in modules: a length always, never chunks, never a redirect, one range at a time.
The token says which image; the name behind it is for the eyes of those who look at URLs, and not looked at.
An answer that has begun and can't go on ends with the connection, so that nobody takes it for whole.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from overair.doors.images.ranges import Part, wanted
from overair.packages.model import Grants, ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import CHUNK_BYTES, DamagedImage, Images, ImagesUnavailable, UnknownImage
from overair.platform.limits import Limits

ETAG_BYTES = 8  # as in CoAP, so that one image has one tag (spec lwm2m.md 13.3)
RETRY_SECONDS = "60"
METHODS = "GET, HEAD"

_TOKEN = re.compile("[A-Za-z0-9_-]{12,64}")

_log = structlog.get_logger()


def image_routes(host: "ImageHost") -> list[Route]:
    """Return the routes of a host."""
    return [Route(path, host, include_in_schema=False) for path in ("/f/{token}", "/f/{token}/{name}")]


def entity_tag(sha256: bytes) -> str:
    """Return the strong ETag of an image."""
    return f'"{sha256[:ETAG_BYTES].hex()}"'


class ImageHost:
    """The ASGI application behind the routes."""

    def __init__(self, images: Images, grants: Grants, bandwidth: Bandwidth, limits: Limits) -> None:
        self._images = images
        self._grants = grants
        self._bandwidth = bandwidth
        self._limits = limits
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = scope["path_params"]["token"]
        if scope["method"] not in ("GET", "HEAD"):
            refused: Response | None = _said(405, Allow=METHODS)
        elif not self._has_room(token):
            refused = _said(503, Retry_After=RETRY_SECONDS)
        else:
            with self._counted(token):
                refused = await self._serve(token, scope, receive, send)
        if refused is not None:
            await refused(scope, receive, send)

    async def _serve(self, token: str, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Answer, or return the refusal to answer with."""
        grant = await self._grants.resolve(token) if _TOKEN.fullmatch(token) else None
        if grant is None:
            return _said(404)
        part = wanted(Headers(scope=scope).get, entity_tag(grant.sha256), grant.size_bytes)
        try:
            # Before the status is sent, so that what is damaged has none of success.
            first = await self._piece(grant, part.start, max(part.end, part.start + 1))
        except (UnknownImage, DamagedImage):
            return _said(404)
        except ImagesUnavailable as error:
            _log.error("images_unavailable", reason=str(error))
            return _said(503, Retry_After=RETRY_SECONDS)
        if scope["method"] == "HEAD" or part.status in (304, 416):
            return _head(grant, part)
        await self._stream(grant, part, first, receive, send)
        return None

    async def _stream(
        self, grant: ImageGrant, part: Part, first: bytes, receive: Receive, send: Send
    ) -> None:
        head = _head(grant, part)
        await send({"type": "http.response.start", "status": head.status_code, "headers": head.raw_headers})
        leaving = asyncio.create_task(_left(receive))
        try:
            position, piece = part.start, first
            while not leaving.done():
                position += len(piece)
                await self._send(piece, send, more=position < part.end)
                if position == part.end:
                    break
                piece = await self._piece(grant, position, part.end)
        except (UnknownImage, DamagedImage, ImagesUnavailable) as error:
            _log.error("download_cut", reason=str(error))
        except (TimeoutError, OSError):
            _log.info("download_given_up", image=grant.image_id)
        finally:
            leaving.cancel()

    async def _send(self, piece: bytes, send: Send, *, more: bool) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._bandwidth.claim(len(piece), now))
        async with asyncio.timeout(self._limits.download_stall_seconds):
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    async def _piece(self, grant: ImageGrant, start: int, end: int) -> bytes:
        """Return the bytes up to *end* or the end of their chunk: a client makes us hold no more than one."""
        end_of_chunk = (start // CHUNK_BYTES + 1) * CHUNK_BYTES
        piece = await self._images.read(grant.image_id, start, min(end, end_of_chunk) - start)
        if not piece:
            raise UnknownImage(f"image {grant.image_id} is shorter than its grant says")
        return piece

    def _has_room(self, token: str) -> bool:
        return (
            self._under_way.total() < self._limits.downloads
            and self._under_way[token] < self._limits.downloads_per_token
        )

    @contextmanager
    def _counted(self, token: str) -> Iterator[None]:
        self._under_way[token] += 1
        try:
            yield
        finally:
            self._under_way[token] -= 1
            if not self._under_way[token]:
                del self._under_way[token]


def _head(grant: ImageGrant, part: Part) -> Response:
    headers = {"ETag": entity_tag(grant.sha256), "Accept-Ranges": "bytes"}
    if part.status == 416:
        headers["Content-Range"] = f"bytes */{grant.size_bytes}"
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{grant.size_bytes}"
    if part.status != 304:
        headers["Content-Length"] = str(part.end - part.start)
    if part.status in (200, 206):
        headers["Content-Type"] = "application/octet-stream"
    return Response(status_code=part.status, headers=headers)


def _said(status: int, **headers: str) -> Response:
    """Return a short answer; header names are given with ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PlainTextResponse(f"{status}\n", status, named)


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
