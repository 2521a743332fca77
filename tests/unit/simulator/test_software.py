"""Software for a device: object 9 (spec lwm2m.md 9)."""

from __future__ import annotations

import pytest

from overair.protocols.coap import codes
from overair.simulator import MISBEHAVIOURS, make_image
from overair.simulator.firmware import UnexpectedCauseError
from overair.simulator.installing import (
    SOFTWARE_TRANSITIONS,
    SoftwareCause,
    SoftwareResult,
    SoftwareState,
    next_software_state,
)
from overair.simulator.profile import Software

APP = (Software("app", "1.0"),)


@pytest.fixture(scope="module")
def package() -> bytes:
    return make_image("Acme", "One", "2.0", 3000, name="app")


def state(bench, instance: int = 0) -> tuple[int, int, bool]:
    tree = bench.device.tree
    return tuple(tree.value((9, instance, resource)) for resource in (7, 9, 12))


def execute(bench, resource: int, payload: bytes = b"", instance: int = 0) -> int:
    given = 0 if payload else None
    return bench.ask(codes.POST, f"/9/{instance}/{resource}", payload=payload, content_format=given).code


def test_the_table_has_every_state_and_cause() -> None:
    assert {each for each, _ in SOFTWARE_TRANSITIONS} == set(SoftwareState)
    assert {each for _, each in SOFTWARE_TRANSITIONS} == set(SoftwareCause)
    with pytest.raises(UnexpectedCauseError):
        next_software_state(SoftwareState.INITIAL, SoftwareCause.INSTALL)


@pytest.mark.parametrize("pushed", [True, False])
def test_a_new_version_of_what_is_installed(make_bench, package, pushed: bool) -> None:
    bench = make_bench(software=APP)
    assert state(bench) == (4, 2, True)
    assert execute(bench, 6, b"1") == codes.CHANGED
    # The program runs on until there is a new one.
    assert state(bench) == (0, 0, True)
    assert bench.read("/9/0/1") == "1.0"
    if pushed:
        assert bench.put("/9/0/2", package, 42) == codes.CHANGED
    else:
        assert bench.put("/9/0/3", bench.host(package).encode()) == codes.CHANGED
    bench.wait(1)
    assert state(bench)[:2] == (3, 3)
    assert execute(bench, 4) == codes.CHANGED
    assert execute(bench, 4) == codes.METHOD_NOT_ALLOWED
    bench.wait(5)
    assert state(bench) == (4, 2, False)
    assert (bench.read("/9/0/0"), bench.read("/9/0/1"), bench.read("/3/0/19")) == ("app", "2.0", "2.0")
    assert execute(bench, 10) == codes.CHANGED
    assert state(bench) == (4, 2, True)
    assert execute(bench, 11) == codes.CHANGED
    assert execute(bench, 6) == codes.CHANGED
    assert state(bench) == (0, 0, False)
    assert bench.read("/9/0/0") == ""
    assert bench.device.tally.registrations == 1
    assert bench.happened("flashed")[0][1] == "2.0"


def test_a_spare_instance_takes_new_software(make_bench, package) -> None:
    bench = make_bench(software=APP, spare_software=1)
    assert bench.ask(codes.POST, "/9").code == codes.METHOD_NOT_ALLOWED
    assert bench.put("/9/1/3", bench.host(package).encode()) == codes.CHANGED
    bench.wait(1)
    assert execute(bench, 4, instance=1) == codes.CHANGED
    bench.wait(5)
    assert (bench.read("/9/1/0"), bench.read("/9/1/1"), bench.read("/9/0/1")) == ("app", "2.0", "1.0")


def test_what_may_not_be_is_refused(make_bench, package) -> None:
    bench = make_bench(software=APP)
    assert execute(bench, 4) == codes.METHOD_NOT_ALLOWED
    assert bench.put("/9/0/3", b"coap://server/f/fw") == codes.BAD_REQUEST
    assert bench.put("/9/0/2", package, 42) == codes.BAD_REQUEST
    assert bench.ask(codes.GET, "/9/0/3").code == codes.METHOD_NOT_ALLOWED
    assert execute(bench, 6, b"2") == codes.BAD_REQUEST
    execute(bench, 6, b"1")
    assert execute(bench, 10) == execute(bench, 6) == codes.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("uri", "result"),
    [
        ("nonsense", SoftwareResult.INVALID_URI),
        ("http://server/f", SoftwareResult.INVALID_URI),
        ("coap://server/f/nothing", SoftwareResult.INVALID_URI),
        ("coap://server/f/damaged", SoftwareResult.INTEGRITY),
        ("coap://server/f/other", SoftwareResult.PACKAGE_TYPE),
    ],
)
def test_what_fails_is_told_in_the_numbers_of_object_9(make_bench, package, uri: str, result: int) -> None:
    bench = make_bench(software=APP)
    bench.host(package[:-1] + b"\0", "damaged")
    bench.host(b"something else" * 10, "other")
    execute(bench, 6, b"1")
    assert bench.put("/9/0/3", uri.encode()) == codes.CHANGED
    bench.wait(1)
    assert state(bench) == (0, result, True)


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        ("download-result-2", (0, 50)),
        ("download-result-10", (0, 57)),
        ("install-result-8", (3, 58)),
        ("power-cut", (3, 3)),
        ("reboot-while-downloading", (4, 2)),
        ("never-downloads", (1, 1)),
    ],
)
def test_what_goes_wrong(make_bench, package, fault: str, ends: tuple[int, int]) -> None:
    assert fault in MISBEHAVIOURS
    bench = make_bench(software=APP, fault=fault)
    execute(bench, 6, b"1")
    bench.put("/9/0/3", bench.host(package).encode())
    bench.wait(10)
    execute(bench, 4)
    bench.wait(10)
    assert state(bench)[:2] == ends


def test_a_refusing_device_refuses_software_too(make_bench, package) -> None:
    bench = make_bench(software=APP, fault="not-allowed")
    assert execute(bench, 6, b"1") == codes.METHOD_NOT_ALLOWED
    assert bench.put("/9/0/3", b"coap://server/f") == codes.METHOD_NOT_ALLOWED
    bench = make_bench(software=APP, fault="pull-only")
    execute(bench, 6, b"1")
    assert bench.put("/9/0/2", package, 42) == codes.METHOD_NOT_ALLOWED


def test_a_push_does_not_outlive_a_power_cut(make_bench, package) -> None:
    bench = make_bench(software=APP)
    execute(bench, 6, b"1")
    bench.server.endpoint.request(
        "device",
        codes.PUT,
        path=("9", "0", "2"),
        options=((codes.CONTENT_FORMAT, b"*"), (codes.BLOCK1, b"\x0d")),
        payload=package[:512],
        now=bench.now,
    )
    bench.network.touched("server")
    bench.wait(0)
    assert state(bench)[:2] == (1, 1)
    bench.tell(bench.device.reboot)
    bench.wait(3)
    assert state(bench)[:2] == (0, SoftwareResult.CONNECTION_LOST)
