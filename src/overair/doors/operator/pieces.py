"""Bytes of an upload as they arrive, with a bound on how slow they may be."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

from overair.platform.limits import Limits


class Pieces:
    """The body of a request, up to its end, or up to where the client left or was too slow.

    It never raises for either, so that what came is kept; ``cut`` says afterwards how it was.
    """

    def __init__(self, stream: AsyncIterator[bytes], limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._came = 0
        self._began = asyncio.get_running_loop().time()
        self.cut = False

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.upload_stall_seconds):
                piece = await anext(self._stream)
        except (TimeoutError, ClientDisconnect):
            self.cut = True
            raise StopAsyncIteration from None
        self._came += len(piece)
        if self._is_slow():
            self.cut = True
            raise StopAsyncIteration
        return piece

    def _is_slow(self) -> bool:
        """Tell whether the client only holds a place; nobody is judged before one stall is over."""
        passed = asyncio.get_running_loop().time() - self._began
        patience = self._limits.upload_stall_seconds + self._came / self._limits.upload_bytes_per_second
        return passed > patience
