"""The object tree of a device: values by path (spec lwm2m.md 7, 8.1, 9).

What a model has is made once and shared by all its devices; a device keeps only the values in which it
differs. So ten thousand devices cost little more than their differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from overair.protocols.lwm2m.links import ObjectList, format_links
from overair.protocols.lwm2m.objects import resource_at
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.values import Value
from overair.simulator.profile import Host, Identity, Profile, Software

LIFETIME: Final[Path] = (1, 0, 1)
UPDATE_TRIGGER: Final[Path] = (1, 0, 8)
MUTE_SEND: Final[Path] = (1, 0, 23)
FIRMWARE_VERSION: Final[Path] = (3, 0, 3)
REBOOT: Final[Path] = (3, 0, 4)

_SERIAL: Final[Path] = (3, 0, 2)
_HOST_ID: Final[Path] = (10299, 0, 2)
_SUBSCRIBER: Final = 10308
_SOFTWARE: Final = 9
_INSTALLED: Final = 4
_INSTALLED_RESULT: Final = 2

_COMPONENT: Final = 33629
_CANCEL: Final = 10
_OBJECT_VERSIONS: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "1.0": (),
    "1.1": ((1, "1.1"), (3, "1.1"), (5, "1.1")),
    "1.2": ((1, "1.2"), (3, "1.2"), (5, "1.2")),
}


class SharedTree:
    """The tree of a model. Nothing in it changes.

    `leaves` gives, for every object, instance, resource and resource instance there is, the paths of what
    lies at or under it. `links` is the payload of a Register.
    """

    __slots__ = ("leaves", "links", "objects", "values")

    def __init__(self, profile: Profile) -> None:
        self.values: Final = _values(profile)
        leaves: dict[Path, list[Path]] = {(_SOFTWARE,): []}
        for leaf in sorted((*self.values, *_without_value(profile))):
            for depth in range(1, len(leaf) + 1):
                leaves.setdefault(leaf[:depth], []).append(leaf)
        self.leaves: Final = {path: tuple(below) for path, below in leaves.items()}
        self.objects: Final = _objects(profile, self.leaves)
        self.links: Final = format_links(self.objects)


class Tree:
    """The tree of one device."""

    __slots__ = ("_own", "shared")

    def __init__(self, shared: SharedTree, own: Mapping[Path, Value]) -> None:
        self.shared: Final = shared
        self._own = dict(own)

    def leaves(self, path: Path) -> tuple[Path, ...] | None:
        """Return the paths at and under `path`; None if there is no such path."""
        return self.shared.leaves.get(path)

    def value(self, path: Path) -> Value:
        """Return one value. KeyError if there is none."""
        return self._own[path] if path in self._own else self.shared.values[path]

    def read(self, path: Path) -> dict[Path, Value]:
        """Return all readable values at and under `path`, by full path."""
        values = self.shared.values
        below = self.leaves(path) or ()
        return {leaf: self.value(leaf) for leaf in below if leaf in values and has_operation(leaf, "R")}

    def set(self, path: Path, value: Value) -> bool:
        """Change one value that is there; returns whether it is another than before. KeyError if none is."""
        if self.value(path) == value:
            return False
        self._own[path] = value
        return True


def tree_of(identity: Identity) -> Tree:
    """Return the tree of a device as it left the factory."""
    shared = shared_tree(identity.profile)
    own: dict[Path, Value] = {_SERIAL: f"SN{identity.imei[6:14]}"}
    if identity.profile.host is not None:
        own[_HOST_ID] = f"HOST-{identity.imei[8:14]}"
    if identity.profile.has_subscriber:
        # 99901 is the network of nobody: the mobile country code 999 is for internal use.
        own[(_SUBSCRIBER, 0, 1)] = f"8999901{identity.imei[2:14]}"
        own[(_SUBSCRIBER, 0, 2)] = f"99901{identity.imei[4:14]}"
        own[(_SUBSCRIBER, 0, 3)] = identity.mdn
    return Tree(shared, own)


@lru_cache(maxsize=256)
def shared_tree(profile: Profile) -> SharedTree:
    """Return the tree of a model, always the same one."""
    return SharedTree(profile)


def has_operation(path: Path, operation: str) -> bool:
    """Whether the object table allows R, W or E at a path; a resource unknown to it is only read."""
    resource = resource_at(path)
    return operation in (resource.operations if resource is not None else "R")


def _values(profile: Profile) -> dict[Path, Value]:
    values = _server(profile) | _device(profile) | _connectivity()
    if profile.components:
        for instance, component in enumerate(profile.components):
            values |= _component(profile, instance, component)
    else:
        values |= _firmware_update(profile, (5, 0))
        if profile.auto_install:
            values[5, 0, 14] = True
    for instance, package in enumerate(profile.software):
        values |= _software(instance, package)
    for spare in range(profile.spare_software):
        values |= _spare_software(len(profile.software) + spare)
    if profile.host is not None:
        values |= _host(profile.host)
    if profile.has_subscriber:
        values |= {(_SUBSCRIBER, 0, resource): "" for resource in (1, 2, 3)}
    return values


def _server(profile: Profile) -> dict[Path, Value]:
    queued = "Q" if profile.queue_mode and profile.version == "1.0" else ""
    values: dict[Path, Value] = {
        (1, 0, 0): 1,
        LIFETIME: profile.lifetime_seconds,
        (1, 0, 6): True,
        (1, 0, 7): profile.binding[0] + queued + profile.binding[1:],
    }
    if profile.version != "1.0":
        values[MUTE_SEND] = True
    return values


def _device(profile: Profile) -> dict[Path, Value]:
    values: dict[Path, Value] = {
        (3, 0, 0): profile.make,
        (3, 0, 1): profile.model,
        _SERIAL: "",
        FIRMWARE_VERSION: profile.firmware,
        (3, 0, 9): 100,
        (3, 0, 10): 512,
        (3, 0, 11, 0): 0,
        (3, 0, 16): profile.binding,
        (3, 0, 17): "LTE-M module",
        (3, 0, 18): profile.hardware,
    }
    if profile.software:
        values[3, 0, 19] = profile.software[0].version
    return values


def _connectivity() -> dict[Path, Value]:
    return {
        (4, 0, 0): 6,
        (4, 0, 1, 0): 6,
        (4, 0, 2): -92,
        (4, 0, 3): -11,
        (4, 0, 4, 0): "10.0.0.2",
        (4, 0, 7, 0): "iot.example",
        (4, 0, 8): 1_234_567,
    }


def _firmware_update(profile: Profile, base: tuple[int, int]) -> dict[Path, Value]:
    """Object 5 or an instance of 33629, idle: nothing to install."""
    values: dict[Path, Value] = {
        (*base, 1): "",
        (*base, 3): 0,
        (*base, 5): 0,
        (*base, 6): "",
        (*base, 7): "",
        (*base, 9): profile.delivery,
    }
    values |= {(*base, 8, index): number for index, number in enumerate(profile.protocols)}
    if profile.version != "1.0":
        values |= {(*base, 11): 1, (*base, 13): 0}
    return values


def _component(profile: Profile, instance: int, component: Software) -> dict[Path, Value]:
    base = (_COMPONENT, instance)
    return _firmware_update(profile, base) | {(*base, 14): component.name, (*base, 15): component.version}


def _without_value(profile: Profile) -> list[Path]:
    """What is there, but without a value to read."""
    paths: list[Path] = [UPDATE_TRIGGER, REBOOT]
    executable = (0, 2) if profile.version == "1.0" else (0, 2, _CANCEL)
    bases = [(_COMPONENT, instance) for instance, _ in enumerate(profile.components)] or [(5, 0)]
    paths += [(*base, resource) for base in bases for resource in executable]
    for instance in range(len(profile.software) + profile.spare_software):
        paths += [(_SOFTWARE, instance, resource) for resource in (2, 3, 4, 6, 10, 11)]
    return paths


def _software(instance: int, package: Software) -> dict[Path, Value]:
    return {
        (_SOFTWARE, instance, 0): package.name,
        (_SOFTWARE, instance, 1): package.version,
        (_SOFTWARE, instance, 7): _INSTALLED,
        (_SOFTWARE, instance, 9): _INSTALLED_RESULT,
        (_SOFTWARE, instance, 12): True,
    }


def _spare_software(instance: int) -> dict[Path, Value]:
    return {
        (_SOFTWARE, instance, 0): "",
        (_SOFTWARE, instance, 1): "",
        (_SOFTWARE, instance, 7): 0,
        (_SOFTWARE, instance, 9): 0,
        (_SOFTWARE, instance, 12): False,
    }


def _host(host: Host) -> dict[Path, Value]:
    return {
        (10299, 0, 0): host.make,
        (10299, 0, 1): host.model,
        _HOST_ID: "",
        (10299, 0, 3): host.firmware,
        (10299, 0, 4): host.software,
        (10299, 0, 5): "A",
        (10299, 0, 6): "03:02:2026 08:15:11",
    }


def _objects(profile: Profile, leaves: Mapping[Path, tuple[Path, ...]]) -> ObjectList:
    return ObjectList(
        content_formats=() if profile.version == "1.0" else tuple([n for n in profile.formats if n > 42]),
        instances=tuple(sorted([(path[0], path[1]) for path in leaves if len(path) == 2])),
        objects=tuple(sorted([path[0] for path in leaves if len(path) == 1])),
        versions=tuple(
            [each for each in _OBJECT_VERSIONS[profile.version] if each[0] != 5 or not profile.components]
        ),
    )
