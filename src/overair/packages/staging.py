"""Images that are still coming in: files in the folder ``uploads`` of the data directory.

The length of a file is how far its upload has come, so that it goes on after a break or a restart.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import BinaryIO

from overair.packages.model import ImageTooLong, WrongOffset

FOLDER = "uploads"
WRITE_BYTES = 1 << 20  # a hop to a thread costs more than the few kB that a socket brings at a time


class Staging:
    """The files of uploads, named by the ids of their packages. Blocks nobody: files are for threads."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    def path(self, package_id: str) -> Path:
        """Return where the image of an upload lies."""
        return self._folder / package_id

    async def offset(self, package_id: str) -> int:
        """Return how many bytes have come."""
        return await asyncio.to_thread(_size, self.path(package_id))

    async def append(
        self, package_id: str, offset: int, pieces: AsyncIterator[bytes], size_bytes: int
    ) -> int:
        """Write pieces at the end of an upload that stands at *offset*; return where it stands then.

        What came is kept, and is on the disk, also where the pieces end with an error. Raises
        :class:`WrongOffset`, or :class:`ImageTooLong` past *size_bytes*.
        """
        file, position = await asyncio.to_thread(self._open, package_id)
        try:
            if position != offset:
                raise WrongOffset(position)
            return await _write(file, position, pieces, size_bytes)
        finally:
            await asyncio.to_thread(_close, file)

    async def drop(self, package_id: str) -> None:
        """Forget an upload."""
        await asyncio.to_thread(self.path(package_id).unlink, missing_ok=True)

    async def names(self) -> list[str]:
        """Return the ids of all uploads that have a file."""
        return await asyncio.to_thread(_names, self._folder)

    async def drop_all_but(self, names: Collection[str], wanted: Collection[str]) -> None:
        """Forget those of *names* that are not *wanted*."""
        for name in names:
            if name not in wanted:
                await self.drop(name)

    def _open(self, package_id: str) -> tuple[BinaryIO, int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path(package_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "ab"), os.fstat(descriptor).st_size


async def _write(file: BinaryIO, position: int, pieces: AsyncIterator[bytes], size_bytes: int) -> int:
    waiting = bytearray()
    try:
        async for piece in pieces:
            if position + len(waiting) + len(piece) > size_bytes:
                raise ImageTooLong(size_bytes)
            waiting += piece
            if len(waiting) >= WRITE_BYTES:
                position += await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
    finally:
        if waiting:
            position += await asyncio.to_thread(file.write, bytes(waiting))
    return position


def _close(file: BinaryIO) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
