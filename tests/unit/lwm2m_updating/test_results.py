"""Results, retries and verdicts (spec lwm2m.md 8.4, 8.7; device-record.md 7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m import ObjectLink
from overair.protocols.lwm2m.updating import (
    Detail,
    Execute,
    Fail,
    Means,
    Phase,
    Policy,
    PolicyError,
    Push,
    Read,
    Remark,
    Reset,
    Retry,
    Succeed,
    Target,
    Via,
    WriteUri,
    download_refused,
    progressed,
)
from overair.protocols.lwm2m.updating.versions import Evidence, Verdict, judge, normal, same

from .world import HOUR, MINUTE, NEW, OLD, START, Device, Driver, object_list

# -- results at the download -----------------------------------------------------------------------

LOST_PAUSES = [5, 15, 60, 240, 720]


@pytest.mark.parametrize(
    ("result", "detail", "pauses"),
    [
        (2, Detail.STORAGE, []),
        (3, Detail.MEMORY, [0]),
        (4, Detail.CONNECTION, LOST_PAUSES),
        (5, Detail.INTEGRITY, [0]),
        (6, Detail.PACKAGE, []),
        (7, Detail.URI, [0]),
        (8, Detail.UPDATE, [0]),
        (10, Detail.CANCELLED, []),
        (11, Detail.DEFERRED, []),
        (12, Detail.UNKNOWN, []),
        (13, Detail.UNKNOWN, []),
        (77, Detail.UNKNOWN, []),
    ],
)
def test_a_download_that_ends_with_a_result(result: int, detail: Detail, pauses: list[int]) -> None:
    driver = Driver(Device(downloads_to=(0, result)))
    end = driver.run()
    assert end == Fail(detail, result if detail is Detail.UNKNOWN else None)
    assert [step.detail for step in driver.retries] == [detail] * len(pauses)
    assert driver.device.kinds.count(WriteUri) == 1 + len(pauses)
    assert driver.device.installs == []
    assert driver.now - START >= sum(pauses) * MINUTE
    # Each new attempt begins with an idle device that shows no result.
    assert driver.device.kinds.count(Reset) == len(pauses)


def test_retries_come_with_growing_pauses() -> None:
    driver = Driver(Device(downloads_to=(0, 4)))
    pauses: list[int] = []

    def note(driver: Driver) -> bool:
        if isinstance(driver.log[-1], Retry):
            pauses.append((driver.log[-1].at_ms - driver.now) // MINUTE)
        return False

    driver.run(until=note)
    assert pauses == LOST_PAUSES


def test_a_retry_may_succeed() -> None:
    class Flaky(Device):
        def end_download(self) -> None:
            self.show(*((0, 4) if self.kinds.count(WriteUri) < 3 else (2, 0)))

    driver = Driver(Flaky())
    assert driver.run() == Succeed(NEW)
    assert len(driver.retries) == 2
    assert driver.job.used == {4: 2}


def test_an_unsupported_protocol_leads_to_the_next_one_once() -> None:
    device = Device(downloads_to=(0, 9), values={(5, 0, 8, 1): 3})
    driver = Driver(device)
    assert driver.run() == Fail(Detail.PROTOCOL)
    assert [step.means for step in device.felt if isinstance(step, WriteUri)] == [Means.HTTPS, Means.COAPS]


def test_an_invalid_url_is_tried_once_in_a_shorter_form() -> None:
    device = Device(downloads_to=(0, 7))
    Driver(device).run()
    assert [step.short for step in device.felt if isinstance(step, WriteUri)] == [False, True]


def test_out_of_memory_is_tried_once_with_smaller_blocks() -> None:
    device = Device(downloads_to=(0, 3), values={(5, 0, 9): 1})
    Driver(device).run()
    assert [step.block_size for step in device.felt if isinstance(step, Push)] == [512, 256]


def test_a_download_that_our_file_server_refused_failed_by_that() -> None:
    driver = Driver(Device(downloads_to=(0, 4)), deadline=START + 8 * MINUTE)
    driver.run(until=lambda driver: driver.job.phase is Phase.DOWNLOADING)
    driver.job = download_refused(driver.job)
    assert driver.run() == Fail(Detail.AUTHENTICATION)


def test_a_download_that_stops_at_our_file_server_lost_its_connection() -> None:
    driver = Driver(Device(downloads_to=(1, 0)))
    driver.run(until=lambda driver: driver.job.active)
    driver.job = progressed(driver.job, driver.now)
    driver.run(until=lambda driver: bool(driver.retries))
    assert driver.retries[0].detail is Detail.CONNECTION
    assert 30 * MINUTE <= driver.now - START < HOUR


def test_requests_at_the_file_server_are_a_sign_of_a_download() -> None:
    class Coy(Device):
        """Shows the download only when it is done."""

        def on_write_uri(self, step: WriteUri) -> None:
            self.after(40 * MINUTE, lambda: self.show(2, 0))

    driver = Driver(Coy())

    def fetches(driver: Driver) -> bool:
        if driver.job.phase is Phase.DOWNLOADING:
            driver.job = progressed(driver.job, driver.now)
        return False

    assert driver.run(until=fetches) == Succeed(NEW)
    assert not driver.retries


def test_a_device_that_lost_its_download_in_a_reboot_tries_again() -> None:
    class Rebooting(Device):
        def end_download(self) -> None:
            if self.kinds.count(WriteUri) == 1:
                self.show(0, 0)
                self.register()
            else:
                super().end_download()

    driver = Driver(Rebooting())
    assert driver.run() == Succeed(NEW)
    assert [step.detail for step in driver.retries] == [Detail.CONNECTION]


@pytest.mark.parametrize("result", [1, 4, 8])
def test_a_result_beside_a_running_download_is_stale(result: int) -> None:
    class Forgetful(Device):
        """Keeps its old result until the download ends, whatever one writes."""

        def on_reset(self, step: Reset) -> None:
            return None

        def begin_download(self) -> None:
            self.show(1, result)
            self.after(5 * MINUTE, self.end_download)

    device = Forgetful()
    device.show(0, result)
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert not driver.retries


# -- results at the installation -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "result", "detail", "executes"),
    [
        (2, 8, Detail.UPDATE, 2),
        (0, 8, Detail.UPDATE, 2),
        (0, 5, Detail.INTEGRITY, 2),
        (2, 5, Detail.INTEGRITY, 2),
        (2, 2, Detail.STORAGE, 1),
        (0, 6, Detail.PACKAGE, 1),
        (0, 10, Detail.CANCELLED, 1),
        (0, 99, Detail.UNKNOWN, 1),
    ],
)
def test_an_installation_that_ends_with_a_result(
    state: int, result: int, detail: Detail, executes: int
) -> None:
    driver = Driver(Device(installs_to=(state, result, OLD)))
    end = driver.run()
    assert isinstance(end, Fail)
    assert (end.detail, end.reset) == (detail, state == 2)
    assert len(driver.device.installs) == executes


def test_a_failed_update_with_the_image_still_there_is_not_downloaded_again() -> None:
    device = Device(installs_to=(2, 8, OLD))
    Driver(device).run()
    assert device.kinds.count(WriteUri) == 1


def test_a_failed_update_without_the_image_is_downloaded_again() -> None:
    device = Device(installs_to=(0, 8, OLD))
    Driver(device).run()
    assert device.kinds.count(WriteUri) == 2


class Deferring(Device):
    hours = 3

    def on_execute(self, step: Execute) -> None:
        self.show(2, 11)
        self.after(self.hours * HOUR, self.agree)

    def agree(self) -> None:
        self.show(3, 0)
        self.after(10 * MINUTE, self.end_install)


def test_a_deferral_is_waited_for() -> None:
    device = Deferring(values={(5, 0, 13): 4 * 3600})
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert len(device.installs) == 1


def test_a_deferral_ends_an_hour_after_its_longest() -> None:
    device = Deferring(values={(5, 0, 13): 3600})
    driver = Driver(device)
    assert driver.run() == Fail(Detail.DEFERRED, reset=True)
    assert 2 * HOUR <= driver.now - START < 3 * HOUR


def test_an_installation_after_a_deferral_has_its_whole_time() -> None:
    class Slow(Deferring):
        def agree(self) -> None:
            self.show(3, 0)
            self.after(55 * MINUTE, self.end_install)

    device = Slow(values={(5, 0, 13): 2 * 3600 + 200})
    assert Driver(device).run() == Succeed(NEW)


def test_an_old_result_beside_a_kept_image_is_not_that_of_the_installation() -> None:
    class Late(Device):
        def on_execute(self, step: Execute) -> None:
            self.after(20 * MINUTE, lambda: self.show(3, 0))
            self.after(30 * MINUTE, self.end_install)

    device = Late(values={(5, 0, 7): NEW})
    device.show(2, 8)
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert not driver.retries
    assert len(device.installs) == 1


# -- the verdict (section 8.7) ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "result", "end"),
    [
        (NEW, 1, Succeed(NEW)),
        (f" {NEW}\0\0", 1, Succeed(NEW)),
        (NEW, 0, Succeed(NEW)),
        (NEW, 8, Succeed(NEW, Remark.STALE)),
        (NEW, 5, Succeed(NEW, Remark.STALE)),
        (NEW, 4, Succeed(NEW, Remark.STALE)),
        (OLD, 1, Fail(Detail.UNCHANGED)),
        (OLD, 0, Fail(Detail.UNCHANGED)),
        ("2.0-vendor", 1, Succeed("2.0-vendor", Remark.MISMATCH)),
        ("2.0-vendor", 0, Fail(Detail.UPDATE)),
        (None, 1, Succeed(None, Remark.UNREADABLE)),
        (None, 0, Fail(Detail.UPDATE)),
    ],
)
def test_the_verdict_on_what_a_device_shows(version: str | None, result: int, end: Succeed | Fail) -> None:
    assert Driver(Device(installs_to=(0, result, version))).run() == end


def test_an_unchanged_version_has_half_an_hour_to_change() -> None:
    driver = Driver(Device(installs_to=(0, 1, OLD)))
    driver.run()
    assert 30 * MINUTE <= driver.now - START < HOUR


def test_an_unchanged_version_has_one_more_registration_to_change() -> None:
    class Twice(Device):
        def end_install(self) -> None:
            super().end_install()
            self.after(2 * MINUTE, self.register)

    driver = Driver(Twice(installs_to=(0, 1, OLD)))
    assert driver.run() == Fail(Detail.UNCHANGED)
    assert driver.now - START < 20 * MINUTE


@pytest.mark.parametrize(
    ("values", "end"),
    [
        ({(3, 0, 19): NEW}, Succeed(OLD)),
        ({(5, 0, 7): NEW}, Succeed(OLD)),
        ({}, Succeed(OLD, Remark.TRUSTED)),
        ({(3, 0, 19): OLD}, Fail(Detail.UNCHANGED)),
    ],
)
def test_the_result_is_trusted_where_the_model_says_so(values: dict, end: Succeed | Fail) -> None:
    class Module(Device):
        def end_install(self) -> None:
            super().end_install()
            self.values |= values

    assert Driver(Module(installs_to=(0, 1, OLD)), policy=Policy(trust_result=True)).run() == end


def test_the_packages_base_version_is_the_old_one_where_the_device_did_not_say() -> None:
    class Mute(Device):
        def end_install(self) -> None:
            super().end_install()
            self.values[3, 0, 3] = OLD

    device = Mute()
    del device.values[3, 0, 3]
    assert Driver(device, Target(version_from=OLD, version_to=NEW)).run() == Fail(Detail.UNCHANGED)


def test_versions_are_compared_as_the_model_writes_them() -> None:
    policy = Policy(version_regex=r"^APP-(.*)-release$")
    device = Device(installs_to=(0, 1, "APP-2.0-release"), values={(3, 0, 3): "APP-1.0-release"})
    target = Target(version_from="APP-1.0-release", version_to="2.0")
    assert Driver(device, target, policy=policy).run() == Succeed("APP-2.0-release")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1.1.1", "1.1.10", False),
        ("v1", "V1", False),
        (" v1 \0", "v1", True),
        ("", "", False),
        (None, None, False),
        ("\0 ", "\0", False),
    ],
)
def test_versions_are_the_same_letter_by_letter(one, other, equal: bool) -> None:
    assert same(one, other) is equal


def test_a_pattern_takes_its_group_or_its_match() -> None:
    assert normal("R01A02 build 7", r"R\d+A\d+") == "R01A02"
    assert normal("fw-2.1", r"fw-(.*)") == "2.1"
    assert normal("other", r"fw-(.*)") == "other"


@pytest.mark.parametrize(
    "fields",
    [{"version_regex": "("}, {"version_regex": "a" * 257}, {"block_size": 500}, {"scheme": Means.PUSH}],
)
def test_a_policy_that_can_not_be_followed_is_refused(fields: dict) -> None:
    with pytest.raises(PolicyError, match=next(iter(fields))):
        Policy(**fields)


@given(
    st.sampled_from([NEW, OLD, "other", None]),
    st.integers(-60, 60),
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(st.sampled_from([NEW, OLD, "other"])),
)
def test_a_verdict_is_a_success_only_for_the_target_or_a_named_exception(
    version, result: int, idle: bool, returned: bool, trusted
) -> None:
    verdict: Verdict = judge(Evidence(version, result, idle, returned, trusted), target=NEW, previous=OLD)
    said = [verdict.success, verdict.failure is not None, verdict.result != 0, verdict.detail is not None]
    assert said.count(True) == 1
    if verdict.success:
        assert version == NEW or result == 1
        assert version != OLD or trusted is not None


# -- object 33629 ----------------------------------------------------------------------------------


def advanced(**fields) -> Device:
    place = fields.pop("place", (33629, 1))
    objects = object_list((3, 0), (5, 0), (33629, 0), (33629, 1))
    values = {
        (33629, 0, 14): "modem",
        (33629, 1, 14): "Application",
        (33629, 0, 15): "m1",
        (33629, 1, 15): OLD,
        (33629, 0, 3): 0,
        (33629, 0, 5): 0,
    }
    return Device(place=place, objects=objects, values=values, **fields)


def test_the_application_is_updated_alone_and_by_its_own_object() -> None:
    device = advanced()
    assert Driver(device).run() == Succeed(NEW)
    assert device.installs == [Execute((33629, 1, 2), "install", ((0, None),))]


def test_a_component_is_found_by_its_name_and_verified_by_its_own_version() -> None:
    class Modem(Device):
        def end_install(self) -> None:
            super().end_install()
            self.values[33629, 0, 15] = "m2"

    known = advanced(place=(33629, 0))
    device = Modem(place=(33629, 0), objects=known.objects, values=known.values, installs_to=(0, 1, OLD))
    target = Target(version_from="m1", version_to="m2", component="MODEM")
    assert Driver(device, target).run() == Succeed("m2")


def test_a_component_that_the_device_has_not() -> None:
    assert Driver(advanced(), Target(version_to=NEW, component="sensor")).run() == Fail(Detail.PACKAGE)


def test_a_single_instance_is_used_without_asking_for_its_name() -> None:
    device = Device(place=(33629, 0), objects=object_list((3, 0), (33629, 0)))
    driver = Driver(device)
    assert driver.run() == Succeed(NEW)
    assert not any((33629, 0, 14) in step.paths for step in driver.log if isinstance(step, Read))


def test_conflicting_instances_are_reset_before_the_one_retry() -> None:
    class Conflicting(Device):
        def end_download(self) -> None:
            self.values |= {(*self.at(17), 0): ObjectLink(33629, 0)}
            self.show(0, 12)

    known = advanced()
    device = Conflicting(place=(33629, 1), objects=known.objects, values=known.values)
    driver = Driver(device)
    assert driver.run() == Fail(Detail.CONFLICT)
    resets = [step for step in device.felt if isinstance(step, Reset)]
    assert resets[0] == Reset((33629, 0, 1), Via.URI)
    assert device.kinds.count(WriteUri) == 2


@pytest.mark.parametrize(("result", "detail"), [(13, Detail.DEPENDENCY)])
def test_results_of_object_33629_alone(result: int, detail: Detail) -> None:
    device = advanced(installs_to=(0, result, OLD))
    assert Driver(device).run() == Fail(detail)
