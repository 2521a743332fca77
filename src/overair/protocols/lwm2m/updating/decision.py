"""The one function that the driver calls: what is known goes in, the next step comes out.

The driver calls `decide` whenever something was learned of the device (a Register, a notification, the answer
to a step), when a window opens or closes, and when the time has come that a Wait named; never while a step is
under way, but for a push that it has running. Then it

1. stores the job that comes back, if it changed and the step is `felt` or ends something;
2. does the step;
3. folds in what came of it: `learn` for values, `answered` for a felt step, `observed` for Observe; and calls
   `decide` again.

Nothing depends on the driver's memory: after a crash it has the stored job and an empty Seen, and the device
is read again before it is made to feel anything. A step that was stored and not done, or done without an
answer, is found out by what the device shows: it is not repeated unless nothing came of it.
"""

from collections.abc import Callable
from typing import Final

from overair.protocols.lwm2m.updating import delivering, installing, preparing
from overair.protocols.lwm2m.updating.case import Case
from overair.protocols.lwm2m.updating.model import Allowed, Job, Policy, Target
from overair.protocols.lwm2m.updating.results import Detail
from overair.protocols.lwm2m.updating.seen import Seen
from overair.protocols.lwm2m.updating.states import FINAL, Event, Phase, UpdateStateError
from overair.protocols.lwm2m.updating.steps import Cancelled, Step

PASSES_MAX: Final = 20
"""Phases that one decision may go through; there is no way through more."""

RULES: Final[dict[Phase, Callable[[Case], Event | Step]]] = {
    Phase.QUEUED: preparing.queued,
    Phase.PREPARE: preparing.prepare,
    Phase.RESET: preparing.reset,
    Phase.OBSERVE: preparing.observe,
    Phase.DELIVER: delivering.deliver,
    Phase.DOWNLOADING: delivering.downloading,
    Phase.DOWNLOADED: installing.downloaded,
    Phase.EXECUTE: installing.execute,
    Phase.INSTALLING: installing.installing,
    Phase.ACTIVATE: installing.activate,
    Phase.VERIFY: installing.verify,
    Phase.REMOVE: installing.remove,
    Phase.CANCELLING: installing.cancelling,
}

_UNDELIVERED: Final = frozenset({Phase.QUEUED, Phase.PREPARE, Phase.RESET, Phase.OBSERVE})
_DELIVERED: Final = frozenset({Phase.DOWNLOADING, Phase.DOWNLOADED})


def decide(
    job: Job, seen: Seen, target: Target, allowed: Allowed, now_ms: int, policy: Policy | None = None
) -> tuple[Job, Step]:
    """What to do next for a job, and the job as it is then. Of an ended job the end comes again."""
    if job.end is not None:
        return job, job.end
    case = Case(job, seen, target, allowed, policy or Policy(), now_ms)
    for _ in range(PASSES_MAX):
        outcome = _overruled(case) or RULES[case.job.phase](case)
        if not isinstance(outcome, Event):
            return case.job, outcome
        case.follow(outcome)
    raise UpdateStateError(f"phase {case.job.phase}: a decision that goes round in circles")


def _overruled(case: Case) -> Event | Step | None:
    """What comes before the rules of the phase: the job's end, and its cancellation."""
    job = case.job
    if case.now >= job.deadline_ms:
        return _out_of_time(case)
    if not job.cancelled:
        return None
    if job.phase in _UNDELIVERED or (job.phase is Phase.DELIVER and not job.acted):
        return case.ending(Event.DROP, Cancelled())
    may_cancel = (
        job.phase in _DELIVERED
        or job.phase is Phase.DELIVER
        or (job.phase is Phase.EXECUTE and not job.acted)
    )
    if not may_cancel:
        return None
    case.change(turn=job.turn + 1, resets=0)
    return Event.CANCEL


def _out_of_time(case: Case) -> Step:
    job = case.job
    if job.phase is Phase.CANCELLING:
        return case.ending(Event.DROP, Cancelled())
    waited = job.phase is Phase.DOWNLOADED or (job.phase is Phase.EXECUTE and not job.acted)
    return case.fail(Detail.ENDED if waited else Detail.NO_RESPONSE)


def is_over(job: Job) -> bool:
    """Whether a job has ended."""
    return job.phase in FINAL
