"""One decision being made: the job, what is seen of the device, and the moves there are.

The rules of each phase get a Case and return an Event, after which the rules of the next phase are asked,
or a Step, which ends the decision. `change` and the moves write the job anew; nothing else is touched.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating import versions
from overair.protocols.lwm2m.updating.layout import (
    ADVANCED_FIRMWARE,
    FIRMWARE_VERSION,
    LAYOUTS,
    SOFTWARE_MANAGEMENT,
    SOFTWARE_VERSION,
    Condition,
    Layout,
    condition_of,
    result_of,
)
from overair.protocols.lwm2m.updating.model import Allowed, Job, Policy, Target
from overair.protocols.lwm2m.updating.results import (
    CONFLICT,
    LOST,
    TROUBLE,
    Detail,
    Remark,
    pause_ms,
    rule_of,
)
from overair.protocols.lwm2m.updating.seen import Seen, covered
from overair.protocols.lwm2m.updating.states import Event, Phase, UpdateStateError, follow
from overair.protocols.lwm2m.updating.steps import (
    Create,
    End,
    Execute,
    Fail,
    Push,
    Read,
    Reset,
    Retry,
    Step,
    Succeed,
    Wait,
    WriteUri,
)
from overair.protocols.lwm2m.values import ObjectLink

MAIN_COMPONENTS: Final = ("application", "main")
SMALLEST_BLOCK: Final = 64
_NEVER: Final = 1 << 62


class Case:
    """What `decide` works on."""

    __slots__ = ("allowed", "job", "now", "policy", "seen", "target")

    def __init__(
        self, job: Job, seen: Seen, target: Target, allowed: Allowed, policy: Policy, now: int
    ) -> None:
        self.job = job
        self.seen = seen
        self.target = target
        self.allowed = allowed
        self.policy = policy
        self.now = now

    def change(self, **fields: Any) -> None:
        """Write fields of the job anew."""
        self.job = replace(self.job, **fields)

    def follow(self, event: Event) -> None:
        """Go on to the phase that an event leads to."""
        phase = follow(self.job.phase, event)
        self.change(phase=phase, entered_ms=self.now, acted=False, reply=None, polls=0, poll_at_ms=0)

    # -- what the device shows -------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The numbers of the object that is used."""
        return LAYOUTS[self.job.place[0]]

    def at(self, resource: int) -> Path:
        """The path of a resource of the update object."""
        return (*self.job.place, resource)

    @property
    def is_fresh(self) -> bool:
        """Whether anything was seen since the device felt something last."""
        return self.seen.turn == self.job.turn

    def has(self, *paths: Path) -> bool:
        """Whether all of these were answered in this turn, in any way."""
        return self.is_fresh and all(covered(path, self.seen.asked) for path in paths)

    def number(self, path: Path) -> int | None:
        """An integer; None where it is absent or something else."""
        value = self.seen.values.get(path) if self.is_fresh else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, path: Path) -> str | None:
        """A string without what devices put around it; None where it is absent, empty or something else."""
        value = self.seen.values.get(path) if self.is_fresh else None
        return value.strip(versions.BLANKS) or None if isinstance(value, str) else None

    def flag(self, path: Path) -> bool:
        """A boolean; False where it is absent or something else."""
        return self.is_fresh and self.seen.values.get(path) is True

    def numbers(self, path: Path) -> tuple[int, ...]:
        """The integers of a multiple resource, also of one that came as a single one."""
        under = [each for each in self.seen.values if each[: len(path)] == path] if self.is_fresh else []
        return tuple(number for each in under if (number := self.number(each)) is not None)

    @property
    def shown(self) -> tuple[Path, Path]:
        """The paths of state and result."""
        return self.at(self.layout.state), self.at(self.layout.result)

    @property
    def condition(self) -> Condition | None:
        """The state, in the words of object 5; None if it isn't known."""
        return condition_of(self.job.place[0], self.number(self.at(self.layout.state)))

    @property
    def result(self) -> int:
        """The result, in the numbers of object 5."""
        return result_of(self.job.place[0], self.number(self.at(self.layout.result)))

    @property
    def is_automatic(self) -> bool:
        """Whether the device installs by itself what it downloaded."""
        automatic = self.layout.automatic
        return automatic is not None and self.flag(self.at(automatic))

    @property
    def version_paths(self) -> tuple[Path, ...]:
        """Where the running version is shown, and what may stand for it."""
        if self.job.place[0] == SOFTWARE_MANAGEMENT:
            return (self.at(self.layout.package_version),)
        current = self.layout.current_version
        paths = (FIRMWARE_VERSION,) if current is None else (self.at(current), FIRMWARE_VERSION)
        return (*paths, *self._trusted_paths) if self.policy.trust_result else paths

    @property
    def version(self) -> str | None:
        """The version that runs; None where the device does not say.

        A component of object 33629 shows its own; the main one's is the device's.
        """
        if self.job.place[0] == SOFTWARE_MANAGEMENT:
            installed = self.condition is Condition.INSTALLED
            return self.text(self.at(self.layout.package_version)) if installed else None
        current = self.layout.current_version
        own = None if current is None else self.text(self.at(current))
        component = self.target.component
        if component is not None and component.lower() not in MAIN_COMPONENTS and current is not None:
            return own
        return self.text(FIRMWARE_VERSION) or own

    @property
    def trusted(self) -> list[str]:
        """Versions beside the running one, for models whose update does not change that."""
        return [text for path in self._trusted_paths if (text := self.text(path)) is not None]

    @property
    def _trusted_paths(self) -> tuple[Path, ...]:
        current = self.layout.current_version
        own = () if current is None else (self.at(current),)
        return (self.at(self.layout.package_version), SOFTWARE_VERSION, *own)

    def is_version(self, version: str | None, wanted: str | None) -> bool:
        """Whether two versions are the same for this model."""
        return versions.same(version, wanted, self.policy.version_regex)

    @property
    def has_target(self) -> bool:
        """Whether the version that runs is the target."""
        return self.is_version(self.version, self.target.version_to)

    # -- moves -----------------------------------------------------------------------------------

    def wait(self, *until_ms: int) -> Wait:
        """Nothing to do until the earliest of these times, or the job's end."""
        later = (each for each in (*until_ms, self.hard_ms) if each > self.now)
        return Wait(min(self.job.deadline_ms, *later, _NEVER))

    @property
    def hard_ms(self) -> int:
        """When the job ends if the device is never heard again."""
        job, timers = self.job, self.policy.timers
        if job.executed_ms:
            return max(job.executed_ms + timers.return_ms, job.deferred_until_ms)
        return job.entered_ms + timers.download_ms if job.phase is Phase.DOWNLOADING else job.deadline_ms

    def need(self, *paths: Path) -> Step | None:
        """What is still to be read of these; None if all of it is there."""
        if self.has(*paths):
            return None
        if not self.allowed.awake:
            return self.wait()
        known = self.seen.asked if self.is_fresh else frozenset()
        return Read(tuple(path for path in paths if not covered(path, known)))

    def watch(self, paths: tuple[Path, ...], pause_ms: int, *soft_ms: int) -> Step:
        """Read again now and then, and when a soft limit has passed: what it ends should be seen to.

        A device that sleeps is left alone until it is heard.
        """
        if not self.allowed.awake:
            return self.wait()
        job = self.job
        missing = tuple(path for path in paths if not covered(path, self.seen.asked))
        if self.is_fresh and missing and len(missing) < len(paths):
            return Read(missing)
        if self.now >= job.poll_at_ms or any(self.seen.at_ms < limit <= self.now for limit in soft_ms):
            self.change(polls=job.polls + 1, poll_at_ms=self.now + pause_ms)
            return Read(paths)
        return self.wait(job.poll_at_ms, *soft_ms)

    def is_over(self, limit_ms: int) -> bool:
        """Whether a limit has passed and the device was seen since."""
        return self.now >= limit_ms and self.seen.at_ms >= limit_ms and self.has(*self.shown)

    def act(self, step: Reset | WriteUri | Push | Execute | Create, **fields: Any) -> Step:
        """Do what the device feels, if it listens; what was seen before counts no more."""
        if not self.allowed.awake:
            return self.wait()
        turn = self.job.turn + 1
        self.change(acted=True, acted_ms=self.now, reply=None, turn=turn, poll_at_ms=0, **fields)
        return step

    def ending(self, event: Event, end: End) -> Step:
        """End the job."""
        self.follow(event)
        self.change(end=end)
        return end

    def succeed(self, remark: Remark | None = None) -> Step:
        """The device has what it is to have."""
        return self.ending(Event.SUCCEEDED, Succeed(self.version if self.job.place else None, remark))

    def fail(self, detail: Detail, *, result: int | None = None) -> Step:
        """The job failed for good."""
        holds = bool(self.job.place) and self.condition in (Condition.DOWNLOADING, Condition.DOWNLOADED)
        ours = self.job.means is not None or self.job.downloaded
        return self.ending(Event.FAILED, Fail(detail, result, reset=holds and ours))

    def failed_by(self, cause: int) -> Step:
        """The attempt failed with a result, or a cause of ours: try again if that may help."""
        if cause == CONFLICT and (step := self._read_conflicts()) is not None:
            return step
        detail = rule_of(cause).detail
        if cause == LOST and self.job.forbidden:
            detail = Detail.AUTHENTICATION
        used = self.job.used.get(cause, 0)
        pause = pause_ms(cause, used)
        if pause is None or self.now + pause >= self.job.deadline_ms:
            number = self.number(self.at(self.layout.result)) if detail is Detail.UNKNOWN else None
            return self.fail(detail, result=number)
        self._learn_from(cause)
        self.change(used={**self.job.used, cause: used + 1})
        return self._retry(detail, self.now + pause)

    def _learn_from(self, cause: int) -> None:
        """What the next attempt does otherwise (spec lwm2m.md 8.4)."""
        job = self.job
        if cause == 3:
            size = job.block_size or self.policy.block_size
            self.change(block_size=max(size // 2, min(size, SMALLEST_BLOCK)))
        elif cause == 7:
            self.change(short_uri=True)
        elif cause in (8, TROUBLE):
            self.change(kept=self.condition is Condition.DOWNLOADED)
        elif cause == 9 and job.means is not None:
            self.change(tried=(*job.tried, job.means))
        elif cause == CONFLICT and self.layout.conflicting is not None:
            self.change(others=self._conflicting(self.layout.conflicting))

    def _read_conflicts(self) -> Step | None:
        """Ask a device which of its components stand in the way."""
        conflicting = self.layout.conflicting
        return None if conflicting is None else self.need(self.at(conflicting))

    def _conflicting(self, resource: int) -> tuple[int, ...]:
        path = self.at(resource)
        links = [value for each, value in self.seen.values.items() if each[: len(path)] == path]
        mine = [link for link in links if isinstance(link, ObjectLink)]
        others = {link.instance_id for link in mine if link.object_id == ADVANCED_FIRMWARE}
        return tuple(sorted(others - {self.job.place[1]}))

    def _retry(self, detail: Detail, at_ms: int) -> Step:
        """Queue the job for another attempt, with nothing of this one but what it taught."""
        self.follow(Event.RETRY)
        self.change(not_before_ms=at_ms, turn=self.job.turn + 1, **_UNTRIED)
        return Retry(detail, at_ms)

    def is_failure(self, result: int) -> bool:
        """Whether a result says that something went wrong, and is of this attempt."""
        return result not in (0, 1) and (result != self.job.stale or self.job.active)


Rule = Callable[[Case], Event | Step | None]
"""One rule of a phase; None where it has nothing to say."""


def first(case: Case, *rules: Rule) -> Event | Step:
    """What the first rule says that has something to say; UpdateStateError if none has."""
    for rule in rules:
        outcome = rule(case)
        if outcome is not None:
            return outcome
    raise UpdateStateError(f"phase {case.job.phase}: no rule for what the device shows")


def read_shown(case: Case) -> Step | None:
    """Read state and result, if they weren't in this turn."""
    return case.need(*case.shown)


_UNTRIED: Final[dict[str, Any]] = {
    "acted_ms": 0,
    "unanswered": 0,
    "bytes_sent": 0,
    "resets": 0,
    "breaks": 0,
    "means": None,
    "active": False,
    "progress_ms": 0,
    "forbidden": False,
    "stale": 0,
    "downloaded": False,
    "executes": 0,
    "executed_ms": 0,
    "left": False,
    "deferred_until_ms": 0,
    "returned": False,
    "unchanged_ms": 0,
    "again": False,
}
"""What every attempt begins with."""
