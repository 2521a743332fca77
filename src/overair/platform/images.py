"""Images: the bytes of packages, in a folder or in an object store, and never served without a check.

An image is kept as one object; its ledger (the database) has its size and a SHA-256 for each 64 KiB of it.
Whatever is read is compared with these before anybody gets it. So a disk that decays, a file that somebody
changed, cut short, swapped or lost, and a store that answers with another object all end the same way:
the image is damaged, the ledger is told, and no byte of it is served again.
"""

import asyncio
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

CHUNK_BYTES = 64 * 1024
DIGEST_BYTES = 32
FOLDER = "images"

# Names of objects are ids that we made: nothing that a user wrote becomes a path.
_IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Parts of 5 MiB that wait for a slow store while an image is put there.
_PARTS_AT_ONCE = 2
# Digests are 1/2048 of an image: an eighth of the memory covers far more images than the rest holds.
_MANIFEST_SHARE = 8

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ImageError(Exception):
    """An image can't be read or written; the message says why."""


class UnknownImage(ImageError):
    """There is no such image, or it was found damaged before."""


class DamagedImage(ImageError):
    """What is stored is not what was taken in."""


class ImagesUnavailable(ImageError):
    """The store does not answer as it should; the image may be sound. Try again later."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image must be."""

    size_bytes: int
    sha256: bytes
    digests: bytes = field(repr=False)
    """The SHA-256 of each chunk, one after the other; the last chunk may be short."""

    def digest_of(self, chunk: int) -> bytes:
        return self.digests[chunk * DIGEST_BYTES : (chunk + 1) * DIGEST_BYTES]


class Ledger(Protocol):
    """Who knows what images must be."""

    async def manifest(self, image_id: str) -> Manifest | None:
        """Return what the image must be; None if it may not be served."""
        ...

    async def damaged(self, image_id: str, reason: str) -> None:
        """Take down that the image must never be served again."""
        ...


def open_store(url: str | None, data: Path) -> ObjectStore:
    """Return the store at an obstore URL, or else the folder of a data directory, made when missing.

    Credentials of object stores come from their usual environment variables.
    """
    if url is None:
        return LocalStore(data / FOLDER, mkdir=True)
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise ImagesUnavailable(f"images URL {url!r}: {_first_line(error)}") from error


class Images:
    """Takes images in, and reads pieces of them. Belongs to one event loop."""

    def __init__(self, store: ObjectStore, ledger: Ledger, *, memory_bytes: int) -> None:
        self._store = store
        self._ledger = ledger
        self._chunks: _Memory[tuple[str, int], bytes] = _Memory(memory_bytes)
        self._manifests: _Memory[str, Manifest] = _Memory(memory_bytes // _MANIFEST_SHARE)
        self._reading: dict[tuple[str, int], asyncio.Task[bytes]] = {}
        self._damaged: set[str] = set()

    async def ingest(self, image_id: str, source: Path) -> Manifest:
        """Copy a file into the store and return what it is; the caller puts that into the ledger.

        Streams: some megabytes are in memory, whatever the size. Done means that it is on the disk.
        """
        name = _name(image_id)
        try:
            return await asyncio.to_thread(_put, self._store, name, source)
        except BaseError as error:
            raise ImagesUnavailable(f"image {image_id} is not stored: {_first_line(error)}") from error

    async def delete(self, image_id: str) -> None:
        """Remove an image, if it is there."""
        self._forget(image_id)
        try:
            await obstore.delete_async(self._store, _name(image_id))
        except FileNotFoundError:
            return
        except BaseError as error:
            raise ImagesUnavailable(f"image {image_id} is not deleted: {_first_line(error)}") from error

    async def read(self, image_id: str, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset*: fewer only at the end of the image.

        Raises :class:`UnknownImage`, :class:`DamagedImage` or :class:`ImagesUnavailable`.
        """
        manifest = await self._manifest(image_id)
        end = min(offset + length, manifest.size_bytes)
        parts = [
            (await self._chunk(image_id, manifest, chunk))[first:last]
            for chunk, first, last in _pieces(offset, end)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def cached(self, image_id: str, offset: int, length: int) -> bytes | None:
        """Return what :meth:`read` would, if all of it was verified before and is still in memory."""
        manifest = self._manifests.get(image_id)
        if manifest is None:
            return None
        chunk, first = divmod(offset, CHUNK_BYTES)
        if first + length <= CHUNK_BYTES:  # as every block of CoAP; a last chunk ends where the image does
            whole = self._chunks.get((image_id, chunk))
            return None if whole is None else whole[first : first + length]
        parts: list[bytes] = []
        for chunk, first, last in _pieces(offset, min(offset + length, manifest.size_bytes)):
            known = self._chunks.get((image_id, chunk))
            if known is None:
                return None
            parts.append(known[first:last])
        return b"".join(parts)

    async def _manifest(self, image_id: str) -> Manifest:
        manifest = self._manifests.get(image_id)
        if manifest is None:
            if image_id not in self._damaged and _IMAGE_ID.fullmatch(image_id):
                manifest = await self._ledger.manifest(image_id)
            if manifest is None or image_id in self._damaged:
                raise UnknownImage(f"there is no image {image_id!r}, or it was damaged")
            self._manifests.put(image_id, manifest, len(manifest.digests))
        return manifest

    async def _chunk(self, image_id: str, manifest: Manifest, chunk: int) -> bytes:
        """Return a verified chunk; a thousand devices that ask for it at once cost one read."""
        key = (image_id, chunk)
        known = self._chunks.get(key)
        if known is not None:
            return known
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(image_id, manifest, chunk))
            task.add_done_callback(lambda _: self._reading.pop(key, None))
            self._reading[key] = task
        return await asyncio.shield(task)

    async def _fetch(self, image_id: str, manifest: Manifest, chunk: int) -> bytes:
        start = chunk * CHUNK_BYTES
        end = min(start + CHUNK_BYTES, manifest.size_bytes)
        try:
            data = bytes(await obstore.get_range_async(self._store, _name(image_id), start=start, end=end))
        except FileNotFoundError:
            raise await self._damage(image_id, "it is missing") from None
        except (BaseError, OSError) as error:
            # A range beyond the end of a file that was cut short is an error like any other to the store.
            if await self._is_shorter(image_id, manifest.size_bytes):
                raise await self._damage(image_id, "it is too short") from None
            raise ImagesUnavailable(f"image {image_id} can't be read: {_first_line(error)}") from error
        if hashlib.sha256(data).digest() != manifest.digest_of(chunk):
            raise await self._damage(image_id, f"it has changed within 64 KiB from byte {start}")
        if image_id in self._damaged:  # while this read was under way
            raise DamagedImage(f"image {image_id} is damaged")
        self._chunks.put((image_id, chunk), data, len(data))
        return data

    async def _is_shorter(self, image_id: str, size_bytes: int) -> bool:
        try:
            return int((await obstore.head_async(self._store, _name(image_id)))["size"]) < size_bytes
        except (BaseError, OSError):
            return False

    async def _damage(self, image_id: str, reason: str) -> DamagedImage:
        """Make sure that the image is not served again, here and elsewhere; return what to raise."""
        if image_id not in self._damaged:
            self._damaged.add(image_id)
            self._forget(image_id)
            await self._ledger.damaged(image_id, reason)
        return DamagedImage(f"image {image_id} is damaged: {reason}")

    def _forget(self, image_id: str) -> None:
        self._manifests.drop(lambda known: known == image_id)
        self._chunks.drop(lambda known: known[0] == image_id)


class _Memory(Generic[K, V]):
    """What was used last, up to a number of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size_bytes = 0

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        _, replaced_bytes = self._kept.pop(key, (None, 0))
        self._kept[key] = (value, size_bytes)
        self._size_bytes += size_bytes - replaced_bytes
        while self._size_bytes > self._limit_bytes and len(self._kept) > 1:
            _, (_, dropped_bytes) = self._kept.popitem(last=False)
            self._size_bytes -= dropped_bytes

    def drop(self, which: Callable[[K], bool]) -> None:
        for key in [key for key in self._kept if which(key)]:
            _, size_bytes = self._kept.pop(key)
            self._size_bytes -= size_bytes


def _pieces(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield chunk, and the first and last byte in it, for what lies between two places of an image."""
    while start < end:
        chunk, first = divmod(start, CHUNK_BYTES)
        last = min(CHUNK_BYTES, first + end - start)
        yield chunk, first, last
        start += last - first


def _put(store: ObjectStore, name: str, source: Path) -> Manifest:
    """Copy a file into the store; what is hashed are the very bytes that go there."""
    whole, digests, size_bytes = hashlib.sha256(), bytearray(), 0

    def hashed() -> Iterator[bytes]:
        nonlocal size_bytes
        with source.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                whole.update(data)
                digests.extend(hashlib.sha256(data).digest())
                size_bytes += len(data)
                yield data

    obstore.put(store, name, hashed(), use_multipart=True, max_concurrency=_PARTS_AT_ONCE)
    if isinstance(store, LocalStore) and store.prefix is not None:
        _sync(Path(store.prefix) / name)
    return Manifest(size_bytes, whole.digest(), bytes(digests))


def _sync(file: Path) -> None:
    """Have a file and its name on the disk: obstore leaves both to the kernel."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(image_id: str) -> str:
    if not _IMAGE_ID.fullmatch(image_id):
        raise UnknownImage(f"{image_id!r} is no id of an image")
    return image_id


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
