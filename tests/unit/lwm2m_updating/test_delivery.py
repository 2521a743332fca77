"""How the image comes to the device: choice, URL, push, and steps that were not answered (8.5, 8.8, 13.2)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import codes
from overair.protocols.lwm2m.updating import (
    Allowed,
    Cancelled,
    Detail,
    Execute,
    Fail,
    Job,
    Means,
    Phase,
    Policy,
    Purpose,
    Push,
    Reply,
    Reset,
    Step,
    Succeed,
    Via,
    WriteUri,
    answered,
    cancel,
    reply_of,
)
from overair.protocols.lwm2m.updating.delivery import choices, reset_ways

from .world import HOUR, MINUTE, NEW, OLD, START, Device, Driver, object_list

CLEAR = Allowed(awake=True, clear_text=True)
SAFE = Allowed(awake=True)
EVERY = (3, 2, 1, 0)


@pytest.mark.parametrize(
    ("protocols", "delivery", "allowed", "expected"),
    [
        (EVERY, 2, CLEAR, "https http coaps coap push"),
        (EVERY, 0, CLEAR, "https http coaps coap"),
        (EVERY, 1, CLEAR, "push"),
        (EVERY, 2, SAFE, "https coaps push"),
        ((2,), 0, CLEAR, "http"),
        ((2,), 0, SAFE, ""),
        ((2,), 2, SAFE, "push"),
        ((1,), 0, SAFE, "coaps"),
        ((0,), 0, CLEAR, "coap"),
        ((0,), 0, SAFE, "coaps"),
        ((), 0, CLEAR, "coap"),
        ((), None, CLEAR, "coap push"),
        ((), None, SAFE, "coaps push"),
        ((4, 5, 99), 0, CLEAR, ""),
        ((4, 5, 99), None, CLEAR, "push"),
    ],
)
def test_the_choice_of_means(protocols, delivery, allowed: Allowed, expected: str) -> None:
    assert list(choices(protocols, delivery, allowed, Policy())) == expected.split()


def test_a_model_may_have_its_own_means() -> None:
    assert choices(EVERY, 2, CLEAR, Policy(delivery="push")) == (Means.PUSH,)
    assert choices(EVERY, 1, CLEAR, Policy(delivery="pull")) == tuple(Means)[:4]
    assert choices(EVERY, 2, CLEAR, Policy(scheme=Means.HTTP)) == (Means.HTTP, Means.PUSH)
    assert choices(EVERY, 2, SAFE, Policy(scheme=Means.HTTP, delivery="pull")) == ()


@given(
    st.sets(st.integers(0, 7)),
    st.sampled_from([None, 0, 1, 2, 9]),
    st.booleans(),
    st.sets(st.sampled_from(list(Means))),
)
def test_only_what_the_server_has_and_nothing_in_clear_unless_allowed(
    protocols, delivery, clear, means
) -> None:
    allowed = Allowed(awake=True, clear_text=clear, means=frozenset(means))
    chosen = choices(protocols, delivery, allowed, Policy())
    assert set(chosen) <= means
    assert len(set(chosen)) == len(chosen)
    assert clear or not {Means.HTTP, Means.COAP} & set(chosen)


@pytest.mark.parametrize(
    ("delivery", "policy", "ways"),
    [
        (0, Policy(), (Via.URI, Via.PACKAGE)),
        (None, Policy(), (Via.URI, Via.PACKAGE)),
        (1, Policy(), (Via.PACKAGE,)),
        (2, Policy(reset_via=Via.PACKAGE), (Via.PACKAGE,)),
    ],
)
def test_the_ways_of_a_reset(delivery, policy: Policy, ways: tuple[Via, ...]) -> None:
    assert reset_ways(delivery, policy) == ways


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (codes.CHANGED, Reply.DONE),
        (codes.CREATED, Reply.DONE),
        (codes.UNAUTHORIZED, Reply.FORBIDDEN),
        (codes.FORBIDDEN, Reply.FORBIDDEN),
        (codes.NOT_FOUND, Reply.REFUSED),
        (codes.METHOD_NOT_ALLOWED, Reply.REFUSED),
        (codes.BAD_REQUEST, Reply.REFUSED),
        (codes.REQUEST_ENTITY_INCOMPLETE, Reply.GONE),
        (codes.REQUEST_ENTITY_TOO_LARGE, Reply.TOO_LARGE),
        (codes.INTERNAL_SERVER_ERROR, Reply.TROUBLE),
        (codes.SERVICE_UNAVAILABLE, Reply.TROUBLE),
    ],
)
def test_what_a_response_code_says(code: int, reply: Reply) -> None:
    assert reply_of(code) is reply


# -- the URL ---------------------------------------------------------------------------------------


def test_no_means_at_all() -> None:
    driver = Driver(Device(), allowed=Allowed(awake=True, means=frozenset()))
    assert driver.run() == Fail(Detail.PROTOCOL)


def test_a_refused_url_leads_to_the_next_means() -> None:
    device = Device(replies={WriteUri: [Reply.REFUSED]})
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [Push, Execute]


def test_a_device_that_refuses_all_means() -> None:
    device = Device(replies={WriteUri: [Reply.REFUSED] * 9}, values={(5, 0, 9): 0})
    assert Driver(device).run() == Fail(Detail.URI)


@pytest.mark.parametrize("result", [7, 9])
def test_a_refused_url_with_a_result_is_that_result(result: int) -> None:
    class Picky(Device):
        def on_write_uri(self, step: WriteUri) -> Reply:
            self.show(0, result)
            return Reply.REFUSED

    driver = Driver(Picky(values={(5, 0, 9): 0}))
    end = driver.run()
    assert isinstance(end, Fail)
    assert end.detail is (Detail.URI if result == 7 else Detail.PROTOCOL)
    assert driver.job.used == {result: 1}


def test_access_control_says_no() -> None:
    device = Device(replies={WriteUri: [Reply.FORBIDDEN]})
    driver = Driver(device)
    assert driver.run() == Fail(Detail.FORBIDDEN)
    assert not driver.retries


def test_trouble_is_tried_again_three_times() -> None:
    device = Device(replies={WriteUri: [Reply.TROUBLE] * 9})
    driver = Driver(device)
    assert driver.run() == Fail(Detail.CONNECTION)
    assert len(driver.retries) == 3


def test_a_url_that_was_lost_is_written_again() -> None:
    device = Device(replies={WriteUri: [Reply.SILENT, Reply.SILENT]})
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [WriteUri, Execute]


class Unheard(Device):
    """Does what it is told; its answers are lost."""

    def do(self, step: Step) -> Reply:
        super().do(step)
        return Reply.SILENT


def test_nothing_is_done_twice_because_an_answer_was_lost() -> None:
    device = Unheard()
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [WriteUri, Execute]


@pytest.mark.parametrize("kind", [WriteUri, Push, Execute, Reset])
@pytest.mark.parametrize("done", [False, True])
def test_nothing_is_done_twice_because_of_a_crash(kind: type[Step], done: bool) -> None:
    """The job was stored; the step was done or not; the server starts again."""
    device = Device(values={(5, 0, 9): 1 if kind is Push else 0})
    device.show(0, 8 if kind is Reset else 0)
    crashes: list[Step] = []

    def crash(step: Step) -> bool:
        if not isinstance(step, kind) or crashes:
            return False
        crashes.append(step)
        if done:
            device.now = driver.now
            device.do(step)
        return True

    driver = Driver(device, crash_before=crash)
    assert driver.run() == Succeed(NEW)
    assert crashes
    counts = {each: device.kinds.count(each) for each in (WriteUri, Execute)}
    assert counts == {WriteUri: 0 if kind is Push else 1, Execute: 1}


# -- the push --------------------------------------------------------------------------------------


class Pushed(Device):
    """Takes a push; the script says how it goes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.values[5, 0, 9] = 1


def test_a_push_that_is_running_goes_on() -> None:
    driver = Driver(Pushed())
    driver.run(until=lambda driver: driver.job.phase is Phase.DELIVER and driver.job.acted)
    job = msgspec.structs.replace(driver.job, reply=None)
    driver.job = job
    driver._do = lambda step: None  # type: ignore[method-assign]
    assert [driver.step() for _ in range(3)] == [Push((5, 0, 0), 512, resume=True)] * 3


def test_a_push_to_a_device_that_sleeps_in_between_is_resumed() -> None:
    device = Pushed(replies={Push: [Reply.SILENT, Reply.SILENT]})
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    pushes = [step.resume for step in driver.log if isinstance(step, Push)]
    assert pushes == [False, True, True]
    assert Reset not in device.kinds


def test_a_push_that_gets_nowhere_is_a_lost_connection() -> None:
    device = Pushed(replies={Push: [Reply.SILENT] * 5})
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert [step.detail for step in driver.retries] == [Detail.CONNECTION]


def test_a_push_that_gets_on_has_all_the_time_it_needs() -> None:
    job = Job(token="t", deadline_ms=1)
    for sent in range(1000, 9000, 1000):
        job = answered(job, Reply.SILENT, bytes_sent=sent)
        assert job.unanswered == 0
    assert answered(job, Reply.SILENT, bytes_sent=8000).unanswered == 1


def test_a_transfer_that_is_gone_is_begun_anew_after_a_reset() -> None:
    class Half(Pushed):
        def do(self, step: Step) -> Reply:
            if isinstance(step, Push) and not self.felt:
                self.felt.append(step)
                self.show(1, 0)
                return Reply.GONE
            return super().do(step)

    half = Half()
    driver = Driver(half)
    assert driver.run() == Succeed(NEW)
    assert half.kinds == [Push, Reset, Push, Execute]
    assert not [step for step in driver.log if isinstance(step, Push) and step.resume]


def test_a_transfer_that_breaks_again_and_again_is_a_lost_connection() -> None:
    driver = Driver(Pushed(replies={Push: [Reply.GONE] * 4}))
    assert driver.run() == Succeed(NEW)
    assert [step.detail for step in driver.retries] == [Detail.CONNECTION]


def test_an_image_too_large_to_push() -> None:
    driver = Driver(Pushed(replies={Push: [Reply.TOO_LARGE]}))
    assert driver.run() == Fail(Detail.STORAGE)


@pytest.mark.parametrize(("result", "detail"), [(2, Detail.STORAGE), (6, Detail.PACKAGE)])
def test_a_push_that_ends_with_a_result(result: int, detail: Detail) -> None:
    class Full(Pushed):
        def on_push(self, step: Push) -> Reply:
            self.show(0, result)
            return Reply.REFUSED

    assert Driver(Full()).run() == Fail(detail)


def test_the_state_may_say_that_a_push_is_done() -> None:
    class Early(Pushed):
        def on_push(self, step: Push) -> Reply:
            self.show(2, 0)
            return Reply.REFUSED

    early = Early()
    assert Driver(early).run() == Succeed(NEW)
    assert early.kinds == [Push, Execute]


# -- cancelling (section 8.8) ----------------------------------------------------------------------

VERSION_11 = object_list((3, 0), (5, 0), versions=((5, "1.1"),))


def cancel_when(driver: Driver, moment: Callable[[Driver], bool]) -> Step:
    driver.run(until=moment)
    driver.job = cancel(driver.job)
    return driver.run()


def test_a_job_that_delivered_nothing_is_dropped() -> None:
    device = Device(awake=False)
    driver = Driver(device)
    driver.step()
    driver.job = cancel(driver.job)
    assert driver.step() == Cancelled()
    assert driver.job.phase is Phase.CANCELLED


@pytest.mark.parametrize(
    ("objects", "felt"),
    [
        (VERSION_11, [WriteUri, Execute]),
        (object_list((3, 0), (5, 0)), [WriteUri, Reset]),
    ],
)
@pytest.mark.parametrize("phase", [Phase.DOWNLOADING, Phase.DOWNLOADED])
def test_a_download_is_cancelled(objects, felt: list[type[Step]], phase: Phase) -> None:
    device = Device(objects=objects)
    driver = Driver(device, allowed=Allowed(awake=True, install=False))

    def begun(driver: Driver) -> bool:
        return driver.job.phase is phase and device.values[5, 0, 3] != 0

    assert cancel_when(driver, begun) == Cancelled()
    assert device.kinds == felt
    assert device.values[5, 0, 3] == 0
    assert not any(step.purpose is Purpose.INSTALL for step in device.felt if isinstance(step, Execute))


def test_a_refused_cancel_falls_back_to_a_reset() -> None:
    device = Device(objects=VERSION_11, replies={Execute: [Reply.REFUSED]})
    driver = Driver(device)
    assert cancel_when(driver, lambda driver: device.values[5, 0, 3] == 1) == Cancelled()
    assert device.kinds == [WriteUri, Reset]


def test_a_device_that_can_not_be_brought_to_it_is_left_as_it_is() -> None:
    device = Device(replies={Reset: [Reply.REFUSED] * 9})
    driver = Driver(device)
    assert cancel_when(driver, lambda driver: device.values[5, 0, 3] == 1) == Cancelled()


def test_an_installation_can_not_be_cancelled() -> None:
    driver = Driver(Device())
    assert cancel_when(driver, lambda driver: driver.job.phase is Phase.INSTALLING) == Succeed(NEW)


def test_a_cancelled_job_is_not_tried_again() -> None:
    driver = Driver(Device(installs_to=(0, 8, OLD)))
    assert cancel_when(driver, lambda driver: driver.job.phase is Phase.INSTALLING) == Cancelled()
    assert len(driver.device.installs) == 1


def test_a_cancelled_job_of_a_device_that_sleeps_ends_with_its_time() -> None:
    device = Device()
    driver = Driver(device, deadline=START + HOUR)
    driver.run(until=lambda driver: device.values[5, 0, 3] == 1)
    device.awake = False
    driver.job = cancel(driver.job)
    assert driver.run() == Cancelled()
    assert driver.now >= START + HOUR - MINUTE


def test_a_job_is_small() -> None:
    driver = Driver(Device(), deadline=START + HOUR)
    sizes = []

    def note(driver: Driver) -> bool:
        encoded = msgspec.json.encode(driver.job)
        assert msgspec.json.decode(encoded, type=Job) == driver.job
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(driver.job), type=Job) == driver.job
        sizes.append(len(encoded))
        return False

    driver.run(until=note)
    assert max(sizes) < 500


@pytest.mark.parametrize("phase", [Phase.PREPARE, Phase.RESET, Phase.OBSERVE, Phase.DELIVER])
def test_a_job_is_dropped_wherever_nothing_was_delivered(phase: Phase) -> None:
    device = Device()
    device.show(0, 8)
    driver = Driver(device, allowed=Allowed(awake=True, deliver=False))
    assert cancel_when(driver, lambda driver: driver.job.phase is phase) == Cancelled()
    assert WriteUri not in device.kinds


def test_a_url_whose_answer_is_not_known_is_taken_back() -> None:
    device = Unheard()
    driver = Driver(device)
    assert cancel_when(driver, lambda driver: driver.job.acted) == Cancelled()
    assert not device.installs


def test_a_command_that_was_not_given_yet_can_be_cancelled() -> None:
    driver = Driver(Device())
    assert cancel_when(driver, lambda driver: driver.job.phase is Phase.EXECUTE) == Cancelled()
    assert not driver.device.installs
    assert driver.device.values[5, 0, 3] == 0


def test_a_device_that_installs_by_itself_while_it_is_cancelled_goes_on_to_the_end() -> None:
    device = Device()
    driver = Driver(device)
    driver.run(until=lambda driver: device.values[5, 0, 3] == 1)
    device.later.clear()
    device.show(3, 0)
    device.after(5 * MINUTE, device.end_install)
    driver.job = cancel(driver.job)
    assert driver.run() == Succeed(NEW)


def test_a_device_that_got_nothing_need_not_be_awake_for_the_job_to_be_dropped() -> None:
    driver = Driver(Device(), allowed=Allowed(awake=True, deliver=False))
    driver.settle()
    driver.device.awake = False
    driver.job = cancel(driver.job)
    assert driver.step() == Cancelled()


@pytest.mark.parametrize("reply", [Reply.SILENT, Reply.REFUSED])
def test_a_window_that_closes_in_between_stops_a_second_delivery(reply: Reply) -> None:
    device = Device(replies={WriteUri: [reply]})
    driver = Driver(device)
    driver.run(until=lambda driver: isinstance(driver.log[-1], WriteUri))
    driver.allowed = Allowed(awake=True, deliver=False)
    driver.settle()
    assert device.felt == []
    driver.allowed = Allowed(awake=True)
    assert driver.run() == Succeed(NEW)
