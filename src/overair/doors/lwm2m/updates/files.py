"""``GET /f/{token}`` over CoAP: images by Block2, each block from the image itself (spec lwm2m.md, 13.3).

Nothing is kept of a download: a device that moved, slept or restarted asks for the block that it wants next.
The token ties the image to one device. Over DTLS only that device gets it; without, whoever asks from
another address than the device's has to show first that it receives there (RFC 9175), or a stolen token
would make this service flood somebody with blocks.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.security import Owner, address_of, identity_of
from overair.packages.model import ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import ImageError, Images, ImagesUnavailable
from overair.protocols.coap import EchoGuard, Endpoint, Options, Portion, Request, codes, encode_uint

_log = structlog.get_logger()

ETAG_BYTES = 8
_OPTIONS = ((codes.CONTENT_FORMAT, encode_uint(42)),)  # application/octet-stream
ECHO_SECONDS = 60.0
EXPECTED_SECONDS = 0.5  # until a token is looked for again; the empty acknowledgement is due after a second
# How long one look at whose an identity is counts: asked of the database for each block, it is a quarter of
# the block's cost. An association whose key is gone ends a few seconds later anyway (docs/decisions/0007).
OWNER_SECONDS = 1.0


class Downloads(Protocol):
    """Who may fetch what: the updates that are going on."""

    def grant(self, token: str) -> tuple[int, ImageGrant] | None:
        """Return the device that a token was made for, and its image; None for a token of no update."""
        ...

    def expects(self, token: str) -> bool:
        """Return whether an unknown token may become known in a moment, just after the start."""
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
        self._owners: dict[bytes, int | None] = {}
        self._owners_until = 0.0

    def serve(self, request: Request, token: str) -> None:
        """Answer one request for a block."""
        found = self._downloads.grant(token)
        if found is None:
            self._answer_unknown(request, token)
            return
        imei, grant = found
        now = self._loop.time()
        identity = identity_of(request.peer)
        if identity and self._owner_of(identity, now) != imei:
            self._downloads.fetched(token, refused=True)
            self._answers.give(request, codes.FORBIDDEN)
            return
        challenge = None if identity else self._challenge(request, imei, now)
        if challenge is not None:
            self._answers.give(request, codes.UNAUTHORIZED, challenge)
            return
        portion = self._endpoint.portion(request, grant.size_bytes)
        if portion is None:
            self._answers.give(request, codes.BAD_REQUEST)
            return
        self._downloads.fetched(token)
        self._send(request, grant, portion, now)

    async def close(self) -> None:
        """Give up what is being read."""
        for task in list(self._reading):
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    def _answer_unknown(self, request: Request, token: str) -> None:
        """To many devices anything but the image is the end of a download: so not before it is certain."""
        if self._downloads.expects(token):
            self._loop.call_later(EXPECTED_SECONDS, self.serve, request, token)
        else:
            self._answers.give(request, codes.NOT_FOUND)

    def _owner_of(self, identity: bytes, now: float) -> int | None:
        if now >= self._owners_until:
            self._owners.clear()
            self._owners_until = now + OWNER_SECONDS
        if identity not in self._owners:
            self._owners[identity] = self._owner(identity)
        return self._owners[identity]

    def _challenge(self, request: Request, imei: int, now: float) -> Options | None:
        """Return what a peer without security has to show first, None if it may have the image."""
        if address_of(request.peer)[0] == self._downloads.host_of(imei):
            return None
        return self._echo.challenge(request, now)

    def _send(self, request: Request, grant: ImageGrant, portion: Portion, now: float) -> None:
        wait_seconds = self._bandwidth.claim(portion.size_bytes, now)
        block = self._images.cached(grant.image_id, portion.offset, portion.size_bytes)
        if block is not None and not wait_seconds:
            self._respond(request, grant, portion, block, now)
            return
        task = self._loop.create_task(self._read_and_send(request, grant, portion, wait_seconds))
        self._reading.add(task)
        task.add_done_callback(partial(self._was_read, request))

    def _was_read(self, request: Request, task: "asyncio.Task[None]") -> None:
        self._reading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._answers.fail(request, error)

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
            self._respond(request, grant, portion, block, self._loop.time())

    def _respond(
        self, request: Request, grant: ImageGrant, portion: Portion, block: bytes, now: float
    ) -> None:
        etag = grant.sha256[:ETAG_BYTES]
        self._endpoint.respond_portion(request, portion, block, etag=etag, options=_OPTIONS, now=now)
        self._flush()
