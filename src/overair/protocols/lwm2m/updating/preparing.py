"""The rules from *queued* to *observe*: find the object to use, see what the device has, make it idle.

Source: spec lwm2m.md 8.3, 8.6 (states 1 to 4), 8.9 (which instance), 9 (software).
"""

from typing import Final

from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.case import MAIN_COMPONENTS, Case, first
from overair.protocols.lwm2m.updating.delivery import reset_ways
from overair.protocols.lwm2m.updating.layout import (
    ADVANCED_FIRMWARE,
    FIRMWARE_UPDATE,
    LAYOUTS,
    PACKAGE_NAME,
    SOFTWARE_MANAGEMENT,
    Condition,
    condition_of,
)
from overair.protocols.lwm2m.updating.model import Kind, Reply, Watch
from overair.protocols.lwm2m.updating.results import UNREADABLE, Detail, Remark
from overair.protocols.lwm2m.updating.states import Event
from overair.protocols.lwm2m.updating.steps import (
    Create,
    Execute,
    Observe,
    Purpose,
    Reset,
    Step,
    Via,
)

SHORT_PAUSE_MS: Final = 5_000
BUSY_PAUSE_MS: Final = 300_000
OBSERVE_TRIES: Final = 2
CREATE_TRIES: Final = 3


def queued(case: Case) -> Event | Step:
    """Wait for the device, and for the time of the next attempt."""
    if case.now < case.job.not_before_ms:
        return case.wait(case.job.not_before_ms)
    return Event.AWAKE if case.allowed.awake else case.wait()


def prepare(case: Case) -> Event | Step:
    """See what the device has, and whether it needs anything."""
    if not case.job.place:
        found = _find_place(case)
        if found is not None:
            return found
    if case.job.place[0] == SOFTWARE_MANAGEMENT:
        return _prepare_software(case)
    return _prepare_firmware(case)


def _find_place(case: Case) -> Step | None:
    """Choose the instance to use; None once it is chosen."""
    if case.target.kind is Kind.FIRMWARE:
        return _find_firmware(case)
    return _find_software(case)


def _find_firmware(case: Case) -> Step | None:
    objects = case.seen.objects
    advanced = objects.instances_of(ADVANCED_FIRMWARE)
    if not advanced:
        if objects.objects and not objects.has(FIRMWARE_UPDATE):
            return case.fail(Detail.PROTOCOL)
        plain = objects.instances_of(FIRMWARE_UPDATE)
        case.change(place=(FIRMWARE_UPDATE, plain[0] if plain else 0))
        return None
    wanted = case.target.component
    if len(advanced) > 1 or wanted is not None:
        component = LAYOUTS[ADVANCED_FIRMWARE].component or 0
        names = {each: (ADVANCED_FIRMWARE, each, component) for each in advanced}
        if (step := case.need(*names.values())) is not None:
            return step
        named = {each: (case.text(path) or "").lower() for each, path in names.items()}
        fitting = (wanted.lower(),) if wanted is not None else MAIN_COMPONENTS
        advanced = tuple(each for each in advanced if named[each] in fitting) or (
            () if wanted is not None else advanced
        )
    if not advanced:
        return case.fail(Detail.PACKAGE)
    case.change(place=(ADVANCED_FIRMWARE, advanced[0]))
    return None


def _find_software(case: Case) -> Step | None:
    """The instance of that name, else a free one, else a new one.

    A free one first, so that a Create of which no answer came is not repeated: what it made is free.
    """
    objects = case.seen.objects
    if objects.objects and not objects.has(SOFTWARE_MANAGEMENT):
        return case.fail(Detail.PROTOCOL)
    if (step := case.need((SOFTWARE_MANAGEMENT,))) is not None:
        return step
    named, free = _packages(case)
    if named is None and case.target.kind is Kind.REMOVAL:
        return case.succeed(Remark.ALREADY)
    place = named or free
    if place is None:
        return _create(case)
    case.change(place=place, acted=False)
    return None


def _packages(case: Case) -> tuple[Path | None, Path | None]:
    """The instance that has the package's name, and one that is free."""
    state = LAYOUTS[SOFTWARE_MANAGEMENT].state
    named = free = None
    known = {path[:2] for path in case.seen.values if path[0] == SOFTWARE_MANAGEMENT and len(path) > 2}
    for place in sorted(known):
        name = case.text((*place, PACKAGE_NAME))
        idle = condition_of(SOFTWARE_MANAGEMENT, case.number((*place, state))) is Condition.IDLE
        if name == case.target.name:
            named = named or place
        elif name is None and idle:
            free = free or place
    return named, free


def _create(case: Case) -> Step:
    job = case.job
    unknown = job.reply in (None, Reply.SILENT) and job.unanswered < CREATE_TRIES
    if not job.acted or unknown:
        return case.act(Create(SOFTWARE_MANAGEMENT))
    return case.fail(Detail.FORBIDDEN if job.reply is Reply.FORBIDDEN else Detail.STORAGE)


def _prepare_firmware(case: Case) -> Event | Step:
    layout = case.layout
    wanted = (layout.package_version, layout.protocols, layout.delivery, layout.automatic)
    paths = (*case.version_paths, *case.shown, *(case.at(each) for each in wanted if each is not None))
    if (step := case.need(*paths)) is not None:
        return step
    job, version = case.job, case.version
    if case.has_target:
        return case.succeed(None if job.used else Remark.ALREADY)
    case.change(previous=job.previous or version)
    if (failure := _prerequisite(case)) is not None:
        return failure
    if case.condition is Condition.UPDATING:
        return _while_busy(case, paths)
    if case.condition is Condition.DOWNLOADED and _holds_target(case):
        case.change(kept=False, downloaded=True)
        return Event.KEPT
    case.change(kept=False)
    return _cleanliness(case)


def _prerequisite(case: Case) -> Step | None:
    """An image that starts from another version than the device has is not given to it."""
    wanted, version = case.target.version_from, case.version
    if wanted and version and not case.is_version(version, wanted):
        return case.fail(Detail.PREREQUISITE)
    return None


def _holds_target(case: Case) -> bool:
    """Whether the image that the device has is the one it is to have."""
    package = case.text(case.at(case.layout.package_version))
    return case.job.kept or case.is_version(package, case.target.version_to)


def _while_busy(case: Case, paths: tuple[Path, ...]) -> Step:
    limit = case.job.entered_ms + case.policy.timers.install_ms
    if case.is_over(limit):
        return case.fail(Detail.BUSY)
    return case.watch(paths, BUSY_PAUSE_MS, limit)


def _cleanliness(case: Case) -> Event | Step:
    if case.condition is None:
        return case.failed_by(UNREADABLE)
    clean = case.condition is Condition.IDLE and case.result == 0 and not case.job.others
    return Event.READY if clean else Event.UNCLEAN


def _prepare_software(case: Case) -> Event | Step:
    return first(case, _read_package, _removal, _present, _other_package, _kept_package, _make_room)


def _read_package(case: Case) -> Step | None:
    return case.need(*case.version_paths, *case.shown, case.at(case.layout.activation or 0))


def _removal(case: Case) -> Event | Step | None:
    if case.target.kind is not Kind.REMOVAL:
        return None
    installed = case.condition is Condition.INSTALLED
    return Event.REMOVABLE if installed else case.succeed(Remark.ALREADY)


def _present(case: Case) -> Event | Step | None:
    if not case.has_target:
        return None
    if case.flag(case.at(case.layout.activation or 0)):
        return case.succeed(None if case.job.used else Remark.ALREADY)
    return Event.PRESENT


def _other_package(case: Case) -> Step | None:
    case.change(previous=case.job.previous or case.version)
    return _prerequisite(case)


def _kept_package(case: Case) -> Event | None:
    kept = case.job.kept and case.condition is Condition.DOWNLOADED
    case.change(kept=False, downloaded=kept)
    return Event.KEPT if kept else None


def _make_room(case: Case) -> Event | Step:
    if case.condition is Condition.IDLE:
        case.change(stale=case.result)  # a new URI clears it; nothing else would
        return Event.READY
    return _cleanliness(case)


def reset(case: Case) -> Event | Step:
    """Make the device idle, one way after the other (section 8.3)."""
    job = case.job
    if job.others:
        # Other components that stand in the way; what becomes of it shows in the next result.
        place = (job.place[0], job.others[0])
        return case.act(Reset((*place, case.layout.uri), Via.URI), others=job.others[1:])
    if (step := case.need(*case.shown)) is not None:
        return step
    if case.condition is Condition.IDLE and (case.result == 0 or job.resets):
        case.change(stale=case.result)
        return Event.READY
    if case.condition is Condition.UPDATING:
        return Event.BUSY
    limit = job.acted_ms + case.policy.timers.reset_ms
    if job.resets and job.reply in (None, Reply.DONE, Reply.SILENT) and not case.is_over(limit):
        return case.watch(case.shown, SHORT_PAUSE_MS, limit)
    return _next_reset(case)


def _next_reset(case: Case) -> Step:
    job, layout = case.job, case.layout
    if layout.uninstall is not None:
        # Object 9 has no other way: Uninstall, with 1 where an update of what is installed follows.
        if job.resets:
            return case.fail(Detail.BUSY)
        arguments = ((1, None),) if case.condition is Condition.INSTALLED else ()
        step = Execute(case.at(layout.uninstall), Purpose.UNINSTALL, arguments)
        return case.act(step, resets=1)
    delivery = None if layout.delivery is None else case.number(case.at(layout.delivery))
    ways = reset_ways(delivery, case.policy)
    if case.condition is Condition.IDLE:
        ways = ways[:1] if case.policy.reset_via else (Via.URI,)  # 00 to an idle device may start a download
    if job.resets >= len(ways):
        return case.fail(Detail.BUSY)
    via = ways[job.resets]
    resource = layout.uri if via is Via.URI else layout.package
    return case.act(Reset(case.at(resource), via), resets=job.resets + 1)


def observe(case: Case) -> Event | Step:
    """Have state and result reported, where the device does that."""
    if not case.allowed.awake:
        return case.wait()
    return watching(case) or Event.READY


def watching(case: Case) -> Step | None:
    """What it takes to have the state reported; None if it is, or the device does not, or sleeps."""
    job = case.job
    if not case.policy.observe or job.watch is not Watch.UNKNOWN or not case.allowed.awake:
        return None
    if job.watch_asked >= OBSERVE_TRIES:
        case.change(watch=Watch.POLLED)
        return None
    case.change(watch_asked=job.watch_asked + 1)
    return Observe(case.shown)
