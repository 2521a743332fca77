"""Software: object 9, its states and results (spec lwm2m.md 9)."""

from __future__ import annotations

from typing import Any

import pytest

from overair.protocols.lwm2m import Path, Value
from overair.protocols.lwm2m.updating import (
    Allowed,
    Create,
    Detail,
    Execute,
    Fail,
    Kind,
    Means,
    Phase,
    Purpose,
    Push,
    Remark,
    Reply,
    Step,
    Succeed,
    Target,
    WriteUri,
)

from .world import MINUTE, NEW, OLD, SECOND, SOFTWARE, START, Device, Driver, object_list

REMOVAL = Target(kind=Kind.REMOVAL, version_to="", name="meter")


class Packages(Device):
    """Object 9 with one instance, as the fields say; `package` is its name and version."""

    name: str | None = "meter"
    version: str | None = OLD
    state = 4
    active = True
    install_result: tuple[int, int] = (4, 2)
    download_result: tuple[int, int] = (3, 3)
    installed_version = NEW
    activates = False

    def __init__(self, **fields: Any) -> None:
        instance = fields.pop("instance", 0)
        objects = fields.pop("objects", object_list((3, 0), (5, 0), (9, instance)))
        replies = fields.pop("replies", {})
        for name, value in fields.items():
            setattr(self, name, value)
        shown: dict[Path, Value] = {
            (9, instance, 7): self.state,
            (9, instance, 9): 0,
            (5, 0, 8, 0): 1,
            (5, 0, 9): 0,
        }
        shown[9, instance, 12] = self.active
        if self.name is not None:
            shown[9, instance, 0] = self.name
        if self.version is not None:
            shown[9, instance, 1] = self.version
        super().__init__(place=(9, instance), objects=objects, values=shown, replies=replies)

    def show(self, state: int, result: int) -> None:
        self.values |= {self.at(7): state, self.at(9): result}

    def on_write_uri(self, step: WriteUri) -> Reply | None:
        self.after(10 * SECOND, self.begin_download)
        return None

    def begin_download(self) -> None:
        self.show(1, 1)
        self.after(MINUTE, lambda: self.show(2, 1))
        self.after(2 * MINUTE, self.end_download)

    def end_download(self) -> None:
        self.show(*self.download_result)

    def on_execute(self, step: Execute) -> Reply | None:
        if step.purpose is Purpose.UNINSTALL:
            self.show(0, 0)
            self.values[self.at(12)] = False
        elif step.purpose is Purpose.INSTALL:
            if self.values[self.at(7)] != 3:
                return Reply.REFUSED
            self.after(MINUTE, self.end_install)
        else:
            self.values[self.at(12)] = step.purpose is Purpose.ACTIVATE
        return None

    def end_install(self) -> None:
        self.show(*self.install_result)
        self.values |= {self.at(0): "meter", self.at(1): self.installed_version, self.at(12): self.activates}

    def on_create(self, step: Create) -> Reply | None:
        self.values |= {self.at(7): 0, self.at(9): 0, self.at(12): False}
        return None


def purposes(device: Device) -> list[str]:
    names = {WriteUri: "uri", Push: "push", Create: "create"}
    return [
        step.purpose.value if isinstance(step, Execute) else names.get(type(step), "?")
        for step in device.felt
    ]


def test_an_installed_package_is_replaced() -> None:
    device = Packages()
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["uninstall", "uri", "install", "activate"]
    assert device.felt[:3] == [
        Execute((9, 0, 6), Purpose.UNINSTALL, ((1, None),)),
        WriteUri((9, 0, 3), Means.COAPS, short=False),
        Execute((9, 0, 4), Purpose.INSTALL),
    ]
    assert device.felt[3] == Execute((9, 0, 10), Purpose.ACTIVATE)


def test_software_that_runs_once_installed_needs_no_activation() -> None:
    device = Packages(activates=True)
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["uninstall", "uri", "install"]


def test_a_free_instance_is_used_for_a_new_package() -> None:
    device = Packages(name=None, version=None, state=0, active=False, instance=2)
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["uri", "install", "activate"]


def without_instance(**fields: Any) -> Packages:
    device = Packages(name=None, version=None, objects=object_list((3, 0), (9, 7)), **fields)
    device.values = {(3, 0, 3): OLD}
    return device


def test_an_instance_is_made_where_there_is_none() -> None:
    device = without_instance()
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["create", "uri", "install", "activate"]


def test_a_create_whose_answer_was_lost_is_not_repeated() -> None:
    class Unheard(Packages):
        def do(self, step: Step) -> Reply:
            reply = super().do(step)
            return Reply.SILENT if isinstance(step, Create) else reply

    device = Unheard(name=None, version=None, objects=object_list((3, 0), (9, 7)))
    device.values = {(3, 0, 3): OLD}
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device).count("create") == 1


@pytest.mark.parametrize(
    ("reply", "detail"), [(Reply.REFUSED, Detail.STORAGE), (Reply.FORBIDDEN, Detail.FORBIDDEN)]
)
def test_no_instance_can_be_made(reply: Reply, detail: Detail) -> None:
    assert Driver(without_instance(replies={Create: [reply]}), SOFTWARE).run() == Fail(detail)


def test_software_that_is_there_is_left_alone() -> None:
    device = Packages(version=NEW)
    assert Driver(device, SOFTWARE).run() == Succeed(NEW, Remark.ALREADY)
    assert device.felt == []


def test_software_that_is_there_and_does_not_run_is_activated() -> None:
    device = Packages(version=NEW, active=False)
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["activate"]


def test_software_of_another_version_is_left_alone() -> None:
    target = Target(kind=Kind.SOFTWARE, name="meter", version_from="0.5", version_to=NEW)
    assert Driver(Packages(), target).run() == Fail(Detail.PREREQUISITE)


def test_a_device_without_object_9() -> None:
    assert Driver(Packages(objects=object_list((3, 0), (5, 0))), SOFTWARE).run() == Fail(Detail.PROTOCOL)


@pytest.mark.parametrize(
    ("result", "detail", "attempts"),
    [
        (50, Detail.STORAGE, 1),
        (51, Detail.MEMORY, 2),
        (52, Detail.CONNECTION, 6),
        (53, Detail.INTEGRITY, 2),
        (54, Detail.PACKAGE, 1),
        (56, Detail.URI, 2),
        (57, Detail.UPDATE, 2),
        (55, Detail.UNKNOWN, 1),
        (99, Detail.UNKNOWN, 1),
    ],
)
def test_a_download_that_ends_with_a_result(result: int, detail: Detail, attempts: int) -> None:
    device = Packages(download_result=(0, result))
    end = Driver(device, SOFTWARE).run()
    assert end == Fail(detail, result if detail is Detail.UNKNOWN else None)
    assert purposes(device).count("uri") == attempts


@pytest.mark.parametrize("result", [57, 58])
def test_an_installation_that_failed_is_tried_once_more_with_the_same_package(result: int) -> None:
    device = Packages(install_result=(3, result))
    assert Driver(device, SOFTWARE).run() == Fail(Detail.UPDATE, reset=True)
    assert purposes(device) == ["uninstall", "uri", "install", "install"]


def test_another_version_than_the_packages() -> None:
    device = Packages(installed_version="2.0-b")
    assert Driver(device, SOFTWARE).run() == Succeed("2.0-b", Remark.MISMATCH)


def test_software_that_can_not_be_activated() -> None:
    class Dull(Packages):
        def on_execute(self, step: Execute) -> Reply | None:
            return Reply.REFUSED if step.purpose is Purpose.ACTIVATE else super().on_execute(step)

    assert Driver(Dull(), SOFTWARE).run() == Fail(Detail.UPDATE)


def test_a_package_is_pushed_to_who_can_not_pull() -> None:
    device = Packages(replies={WriteUri: [Reply.REFUSED]})
    device.on_push = lambda step: device.begin_download()  # type: ignore[attr-defined]
    assert Driver(device, SOFTWARE).run() == Succeed(NEW)
    assert purposes(device) == ["uninstall", "push", "install", "activate"]


def test_software_is_removed() -> None:
    device = Packages()
    assert Driver(device, REMOVAL).run() == Succeed(None)
    assert purposes(device) == ["deactivate", "uninstall"]


def test_software_that_does_not_run_is_only_uninstalled() -> None:
    device = Packages(active=False)
    assert Driver(device, REMOVAL).run() == Succeed(None)
    assert purposes(device) == ["uninstall"]


@pytest.mark.parametrize("device", [Packages(name="other"), Packages(state=0)])
def test_software_that_is_not_there_need_not_be_removed(device: Packages) -> None:
    assert Driver(device, REMOVAL).run() == Succeed(None, Remark.ALREADY)
    assert device.felt == []


def test_software_is_removed_only_when_that_is_allowed() -> None:
    driver = Driver(Packages(), REMOVAL, allowed=Allowed(awake=True, install=False))
    driver.settle()
    assert (driver.job.phase, driver.device.felt) == (Phase.REMOVE, [])
    assert driver.now - START < MINUTE


def test_software_that_can_not_be_removed() -> None:
    class Sticky(Packages):
        def on_execute(self, step: Execute) -> Reply | None:
            return Reply.REFUSED

    assert Driver(Sticky(active=False), REMOVAL).run() == Fail(Detail.UPDATE)
