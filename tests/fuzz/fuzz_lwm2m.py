"""Feed any bytes to every LwM2M parser a stranger's bytes reach: each parses or raises its documented error.

The first byte picks the parser. `python tests/fuzz/fuzz_lwm2m.py [CORPUS...]` runs it under atheris.
"""

import sys
from collections.abc import Callable

from overair.protocols.lwm2m.arguments import parse_arguments
from overair.protocols.lwm2m.content import decode, decode_paths
from overair.protocols.lwm2m.errors import ContentError, RegistrationError
from overair.protocols.lwm2m.links import parse_discover, parse_links
from overair.protocols.lwm2m.names import parse_endpoint_name
from overair.protocols.lwm2m.paths import parse_path
from overair.protocols.lwm2m.registration import parse_register, parse_update

_PATHS = ((), (3,), (3, 0), (3, 0, 13), (6, 0, 0), (9, 0, 12), (11, 0, 22), (5, 0, 8, 1), (4321, 0, 1))
_FORMATS = (None, 0, 42, 60, 110, 112, 320, 322, 11542, 11543, 11544, 40, 999)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _queries(data: bytes) -> tuple[list[str], bytes]:
    head, _, payload = data.partition(b"\xff")
    return _text(head).split("&"), payload


def _decoder(content_format: int | None, path: tuple[int, ...]) -> Callable[[bytes], object]:
    return lambda data: decode(content_format, data, path)


TARGETS: tuple[Callable[[bytes], object], ...] = (
    parse_links,
    parse_discover,
    parse_arguments,
    lambda data: parse_endpoint_name(_text(data)),
    lambda data: parse_path(_text(data)),
    lambda data: parse_register(*_queries(data), 40),
    lambda data: parse_update(*_queries(data), 40),
    lambda data: decode_paths(110, data),
    lambda data: decode_paths(112, data),
    *(_decoder(content_format, path) for content_format in _FORMATS for path in _PATHS),
)


def one_input(data: bytes) -> None:
    """Run the parser that the first byte names on the rest."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](bytes(data[1:]))
    except (ContentError, RegistrationError):
        return


def main() -> None:
    """Run under atheris until it is stopped."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
