"""Paths of objects, instances, resources and resource instances (spec lwm2m.md 5.1).

A path is a tuple of at most four ids: `(3, 0, 6, 1)` is `/3/0/6/1`, `()` is the root.
"""

from overair.protocols.lwm2m.errors import ContentError

Path = tuple[int, ...]

ID_MAX = 65535
DEPTH_MAX = 4
TEXT_CHARS_MAX = 256
_ID_DIGITS_MAX = 5


def parse_path(text: str) -> Path:
    """Read `/3/0/3`; a missing leading and a trailing slash are accepted.

    Raises ContentError if a segment is no id of 0..65535, or there are more than four.
    """
    root, path = split_root(text)
    if root:
        raise ContentError(f"path {text!r}", "every segment is a number")
    return path


def split_root(text: str) -> tuple[str, Path]:
    """Split `/lwm2m/3/0` into the alternate root `/lwm2m` and the path; `""` when there is no such root.

    An alternate root never holds a numeric segment (spec lwm2m.md 3.2), so the first number ends it.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ContentError("path", f"at most {TEXT_CHARS_MAX} characters")
    segments = text.strip("/").split("/")
    if segments == [""]:
        return "", ()
    first = next((i for i, segment in enumerate(segments) if is_number(segment)), len(segments))
    path = tuple([_parse_id(segment, text) for segment in segments[first:]])
    if len(path) > DEPTH_MAX:
        raise ContentError(f"path {text!r}", f"at most {DEPTH_MAX} levels")
    return "".join("/" + segment for segment in segments[:first]), path


def is_number(segment: str) -> bool:
    """Whether a segment is written in ASCII digits only."""
    return segment.isdigit() and segment.isascii()


def _parse_id(segment: str, text: str) -> int:
    if not is_number(segment) or len(segment) > _ID_DIGITS_MAX or int(segment) > ID_MAX:
        raise ContentError(f"path {text!r}", f"an id is a number of 0..{ID_MAX}")
    return int(segment)


def format_path(path: Path) -> str:
    """Write `(3, 0, 3)` as `/3/0/3`; the root is `/`."""
    return "/" + "/".join(map(str, path))
