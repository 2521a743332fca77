"""What a device's server observes, and what becomes of it when something changes (RFC 7641)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from overair.protocols.coap import Message, Options, codes, encode_uint
from overair.protocols.lwm2m.content import LINK_FORMAT
from overair.protocols.lwm2m.paths import Path, parse_path
from overair.simulator import operations
from overair.simulator.tree import Tree

OBSERVATIONS_MAX: Final = 16
"""Fewer than the endpoint's queue for one peer, so that a notification always finds room."""

_NUMBERS: Final = 1 << 24


class _Observation(Struct, gc=False):
    path: Path
    accept: int | None
    number: int = 0


class Notice(NamedTuple):
    """A notification to send."""

    token: bytes
    number: int
    options: Options
    payload: bytes


class Observations:
    """The observations of one device, which end with its registration."""

    __slots__ = ("_by_token", "_formats", "_tree")

    def __init__(self, tree: Tree, formats: tuple[int, ...]) -> None:
        self._tree = tree
        self._formats = formats
        self._by_token: dict[bytes, _Observation] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """What is observed."""
        return tuple([observation.path for observation in self._by_token.values()])

    def take(self, message: Message) -> Options:
        """Begin or end one by a GET; returns the option that says which of both came true."""
        if message.observe is None or message.accept == LINK_FORMAT:
            return ()
        self._by_token.pop(message.token, None)
        if message.observe != 0 or len(self._by_token) >= OBSERVATIONS_MAX:
            return ()
        path = parse_path("/".join(message.uri_path))
        self._by_token[message.token] = _Observation(path, message.accept)
        return ((codes.OBSERVE, b""),)

    def end(self, token: bytes) -> None:
        """End one."""
        self._by_token.pop(token, None)

    def clear(self) -> None:
        """End all."""
        self._by_token.clear()

    def notices(self, changed: Sequence[Path]) -> Iterator[Notice]:
        """Yield what is to be said of changed values, one notification an observation."""
        for token, observation in self._by_token.items():
            path = observation.path
            if not any(leaf[: len(path)] == path for leaf in changed):
                continue
            answer = operations.read(path, observation.accept, self._tree, self._formats)
            observation.number = (observation.number + 1) % _NUMBERS
            options = ((codes.CONTENT_FORMAT, encode_uint(answer.content_format or 0)),)
            yield Notice(token, observation.number, options, answer.payload)
