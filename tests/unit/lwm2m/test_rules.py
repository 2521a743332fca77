"""Awake window, lifetime, negotiation, arguments, paths and tables (spec lwm2m.md 3.6, 4.1, 5.6, 6.1, 7)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m.arguments import format_arguments, parse_arguments
from overair.protocols.lwm2m.awake import AwakeWindow
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.lifetime import expires_at, update_after_seconds
from overair.protocols.lwm2m.links import ObjectList
from overair.protocols.lwm2m.negotiation import composite_formats, read_formats, write_formats
from overair.protocols.lwm2m.objects import OBJECT_NAMES, RESOURCES, ResourceType, resource_at, type_of
from overair.protocols.lwm2m.paths import format_path, parse_path, split_root


def test_queue_mode_window() -> None:
    window = AwakeWindow(queue_mode=True)
    assert not window.is_awake(0.0)
    window.touched(100.0)
    assert window.is_awake(192.9)
    assert not window.is_awake(193.0)
    window.touched(150.0)
    assert window.is_awake(242.9)


def test_timeout_ends_the_window_at_once() -> None:
    window = AwakeWindow(queue_mode=True, window_seconds=10.0)
    window.touched(5.0)
    window.asleep_after_timeout()
    assert not window.is_awake(6.0)
    window.touched(50.0)
    assert window.is_awake(59.0)


def test_without_queue_mode_two_timeouts_in_a_row_teach_sleep() -> None:
    window = AwakeWindow(queue_mode=False)
    assert window.is_awake(1e9)
    window.asleep_after_timeout()
    assert window.is_awake(0.0)
    window.touched(1.0)
    window.asleep_after_timeout()
    assert window.is_awake(2.0)
    window.asleep_after_timeout()
    assert not window.is_awake(2.0)
    window.touched(10.0)
    assert window.is_awake(20.0)
    assert not window.is_awake(200.0)


@pytest.mark.parametrize(
    ("lifetime_seconds", "expected"),
    [(0, math.inf), (60, 1307.0), (2470, 3717.0), (86400, 96040.0)],
)
def test_expiry_has_grace(lifetime_seconds: int, expected: float) -> None:
    assert expires_at(1000.0, lifetime_seconds) == expected


@pytest.mark.parametrize(
    ("lifetime_seconds", "expected"), [(0, math.inf), (60, 30), (185, 92.5), (186, 93), (86400, 86307)]
)
def test_client_updates_before_expiry(lifetime_seconds: int, expected: float) -> None:
    assert update_after_seconds(lifetime_seconds) == expected


@pytest.mark.parametrize(
    ("path", "version", "formats"),
    [
        ((3, 0, 3), "1.0", (None, 11542, 112, 110)),
        ((3, 0, 3), "1.1", (0, 11542, 112, 110, None)),
        ((4321, 0, 1), "1.1", (0, 11542, 112, 110, None)),
        ((0, 0, 3), "1.0", (None, 11542)),
        ((0, 0, 3), "1.1", (42, 11542, None)),
        ((3, 0), "1.0", (None, 11542, 11543)),
        ((9,), "1.1", (112, 110, 11542, None)),
        ((3, 0, 6), "1.1", (112, 110, 11542, None)),
        ((3, 0, 6, 0), "1.1", (0, 11542, 112, 110, None)),
    ],
)
def test_read_formats(path: tuple[int, ...], version: str, formats: tuple[int | None, ...]) -> None:
    assert read_formats(path, version, None) == formats


@pytest.mark.parametrize(
    ("listed", "formats"),
    [
        ((), (112, 110, 11542)),
        ((60, 110, 112), (112, 110, 11542)),
        ((110,), (110, 11542)),
        ((11544, 11542), (11544, 110, 11542)),
        ((11542,), (11542, 110)),
        ((1542,), (11542, 110)),
    ],
)
def test_formats_of_an_instance_follow_what_the_client_lists(
    listed: tuple[int, ...], formats: tuple[int, ...]
) -> None:
    objects = ObjectList(content_formats=listed)
    assert read_formats((3, 0), "1.1", objects) == (*formats, None)
    assert write_formats((3, 0), "1.2", objects) == formats


@pytest.mark.parametrize(
    ("path", "version", "formats"),
    [
        ((5, 0, 1), "1.0", (0, 11542, 112, 110)),
        ((5, 0, 1), "1.2", (0, 11542, 112, 110)),
        ((5, 0, 0), "1.1", (42, 11542)),
        ((1, 0), "1.0", (11542, 11543)),
    ],
)
def test_write_formats(path: tuple[int, ...], version: str, formats: tuple[int, ...]) -> None:
    assert write_formats(path, version, None) == formats


def test_composite_formats() -> None:
    assert composite_formats(ObjectList(content_formats=(110, 112))) == (112, 110)
    assert composite_formats(ObjectList(content_formats=(110,))) == (110, 112)
    assert composite_formats(None) == (110, 112)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (b"0", ((0, None),)),
        (b"0='3600'", ((0, "3600"),)),
        (b"0='a',3='b'", ((0, "a"), (3, "b"))),
        (b"0='</33629/1>,</33629/2>'", ((0, "</33629/1>,</33629/2>"),)),
        (b"1,2='',3", ((1, None), (2, ""), (3, None))),
        (b"", ()),
    ],
)
def test_arguments(text: bytes, arguments: tuple[tuple[int, str | None], ...]) -> None:
    assert parse_arguments(text) == arguments
    assert format_arguments(arguments) == text


@pytest.mark.parametrize("text", [b"x", b"10", b"0=", b"0=a", b"0='a", b"0,", b",0", b"0='a'b'", b"0" * 2000])
def test_malformed_arguments(text: bytes) -> None:
    with pytest.raises(ContentError, match="execute arguments"):
        parse_arguments(text)


@pytest.mark.parametrize("argument", [(10, None), (-1, None), (0, "it's")])
def test_arguments_that_cannot_be_written(argument: tuple[int, str | None]) -> None:
    with pytest.raises(ContentError, match="execute argument"):
        format_arguments([argument])


@pytest.mark.parametrize("path", [(), (3,), (3, 0), (3, 0, 6), (3, 0, 6, 65535)])
def test_paths(path: tuple[int, ...]) -> None:
    assert parse_path(format_path(path)) == path
    assert split_root("/lwm2m" + format_path(path)) == ("/lwm2m", path)


def test_path_leniency() -> None:
    assert parse_path("3/0/") == (3, 0)


@pytest.mark.parametrize(
    "text", ["/3//0", "/x", "/3/x", "/65536", "/1/2/3/4/5", "/-1", "/٣", "/" + "1" * 300]
)
def test_malformed_paths(text: str) -> None:
    with pytest.raises(ContentError, match="path"):
        parse_path(text)


@given(st.text("/0123456789ab", max_size=30))
def test_any_path_parses_or_raises(text: str) -> None:
    try:
        path = parse_path(text)
    except ContentError:
        return
    assert parse_path(format_path(path)) == path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ((3, 3), ResourceType.STRING),
        ((3, 4), ResourceType.NONE),
        ((3, 13), ResourceType.TIME),
        ((5, 0), ResourceType.OPAQUE),
        ((6, 0), ResourceType.FLOAT),
        ((9, 12), ResourceType.BOOLEAN),
        ((10, 12), ResourceType.UNSIGNED),
        ((11, 24), ResourceType.INTEGER),
        ((33629, 16), ResourceType.OBJECT_LINK),
        ((10308, 3), ResourceType.STRING),
        ((20, 4014), ResourceType.OPAQUE),
        ((5, 4), None),
        ((4321, 0), None),
    ],
)
def test_types(path: tuple[int, int], kind: ResourceType | None) -> None:
    assert type_of(*path) is kind


def test_object_tables_are_whole() -> None:
    expected = {
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        9,
        10,
        11,
        14,
        16,
        19,
        20,
        3351,
        3412,
        10241,
        10299,
        10308,
        10330,
        33629,
    }
    assert set(OBJECT_NAMES) == expected == {object_id for object_id, _ in RESOURCES}
    for resource in RESOURCES.values():
        assert ("E" in resource.operations) == (resource.type is ResourceType.NONE), resource
        assert resource.operations in {"", "R", "W", "RW", "E"}


def test_resource_rows() -> None:
    row = resource_at((3, 0, 6, 1))
    assert row is not None
    assert (row.name, row.operations, row.multiple) == ("Available Power Sources", "R", True)
    assert resource_at((3, 0)) is None
