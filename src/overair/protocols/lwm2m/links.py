"""CoRE link format (RFC 6690) as LwM2M devices really write it: object lists and Discover answers.

Source: spec lwm2m.md 3.2 (object list and its leniency table), 5.5 (Discover). A link that cannot be read is
dropped and counted, the rest is kept. A fleet sends the same few lists over and over: `parse_links` answers
an equal payload with the same object, which saves both the work and the memory of 100,000 copies.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path, format_path, split_root
from overair.protocols.lwm2m.versions import parse_version

PAYLOAD_BYTES_MAX = 65536
LINKS_MAX = 2000
FORMATS_MAX = 32
# Bounds the memo: 2048 lists of at most 2 kB, some 20 MB with what they decode to.
_MEMO_ENTRIES = 2048
_MEMO_PAYLOAD_BYTES_MAX = 2048
_RESOURCE_TYPE = "oma.lwm2m"
_VERSION_DEFAULT = "1.0"

# A quote that is never closed counts as a plain character; possessive, so that no input backtracks.
_LINK = re.compile(r'<([^<>]*+)>((?:[^",]|"[^"]*"|")*+)')
_ATTRIBUTE = re.compile(r';\s*([^\s;="]+)\s*(?:=\s*("[^"]*"|[^;]*))?')
_BARE_VALUE = re.compile(r"[\w.:+-]+", re.ASCII)


class Link(Struct, frozen=True, gc=False):
    """One link: `root` is the part before the first number (`""` or `/lwm2m`), `path` the ids.

    `attributes` are (name, value) in the order sent, without quotes; value None for a flag.
    """

    root: str
    path: Path
    attributes: tuple[tuple[str, str | None], ...] = ()

    def attribute(self, name: str) -> str | None:
        """Value of the first attribute of that name; None if absent or a flag."""
        return next((value for key, value in self.attributes if key == name), None)


class ObjectList(Struct, frozen=True, gc=False):
    """What a device registers: its objects, their instances and versions, and where its tree starts.

    `root` goes before every request path. `content_formats` are the ids in `ct`, beyond the mandatory ones.
    `instances` are (object, instance), `objects` all object ids including those without instance, both
    sorted. `dropped` counts the links that could not be read.
    """

    root: str = ""
    content_formats: tuple[int, ...] = ()
    instances: tuple[tuple[int, int], ...] = ()
    objects: tuple[int, ...] = ()
    versions: tuple[tuple[int, str], ...] = ()
    dropped: int = 0

    def has(self, object_id: int) -> bool:
        """Whether the device supports the object."""
        return object_id in self.objects

    def instances_of(self, object_id: int) -> tuple[int, ...]:
        """Instance ids of one object, ascending."""
        return tuple([instance for number, instance in self.instances if number == object_id])

    def version_of(self, object_id: int) -> str:
        """Version the device gave for the object, else "1.0"."""
        return next((version for number, version in self.versions if number == object_id), _VERSION_DEFAULT)


NO_OBJECTS = ObjectList()


def parse_links(payload: bytes) -> ObjectList:
    """Read the payload of a Register or Update. An empty one is `NO_OBJECTS`: the list is unknown.

    Equal payloads give the same object. Raises ContentError only over 64 kB or 2000 links.
    """
    if len(payload) <= _MEMO_PAYLOAD_BYTES_MAX:
        return _parse_memoised(payload)
    return _parse_object_list(payload)


@lru_cache(_MEMO_ENTRIES)
def _parse_memoised(payload: bytes) -> ObjectList:
    return _parse_object_list(payload)


def _parse_object_list(payload: bytes) -> ObjectList:
    links, dropped = _split(payload)
    if not links and not dropped:
        return NO_OBJECTS
    start = _find_root(links)
    root = start.root if start else ""
    instances: set[tuple[int, int]] = set()
    objects: set[int] = set()
    versions: dict[int, str] = {}
    for link in links:
        if not link.path:
            dropped += link is not start
            continue
        if link.root not in {"", root}:
            dropped += 1
            continue
        objects.add(link.path[0])
        if len(link.path) > 1:
            instances.add((link.path[0], link.path[1]))
        version = (link.attribute("ver") or "").strip()
        if parse_version(version) is not None:
            versions[link.path[0]] = version
    return ObjectList(
        root=root,
        content_formats=_content_formats(start),
        instances=tuple(sorted(instances)),
        objects=tuple(sorted(objects)),
        versions=tuple(sorted(versions.items())),
        dropped=dropped,
    )


def _find_root(links: list[Link]) -> Link | None:
    """Return the link that names the root of the tree: by its resource type, else the bare `</>`."""
    roots = [link for link in links if not link.path]
    typed = (link for link in roots if _RESOURCE_TYPE in (link.attribute("rt") or "").split())
    return next(typed, None) or next((link for link in roots if not link.root), None)


def _content_formats(start: Link | None) -> tuple[int, ...]:
    text = (start.attribute("ct") if start else None) or ""
    words = text.replace(",", " ").split()[:FORMATS_MAX]
    return tuple([int(word) for word in words if word.isdigit() and word.isascii() and len(word) <= 5])


def parse_discover(payload: bytes) -> tuple[Link, ...]:
    """Read the answer to a Discover, attributes included.

    Raises ContentError only over 64 kB or 2000 links.
    """
    return tuple(_split(payload)[0])


def _split(payload: bytes) -> tuple[list[Link], int]:
    """Return the links that can be read, and the number of those that cannot."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ContentError("link format", f"at most {PAYLOAD_BYTES_MAX} bytes")
    text = payload.rstrip(b"\0").decode("utf-8", "replace")
    if text.count("<") > LINKS_MAX:
        raise ContentError("link format", f"at most {LINKS_MAX} links")
    links: list[Link] = []
    dropped = 0
    position = 0
    for match in _LINK.finditer(text):
        dropped += bool(text[position : match.start()].strip(" \t\r\n,"))
        position = match.end()
        try:
            links.append(_parse_link(match[1], match[2]))
        except ContentError:
            dropped += 1
    dropped += bool(text[position:].strip(" \t\r\n,"))
    return links, dropped


def _parse_link(target: str, attributes: str) -> Link:
    root, path = split_root(target.strip())
    if not attributes.strip():
        return Link(root, path)
    pairs = [_attribute(match) for match in _ATTRIBUTE.finditer(attributes)]
    return Link(root, path, tuple(pairs))


def _attribute(match: re.Match[str]) -> tuple[str, str | None]:
    value: str | None = match[2]
    return match[1], None if value is None else value.strip().strip('"')


def format_links(objects: ObjectList) -> bytes:
    """Write an object list as the payload of a Register (client side)."""
    links: list[Link] = []
    if objects.root or objects.content_formats:
        formats = " ".join(map(str, objects.content_formats))
        attributes = (("rt", _RESOURCE_TYPE), *((("ct", formats),) if formats else ()))
        links.append(Link(objects.root, (), attributes))
    versions = dict(objects.versions)
    for number in objects.objects:
        instances = objects.instances_of(number)
        if number in versions:
            links.append(Link(objects.root, (number,), (("ver", versions[number]),)))
        elif not instances:
            links.append(Link(objects.root, (number,)))
        links += [Link(objects.root, (number, instance)) for instance in instances]
    return format_discover(links)


def format_discover(links: Iterable[Link]) -> bytes:
    """Write links with their attributes, as in the answer to a Discover (client side).

    Raises ContentError if an attribute value holds a quote.
    """
    return ",".join(map(_format_link, links)).encode()


def _format_link(link: Link) -> str:
    path = format_path(link.path) if link.path or not link.root else ""
    return f"<{link.root}{path}>" + "".join(_format_attribute(*pair) for pair in link.attributes)


def _format_attribute(name: str, value: str | None) -> str:
    if value is None:
        return f";{name}"
    # rt is always quoted, as the enabler's own examples have it.
    if name != "rt" and _BARE_VALUE.fullmatch(value):
        return f";{name}={value}"
    if '"' in value:
        raise ContentError(f"link attribute {name}", "a value holds no quote")
    return f';{name}="{value}"'
