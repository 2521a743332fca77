"""``GET`` and ``HEAD /f/{token}`` and ``/f/{token}/{name}``: images for devices (spec lwm2m.md 8.5, 13.4).

Made for the clients in modules: a length always, never chunks, never a redirect, one range at a time.
The token says which image; the name behind it is for the eyes of those who look at URLs, and not looked at.
How they are sent is :mod:`overair.doors.images.sending`.
"""

import re
from functools import partial

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from overair.doors.images.ranges import Part, wanted
from overair.doors.images.sending import Sending
from overair.packages.model import Grants, ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import DamagedImage, Images, ImagesUnavailable, UnknownImage
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
        self._grants = grants
        self.sending = Sending(images, bandwidth, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = scope["path_params"]["token"]
        if scope["method"] not in ("GET", "HEAD"):
            refused: Response | None = _said(405, Allow=METHODS)
        elif not self.sending.has_room(token):
            refused = _said(503, Retry_After=RETRY_SECONDS)
        else:
            with self.sending.counted(token):
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
            first = await self.sending.piece(grant, part.start, part.end)
        except (UnknownImage, DamagedImage):
            return _said(404)
        except ImagesUnavailable as error:
            _log.error("images_unavailable", reason=str(error))
            return _said(503, Retry_After=RETRY_SECONDS)
        head = _head(grant, part)
        if scope["method"] == "HEAD" or part.status in (304, 416):
            return head
        went = partial(self._grants.fetched, token)
        await self.sending.stream(grant, part, head, receive, send, first, went)
        return None


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
