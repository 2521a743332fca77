"""Images of simulated firmware: how they are made, and how a device checks one while it comes in.

No format of a real module, but it has what counts for an update: it says for which model it is and into what
it boots, and a flipped bit is found. Big-endian throughout:

    8 bytes    "SIMIMAGE"
    4 bytes    size of the whole image, bytes
    4 texts    make, model, name, version; each one byte of length and so many bytes of UTF-8
    filler     from a seed (SHAKE128 of its decimal digits)
    32 bytes   SHA-256 of all that stands before

A `Slot` is a device's memory for one image. It keeps the header and a running hash instead of the bytes, so
that ten thousand devices can each hold one.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from msgspec import Struct

MAGIC: Final = b"SIMIMAGE"
DIGEST_BYTES: Final = 32
TEXT_BYTES_MAX: Final = 255
_FIXED: Final = struct.Struct("!8sI")
_TEXTS: Final = 4
HEADER_BYTES_MAX: Final = _FIXED.size + _TEXTS * (1 + TEXT_BYTES_MAX)


class ImageError(Exception):
    """An image that cannot be made, or is none."""


class NoImageError(ImageError):
    """The bytes do not begin as an image does: of a type that the device does not know."""


class DamagedImageError(ImageError):
    """The bytes are fewer or others than those that the image was made of."""


class Header(Struct, frozen=True, gc=False):
    """What an image says of itself. `bytes_long` are those of the header, `size_bytes` those of the image."""

    make: str
    model: str
    name: str
    version: str
    size_bytes: int
    bytes_long: int


def make_image(
    make: str, model: str, version: str, size_bytes: int, seed: int = 0, *, name: str = "firmware"
) -> bytes:
    """Return an image for a model, which boots into a version; the same arguments give the same bytes.

    `name` is the package's (object 9), or the component's (object 33629). ImageError if a text has more than
    255 bytes or the size is too small for header and hash.
    """
    texts = [text.encode() for text in (make, model, name, version)]
    if any(len(text) > TEXT_BYTES_MAX for text in texts):
        raise ImageError(f"make, model, name, version: at most {TEXT_BYTES_MAX} bytes each")
    if size_bytes >= 1 << 32:
        raise ImageError("size_bytes: below 4 GiB")
    header = _FIXED.pack(MAGIC, size_bytes) + b"".join(bytes([len(text)]) + text for text in texts)
    filler = size_bytes - len(header) - DIGEST_BYTES
    if filler < 0:
        raise ImageError(f"size_bytes: at least {len(header) + DIGEST_BYTES} for these texts")
    body = header + hashlib.shake_128(b"%d" % seed).digest(filler)
    return body + hashlib.sha256(body).digest()


def parse_header(head: bytes) -> Header | None:
    """Return the header at the beginning of an image, None if there are too few bytes yet.

    NoImageError if no image begins so.
    """
    if not MAGIC.startswith(head[: len(MAGIC)]):
        raise NoImageError("image: does not begin with its mark")
    if len(head) < _FIXED.size:
        return None
    _, size_bytes = _FIXED.unpack_from(head)
    texts, at = [], _FIXED.size
    for _ in range(_TEXTS):
        if at >= len(head) or at + 1 + head[at] > len(head):
            return None
        texts.append(head[at + 1 : at + 1 + head[at]])
        at += 1 + head[at]
    try:
        make, model, name, version = (text.decode() for text in texts)
    except UnicodeDecodeError:
        raise NoImageError("image: a text of the header is not UTF-8") from None
    return Header(make, model, name, version, size_bytes, at)


class Slot:
    """Flash memory that an image is written to from front to back. It outlives a power cut."""

    __slots__ = ("_hash", "_head", "_tail", "header", "received", "strange")

    def __init__(self) -> None:
        self.received = 0
        """Bytes written."""
        self.header: Header | None = None
        self.strange = False
        """Whether what was written is no image."""
        self._head = b""
        self._tail = b""
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Add the bytes that follow."""
        self.received += len(chunk)
        if self.header is None and not self.strange:
            self._look(chunk)
        # The last 32 bytes are the hash itself, and which are the last shows only at the end.
        held = self._tail + chunk
        self._hash.update(held[:-DIGEST_BYTES])
        self._tail = held[-DIGEST_BYTES:]

    def check(self) -> Header:
        """Return the header of the image, which is whole. NoImageError, DamagedImageError."""
        if self.strange or self.header is None:
            raise NoImageError("image: no header")
        if self.received != self.header.size_bytes or self._hash.digest() != self._tail:
            raise DamagedImageError(f"image: {self.received} bytes do not fit their hash")
        return self.header

    def _look(self, chunk: bytes) -> None:
        self._head += chunk[:HEADER_BYTES_MAX]
        try:
            self.header = parse_header(self._head)
        except NoImageError:
            self.strange = True
        if self.header is not None or self.strange:
            self._head = b""
