"""LwM2M CBOR, content format 11544 of enabler 1.2 (spec lwm2m.md 6.6).

Nested maps keyed by path element from the object down; consecutive levels may be merged into an array key.
"""

from collections.abc import Iterator, Mapping

from overair.protocols.lwm2m import cbor
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import DEPTH_MAX, ID_MAX, Path, format_path
from overair.protocols.lwm2m.values import ObjectLink, Value, fit

_Tree = dict[int, "Value | _Tree"]


def decode_lwm2m_cbor(payload: bytes) -> dict[Path, Value]:
    """Read a tree of values; null is no value, an empty payload the empty set. Raises ContentError."""
    tree = cbor.load(payload) if payload else {}
    if not isinstance(tree, dict):
        raise ContentError("lwm2m cbor", "must be a map")
    return {path: fit(path, value) for path, value in _leaves(tree, ()) if value is not None}


def _leaves(tree: dict[object, object], above: Path) -> Iterator[tuple[Path, object]]:
    for key, value in tree.items():
        path = above + _key(key, above)
        if isinstance(value, dict):
            if len(path) >= DEPTH_MAX:
                raise ContentError(format_path(path), f"at most {DEPTH_MAX} levels")
            yield from _leaves(value, path)
        elif len(path) in {3, 4}:
            yield path, value
        else:
            raise ContentError(format_path(path), "a value belongs to a resource or resource instance")


def _key(key: object, above: Path) -> Path:
    elements = key if isinstance(key, tuple) else (key,)
    if not elements or not all(type(element) is int and 0 <= element <= ID_MAX for element in elements):
        raise ContentError(f"{format_path(above)} key", f"must be an id of 0..{ID_MAX} or an array of them")
    return elements


def encode_lwm2m_cbor(values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values that fit their resources as nested maps. Raises ContentError."""
    tree: _Tree = {}
    for key, value in values.items():
        branch = tree
        for element in key[:-1]:
            inner = branch.setdefault(element, {})
            if not isinstance(inner, dict):
                raise ContentError(format_path(key), "a value and its instances cannot stand together")
            branch = inner
        if isinstance(branch.get(key[-1]), dict):
            raise ContentError(format_path(key), "a value and its instances cannot stand together")
        branch[key[-1]] = str(value) if isinstance(value, ObjectLink) else value
    return cbor.dump(tree, path)
