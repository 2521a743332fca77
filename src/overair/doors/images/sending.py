"""Sends images over HTTP, piece by piece, each verified before it goes.

An answer that has begun and can't go on ends with the connection, so that nobody takes it for whole. What
is under way at once has its bounds, together and for each who fetches; what all send together may be capped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from starlette.responses import Response
from starlette.types import Receive, Send

from overair.doors.images.ranges import Part
from overair.packages.model import ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import CHUNK_BYTES, DamagedImage, Images, ImagesUnavailable, UnknownImage
from overair.platform.limits import Limits

_log = structlog.get_logger()


class Sending:
    """The answers under way, counted by who fetches."""

    def __init__(self, images: Images, bandwidth: Bandwidth, limits: Limits) -> None:
        self._images = images
        self._bandwidth = bandwidth
        self._limits = limits
        self._under_way: Counter[str] = Counter()

    def has_room(self, who: str) -> bool:
        """Whether one more answer may be under way, for this one."""
        return (
            self._under_way.total() < self._limits.downloads
            and self._under_way[who] < self._limits.downloads_per_token
        )

    @contextmanager
    def counted(self, who: str) -> Iterator[None]:
        """Have an answer count as under way."""
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]

    async def piece(self, grant: ImageGrant, start: int, end: int) -> bytes:
        """Return the bytes up to *end* or the end of their chunk: a client makes us hold no more than one.

        At least one byte is read, so that what is damaged is found before a status of success is sent.
        """
        end_of_chunk = (start // CHUNK_BYTES + 1) * CHUNK_BYTES
        last = max(min(end, end_of_chunk), start + 1)
        piece = await self._images.read(grant.image_id, start, last - start)
        if not piece:
            raise UnknownImage(f"image {grant.image_id} is shorter than its grant says")
        return piece

    async def stream(
        self,
        grant: ImageGrant,
        part: Part,
        head: Response,
        receive: Receive,
        send: Send,
        first: bytes,
        went: Callable[[], None] = lambda: None,
    ) -> None:
        """Send a part that begins with the piece *first*; *went* is called for each piece that is gone."""
        await send({"type": "http.response.start", "status": head.status_code, "headers": head.raw_headers})
        leaving = asyncio.create_task(_left(receive))
        try:
            position, piece = part.start, first
            while not leaving.done():
                position += len(piece)
                await self._send(piece, send, more=position < part.end)
                went()
                if position == part.end:
                    break
                piece = await self.piece(grant, position, part.end)
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


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
