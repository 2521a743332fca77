"""``GET /f/{token}`` over CoAP: images by Block2, each block from the image itself (spec lwm2m.md, 13.3).

Nothing is kept of a download: a device that moved, slept or restarted asks for the block that it wants next.
The token ties the image to one device. Over DTLS only that device gets it; without, whoever asks from
another address than the device's has to show first that it receives there (RFC 9175), or a stolen token
would make this service flood somebody with blocks.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.security import Owner, address_of, identity_of
from overair.packages.model import ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import ImageError, Images, ImagesUnavailable
from overair.protocols.coap import EchoGuard, Endpoint, Portion, Request, codes, encode_uint

_log = structlog.get_logger()

ETAG_BYTES = 8
OCTET_STREAM = (codes.CONTENT_FORMAT, encode_uint(42))
ECHO_SECONDS = 60.0


class Downloads(Protocol):
    """Who may fetch what: the updates that are going on."""

    def grant(self, token: str) -> tuple[int, ImageGrant] | None:
        """Return the device that a token was made for, and its image; None for a token of no update."""
        ...

    def fetched(self, token: str, *, refused: bool = False) -> None:
        """The device asked for a part of its image; *refused*: and did not get it."""
        ...

    def host_of(self, imei: int) -> str | None:
        """Return where a device is registered from."""
        ...


class Files:
    """Answers requests for images."""

    def __init__(
        self,
        endpoint: Endpoint,
        images: Images,
        downloads: Downloads,
        owner: Owner,
        bandwidth: Bandwidth,
        answers: Answers,
        flush: Callable[[], None],
        secret: bytes,
    ) -> None:
        self._endpoint = endpoint
        self._images = images
        self._downloads = downloads
        self._owner = owner
        self._bandwidth = bandwidth
        self._answers = answers
        self._flush = flush
        self._echo = EchoGuard(secret, ECHO_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._reading: set[asyncio.Task[None]] = set()

    def serve(self, request: Request, token: str) -> None:
        """Answer one request for a block."""
        found = self._downloads.grant(token)
        if found is None:
            self._answers.give(request, codes.NOT_FOUND)
            return
        imei, grant = found
        if not self._is_allowed(request, imei):
            self._downloads.fetched(token, refused=True)
            self._answers.give(request, codes.FORBIDDEN)
            return
        challenge = self._challenge(request, imei)
        if challenge is not None:
            self._answers.give(request, codes.UNAUTHORIZED, challenge)
            return
        portion = self._endpoint.portion(request, grant.size_bytes)
        if portion is None:
            self._answers.give(request, codes.BAD_REQUEST)
            return
        self._downloads.fetched(token)
        self._send(request, grant, portion)

    async def close(self) -> None:
        """Give up what is being read."""
        for task in list(self._reading):
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    def _is_allowed(self, request: Request, imei: int) -> bool:
        identity = identity_of(request.peer)
        return not identity or self._owner(identity) == imei

    def _challenge(self, request: Request, imei: int) -> tuple[tuple[int, bytes], ...] | None:
        if identity_of(request.peer):
            return None
        host, _ = address_of(request.peer)
        if host == self._downloads.host_of(imei):
            return None
        challenge = self._echo.challenge(request, self._loop.time())
        return None if challenge is None else tuple(challenge)

    def _send(self, request: Request, grant: ImageGrant, portion: Portion) -> None:
        wait_seconds = self._bandwidth.claim(portion.size_bytes, self._loop.time())
        block = self._images.cached(grant.image_id, portion.offset, portion.size_bytes)
        if block is not None and not wait_seconds:
            self._respond(request, grant, portion, block)
            return
        task = self._loop.create_task(self._read_and_send(request, grant, portion, wait_seconds))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read_and_send(
        self, request: Request, grant: ImageGrant, portion: Portion, wait_seconds: float
    ) -> None:
        try:
            block = await self._images.read(grant.image_id, portion.offset, portion.size_bytes)
        except ImagesUnavailable as error:
            _log.error("images_unavailable", reason=str(error))
            self._answers.postpone(request, 60)
        except ImageError:  # it has been reported where it was found damaged
            self._answers.give(request, codes.NOT_FOUND)
        else:
            await asyncio.sleep(wait_seconds)
            self._respond(request, grant, portion, block)

    def _respond(self, request: Request, grant: ImageGrant, portion: Portion, block: bytes) -> None:
        etag = grant.sha256[:ETAG_BYTES]
        now = self._loop.time()
        self._endpoint.respond_portion(request, portion, block, etag=etag, options=(OCTET_STREAM,), now=now)
        self._flush()
