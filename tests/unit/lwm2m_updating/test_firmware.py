"""The way of a firmware update, and what devices do on it (spec lwm2m.md 8.2, 8.6)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from overair.protocols.lwm2m.updating import (
    Allowed,
    Detail,
    Execute,
    Fail,
    Means,
    Observe,
    Phase,
    Policy,
    Push,
    Read,
    Remark,
    Reply,
    Reset,
    Retry,
    Succeed,
    Target,
    Timers,
    Via,
    Wait,
    WriteUri,
)

from .world import DAY, HOUR, MINUTE, NEW, OLD, SECOND, START, Device, Driver, object_list

ORDINARY = [
    Phase.PREPARE,
    Phase.OBSERVE,
    Phase.DOWNLOADING,
    Phase.INSTALLING,
    Phase.VERIFY,
    Phase.DONE,
]


def test_an_update_that_meets_no_trouble() -> None:
    device = Device()
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert device.kinds == [WriteUri, Execute]
    assert device.felt == [WriteUri((5, 0, 1), Means.COAPS, short=False), Execute((5, 0, 2), "install")]
    assert not driver.retries
    seen = iter(driver.phases)
    assert all(phase in seen for phase in ORDINARY)
    assert driver.step() == Succeed(NEW)


def test_few_messages_are_needed() -> None:
    driver = Driver(Device())
    driver.run()
    reads = [step for step in driver.log if isinstance(step, Read)]
    assert len(reads) <= 8
    assert sum(isinstance(step, Observe) for step in driver.log) == 1


def test_a_device_that_does_not_observe_is_polled() -> None:
    driver = Driver(Device(observes=False))
    assert driver.run() == Succeed(NEW)
    downloads = [step.until_ms for step in driver.log if isinstance(step, Wait)]
    pauses = [later - earlier for earlier, later in pairwise(downloads)]
    assert 10 * SECOND <= min(pauses) <= 12 * SECOND


def test_polling_slows_down_after_50_reads() -> None:
    device = Device(observes=False, downloads_to=(1, 0))
    driver = Driver(device)
    driver.run(until=lambda driver: driver.now > START + 2 * HOUR)
    read_at = [step for step in driver.log if isinstance(step, Read)]
    assert 50 + 15 <= len(read_at) <= 50 + 35


def test_a_device_that_has_the_version_is_left_alone() -> None:
    device = Device(values={(3, 0, 3): NEW + "\0"})
    assert Driver(device).run() == Succeed(NEW, Remark.ALREADY)
    assert device.felt == []


def test_a_device_of_another_version_is_left_alone() -> None:
    device = Device()
    target = Target(version_from="0.9", version_to=NEW)
    assert Driver(device, target).run() == Fail(Detail.PREREQUISITE)
    assert device.felt == []


def test_a_device_without_the_object_can_not_be_updated() -> None:
    assert Driver(Device(objects=object_list((3, 0)))).run() == Fail(Detail.PROTOCOL)


# -- windows ---------------------------------------------------------------------------------------


def test_nothing_is_delivered_outside_the_window() -> None:
    device = Device()
    driver = Driver(device, allowed=Allowed(awake=True, deliver=False))
    driver.settle()
    assert (driver.job.phase, device.felt) == (Phase.DELIVER, [])
    driver.now += 5 * HOUR
    driver.allowed = Allowed(awake=True)
    assert driver.run() == Succeed(NEW)


def test_a_device_that_was_updated_while_it_waited_for_the_window_is_left_alone() -> None:
    device = Device()
    driver = Driver(device, allowed=Allowed(awake=True, deliver=False))
    driver.settle()
    driver.now += 5 * HOUR
    device.values[3, 0, 3] = NEW
    driver.allowed = Allowed(awake=True)
    assert driver.run() == Succeed(NEW, Remark.ALREADY)
    assert device.felt == []


def test_nothing_is_installed_outside_the_window() -> None:
    device = Device()
    driver = Driver(device, allowed=Allowed(awake=True, install=False))
    assert driver.run() == Fail(Detail.ENDED, reset=True)
    assert device.installs == []
    assert Phase.DOWNLOADED in driver.phases


def test_the_state_is_read_again_when_the_window_opens() -> None:
    device = Device(observes=False)
    driver = Driver(device, allowed=Allowed(awake=True, install=False))
    driver.settle()
    assert driver.job.phase is Phase.DOWNLOADED
    driver.now += 2 * DAY
    device.show(0, 0)
    driver.allowed = Allowed(awake=True)
    driver.run(until=lambda driver: bool(driver.retries))
    assert driver.retries[-1].detail is Detail.CONNECTION
    assert device.installs == []


def test_a_device_that_installs_by_itself_downloads_only_when_it_may_install() -> None:
    device = Device(values={(5, 0, 14): True})
    driver = Driver(device, allowed=Allowed(awake=True, install=False))
    driver.settle()
    assert device.felt == []


def test_a_sleeping_device_is_left_alone() -> None:
    device = Device(awake=False)
    driver = Driver(device)
    assert driver.step() == Wait(driver.deadline)
    assert driver.job.phase is Phase.QUEUED


# -- reset (section 8.3) ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "result", "delivery", "resets"),
    [
        (0, 0, 2, []),
        (0, 8, 2, [Via.URI]),
        (0, 1, 1, [Via.URI]),
        (1, 0, 2, [Via.URI]),
        (2, 0, 0, [Via.URI]),
        (1, 0, 1, [Via.PACKAGE]),
    ],
)
def test_the_reset_before_an_update(state: int, result: int, delivery: int, resets: list[Via]) -> None:
    device = Device()
    device.show(state, result)
    device.values[5, 0, 9] = delivery
    assert Driver(device).run() == Succeed(NEW)
    assert [step.via for step in device.felt if isinstance(step, Reset)] == resets


def test_a_refused_reset_goes_the_other_way() -> None:
    device = Device(replies={Reset: [Reply.REFUSED]})
    device.show(2, 0)
    assert Driver(device).run() == Succeed(NEW)
    assert [step.via for step in device.felt if isinstance(step, Reset)] == [Via.PACKAGE]


def test_a_reset_that_is_refused_in_idle_does_not_matter() -> None:
    device = Device(replies={Reset: [Reply.REFUSED]})
    device.show(0, 5)
    assert Driver(device).run() == Succeed(NEW)


class Stubborn(Device):
    def on_reset(self, step: Reset) -> None:
        return None


def test_a_device_that_can_not_be_reset_is_busy() -> None:
    device = Stubborn()
    device.show(1, 0)
    driver = Driver(device)
    assert driver.run() == Fail(Detail.BUSY)
    assert device.kinds == [Reset, Reset]
    assert driver.now - START < 5 * MINUTE


def test_an_old_result_that_can_not_be_cleared_is_ignored() -> None:
    device = Stubborn()
    device.show(0, 4)
    assert Driver(device).run() == Succeed(NEW)


def test_the_image_of_the_target_is_kept() -> None:
    device = Device(values={(5, 0, 7): NEW})
    device.show(2, 0)
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [Execute]


def test_a_device_that_installs_something_is_waited_for() -> None:
    device = Device()
    device.show(3, 0)
    device.after(20 * MINUTE, lambda: device.show(0, 0))
    assert Driver(device).run() == Succeed(NEW)


def test_a_device_that_installs_for_ever_is_busy() -> None:
    device = Device()
    device.show(3, 0)
    driver = Driver(device)
    assert driver.run() == Fail(Detail.BUSY)
    assert HOUR <= driver.now - START < 2 * HOUR
    assert device.felt == []


# -- who installs by himself, and other oddities ---------------------------------------------------


class Automatic(Device):
    def end_download(self) -> None:
        self.show(3, 0)
        self.after(2 * MINUTE, self.end_install)


@pytest.mark.parametrize("observes", [True, False])
def test_a_device_that_installs_by_itself_gets_no_command(observes: bool) -> None:
    device = Automatic(values={(5, 0, 14): True}, observes=observes)
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [WriteUri]


class Sudden(Device):
    """Downloads and installs between two looks, and remembers nothing."""

    def begin_download(self) -> None:
        self.show(1, 0)
        self.after(5 * SECOND, self.end_install)


def test_a_device_that_is_through_before_anybody_looks() -> None:
    device = Sudden(installs_to=(0, 0, NEW), observes=False)
    assert Driver(device).run() == Succeed(NEW)
    assert device.kinds == [WriteUri]


def test_a_zephyr_like_device_shows_nothing_after_the_reboot() -> None:
    device = Device(installs_to=(0, 0, NEW))
    assert Driver(device).run() == Succeed(NEW)


class EarlyIdle(Device):
    """Idle with success before it reboots, with the new version only after it."""

    def on_execute(self, step: Execute) -> None:
        self.show(0, 1)
        self.after(10 * MINUTE, self.end_install)


def test_a_device_that_claims_success_before_it_reboots_is_waited_for() -> None:
    device = EarlyIdle()
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert len(device.installs) == 1


def test_a_silent_reboot_is_found_out_by_asking() -> None:
    device = Device(reboots=False, observes=False)
    assert Driver(device).run() == Succeed(NEW)


class Slow(Device):
    """The result comes later than the state."""

    def end_install(self) -> None:
        self.show(0, 0)
        self.values[3, 0, 3] = OLD
        self.after(MINUTE, super().end_install)


def test_a_result_that_comes_after_the_state_is_waited_for() -> None:
    assert Driver(Slow()).run() == Succeed(NEW)


class Absent(Device):
    """Rebooted, and back after a day."""

    def on_execute(self, step: Execute) -> None:
        self.awake = False
        self.after(self.away, self.back)

    away = 20 * HOUR

    def back(self) -> None:
        self.awake = True
        self.end_install()


def test_a_device_may_stay_away_for_a_while() -> None:
    assert Driver(Absent()).run() == Succeed(NEW)


def test_a_device_that_never_comes_back_has_not_responded() -> None:
    device = Absent()
    device.away = 1000 * DAY
    driver = Driver(device)
    assert driver.run() == Fail(Detail.NO_RESPONSE)
    assert DAY <= driver.now - START < 2 * DAY
    assert len(device.installs) == 1


class Hung(Device):
    def on_execute(self, step: Execute) -> None:
        self.show(3, 0)


def test_a_device_that_hangs_in_updating_has_not_responded() -> None:
    driver = Driver(Hung())
    assert driver.run() == Fail(Detail.NO_RESPONSE)
    assert HOUR <= driver.now - START < 2 * HOUR


class Deaf(Device):
    def on_execute(self, step: Execute) -> None:
        return None


def test_a_device_that_takes_the_command_and_does_nothing_has_failed() -> None:
    driver = Driver(Deaf())
    assert driver.run() == Fail(Detail.UPDATE, reset=True)
    assert len(driver.device.installs) == 1


def test_execute_goes_without_arguments_to_who_refuses_them() -> None:
    device = Device(replies={Execute: [Reply.REFUSED]})
    driver = Driver(device, policy=Policy(execute_args=((0, None),)))
    assert driver.run() == Succeed(NEW)
    assert device.installs == [Execute((5, 0, 2), "install")]


@pytest.mark.parametrize(
    ("replies", "detail"),
    [([Reply.REFUSED] * 9, Detail.UPDATE), ([Reply.FORBIDDEN], Detail.FORBIDDEN)],
)
def test_a_command_that_is_refused(replies: list[Reply], detail: Detail) -> None:
    device = Device(replies={Execute: replies})
    assert Driver(device).run() == Fail(detail, reset=detail is Detail.UPDATE)


def test_a_command_that_meets_trouble_is_given_again_later_to_the_same_image() -> None:
    device = Device(replies={Execute: [Reply.TROUBLE]})
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert device.kinds == [WriteUri, Execute]
    assert [step.detail for step in driver.retries] == [Detail.CONNECTION]


# -- limits ----------------------------------------------------------------------------------------


class Indifferent(Device):
    def on_write_uri(self, step: WriteUri) -> None:
        return None


def test_a_device_that_ignores_the_url_has_not_responded() -> None:
    driver = Driver(Indifferent())
    assert driver.run() == Fail(Detail.NO_RESPONSE)
    assert 15 * MINUTE <= driver.now - START < 20 * MINUTE


def test_a_download_that_never_ends_is_a_lost_connection() -> None:
    driver = Driver(Device(downloads_to=(1, 0)))
    assert driver.run() == Fail(Detail.CONNECTION, reset=True)
    assert DAY <= driver.now - START < DAY + HOUR


def test_the_limits_are_the_models() -> None:
    timers = Timers(first_activity_ms=HOUR)
    driver = Driver(Indifferent(), policy=Policy(timers=timers))
    driver.run()
    assert HOUR <= driver.now - START < 2 * HOUR


def test_a_device_that_sleeps_through_a_limit_is_read_first() -> None:
    class Sleepy(Indifferent):
        def on_write_uri(self, step: WriteUri) -> None:
            self.awake = False
            self.after(5 * HOUR, self.wake)

        def wake(self) -> None:
            self.awake = True
            self.show(2, 0)

    assert Driver(Sleepy()).run() == Succeed(NEW)


def test_the_jobs_end_ends_it_wherever_it_stands() -> None:
    for hours in (0, 1):
        driver = Driver(Device(downloads_to=(1, 0)), deadline=START + hours * HOUR + 1)
        end = driver.run()
        assert isinstance(end, Fail)
        assert end.detail is Detail.NO_RESPONSE
        assert driver.now <= driver.deadline + 5 * SECOND


def test_a_retry_that_would_come_after_the_jobs_end_is_not_made() -> None:
    driver = Driver(Device(downloads_to=(0, 4)), deadline=START + 9 * MINUTE)
    assert driver.run() == Fail(Detail.CONNECTION)
    assert not any(isinstance(step, Retry) for step in driver.log)


def test_push_is_the_means_of_who_can_not_pull() -> None:
    device = Device(values={(5, 0, 9): 1})
    assert Driver(device).run() == Succeed(NEW)
    assert device.felt[0] == Push((5, 0, 0), 512, resume=False)


def test_a_device_that_installs_by_itself_while_it_waits_for_the_window() -> None:
    class Impatient(Device):
        def end_download(self) -> None:
            super().end_download()
            self.after(HOUR, lambda: self.show(3, 0))
            self.after(HOUR + MINUTE, self.end_install)

    device = Impatient()
    assert Driver(device, allowed=Allowed(awake=True, install=False)).run() == Succeed(NEW)
    assert device.installs == []


def test_a_device_that_is_idle_for_a_moment_before_it_installs() -> None:
    class Hesitant(Device):
        def on_execute(self, step: Execute) -> None:
            self.show(0, 0)
            self.after(8 * MINUTE, lambda: self.show(3, 0))
            self.after(20 * MINUTE, self.end_install)

    driver = Driver(Hesitant())
    assert driver.run() == Succeed(NEW)
    assert driver.phases.count(Phase.INSTALLING) == 2
