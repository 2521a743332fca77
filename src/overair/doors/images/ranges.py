"""Which part of an image a request wants: Range, If-Range, If-None-Match (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

Header = Callable[[str], str | None]
"""Returns a header of the request, or None."""

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Part:
    """What is answered: bytes *start* up to, not with, *end*."""

    status: int
    """200, 206, 304 or 416; the last two have no bytes."""
    start: int = 0
    end: int = 0


def wanted(header: Header, etag: str, size_bytes: int) -> Part:
    """Return the part that a GET or HEAD wants of an image.

    Several ranges at once, other units and nonsense are answered with the whole, as a server may.
    """
    if _has(header("if-none-match"), etag):
        return Part(304)
    whole = Part(200, 0, size_bytes)
    asked = header("range")
    # Without a Last-Modified of ours a date in If-Range can't be right.
    if asked is None or header("if-range") not in (None, etag):
        return whole
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found[1] == found[2] == "":
        return whole
    return _part(found[1], found[2], size_bytes) or whole


def _part(first: str, last: str, size_bytes: int) -> Part | None:
    if not first:
        length = min(int(last), size_bytes)
        return Part(206, size_bytes - length, size_bytes) if length else Part(416)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        return Part(416)
    return Part(206, start, min(int(last) + 1, size_bytes) if last else size_bytes)


def _has(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or etag in _TAG.findall(header)
