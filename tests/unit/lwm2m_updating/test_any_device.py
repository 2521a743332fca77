"""Whatever a device shows, answers or leaves out, and whenever the server crashes: the job ends in time, and
nothing is done to the device that it did not show itself ready for, or that its owner did not allow.
"""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from overair.protocols.lwm2m import ObjectLink, Path, Value
from overair.protocols.lwm2m.updating import (
    Allowed,
    Cancelled,
    Execute,
    Fail,
    Job,
    Kind,
    Means,
    Observe,
    Phase,
    Policy,
    Purpose,
    Push,
    Read,
    Remark,
    Reply,
    Retry,
    Seen,
    Step,
    Succeed,
    Target,
    Wait,
    WriteUri,
    answered,
    begin,
    cancel,
    decide,
    download_refused,
    is_over,
    learn,
    observed,
    progressed,
    registered,
)

from .world import DAY, HOUR, NEW, OLD, SECOND, START, TOKEN, object_list

DEADLINE = START + 10 * DAY
OBJECTS = {
    5: object_list((3, 0), (5, 0), versions=((5, "1.1"),)),
    33629: object_list((3, 0), (5, 0), (33629, 0), (33629, 1)),
    9: object_list((3, 0), (5, 0), (9, 0), (9, 1)),
}
KINDS = {5: Kind.FIRMWARE, 33629: Kind.FIRMWARE, 9: Kind.SOFTWARE}
VERSIONS = (OLD, NEW, NEW + "\0", "3.0", "")
STATE = {5: 3, 33629: 3, 9: 7}
RESULT = {5: 5, 33629: 5, 9: 9}
DOWNLOADED = {5: 2, 33629: 2, 9: 3}
EVENTS = ("wake", "sleep", "open", "close", "crash", "register", "fetch", "refuse", "notify", "cancel")
PAUSES = st.one_of(st.integers(0, 20 * SECOND), st.integers(0, 2 * HOUR), st.integers(0, 2 * DAY))
STATES, RESULTS = (0, 1, 2, 3, 4, 99, -1), (0, 1, 2, 3, 4, 5, 8, 9, 11, 12, 50, 52, 58, 99, -1)
LIES: tuple[Value, ...] = (True, "0", b"\0", 1.5, -7, 1 << 40)
# What a device that behaves would show in a phase: states and results, by object.
FIRMWARE: dict[Phase, tuple[tuple[int, ...], tuple[int, ...]]] = {
    Phase.RESET: ((0,), (0,)),
    Phase.DELIVER: ((0, 1), (0,)),
    Phase.DOWNLOADING: ((1, 1, 2), (0,)),
    Phase.DOWNLOADED: ((2,), (0,)),
    Phase.EXECUTE: ((2,), (0,)),
    Phase.INSTALLING: ((3, 3, 0, 2), (0, 1, 11)),
    Phase.VERIFY: ((0,), (0, 1)),
}
SOFTWARE: dict[Phase, tuple[tuple[int, ...], tuple[int, ...]]] = {
    Phase.PREPARE: ((0, 4), (0, 2)),
    Phase.DELIVER: ((0, 1), (0, 1)),
    Phase.DOWNLOADING: ((1, 2, 3), (1, 3)),
    Phase.DOWNLOADED: ((3,), (3,)),
    Phase.EXECUTE: ((3,), (3,)),
    Phase.INSTALLING: ((3, 4), (2, 3)),
    Phase.ACTIVATE: ((4,), (2,)),
    Phase.VERIFY: ((4,), (2,)),
    Phase.REMOVE: ((4, 0), (0, 2)),
}
IDLE = ((0,), (0,))


class AnyDevice(RuleBasedStateMachine):
    """The driver's side is exact. The device mostly does what is expected of it, and sometimes anything."""

    @initialize(
        number=st.sampled_from([5, 33629, 9]),
        removal=st.integers(0, 4),
        trust=st.booleans(),
        observe=st.booleans(),
        version_from=st.sampled_from(["", OLD]),
    )
    def start(self, number: int, removal: int, trust: bool, observe: bool, version_from: str) -> None:
        self.number = number
        kind = Kind.REMOVAL if not removal and number == 9 else KINDS[number]
        self.target = Target(kind=kind, version_from=version_from, version_to=NEW, name="meter")
        self.policy = Policy(trust_result=trust, observe=observe)
        self.job = begin(TOKEN, now_ms=START, deadline_ms=DEADLINE)
        self.seen = Seen(objects=OBJECTS[number])
        self.now = START
        self.awake, self.deliver, self.install = True, True, True
        self.was_downloaded = False
        self.deliveries = self.commands = 0

    # -- what happens --------------------------------------------------------------------------

    @precondition(lambda self: not is_over(self.job))
    @rule(random=st.randoms(use_true_random=False), steps=st.integers(1, 100), odd=st.integers(0, 3))
    def go_on(self, random: Random, steps: int, odd: int) -> None:
        """Decide and do, time going by. Of ten things the device does, `odd` are."""
        self.random, self.odd = random, odd
        for _ in range(steps):
            self.now = min(self.now, DEADLINE - 1)
            if not random.randrange(10):
                self.deliver, self.install = bool(random.randrange(2)), bool(random.randrange(2))
            allowed = Allowed(awake=self.awake, deliver=self.deliver, install=self.install)
            before = self.job
            self.job, step = decide(before, self.seen, self.target, allowed, self.now, self.policy)
            self.check(step, before)
            if isinstance(step, Retry):
                self.was_downloaded = False
            elif isinstance(step, Wait):
                if not random.randrange(10):
                    break
                self.now = min(step.until_ms, self.now + HOUR)
                self.awake = self.awake or not random.randrange(3)
            elif isinstance(step, Succeed | Fail | Cancelled):
                return
            else:
                self.do(step)

    @rule(passed=PAUSES)
    def wait(self, passed: int) -> None:
        self.now = min(self.now + passed, DEADLINE - 1)

    @rule(
        event=st.sampled_from(EVENTS),
        state=st.sampled_from(STATES),
    )
    def disturb(self, event: str, state: int) -> None:
        if event in ("wake", "sleep", "register"):
            self.awake = event != "sleep"
        if event in ("open", "close"):
            self.deliver, self.install = event == "open" or state == 0, event == "open" or state == 1
        if event == "crash":
            self.job = msgspec.json.decode(msgspec.json.encode(self.job), type=Job)
            self.seen = Seen(objects=OBJECTS[self.number])
        if event == "register":
            self.job = registered(self.job)
        if event in ("fetch", "refuse"):
            self.job = progressed(self.job, self.now) if event == "fetch" else download_refused(self.job)
        if event == "notify" and self.job.place:
            self.note(values := {(*self.job.place, STATE[self.number]): state})
            self.seen = learn(self.seen, self.job, values, now_ms=self.now)
        if event == "cancel" and self.now > START + DAY:
            self.job = cancel(self.job)

    # -- what the device does ------------------------------------------------------------------

    def do(self, step: Step) -> None:
        self.now += self.random.randint(1, 20 * SECOND)
        if isinstance(step, Read | Observe):
            if self.is_odd() and self.is_odd():
                self.awake = False
                return
            if isinstance(step, Observe):
                self.job = observed(self.job, not self.is_odd())
            values = {at: value for path in step.paths for at, value in self.shown(path).items()}
            self.note(values)
            self.seen = learn(self.seen, self.job, values, asked=step.paths, now_ms=self.now)
            return
        reply = self.random.choice(list(Reply)) if self.is_odd() else Reply.DONE
        self.job = answered(self.job, reply, bytes_sent=self.random.randint(0, 3))
        self.awake = self.awake and reply is not Reply.SILENT

    def is_odd(self) -> bool:
        return self.random.randrange(10) < self.odd

    def shown(self, path: Path) -> dict[Path, Value]:
        if len(path) == 1:
            name = "other" if self.is_odd() else "meter"
            return {
                (9, 0, 0): name,
                (9, 0, 7): self.random.choice(STATES),
                (9, 1, 7): self.random.choice(STATES),
            }
        if self.is_odd():
            return {path: self.random.choice(LIES)} if self.random.randrange(2) else {}
        return {path: self.value(path)}

    def value(self, path: Path) -> Value:
        number, resource, random = path[0], path[2], self.random
        expected = (SOFTWARE if self.number == 9 else FIRMWARE).get(self.job.phase, IDLE)
        if number == self.number and resource == STATE[number]:
            return random.choice(STATES if self.is_odd() else expected[0])
        if number == self.number and resource == RESULT[number]:
            return random.choice(RESULTS if self.is_odd() else expected[1])
        if (number, resource) in {(3, 3), (3, 19), (5, 7), (33629, 7), (33629, 15), (9, 1)}:
            plain = VERSIONS if self.job.phase is Phase.VERIFY else (OLD,)
            return random.choice(VERSIONS if self.is_odd() else plain)
        others: dict[tuple[int, int], tuple[Value, ...]] = {
            (33629, 14): ("application", "modem"),
            (33629, 17): (ObjectLink(33629, 0),),
            (5, 1): (f"coaps://host/f/{TOKEN}", "", "http://elsewhere/"),
            (33629, 1): (f"coaps://host/f/{TOKEN}", ""),
            (5, 14): (True, False),
            (9, 12): (True, False),
        }
        return random.choice(others.get((number, resource), (0, 1, 2, 3600)))

    def note(self, values: dict[Path, Value]) -> None:
        if self.job.place and values.get((*self.job.place, STATE[self.number])) == DOWNLOADED[self.number]:
            self.was_downloaded = True

    # -- what must hold ------------------------------------------------------------------------

    def check(self, step: Step, before: Job) -> None:
        if isinstance(step, Wait):
            assert self.now < step.until_ms <= DEADLINE
        elif not isinstance(step, Succeed | Fail | Cancelled | Retry):
            assert self.awake
        if isinstance(step, WriteUri) or (isinstance(step, Push) and not step.resume):
            assert self.deliver
            self.deliveries += 1
            assert self.deliveries <= 100
        if isinstance(step, WriteUri):
            assert step.means in (Means.COAPS, Means.HTTPS)
        if isinstance(step, Execute) and step.purpose is Purpose.INSTALL:
            assert self.was_downloaded
            assert self.job.downloaded
            assert self.install
            self.commands += 1
            assert self.commands <= 100
        if isinstance(step, Execute | Push | WriteUri):
            assert self.job != before
        if isinstance(step, Succeed):
            self.check_success(step)

    def check_success(self, step: Succeed) -> None:
        if self.target.kind is Kind.REMOVAL:
            return
        if step.remark in (None, Remark.ALREADY, Remark.STALE):
            assert step.version == NEW or self.policy.trust_result
        elif step.remark is Remark.UNREADABLE:
            assert step.version is None
        else:
            assert step.remark in (Remark.MISMATCH, Remark.TRUSTED)
            result = (*self.job.place, RESULT[self.number])
            assert step.remark is Remark.TRUSTED or step.version not in (
                self.job.previous,
                self.target.version_from,
            )
            assert self.seen.values[result] == (2 if self.number == 9 else 1)

    @invariant()
    def an_ended_job_says_how(self) -> None:
        if hasattr(self, "job"):
            assert is_over(self.job) is (self.job.end is not None)

    def teardown(self) -> None:
        """At the latest, the job's time is over."""
        if not hasattr(self, "job") or is_over(self.job):
            return
        self.job, step = decide(self.job, self.seen, self.target, Allowed(awake=False), DEADLINE, self.policy)
        assert isinstance(step, Fail | Cancelled)
        assert self.job.phase in (Phase.FAILED, Phase.CANCELLED)


AnyDevice.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAnyDevice = AnyDevice.TestCase
