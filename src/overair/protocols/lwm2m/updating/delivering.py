"""The rules of *deliver* and *downloading*: the image, or its address, and what the device makes of it.

Source: spec lwm2m.md 8.4 to 8.6 (states 5 and 6), 9, 13.2.
"""

from typing import Final

from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.case import Case, first, read_shown
from overair.protocols.lwm2m.updating.delivery import choices
from overair.protocols.lwm2m.updating.layout import FIRMWARE_UPDATE, LAYOUTS, Condition
from overair.protocols.lwm2m.updating.model import Reply, Watch
from overair.protocols.lwm2m.updating.preparing import watching
from overair.protocols.lwm2m.updating.results import LOST, TROUBLE, Detail, rule_of
from overair.protocols.lwm2m.updating.states import Event
from overair.protocols.lwm2m.updating.steps import Means, Push, Step, WriteUri

UNANSWERED_MAX: Final = 5
BREAKS_MAX: Final = 3
EARLY_POLLS: Final = 50
EARLY_PAUSE_MS: Final = 10_000
LATE_PAUSE_MS: Final = 300_000
SHOWN_AFTER_MS: Final = 60_000
OBSERVED_PAUSE_MS: Final = 1_800_000
"""A device that reports by itself is asked now and then all the same: a notification may be lost."""

_AHEAD: Final = (Condition.UPDATING, Condition.INSTALLED)


def deliver(case: Case) -> Event | Step:
    """Give the device the image's address, or the image, while the owner lets it have it."""
    if case.job.acted:
        return _pushed(case) if case.job.means is Means.PUSH else _written(case)
    # A device that installs what it has downloaded may download only when it may install.
    if not case.allowed.deliver or (case.is_automatic and not case.allowed.install):
        return case.wait()
    if not case.allowed.awake:
        return case.wait()
    if not case.is_fresh or case.now - case.seen.at_ms >= case.policy.timers.stale_read_ms:
        case.change(turn=case.job.turn + 1)
        return Event.WAITED
    return _send(case)


def _send(case: Case) -> Step:
    """Deliver by the best means that the device was not found to lack."""
    protocols: tuple[int, ...] = ()
    delivery = None
    source = _capability_paths(case)
    if source is not None:
        if (step := case.need(*source)) is not None:
            return step
        protocols = case.numbers(source[0])
        # Object 9 does not say how it takes a package: what it refuses says it.
        delivery = case.number(source[1]) if case.layout.delivery is not None else None
    agreed = choices(protocols, delivery, case.allowed, case.policy)
    left = [means for means in agreed if means not in case.job.tried]
    if not left:
        return case.fail(rule_of(case.job.refusal).detail if case.job.refusal else Detail.PROTOCOL)
    return _send_by(case, left[0])


def _capability_paths(case: Case) -> tuple[Path, Path] | None:
    """Where protocols and delivery method are: for software at object 5, if the device has that."""
    place, layout = case.job.place, case.layout
    if layout.protocols is None:
        firmware = case.seen.objects.instances_of(FIRMWARE_UPDATE)
        if not firmware:
            return None
        place, layout = (FIRMWARE_UPDATE, firmware[0]), LAYOUTS[FIRMWARE_UPDATE]
    protocols: Path = (*place, layout.protocols or 0)
    delivery: Path = (*place, layout.delivery or 0)
    return protocols, delivery


def _send_by(case: Case, means: Means) -> Step:
    if means is Means.PUSH:
        size = case.job.block_size or case.policy.block_size
        return case.act(Push(case.at(case.layout.package), size, resume=False), means=means, bytes_sent=0)
    return case.act(WriteUri(case.at(case.layout.uri), means, case.job.short_uri), means=means)


def _written(case: Case) -> Event | Step:
    """What became of a written URL; where no answer came, what the device shows of it."""
    return first(case, _settled, _read_back, _begun, _result_shown, _felt_nothing, _uri_refused)


def _settled(case: Case) -> Event | Step | None:
    """What the answer alone decides."""
    if case.job.reply is Reply.DONE:
        return Event.STARTED
    return case.fail(Detail.FORBIDDEN) if case.job.reply is Reply.FORBIDDEN else None


def _read_back(case: Case) -> Step | None:
    uri = (case.at(case.layout.uri),) if case.layout.readable_uri else ()
    return case.need(*case.shown, *uri)


def _begun(case: Case) -> Event | Step | None:
    if case.condition not in (Condition.DOWNLOADING, Condition.DOWNLOADED, *_AHEAD):
        return None
    ours = case.job.reply in (None, Reply.SILENT) or _has_token(case)
    return Event.STARTED if ours else _broken(case)


def _result_shown(case: Case) -> Step | None:
    return case.failed_by(case.result) if case.is_failure(case.result) else None


def _felt_nothing(case: Case) -> Event | Step | None:
    """An idle device that has not our URL felt nothing of a request that it did not answer."""
    if case.job.reply not in (None, Reply.SILENT):
        return None
    return Event.STARTED if _has_token(case) else _write_again(case)


def _uri_refused(case: Case) -> Step:
    if case.job.reply is Reply.TROUBLE:
        return case.failed_by(TROUBLE)
    return _without(case, case.job.means, 7)


def _has_token(case: Case) -> bool:
    """Whether the URL that the device shows is the one it was to get."""
    return case.layout.readable_uri and case.job.token in (case.text(case.at(case.layout.uri)) or "")


def _write_again(case: Case) -> Step:
    if case.job.unanswered >= UNANSWERED_MAX:
        return case.failed_by(LOST)
    if not case.allowed.deliver or case.job.means is None:
        return case.wait()
    return _send_by(case, case.job.means)


def _without(case: Case, means: Means | None, refusal: int) -> Step:
    """Go on by the next means; if none is left, the refusal is why the update fails."""
    case.change(tried=(*case.job.tried, *([means] if means else [])), refusal=refusal)
    case.change(acted=False, reply=None, means=None)
    if not case.allowed.deliver:
        return case.wait()
    return _send(case)


def _broken(case: Case) -> Event | Step:
    """The device is in mid-transfer and does not go on: begin anew with a reset, a few times."""
    if case.job.breaks >= BREAKS_MAX:
        return case.failed_by(LOST)
    case.change(breaks=case.job.breaks + 1, resets=0, unanswered=0)
    return Event.BROKEN


def _pushed(case: Case) -> Event | Step:
    """What became of a push; while it is running, or may be resumed, it goes on."""
    return first(case, _settled, _arrived, _go_on_pushing, read_shown, _push_failed, _push_refused)


def _arrived(case: Case) -> Event | None:
    """The state may come before the answer, or instead of it."""
    return Event.STARTED if case.condition in (Condition.DOWNLOADED, *_AHEAD) else None


def _push_failed(case: Case) -> Step | None:
    failed = case.condition is Condition.IDLE and case.is_failure(case.result)
    return case.failed_by(case.result) if failed else None


def _push_refused(case: Case) -> Event | Step:
    reply = case.job.reply
    if reply is Reply.TOO_LARGE:
        return _without(case, Means.PUSH, 2)
    if reply is Reply.TROUBLE:
        return case.failed_by(TROUBLE)
    if reply is Reply.REFUSED and case.condition is Condition.IDLE:
        return _without(case, Means.PUSH, 9)
    return _broken(case)


def _go_on_pushing(case: Case) -> Step | None:
    job = case.job
    if job.reply not in (None, Reply.SILENT):
        return None
    if not case.allowed.awake:
        return case.wait()
    if job.unanswered >= UNANSWERED_MAX:
        return case.failed_by(LOST)
    size = job.block_size or case.policy.block_size
    case.change(reply=None)
    return Push(case.at(case.layout.package), size, resume=True)


def downloading(case: Case) -> Event | Step:
    """Wait for the image to be on the device."""
    return first(case, _download_late, watching, _download_shows, _not_begun, _going_on)


def _download_late(case: Case) -> Step | None:
    if case.now < case.hard_ms:
        return None
    return case.fail(Detail.CONNECTION if _is_active(case) else Detail.NO_RESPONSE)


def _is_active(case: Case) -> bool:
    return case.job.active or case.job.progress_ms > 0


def _not_begun(case: Case) -> Step | None:
    if _is_active(case):
        return None
    first_ms = case.job.entered_ms + case.policy.timers.first_activity_ms
    if case.is_over(first_ms):
        return case.fail(Detail.NO_RESPONSE)
    return case.watch(case.shown, _pause(case), first_ms)


def _going_on(case: Case) -> Step:
    """A device that fetches from our file server is to come back to it; others only have the whole time."""
    progress_ms = case.job.progress_ms
    stalled = progress_ms + case.policy.timers.no_progress_ms if progress_ms else case.hard_ms
    if case.is_over(stalled):
        return case.failed_by(LOST)
    return case.watch(case.shown, _pause(case), stalled)


def _pause(case: Case) -> int:
    """How long until the state is read again (section 8.6); the first time comes as late as the second."""
    observed = case.job.watch is Watch.OBSERVED
    pause = OBSERVED_PAUSE_MS if observed else LATE_PAUSE_MS
    if not observed and case.job.polls < EARLY_POLLS:
        pause = EARLY_PAUSE_MS
    if not case.job.poll_at_ms:
        case.change(poll_at_ms=max(case.now, case.job.entered_ms + EARLY_PAUSE_MS))
    return pause


def _download_shows(case: Case) -> Event | Step | None:
    """What the state says of the download; None if it is still to come, or going on."""
    if not case.has(*case.shown):
        return None
    condition = case.condition
    if condition is Condition.DOWNLOADED:
        case.change(downloaded=True)
        return Event.ARRIVED
    if condition in _AHEAD:
        case.change(executed_ms=case.now)
        return Event.ITSELF
    if condition is Condition.DOWNLOADING:
        case.change(active=True)
    return _idle_again(case) if condition is Condition.IDLE else None


def _idle_again(case: Case) -> Event | Step | None:
    """Not begun; or it failed, gave up, or installed by itself."""
    job, result = case.job, case.result
    if case.is_failure(result):
        return case.failed_by(result)
    if not _is_active(case) and (result != 1 or job.stale == 1):
        return None
    if (step := case.need(*case.version_paths)) is not None:
        return step
    if case.has_target or (result == 1 and case.is_automatic):
        case.change(executed_ms=case.now)
        return Event.ITSELF
    # A download shows at the file server before it shows in the state.
    just_begun = not job.active and case.now - job.progress_ms < SHOWN_AFTER_MS
    return case.failed_by(LOST) if _is_active(case) and not just_begun else None
