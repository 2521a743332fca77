"""What a device answers to the requests of its server (spec lwm2m.md 5.1, 5.2, 6).

`answer` is the whole of it: a request and the object tree in, an Answer out. Read, Discover, Write, Execute
and Read-Composite are carried out; Write-Attributes, Create, Delete, Write-Composite and the download of
firmware are not, and say so. A Write to an instance replaces only the resources it brings: what is mandatory
could not go, and nothing else of a simulated device can be written at the same time.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from overair.protocols.coap import Message, codes
from overair.protocols.lwm2m.arguments import parse_arguments
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
    PACKAGE,
    PACKAGE_URI,
    REBOOT,
    UPDATE_TRIGGER,
    Tree,
    has_operation,
)

_SINGLE_FORMATS: Final = (TEXT, OPAQUE, CBOR)
_COMPOSITE_FORMATS: Final = (SENML_CBOR, SENML_JSON)
_PACKAGE_RESETS: Final = (b"", b"\0")


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


def answer(message: Message, tree: Tree, formats: tuple[int, ...]) -> Answer:
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
    return operation(message, path, tree, formats)


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


def _get(message: Message, path: Path, tree: Tree, formats: tuple[int, ...]) -> Answer:
    if message.accept == LINK_FORMAT:
        return _discover(path, tree)
    return read(path, message.accept, tree, formats)


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


def _put(message: Message, path: Path, tree: Tree, formats: tuple[int, ...]) -> Answer:
    if message.uri_queries and not message.payload:
        return Answer(codes.NOT_IMPLEMENTED)
    return _write(message, path, tree, formats)


def _post(message: Message, path: Path, tree: Tree, formats: tuple[int, ...]) -> Answer:
    if len(path) == 2:
        return _write(message, path, tree, formats)
    if len(path) == 3:
        return _execute(message, path)
    return Answer(codes.METHOD_NOT_ALLOWED)


def _write(message: Message, path: Path, tree: Tree, formats: tuple[int, ...]) -> Answer:
    if len(path) < 2 or (len(path) > 2 and not has_operation(path, "W")):
        return Answer(codes.METHOD_NOT_ALLOWED)
    given = message.content_format
    if given is not None and canonical_format(given) not in formats:
        return Answer(codes.UNSUPPORTED_CONTENT_FORMAT)
    try:
        values = decode(given, message.payload, path)
    except ContentError as error:
        return Answer(codes.BAD_REQUEST, payload=str(error).encode())
    refusal = next((code for leaf, value in values.items() if (code := _refusal(leaf, value, tree))), None)
    if refusal is not None:
        return Answer(refusal)
    changed = [leaf for leaf, value in values.items() if leaf != PACKAGE and tree.set(leaf, value)]
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
    # A reset is harmless to an idle firmware object; downloading is not simulated here.
    if (leaf == PACKAGE_URI and value) or (leaf == PACKAGE and value not in _PACKAGE_RESETS):
        return codes.NOT_IMPLEMENTED
    return 0


def _execute(message: Message, path: Path) -> Answer:
    action = _ACTIONS.get(path)
    # What else could be executed needs a state that is never reached: /5/0/2 without a package.
    if action is None:
        return Answer(codes.METHOD_NOT_ALLOWED)
    try:
        parse_arguments(message.payload)
    except ContentError as error:
        return Answer(codes.BAD_REQUEST, payload=str(error).encode())
    return Answer(codes.CHANGED, action=action)


def _fetch(message: Message, path: Path, tree: Tree, formats: tuple[int, ...]) -> Answer:
    """Read-Composite; a path that is not there is left out of the answer."""
    spoken = tuple([number for number in formats if number in _COMPOSITE_FORMATS])
    given = message.content_format
    if path or not spoken:
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


_OPERATIONS: Final[dict[int, Callable[[Message, Path, Tree, tuple[int, ...]], Answer]]] = {
    codes.GET: _get,
    codes.PUT: _put,
    codes.POST: _post,
    codes.FETCH: _fetch,
}
