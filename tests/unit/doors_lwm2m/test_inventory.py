"""What is read of a device and what its answers mean (spec device-record.md 3 and 5; lwm2m.md 7.12)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.devices.model import Device, Report
from overair.devices.rules import reported
from overair.doors.lwm2m.inventory import (
    FIRMWARE_VERSION,
    firmware_report,
    host_time_ms,
    partial_report,
    plan,
    report,
)
from overair.protocols.lwm2m import ObjectLink, Path, Value, parse_links

NOW = 1_767_225_600_000
Values = dict[Path, Value]

DEVICE: Values = {(3, 0, 0): "SEQUANS", (3, 0, 1): "GM01Q", (3, 0, 3): "SR1.2"}


def full(
    values: Values, links: str = "", *, unread: tuple[Path, ...] = (), refused: tuple[Path, ...] = ()
) -> Report:
    """The report of a device whose registered objects were all read, but for *unread*."""
    objects = parse_links((links or links_of(values)).encode())
    read = [path for path in plan(objects) if path not in (*unread, *refused)]
    return report(values, objects, read=read, refused=refused)


def links_of(values: Values) -> str:
    return ",".join(f"</{number}/{instance}>" for number, instance in sorted({path[:2] for path in values}))


def package(instance: int, name: str, version: str, *, state: int = 4) -> Values:
    return {(9, instance, 0): name, (9, instance, 1): version, (9, instance, 7): state}


def software(values: Values) -> dict[str, str]:
    said = full({**DEVICE, **values}).software
    assert said is not None
    return {name: version for name, version, _ in said}


# The plan.


@pytest.mark.parametrize(
    ("links", "paths"),
    [
        ("", [(3, 0)]),
        ("</3/0>", [(3, 0)]),
        ("</1/0>,</3/0>,</4/0>,</6/0>", [(3, 0)]),
        ("</3/0>,</5/0>", [(3, 0), (5, 0)]),
        ("</3/0>,</9/0>,</9/1>", [(3, 0), (9,)]),
        ("</3/0>,</9>", [(3, 0)]),
        ("</3/0>,</33629/0>,</33629/1>", [(3, 0), (33629,)]),
        ("</3/0>,</10308/0>,</10299/0>,</10241/0>,</3351/0>,</14/0>,</16/0>", None),
    ],
)
def test_the_plan_follows_the_object_list(links: str, paths: list[Path] | None) -> None:
    planned = plan(parse_links(links.encode()))
    assert planned[0] == (3, 0)
    assert len(planned) == len(set(planned))
    if paths is not None:
        assert planned == paths
    else:
        assert set(planned[1:]) == {(10308,), (10299,), (10241,), (3351,), (14,), (16,)}


# Each source alone (section 1).


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ((3, 0, 0), "make"),
        ((3, 0, 1), "model"),
        ((3, 0, 3), "firmware"),
        ((10308, 0, 3), "mdn"),
        ((3351, 0, 4), "mdn"),
    ],
)
def test_each_resource_alone_fills_its_field(path: Path, field: str) -> None:
    for said in (full({path: " 15551234567\0"}), partial_report({path: " 15551234567\0"})):
        filled = {name: getattr(said, name) for name in ("make", "model", "firmware", "mdn")}
        assert filled == {**dict.fromkeys(filled), field: "15551234567"}


def test_a_full_report_counts_as_a_refresh_when_the_device_object_was_read() -> None:
    assert full(DEVICE).refreshed
    assert not full({(10308, 0, 3): "5551234567"}, unread=((3, 0),)).refreshed
    read = firmware_report({FIRMWARE_VERSION: "2"}, refreshed=True)
    assert read == Report("LWM2M", firmware="2")
    assert not partial_report(DEVICE).refreshed


@pytest.mark.parametrize("empty", ["", " ", "\0", 7, b"bytes", True])
def test_what_is_empty_or_no_text_says_nothing(empty: Value) -> None:
    values: Values = dict.fromkeys(DEVICE, empty)
    for said in (full(values), partial_report(values), firmware_report(values, refreshed=True)):
        assert (said.make, said.model, said.firmware) == (None, None, None)


def test_the_modems_make_and_model_stay_when_there_is_a_host() -> None:
    said = full({**DEVICE, (10299, 0, 0): "Acme", (10299, 0, 1): "Meter", (10299, 0, 2): "SN1"})
    assert (said.make, said.model) == ("SEQUANS", "GM01Q")
    assert dict(said.attributes) == {"host_make": "Acme", "host_model": "Meter", "host_id": "SN1"}


@pytest.mark.parametrize(
    "host",
    [
        {(10241, 0, 5905): "Acme", (10241, 0, 5906): "Meter", (10241, 0, 5907): "SN1"},
        {(10241, 2, 5905, 0): "Acme", (10241, 2, 5906, 0): "Meter", (10241, 2, 5907, 0): "SN1"},
        {(16, 0, 0, 0): "SN1", (16, 0, 0, 1): "Acme", (16, 0, 0, 2): "Meter"},
    ],
)
def test_every_host_object_gives_the_host(host: Values) -> None:
    said = full({**DEVICE, **host})
    assert dict(said.attributes) == {"host_make": "Acme", "host_model": "Meter", "host_id": "SN1"}


def test_numbers_of_the_sim_and_the_device_are_attributes() -> None:
    said = full(
        {(3, 0, 2): "SN", (10308, 1, 1): "8901", (10308, 1, 2): "310", (3351, 0, 2): "490154203237518"}
    )
    expected = {"serial": "SN", "iccid": "8901", "imsi": "310", "reported_imei": "490154203237518"}
    assert dict(said.attributes) == expected


@pytest.mark.parametrize("none", ["zero", "0", ""])
def test_a_sim_without_a_number_leaves_it_to_the_next_source(none: str) -> None:
    assert full({(10308, 0, 3): none}).mdn is None
    assert full({(10308, 0, 3): none, (10308, 1, 3): "5551234567"}).mdn == "5551234567"
    assert full({(10308, 0, 3): none, (3351, 0, 4): "5551234567"}).mdn == "5551234567"
    assert full({(10308, 0, 3): "5550000000", (3351, 0, 4): "5551234567"}).mdn == "5550000000"


def test_the_number_of_the_message_centre_is_never_the_devices() -> None:
    assert full({**DEVICE, (10, 0, 0): "5551234567"}).mdn is None


# Firmware (section 3.2) and what takes it (section 4.3).


def test_the_device_object_is_the_firmware_before_any_component() -> None:
    component: Values = {(33629, 0, 14): "main", (33629, 0, 15): "2.0"}
    assert full({**DEVICE, **component}).firmware == "SR1.2"
    assert full(component).firmware == "2.0"
    assert full({(3, 0, 3): "", **component}).firmware == "2.0"


def test_the_main_component_is_the_one_so_named_or_the_first() -> None:
    two: Values = {
        (33629, 0, 14): "modem",
        (33629, 0, 15): "1.0",
        (33629, 1, 14): "Application",
        (33629, 1, 15): "2.0",
    }
    assert full(two).firmware == "2.0"
    assert full({**two, (33629, 1, 14): "boot"}).firmware == "1.0"


def test_the_package_version_is_not_the_firmware() -> None:
    assert full({(5, 0, 7): "9.9", (5, 0, 6): "pkg"}).firmware is None


@pytest.mark.parametrize(
    ("links", "refused", "capable"),
    [
        ("</3/0>,</5/0>", (), True),
        ("</3/0>,</33629/0>", (), True),
        ("</3/0>,</5/0>", ((5, 0),), False),
        ("</3/0>,</5/0>,</33629/0>", ((5, 0),), True),
        ("</3/0>,</9/0>", (), False),
        ("", (), None),
    ],
)
def test_a_device_takes_firmware_by_object_5_or_33629(
    links: str, refused: tuple[Path, ...], capable: bool | None
) -> None:
    assert full(DEVICE, links or " ", refused=refused).firmware_capable is capable


def test_whether_it_takes_firmware_is_not_said_by_part_of_the_answers() -> None:
    assert full(DEVICE, "</3/0>,</5/0>", unread=((5, 0),)).firmware_capable is None
    assert partial_report(DEVICE).firmware_capable is None
    assert firmware_report(DEVICE, refreshed=False).firmware_capable is None


# Software (section 3.3).


@pytest.mark.parametrize(("state", "listed"), [(0, False), (1, False), (2, False), (3, False), (4, True)])
def test_only_installed_packages_are_listed(state: int, listed: bool) -> None:
    assert software(package(0, "app", "1", state=state)) == ({"app": "1"} if listed else {})


def test_several_packages_are_each_an_entry() -> None:
    assert software({**package(0, "a", "1"), **package(7, "b", "2")}) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("link_path", [(9, 0, 17), (9, 0, 17, 0)])
def test_components_stand_instead_of_their_package(link_path: Path) -> None:
    parts: Values = {(14, 3, 0): "part", (14, 3, 2): "3", (14, 4, 0): "loose", (14, 4, 2): "4"}
    linked: Values = {**package(0, "app", "1"), **parts, link_path: ObjectLink(14, 3)}
    assert software(linked) == {"part": "3"}
    nothing: Values = {**linked, link_path: ObjectLink(65535, 65535)}
    assert software(nothing) == {"app": "1"}


def test_every_component_but_the_main_one_is_software() -> None:
    values: Values = {
        (33629, 0, 14): "application",
        (33629, 0, 15): "1",
        (33629, 1, 14): "modem",
        (33629, 1, 15): "2",
    }
    assert software(values) == {"modem": "2"}


def test_the_software_version_of_the_device_is_an_entry_unless_another_says_it() -> None:
    assert software({(3, 0, 19): "7.1"}) == {"software": "7.1"}
    assert software({(3, 0, 19): "7.1", **package(0, "app", "7.1")}) == {"app": "7.1"}
    assert software({(3, 0, 19): "7.2", **package(0, "app", "7.1")}) == {"app": "7.1", "software": "7.2"}
    assert software({(3, 0, 19): ""}) == {}


@pytest.mark.parametrize(
    ("host", "entry"),
    [
        ({(10299, 0, 4): "4.2"}, ("host", "4.2", None)),
        ({(10299, 0, 4): "4.2", (10299, 0, 1): "Meter"}, ("Meter", "4.2", None)),
        ({(10299, 0, 3): "3.3", (10299, 0, 1): "Meter"}, ("Meter", "3.3", None)),
        ({(10299, 0, 4): "4.2", (10299, 0, 6): "01:02:2020 03:04:05"}, ("host", "4.2", 1_577_934_245_000)),
        ({(10299, 0, 4): "4.2", (10299, 0, 6): "yesterday"}, ("host", "4.2", None)),
        ({(10241, 0, 5908): "5", (10241, 0, 5906): "Meter"}, ("Meter", "5", None)),
        ({(10241, 1, 5908, 0): "5", (10241, 1, 5906, 0): "Meter"}, ("Meter", "5", None)),
        ({(10241, 1, 5908): "5"}, ("host", "5", None)),
    ],
)
def test_the_host_behind_the_modem_is_an_entry(host: Values, entry: tuple[str, str, int | None]) -> None:
    assert full({**DEVICE, **host}).software == (entry,)


def test_two_sources_of_one_name_are_one_entry() -> None:
    twice: Values = {
        (10299, 0, 4): "1",
        (10299, 0, 1): "Meter",
        (10241, 0, 5908): "2",
        (10241, 0, 5906): "Meter",
    }
    assert software({**twice, **package(0, "a", "1"), **package(1, "a", "1")}) == {"a": "1", "Meter": "1"}


# Complete or not: what a report may delete.


@pytest.mark.parametrize(
    ("links", "unread", "complete"),
    [
        ("</3/0>", (), True),
        ("</3/0>,</9/0>", (), True),
        ("</3/0>,</9/0>", ((9,),), False),
        ("</3/0>,</9/0>", ((3, 0),), False),
        ("</3/0>,</14/0>", ((14,),), False),
        ("</3/0>,</33629/0>", ((33629,),), False),
        ("</3/0>,</10299/0>", ((10299,),), False),
        ("</3/0>,</10241/0>", ((10241,),), False),
        ("</3/0>,</5/0>,</10308/0>", ((5, 0), (10308,)), True),
        (" ", (), False),
    ],
)
def test_a_list_is_complete_when_everything_with_software_was_read(
    links: str, unread: tuple[Path, ...], complete: bool
) -> None:
    assert full(DEVICE, links, unread=unread).software_complete is complete


def test_nothing_installed_is_said_only_by_a_complete_report() -> None:
    assert full(DEVICE, "</3/0>,</9/0>").software == ()
    assert full(DEVICE, "</3/0>,</9/0>", unread=((9,),)).software is None
    assert partial_report(DEVICE).software is None


def test_a_notification_is_never_complete() -> None:
    said = partial_report(package(0, "app", "1"))
    assert (said.software, said.software_complete) == ((("app", "1", None),), False)


def test_a_notification_of_one_component_is_not_taken_for_the_firmware() -> None:
    said = partial_report({(33629, 1, 14): "modem", (33629, 1, 15): "2.0"})
    assert (said.firmware, said.software) == (None, None)


# The time of a host.


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("01:01:1970 00:00:00", 0),
        ("06:03:2021 00:03:56", 1_622_678_636_000),
        ("12:31:2025 23:59:59", 1_767_225_599_000),
        ("02:29:2024 12:00:00", 1_709_208_000_000),
    ],
)
def test_a_date_stamp_is_utc(text: str, time_ms: int) -> None:
    assert host_time_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "zero",
        "13:01:2020 00:00:00",
        "02:30:2020 00:00:00",
        "1:2:2020 0:0:0",
        "01:01:0000 00:00:00",
        "01:01:2020 24:00:00",
        "01:01:2020 00:00:00Z",
        "01:01:20 00:00:00",
        "2020-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_no_date_stamp(text: str | None) -> None:
    assert host_time_ms(text) is None


# Whatever a device answers makes a report, and a report makes a device.

texts = st.text(st.sampled_from("a1\0 é€"), max_size=4)
answers = st.one_of(
    texts,
    st.integers(-1, 5),
    st.booleans(),
    st.binary(max_size=4),
    st.builds(ObjectLink, st.just(14), st.integers(0, 2)),
)
numbers = st.sampled_from([3, 5, 9, 14, 16, 10299, 10241, 10308, 3351, 33629])
resources = st.sampled_from([0, 1, 2, 3, 4, 6, 7, 14, 15, 17, 19, 5905, 5906, 5907, 5908])
small = st.integers(0, 2)
paths: st.SearchStrategy[Any] = st.one_of(
    st.tuples(numbers, small, resources), st.tuples(numbers, small, resources, small)
)


@given(st.dictionaries(paths, answers, max_size=12))
def test_any_answers_make_a_report_that_can_be_taken(values: Values) -> None:
    state = Device(1, 1, NOW)
    for said in (full(values), partial_report(values), firmware_report(values, refreshed=True)):
        once, _ = reported(state, said, NOW)
        again, events = reported(once, said, NOW + 1)
        assert (again.updated_ms, again.status_ms, events) == (once.updated_ms, once.status_ms, ())
