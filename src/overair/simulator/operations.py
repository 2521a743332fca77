"""What a device answers to the requests of its server (spec lwm2m.md 5.1, 5.2, 6).

`answer` is the whole of it: a request and the object tree in, an Answer out. Read, Discover, Write, Execute
and Read-Composite are carried out; Write-Attributes, Create, Delete and Write-Composite are not, and say so.
What is more than a value, such as the package of an update, is for `Special`. A Write to an instance replaces
only the resources it brings: what is mandatory could not go, and what else there is is hardly ever written.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from overair.protocols.coap import Message, codes
from overair.protocols.lwm2m.arguments import Argument, parse_arguments
from overair.protocols.lwm2m.content import (
    CBOR,
    LINK_FORMAT,
    OPAQUE,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    canonical_format,
    decode,
    decode_paths,
    encode,
)
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.links import Link, format_discover
from overair.protocols.lwm2m.paths import Path, parse_path
from overair.protocols.lwm2m.values import Value
from overair.simulator.tree import (
    LIFETIME,
    REBOOT,
    UPDATE_TRIGGER,
    Tree,
    has_operation,
)

_SINGLE_FORMATS: Final = (TEXT, OPAQUE, CBOR)
_COMPOSITE_FORMATS: Final = (SENML_CBOR, SENML_JSON)


class Special(Protocol):
    """Whoever stands behind resources that are more than a value."""

    def owns(self, path: Path) -> bool:
        """Whether a Write or Execute there is for it."""

    def write(self, path: Path, value: Value, now: float) -> int:
        """Carry out a Write; returns the code of the answer."""

    def execute(self, path: Path, arguments: tuple[Argument, ...], now: float) -> int:
        """Carry out an Execute; returns the code of the answer."""


class _Asked(NamedTuple):
    """A request, and the device it is for."""

    message: Message
    path: Path
    tree: Tree
    formats: tuple[int, ...]
    special: Special
    now: float


class Action(enum.Enum):
    """What a device does once it has answered."""

    NOTHING = "nothing"
    UPDATE = "update"
    REBOOT = "reboot"


class Answer(Struct, frozen=True, gc=False):
    """A response, the paths whose values changed, and what else follows from the request."""

    code: int
    content_format: int | None = None
    payload: bytes = b""
    changed: tuple[Path, ...] = ()
    action: Action = Action.NOTHING


_ACTIONS: Final = {UPDATE_TRIGGER: Action.UPDATE, REBOOT: Action.REBOOT}


def answer(message: Message, tree: Tree, formats: tuple[int, ...], special: Special, now: float) -> Answer:
    """Return what a device with these content formats answers; Writes are done to the tree."""
    try:
        path = parse_path("/".join(message.uri_path))
    except ContentError:
        return Answer(codes.NOT_FOUND)
    operation = _OPERATIONS.get(message.code)
    if operation is None or (not path and message.code != codes.FETCH):
        return Answer(codes.METHOD_NOT_ALLOWED)
    if path and tree.leaves(path) is None:
        return Answer(codes.NOT_FOUND)
    return operation(_Asked(message, path, tree, formats, special, now))


def read(path: Path, accept: int | None, tree: Tree, formats: tuple[int, ...]) -> Answer:
    """Return the values at and under a path in the accepted format, or in the device's own choice."""
    values = tree.read(path)
    leaves = tree.leaves(path)
    if leaves is None:
        return Answer(codes.NOT_FOUND)
    if leaves and not values:
        return Answer(codes.METHOD_NOT_ALLOWED)
    return _content(values, path, accept, formats)


def _content(
    values: Mapping[Path, Value], path: Path, accept: int | None, formats: tuple[int, ...]
) -> Answer:
    """Encode in the first format that may be used and can carry the values."""
    wanted = formats if accept is None else (canonical_format(accept),)
    for number in wanted:
        if number not in formats or (number in _SINGLE_FORMATS and path not in values):
            continue
        # Text could carry bytes in base64, but opaque is how a device gives them.
        if accept is None and number == TEXT and isinstance(values[path], bytes):
            continue
        try:
            return Answer(codes.CONTENT, number, encode(number, values, path))
        except ContentError:
            continue
    return Answer(codes.NOT_ACCEPTABLE)


def _get(asked: _Asked) -> Answer:
    message = asked.message
    if message.accept == LINK_FORMAT:
        return _discover(asked.path, asked.tree)
    return read(asked.path, message.accept, asked.tree, asked.formats)


def _discover(path: Path, tree: Tree) -> Answer:
    """The path itself and what is under it, down to resources (spec lwm2m.md 5.5)."""
    if len(path) > 3:
        return Answer(codes.METHOD_NOT_ALLOWED)
    links = [_link(path, tree)]
    for leaf in tree.leaves(path) or ():
        for depth in range(len(path) + 1, 4):
            link = _link(leaf[:depth], tree)
            if link not in links:
                links.append(link)
    return Answer(codes.CONTENT, LINK_FORMAT, format_discover(links))


def _link(path: Path, tree: Tree) -> Link:
    version = dict(tree.shared.objects.versions).get(path[0])
    if len(path) == 1 and version is not None:
        return Link("", path, (("ver", version),))
    leaves = tree.leaves(path) or ()
    if len(path) == 3 and leaves and len(leaves[0]) == 4:
        return Link("", path, (("dim", str(len(leaves))),))
    return Link("", path)


def _put(asked: _Asked) -> Answer:
    if asked.message.uri_queries and not asked.message.payload:
        return Answer(codes.NOT_IMPLEMENTED)
    return _write(asked)


def _post(asked: _Asked) -> Answer:
    if len(asked.path) == 2:
        return _write(asked)
    if len(asked.path) == 3:
        return _execute(asked)
    return Answer(codes.METHOD_NOT_ALLOWED)


def _write(asked: _Asked) -> Answer:
    message, path, tree, special = asked.message, asked.path, asked.tree, asked.special
    if len(path) < 2 or (len(path) > 2 and not has_operation(path, "W")):
        return Answer(codes.METHOD_NOT_ALLOWED)
    given = message.content_format
    if given is not None and canonical_format(given) not in asked.formats:
        return Answer(codes.UNSUPPORTED_CONTENT_FORMAT)
    try:
        values = decode(given, message.payload, path)
    except ContentError as error:
        return Answer(codes.BAD_REQUEST, payload=str(error).encode())
    refusal = next((code for leaf, value in values.items() if (code := _refusal(leaf, value, tree))), None)
    if refusal is not None:
        return Answer(refusal)
    for leaf in filter(special.owns, values):
        code = special.write(leaf, values[leaf], asked.now)
        if not codes.is_success(code):
            return Answer(code)
    changed = [leaf for leaf, value in values.items() if not special.owns(leaf) and tree.set(leaf, value)]
    action = Action.UPDATE if LIFETIME in changed else Action.NOTHING
    return Answer(codes.CHANGED, changed=tuple(changed), action=action)


def _refusal(leaf: Path, value: Value, tree: Tree) -> int:
    """Return the code with which one value is refused, 0 if it is not."""
    if tree.leaves(leaf) != (leaf,):
        return codes.NOT_FOUND
    if not has_operation(leaf, "W"):
        return codes.METHOD_NOT_ALLOWED
    if leaf == LIFETIME and isinstance(value, int) and value < 0:
        return codes.BAD_REQUEST
    return 0


def _execute(asked: _Asked) -> Answer:
    path = asked.path
    action = _ACTIONS.get(path)
    owned = asked.special.owns(path) and has_operation(path, "E")
    if action is None and not owned:
        return Answer(codes.METHOD_NOT_ALLOWED)
    try:
        arguments = parse_arguments(asked.message.payload)
    except ContentError as error:
        return Answer(codes.BAD_REQUEST, payload=str(error).encode())
    if action is None:
        return Answer(asked.special.execute(path, arguments, asked.now))
    return Answer(codes.CHANGED, action=action)


def _fetch(asked: _Asked) -> Answer:
    """Read-Composite; a path that is not there is left out of the answer."""
    message, tree = asked.message, asked.tree
    spoken = tuple([number for number in asked.formats if number in _COMPOSITE_FORMATS])
    given = message.content_format
    if asked.path or not spoken:
        return Answer(codes.METHOD_NOT_ALLOWED)
    if given is None or canonical_format(given) not in spoken:
        return Answer(codes.UNSUPPORTED_CONTENT_FORMAT)
    try:
        paths = decode_paths(given, message.payload)
    except ContentError as error:
        return Answer(codes.BAD_REQUEST, payload=str(error).encode())
    values = {leaf: value for wanted in paths for leaf, value in tree.read(wanted).items()}
    accept = message.accept
    return _content(values, (), given if accept is None else accept, spoken)


_OPERATIONS: Final[dict[int, Callable[[_Asked], Answer]]] = {
    codes.GET: _get,
    codes.PUT: _put,
    codes.POST: _post,
    codes.FETCH: _fetch,
}
