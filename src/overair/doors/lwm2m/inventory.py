"""What is read of a device, and what its answers say of its record (spec device-record.md, sections 3 and 5).

Both pure: :func:`plan` names the paths from the object list that the device registered;
:func:`report` turns the values of all paths that could be read into one
:class:`~overair.devices.model.Report`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from overair.devices.model import Report
from overair.devices.rules import normalise_mdn
from overair.protocols.lwm2m import ObjectLink, ObjectList, Path, Value

DEVICE, FIRMWARE_UPDATE, SOFTWARE, COMPONENT, PORTFOLIO = 3, 5, 9, 14, 16
ADVANCED_FIRMWARE = 33629
HOST_DEVICE, HOST_INFO, CONNECTIVITY_EXTENSION, POWERUP_LOG = 10299, 10241, 10308, 3351

FIRMWARE_VERSION: Path = (DEVICE, 0, 3)

# Whole objects, so that one message brings all instances: every message costs a device battery.
_OBJECTS_READ = (
    SOFTWARE,
    COMPONENT,
    ADVANCED_FIRMWARE,
    HOST_DEVICE,
    HOST_INFO,
    PORTFOLIO,
    CONNECTIVITY_EXTENSION,
    POWERUP_LOG,
)
# Some clients answer for single resources only: these are read one by one where the instance is refused.
SINGLE_RESOURCES: dict[Path, tuple[Path, ...]] = {
    (DEVICE, 0): ((DEVICE, 0, 0), (DEVICE, 0, 1), FIRMWARE_VERSION, (DEVICE, 0, 19)),
    (FIRMWARE_UPDATE, 0): ((FIRMWARE_UPDATE, 0, 3), (FIRMWARE_UPDATE, 0, 9)),
}
_SOFTWARE_OBJECTS = (SOFTWARE, COMPONENT, ADVANCED_FIRMWARE, HOST_DEVICE, HOST_INFO)

_INSTALLED = 4  # /9/x/7
_MAIN_COMPONENTS = ("application", "main")

_Candidate = tuple[int, int | None, tuple[int, ...]]
"""Object, instance (None: whichever has it), and the rest of a resource's path."""

_MDN: tuple[_Candidate, ...] = ((CONNECTIVITY_EXTENSION, None, (3,)), (POWERUP_LOG, None, (4,)))

_Entry = tuple[str, str, int | None]


def plan(objects: ObjectList) -> list[Path]:
    """Return the paths of a full refresh, the device's own description first."""
    paths: list[Path] = [(DEVICE, 0)]
    if objects.has(FIRMWARE_UPDATE):
        paths.append((FIRMWARE_UPDATE, 0))
    return paths + [(number,) for number in _OBJECTS_READ if objects.instances_of(number)]


def report(
    values: Mapping[Path, Value],
    objects: ObjectList,
    *,
    read: Collection[Path],
    refused: Collection[Path] = (),
) -> Report:
    """Return what the device said.

    *read* holds the planned paths that were answered, *refused* those that access control forbids.
    """
    wanted = [(number,) for number in _SOFTWARE_OBJECTS if objects.instances_of(number)]
    # A device that did not say which objects it has may have software that was not asked for.
    complete = bool(objects.objects) and (DEVICE, 0) in read and all(path in read for path in wanted)
    software = _software(values)
    return Report(
        source="LWM2M",
        mdn=_mdn(values),
        make=_text(values.get((DEVICE, 0, 0))),
        model=_text(values.get((DEVICE, 0, 1))),
        firmware=_firmware(values),
        firmware_capable=_capable(objects, read, refused),
        software=tuple(software) if software or complete else None,
        software_complete=complete,
        attributes=tuple(_attributes(values)),
        refreshed=(DEVICE, 0) in read,
        inventory=(DEVICE, 0) in read,
    )


def firmware_report(values: Mapping[Path, Value], *, refreshed: bool) -> Report:
    """Return what a Read of the firmware version alone said; a refresh only if an owner asked for it."""
    return Report("LWM2M", firmware=_firmware(values), refreshed=refreshed)


def partial_report(values: Mapping[Path, Value]) -> Report:
    """Return what a notification or a Send said: some values, never all."""
    # Which component is the firmware shows only beside its siblings and /3/0/3: left to the next inventory.
    values = {path: value for path, value in values.items() if path[0] != ADVANCED_FIRMWARE}
    software = _software(values)
    return Report(
        source="LWM2M",
        mdn=_mdn(values),
        make=_text(values.get((DEVICE, 0, 0))),
        model=_text(values.get((DEVICE, 0, 1))),
        firmware=_firmware(values),
        software=tuple(software) or None,
        attributes=tuple(_attributes(values)),
        refreshed=False,
    )


def _capable(objects: ObjectList, read: Collection[Path], refused: Collection[Path]) -> bool | None:
    """Return whether the device takes firmware (section 4.3); None while that is not known."""
    path = (FIRMWARE_UPDATE, 0)
    if objects.has(ADVANCED_FIRMWARE):
        return True
    if not objects.has(FIRMWARE_UPDATE):
        return False if objects.objects else None
    if path in refused:
        return False
    return True if path in read else None


def _firmware(values: Mapping[Path, Value]) -> str | None:
    own = _text(values.get(FIRMWARE_VERSION))
    if own:
        return own
    main = _main_component(values)
    return None if main is None else _component_text(values, main, 15)


def _main_component(values: Mapping[Path, Value]) -> int | None:
    """Return the instance of object 33629 that is the firmware: the one so named, else instance 0."""
    instances = _instances(values, ADVANCED_FIRMWARE)
    for instance in instances:
        if (_component_text(values, instance, 14) or "").lower() in _MAIN_COMPONENTS:
            return instance
    return instances[0] if instances else None


def _component_text(values: Mapping[Path, Value], instance: int, resource: int) -> str | None:
    return _text_at(values, (ADVANCED_FIRMWARE, instance, resource))


def _software(values: Mapping[Path, Value]) -> list[_Entry]:
    """Return the entries of ``softwareList`` that the device's answers hold (section 3.3)."""
    entries: dict[str, _Entry] = {}
    for name, version, time_ms in [*_packages(values), *_components(values), *_host(values)]:
        entries.setdefault(name, (name, version, time_ms))
    own = _text(values.get((DEVICE, 0, 19)))
    if own and all(version != own for _, version, _ in entries.values()):
        entries.setdefault("software", ("software", own, None))
    return list(entries.values())


def _packages(values: Mapping[Path, Value]) -> Iterable[_Entry]:
    for instance in _instances(values, SOFTWARE):
        if values.get((SOFTWARE, instance, 7)) != _INSTALLED:
            continue
        linked = _linked_components(values, instance)
        if linked:
            yield from linked
            continue
        name = _text(values.get((SOFTWARE, instance, 0)))
        if name:
            yield name, _text(values.get((SOFTWARE, instance, 1))) or "", None


def _linked_components(values: Mapping[Path, Value], package: int) -> list[_Entry]:
    """Return object 14's entries that a package consists of; they stand instead of the package."""
    prefix = (SOFTWARE, package, 17)
    found: list[_Entry] = []
    for path, link in values.items():
        if path[:3] == prefix and isinstance(link, ObjectLink) and link.object_id == COMPONENT:
            instance = link.instance_id
            name = _text(values.get((COMPONENT, instance, 0)))
            if name:
                found.append((name, _text(values.get((COMPONENT, instance, 2))) or "", None))
    return found


def _components(values: Mapping[Path, Value]) -> Iterable[_Entry]:
    main = _main_component(values)
    for instance in _instances(values, ADVANCED_FIRMWARE):
        name = _component_text(values, instance, 14)
        if instance != main and name:
            yield name, _component_text(values, instance, 15) or "", None


def _host(values: Mapping[Path, Value]) -> Iterable[_Entry]:
    """Return what runs on the host behind the modem."""
    version = _text(values.get((HOST_DEVICE, 0, 4))) or _text(values.get((HOST_DEVICE, 0, 3)))
    if version:
        name = _text(values.get((HOST_DEVICE, 0, 1))) or "host"
        yield name, version, host_time_ms(_text(values.get((HOST_DEVICE, 0, 6))))
    for instance in _instances(values, HOST_INFO):
        version = _text_at(values, (HOST_INFO, instance, 5908))
        if version:
            yield _text_at(values, (HOST_INFO, instance, 5906)) or "host", version, None


def host_time_ms(text: str | None) -> int | None:
    """Read ``MM:DD:YYYY HH:MM:SS`` UTC of /10299/0/6; None for anything else."""
    if text is None or not re.fullmatch(r"\d\d:\d\d:\d{4} \d\d:\d\d:\d\d", text):
        return None
    try:
        moment = datetime.strptime(text, "%m:%d:%Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp() * 1000)


def _mdn(values: Mapping[Path, Value]) -> str | None:
    """Return the first number; a SIM without one says ``zero``, and another place may still have it."""
    return next(filter(normalise_mdn, _texts(values, _MDN)), None)


def _attributes(values: Mapping[Path, Value]) -> Iterable[tuple[str, str]]:
    for name, candidates in _ATTRIBUTES:
        text = next(iter(_texts(values, candidates)), None)
        if text:
            yield name, text


_ATTRIBUTES: tuple[tuple[str, tuple[_Candidate, ...]], ...] = (
    ("serial", ((DEVICE, 0, (2,)),)),
    ("hardware_version", ((DEVICE, 0, (18,)),)),
    ("host_make", ((HOST_DEVICE, 0, (0,)), (HOST_INFO, None, (5905,)), (PORTFOLIO, None, (0, 1)))),
    ("host_model", ((HOST_DEVICE, 0, (1,)), (HOST_INFO, None, (5906,)), (PORTFOLIO, None, (0, 2)))),
    ("host_id", ((HOST_DEVICE, 0, (2,)), (HOST_INFO, None, (5907,)), (PORTFOLIO, None, (0, 0)))),
    ("iccid", ((CONNECTIVITY_EXTENSION, None, (1,)),)),
    ("imsi", ((CONNECTIVITY_EXTENSION, None, (2,)), (POWERUP_LOG, None, (3,)))),
    ("reported_imei", ((POWERUP_LOG, None, (2,)),)),
)


def _texts(values: Mapping[Path, Value], candidates: Iterable[_Candidate]) -> Iterable[str]:
    """Return the texts among resources, best first."""
    for number, instance, rest in candidates:
        for each in [instance] if instance is not None else _instances(values, number):
            if text := _text_at(values, (number, each, *rest)):
                yield text


def _instances(values: Mapping[Path, Value], number: int) -> list[int]:
    return sorted({path[1] for path in values if len(path) > 1 and path[0] == number})


def _text_at(values: Mapping[Path, Value], path: Path) -> str | None:
    """Return the text of a resource, which may come as a single or as a multiple one."""
    return _text(values.get(path)) or _text(values.get((*path, 0)))


def _text(value: Value | None) -> str | None:
    """Return a string value without what devices put around it; None for other types."""
    return value.strip("\x00 \t\r\n") or None if isinstance(value, str) else None
