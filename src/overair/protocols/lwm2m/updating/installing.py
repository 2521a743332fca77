"""The rules from *downloaded* to the end: the command to install, the reboot, what the device has afterwards.

Source: spec lwm2m.md 8.4, 8.6 (states 7 to 10), 8.7, 8.8, 9.
"""

from typing import Final

from overair.protocols.lwm2m.arguments import Argument
from overair.protocols.lwm2m.links import ObjectList
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.case import Case, first, read_shown
from overair.protocols.lwm2m.updating.delivery import reset_ways
from overair.protocols.lwm2m.updating.layout import ADVANCED_FIRMWARE, Condition
from overair.protocols.lwm2m.updating.model import Reply
from overair.protocols.lwm2m.updating.preparing import BUSY_PAUSE_MS, SHORT_PAUSE_MS
from overair.protocols.lwm2m.updating.results import DEFERRED_RESULT, LOST, TROUBLE, Detail, rule_of
from overair.protocols.lwm2m.updating.states import Event
from overair.protocols.lwm2m.updating.steps import Cancelled, Execute, Purpose, Reset, Step, Via
from overair.protocols.lwm2m.updating.versions import Evidence, judge
from overair.protocols.lwm2m.versions import parse_version

EXECUTES_MAX: Final = 3
_AHEAD: Final = (Condition.UPDATING, Condition.INSTALLED)
_ONLY_THIS: Final[tuple[Argument, ...]] = ((0, None),)


def downloaded(case: Case) -> Event | Step:
    """The image is on the device: wait for the time to install it."""
    if case.is_fresh and case.condition in _AHEAD:
        case.change(executed_ms=case.now)
        return Event.ITSELF
    if case.is_fresh and case.condition is Condition.IDLE:
        return Event.WINDOW  # it is not there any more: read again, and see why
    if not case.allowed.install or not case.allowed.awake:
        return case.wait()
    return Event.WINDOW


def execute(case: Case) -> Event | Step:
    """Tell the device to install, once it was seen, just now, to have the image."""
    return first(case, _commanded, _look_again, read_shown, _has_image, _is_ahead, _image_gone)


def _commanded(case: Case) -> Event | Step | None:
    """What became of the command, as far as its answer says."""
    job = case.job
    if not job.acted:
        return None
    if job.reply is Reply.DONE:
        return Event.EXECUTED
    return case.fail(Detail.FORBIDDEN) if job.reply is Reply.FORBIDDEN else _gone(case)


def _look_again(case: Case) -> None:
    """What was seen while waiting for the window may be hours old."""
    job = case.job
    old = not job.polls or case.now - case.seen.at_ms >= case.policy.timers.stale_read_ms
    if not job.acted and case.is_fresh and old:
        case.change(polls=1, turn=job.turn + 1)


def _has_image(case: Case) -> Event | Step | None:
    return _execute_now(case) if case.condition is Condition.DOWNLOADED else None


def _is_ahead(case: Case) -> Event | None:
    if case.condition not in _AHEAD:
        return None
    case.change(executed_ms=case.job.executed_ms or case.now)
    return Event.EXECUTED


def _execute_now(case: Case) -> Event | Step:
    if case.job.acted and (felt := _command_felt(case)) is not None:
        return felt
    job = case.job
    if job.executes >= EXECUTES_MAX:
        return case.fail(Detail.UPDATE)
    if not case.allowed.install:
        return case.wait()
    step = Execute(case.at(case.layout.update), Purpose.INSTALL, _arguments(case))
    case.change(stale=case.result, active=False, downloaded=True)
    return case.act(step, executed_ms=case.now, executes=job.executes + 1)


def _command_felt(case: Case) -> Event | Step | None:
    """What a device that still, or again, has the image made of the command; None: nothing."""
    job, result = case.job, case.result
    if result == DEFERRED_RESULT:
        return Event.EXECUTED
    if case.is_failure(result):
        return case.failed_by(result)
    if job.reply is Reply.TROUBLE:
        return case.failed_by(TROUBLE)
    if job.reply is Reply.REFUSED and _arguments(case):
        case.change(plain=True)
    return None


def _arguments(case: Case) -> tuple[Argument, ...]:
    """Of object 33629 without any, the device would take linked components with it (section 8.9)."""
    if case.job.plain:
        return ()
    if case.policy.execute_args is not None:
        return case.policy.execute_args
    return _ONLY_THIS if case.job.place[0] == ADVANCED_FIRMWARE else ()


def _image_gone(case: Case) -> Event | Step:
    """Idle instead of downloaded: it was installed, or lost, or the command was felt without an answer."""
    job = case.job
    if (step := case.need(*case.version_paths)) is not None:
        return step
    idle = case.condition is Condition.IDLE
    if case.has_target or (idle and job.acted and job.reply in (None, Reply.SILENT)):
        case.change(executed_ms=job.executed_ms or case.now)
        return Event.EXECUTED
    return case.failed_by(case.result if idle and case.is_failure(case.result) else LOST)


def _gone(case: Case) -> Step | None:
    """The end of a job whose device stays away after it was told to install."""
    return case.fail(Detail.NO_RESPONSE) if case.now >= case.hard_ms else None


def installing(case: Case) -> Event | Step:
    """The device installs, and mostly reboots: silence is what is expected."""
    return first(case, _gone, _install_shows, _install_goes_on)


def _install_limit(case: Case) -> int:
    return max(case.job.executed_ms + case.policy.timers.install_ms, case.job.deferred_until_ms)


def _install_goes_on(case: Case) -> Step:
    limit = _install_limit(case)
    if case.is_over(limit):
        return case.fail(Detail.NO_RESPONSE)
    if not (case.job.polls or case.job.poll_at_ms or case.job.returned):
        case.change(poll_at_ms=case.now + BUSY_PAUSE_MS)
    return case.watch(case.shown, BUSY_PAUSE_MS, limit)


_AFTER_INSTALLING: Final = {Condition.IDLE: Event.RETURNED, Condition.INSTALLED: Event.INSTALLED}


def _install_shows(case: Case) -> Event | Step | None:
    if not case.has(*case.shown):
        return None
    condition = case.condition
    if condition is Condition.UPDATING and not case.job.left:
        # Only now has a deferred installation begun.
        case.change(left=True, stale=0, executed_ms=case.now, deferred_until_ms=0)
    if condition is Condition.DOWNLOADED:
        return _not_installed(case)
    return None if condition is None else _AFTER_INSTALLING.get(condition)


def _not_installed(case: Case) -> Step | None:
    """It still has the image, or has it again."""
    if case.result == DEFERRED_RESULT:
        return _deferred(case)
    if case.is_failure(case.result):
        return case.failed_by(case.result)
    if not case.is_over(_install_limit(case)):
        return None
    # Told, and nothing came of it; an old result may at least say why.
    return case.fail(rule_of(case.job.stale).detail if case.job.stale else Detail.UPDATE)


def _deferred(case: Case) -> Step | None:
    """Its user puts it off: as long as it lets him, and some more."""
    resource, timers, job = case.layout.defer_period, case.policy.timers, case.job
    if not job.deferred_until_ms:
        period = None
        if resource is not None:
            if (step := case.need(case.at(resource))) is not None:
                return step
            period = case.number(case.at(resource))
        longest = timers.deferral_ms if period is None else max(period, 0) * 1000
        until = min(job.executed_ms + longest + timers.defer_margin_ms, job.deadline_ms)
        case.change(deferred_until_ms=until)
    if case.is_over(case.job.deferred_until_ms):
        return case.fail(Detail.DEFERRED)
    return None


def activate(case: Case) -> Event | Step:
    """Let installed software run."""
    if not case.job.executed_ms:
        case.change(executed_ms=case.now)
    if not case.job.acted:
        case.change(executes=0)
    return first(case, _gone, _read_activation, _is_active, _give_time, _may_go_on, _activate_now)


def _read_activation(case: Case) -> Step | None:
    return case.need(*case.shown, _activation(case))


def _activation(case: Case) -> Path:
    return case.at(case.layout.activation or 0)


def _is_active(case: Case) -> Event | None:
    return Event.ACTIVE if case.flag(_activation(case)) else None


def _give_time(case: Case) -> Step | None:
    """A command that was taken may need a moment to show."""
    job = case.job
    limit = job.acted_ms + case.policy.timers.reset_ms
    if not job.acted or job.reply is not Reply.DONE or case.is_over(limit):
        return None
    return case.watch((*case.shown, _activation(case)), SHORT_PAUSE_MS, limit)


def _may_go_on(case: Case) -> Step | None:
    job = case.job
    if job.executes >= EXECUTES_MAX or (job.acted and job.reply is Reply.FORBIDDEN):
        return case.fail(Detail.UPDATE)
    return None if case.allowed.install else case.wait()


def _activate_now(case: Case) -> Step:
    step = Execute(case.at(case.layout.activate or 0), Purpose.ACTIVATE)
    return case.act(step, executes=case.job.executes + 1)


def verify(case: Case) -> Event | Step:
    """Ask for the version that runs, and judge by it."""
    return first(case, _gone, _read_version, _judge)


def _read_version(case: Case) -> Event | Step | None:
    if (step := case.need(*case.version_paths, *case.shown)) is not None:
        return step
    return Event.BUSY if case.condition is Condition.UPDATING and not case.has_target else None


def _judge(case: Case) -> Step:
    job, policy = case.job, case.policy
    evidence = Evidence(
        version=case.version,
        result=case.result,
        idle=case.condition is Condition.IDLE,
        returned=job.returned,
        trusted=case.trusted if policy.trust_result else None,
    )
    previous = job.previous or case.target.version_from
    verdict = judge(evidence, target=case.target.version_to, previous=previous, pattern=policy.version_regex)
    if verdict.success:
        return case.succeed(verdict.remark)
    if verdict.failure is not None:
        return case.fail(verdict.failure)
    if verdict.result:
        return case.failed_by(verdict.result)
    return _once_more(case, verdict.detail or Detail.UNCHANGED)


def _once_more(case: Case, detail: Detail) -> Step:
    """Give a device that claims success one more registration, or half an hour, to show it."""
    if not case.job.unchanged_ms:
        case.change(unchanged_ms=case.now)
    limit = case.job.unchanged_ms + case.policy.timers.unchanged_ms
    if case.job.again or case.is_over(limit):
        return case.fail(detail)
    paths = (*case.version_paths, *case.shown)
    return case.watch(paths, BUSY_PAUSE_MS, limit)


def remove(case: Case) -> Event | Step:
    """Take software off: deactivate it, uninstall it (section 9)."""
    return first(case, _read_activation, _is_removed, _give_time, _may_go_on, _remove_now)


def _is_removed(case: Case) -> Step | None:
    return None if case.condition is Condition.INSTALLED else case.succeed()


def _remove_now(case: Case) -> Step:
    if case.flag(_activation(case)) and not case.job.resets:
        return case.act(Execute(case.at(case.layout.deactivate or 0), Purpose.DEACTIVATE), resets=1)
    step = Execute(case.at(case.layout.uninstall or 0), Purpose.UNINSTALL)
    return case.act(step, executes=case.job.executes + 1)


def cancelling(case: Case) -> Event | Step:
    """Take back what was delivered; a device that can't be brought to it is left as it is (section 8.8)."""
    job = case.job
    if (step := case.need(*case.shown)) is not None:
        return step
    if case.condition in _AHEAD:
        case.change(executed_ms=case.now)
        return Event.ITSELF
    steps = _cancel_steps(case)
    limit = job.acted_ms + case.policy.timers.reset_ms
    waiting = job.acted and job.reply in (None, Reply.DONE, Reply.SILENT) and not case.is_over(limit)
    if case.condition is Condition.IDLE or (job.resets >= len(steps) and not waiting):
        return case.ending(Event.DROP, Cancelled())
    if waiting:
        return case.watch(case.shown, SHORT_PAUSE_MS, limit)
    return case.act(steps[job.resets], resets=job.resets + 1)


def _cancel_steps(case: Case) -> list[Execute | Reset]:
    layout, objects = case.layout, case.seen.objects
    if layout.uninstall is not None:
        return [Execute(case.at(layout.uninstall), Purpose.UNINSTALL)]
    resources = {Via.URI: layout.uri, Via.PACKAGE: layout.package}
    ways = reset_ways(case.number(case.at(layout.delivery or 0)), case.policy)
    resets: list[Execute | Reset] = [Reset(case.at(resources[via]), via) for via in ways]
    if layout.cancel is not None and _can_cancel(case.job.place[0], objects):
        return [Execute(case.at(layout.cancel), Purpose.CANCEL), *resets]
    return resets


def _can_cancel(object_id: int, objects: ObjectList) -> bool:
    """Object 5 has Cancel since its version 1.1, object 33629 always."""
    version = parse_version(objects.version_of(object_id)) or (1, 0)
    return object_id == ADVANCED_FIRMWARE or version >= (1, 1)
