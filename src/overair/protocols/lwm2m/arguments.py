"""Arguments of Execute: `0='3600',1` (spec lwm2m.md 5.6)."""

import re
from collections.abc import Sequence

from overair.protocols.lwm2m.errors import ContentError

PAYLOAD_BYTES_MAX = 1024

_ARGUMENT = re.compile(r"(\d)(?:='([^']*)')?", re.ASCII)
_LIST = re.compile(rf"{_ARGUMENT.pattern}(?:,{_ARGUMENT.pattern})*", re.ASCII)

Argument = tuple[int, str | None]


def format_arguments(arguments: Sequence[Argument]) -> bytes:
    """Write (digit, value or None) pairs; with none the request must not carry a Content-Format either.

    Raises ContentError for a number over 9 or a value with a quote.
    """
    for number, value in arguments:
        if not 0 <= number <= 9:
            raise ContentError("execute argument", "numbered 0..9")
        if value is not None and "'" in value:
            raise ContentError(f"execute argument {number}", "a value holds no quote")
    return ",".join(f"{n}" if value is None else f"{n}='{value}'" for n, value in arguments).encode()


def parse_arguments(payload: bytes) -> tuple[Argument, ...]:
    """Read the payload of an Execute; an empty one has no arguments. Raises ContentError."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ContentError("execute arguments", f"at most {PAYLOAD_BYTES_MAX} bytes")
    text = payload.rstrip(b"\0").decode("utf-8", "replace")
    if text and not _LIST.fullmatch(text):
        raise ContentError("execute arguments", "written 0='value',1")
    return tuple([(int(match[1]), match[2]) for match in _ARGUMENT.finditer(text)])
