"""What a request asks for: its path below ``/{tenant}/controller/v1/{controllerId}`` (spec ddi.md, 1 and 2).

Paths are cut before anything in them is decoded, so nothing that a device writes into a segment makes two.
"""

import re
from urllib.parse import unquote_to_bytes

from msgspec import Struct

SEGMENT_CHARACTERS = 256
_NUMBER_MAX = 2**31 - 1
_RAW = re.compile(rb"(/[^/?#]{1,768}/controller/v1/[^/?#]{1,768})((?:/[^/?#]{1,512}){0,4})/?", re.ASCII)
# What may stand in a path as it is (RFC 3986, section 3.3); links repeat it, so nothing else may.
_PLAIN = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
MD5SUM = ".MD5SUM"


class Place(Struct, frozen=True):
    """A path that may mean something. *base* is the device's own, spelt as it came: links begin with it."""

    base: str
    tenant: str
    controller_id: str
    segments: tuple[str, ...]

    def number(self, index: int) -> int | None:
        """Return the number in a segment; None if there is none, or none that is an action's."""
        if len(self.segments) <= index:
            return None
        said = self.segments[index]
        if not (said.isascii() and said.isdigit() and len(said) <= 10):
            return None
        return int(said) if 0 < int(said) <= _NUMBER_MAX else None


def parse(raw: bytes) -> Place | None:
    """Return the place that a raw path names; None for one that is no device's."""
    found = _RAW.fullmatch(raw)
    if found is None or not _PLAIN.fullmatch(raw):
        return None
    base = found[1]
    _, tenant, _, _, controller_id = base.split(b"/")
    decoded = [_decoded(each) for each in (tenant, controller_id, *found[2].split(b"/")[1:])]
    texts = [each for each in decoded if each is not None]
    if len(texts) != len(decoded):
        return None
    return Place(base.decode(), texts[0], texts[1], tuple(texts[2:]))


def _decoded(segment: bytes) -> str | None:
    """Return a segment as text; None for what no name holds: slashes, controls, dots that lead elsewhere."""
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    if len(text) > SEGMENT_CHARACTERS or not text.isprintable() or text in (".", "..") or "/" in text:
        return None
    return text
