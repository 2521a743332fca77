"""A device that plays the update objects by a script, and a driver that does what is decided; time is moved.

The device knows nothing of the rules: it has the resources of spec lwm2m.md 8.1 and 9, changes them as the
script says, and writes down what it felt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from overair.protocols.lwm2m import ObjectList, Path, Value
from overair.protocols.lwm2m.updating import (
    Allowed,
    Cancelled,
    Create,
    Execute,
    Fail,
    Job,
    Kind,
    Observe,
    Phase,
    Policy,
    Purpose,
    Push,
    Read,
    Reply,
    Reset,
    Retry,
    Seen,
    Step,
    Succeed,
    Target,
    Wait,
    WriteUri,
    answered,
    begin,
    decide,
    learn,
    observed,
    registered,
)

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
START = 1_800_000_000_000
TOKEN = "4f6a9c21b8d7"
OLD, NEW = "1.0", "2.0"
STEPS_MAX = 3000
ANY = Target(version_to=NEW, size_bytes=100_000)
AWAKE = Allowed(awake=True)


@dataclass
class Device:
    """Object 5 (or 33629, or 9) of a well-behaved device; the fields and overridden methods make it another.

    `later` are changes to come: what is done, by when.
    """

    place: Path = (5, 0)
    objects: ObjectList = field(default_factory=lambda: object_list((3, 0), (5, 0)))
    values: dict[Path, Value] = field(default_factory=dict)
    observes: bool = True
    awake: bool = True
    downloads_to: tuple[int, int] = (2, 0)
    """State and result after a download."""
    installs_to: tuple[int, int, str | None] = (0, 1, NEW)
    """State, result and version after an installation; the version None: not readable."""
    reboots: bool = True
    replies: dict[type[Step], list[Reply]] = field(default_factory=dict)
    """What it answers to the next steps of a kind, without feeling them, before it behaves."""
    felt: list[Step] = field(default_factory=list)
    later: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    registers: list[int] = field(default_factory=list)
    now: int = START

    def __post_init__(self) -> None:
        shown: dict[Path, Value] = {(3, 0, 3): OLD}
        if self.place[0] != 9:
            shown |= {self.at(3): 0, self.at(5): 0, self.at(9): 2, (*self.at(8), 0): 1}
        self.values = shown | self.values

    def at(self, resource: int) -> Path:
        return (*self.place, resource)

    def show(self, state: int, result: int) -> None:
        self.values |= {self.at(3): state, self.at(5): result}

    def after(self, milliseconds: int, change: Callable[[], None]) -> None:
        self.later.append((self.now + milliseconds, change))

    def read(self, paths: Iterable[Path]) -> dict[Path, Value] | None:
        """None where it does not listen."""
        if not self.awake:
            return None
        return {at: value for at, value in self.values.items() for path in paths if at[: len(path)] == path}

    def do(self, step: Any) -> Reply:
        if not self.awake:
            return Reply.SILENT
        scripted = self.replies.get(type(step), [])
        if scripted:
            return scripted.pop(0)
        self.felt.append(step)
        act: Callable[[Any], Reply | None] = getattr(
            self, "on_" + step.__struct_config__.tag.replace("-", "_")
        )
        return act(step) or Reply.DONE

    def on_reset(self, step: Reset) -> Reply | None:
        self.show(0, 0)
        return None

    def on_write_uri(self, step: WriteUri) -> Reply | None:
        self.values[self.at(1)] = f"{step.means}://host/f/{TOKEN}"
        self.after(20 * SECOND, self.begin_download)
        return None

    def on_push(self, step: Push) -> Reply | None:
        self.begin_download()
        return None

    def begin_download(self) -> None:
        self.show(1, 0)
        self.after(5 * MINUTE, self.end_download)

    def end_download(self) -> None:
        self.show(*self.downloads_to)

    def on_execute(self, step: Execute) -> Reply | None:
        if step.purpose is Purpose.CANCEL:
            self.later.clear()
            self.show(0, 10)
        elif step.purpose is Purpose.INSTALL:
            if self.values[self.at(3)] != 2:
                return Reply.REFUSED
            self.show(3, 0)
            self.after(3 * MINUTE, self.end_install)
        return None

    def end_install(self) -> None:
        state, result, version = self.installs_to
        self.show(state, result)
        if version is None:
            self.values.pop((3, 0, 3), None)
        else:
            self.values[3, 0, 3] = version
        if self.reboots:
            self.register()

    def register(self) -> None:
        self.registers.append(self.now)

    @property
    def kinds(self) -> list[type]:
        """What it felt, without details."""
        return [type(step) for step in self.felt]

    @property
    def installs(self) -> list[Execute]:
        return [step for step in self.felt if isinstance(step, Execute) and step.purpose is Purpose.INSTALL]


def object_list(*instances: tuple[int, int], versions: tuple[tuple[int, str], ...] = ()) -> ObjectList:
    """What a device registers."""
    return ObjectList(
        instances=tuple(sorted(instances)),
        objects=tuple(sorted({n for n, _ in instances})),
        versions=versions,
    )


@dataclass
class Driver:
    """Carries a job to its end."""

    device: Device
    target: Target = ANY
    allowed: Allowed = AWAKE
    policy: Policy = field(default_factory=Policy)
    deadline: int = START + 30 * DAY
    job: Job = field(init=False)
    seen: Seen = field(init=False)
    now: int = START
    log: list[Step] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    idle: bool = False
    """Whether the last step was to wait for the job's end, with nothing to happen before."""
    crash_before: Callable[[Step], bool] = lambda step: False

    def __post_init__(self) -> None:
        self.job = begin(TOKEN, now_ms=self.now, deadline_ms=self.deadline)
        self.seen = Seen(objects=self.device.objects)

    def run(self, *, until: Callable[[Driver], bool] | None = None) -> Step:
        """Go on to the job's end, or until something is the case; returns the last step."""
        for _ in range(STEPS_MAX):
            step = self.step()
            if self.idle and until is None:
                self.now = self.deadline
            if isinstance(step, Succeed | Fail | Cancelled) or (until is not None and until(self)):
                return step
        raise AssertionError(f"no end in sight: {self.job.phase}, {self.log[-5:]}")

    def settle(self) -> Wait:
        """Go on until there is nothing to do before the job's end."""
        self.run(until=lambda driver: driver.idle)
        step = self.log[-1]
        assert isinstance(step, Wait)
        return step

    def step(self) -> Step:
        allowed = msgspec.structs.replace(self.allowed, awake=self.allowed.awake and self.device.awake)
        self.job, step = decide(self.job, self.seen, self.target, allowed, self.now, self.policy)
        self.log.append(step)
        self.idle = step == Wait(self.deadline) and not self.device.later
        if not self.phases or self.phases[-1] is not self.job.phase:
            self.phases.append(self.job.phase)
        if self.crash_before(step):
            self.crash()
            return step
        self._do(step)
        return step

    def crash(self) -> None:
        """Lose everything but what was stored."""
        self.job = msgspec.json.decode(msgspec.json.encode(self.job), type=Job)
        self.seen = Seen(objects=self.device.objects)

    def _do(self, step: Step) -> None:
        if isinstance(step, Read | Observe):
            self._read(step)
        elif isinstance(step, Wait) and not self.idle:
            assert step.until_ms > self.now, "a wait that is over is a busy loop"
            self._sleep(step.until_ms)
        elif isinstance(step, Create):
            reply = self.device.do(step)
            self.job = answered(self.job, reply, place=getattr(self.device, "created", None))
        elif step.felt:
            self._pass(SECOND)
            self.job = answered(self.job, self.device.do(step))
        elif isinstance(step, Retry):
            assert step.at_ms >= self.now

    def _read(self, step: Read | Observe) -> None:
        self._pass(SECOND)
        values = self.device.read(step.paths)
        if values is None:
            return
        if isinstance(step, Observe):
            self.job = observed(self.job, self.device.observes)
        self.seen = learn(self.seen, self.job, values, asked=step.paths, now_ms=self.now)

    def _sleep(self, until: int) -> None:
        due = min((at for at, _ in self.device.later), default=until)
        self._pass(max(min(until, due), self.now) - self.now)

    def _pass(self, milliseconds: int) -> None:
        """Let time go by, and what happens in it."""
        self.now += milliseconds
        device = self.device
        while ready := [each for each in device.later if each[0] <= self.now]:
            at, change = min(ready, key=lambda each: each[0])
            device.later.remove((at, change))
            device.now = at
            before = dict(device.values)
            change()
            self._notify(before)
        device.now = self.now
        if device.registers:
            device.registers.clear()
            self.job = registered(self.job)

    def _notify(self, before: dict[Path, Value]) -> None:
        device = self.device
        if not device.observes or self.job.watch != 1 or not device.awake or not self.job.place:
            return
        resources = (7, 9) if device.place[0] == 9 else (3, 5)
        for path in (device.at(each) for each in resources):
            value = device.values.get(path)
            if value is not None and value != before.get(path):
                self.seen = learn(self.seen, self.job, {path: value}, now_ms=self.now)

    @property
    def retries(self) -> list[Retry]:
        return [step for step in self.log if isinstance(step, Retry)]


SOFTWARE = Target(kind=Kind.SOFTWARE, version_to=NEW, name="meter", size_bytes=5000)
