"""Paths: what is a device's, and the tricks that make something else of them."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.ddi.paths import parse

BASE = b"/DEFAULT/controller/v1/490154203237518"


def test_a_path_and_its_parts() -> None:
    place = parse(b"/Default/controller/v1/board%20one/deploymentBase/7731/feedback")
    assert place is not None
    assert (place.tenant, place.controller_id) == ("Default", "board one")
    assert place.base == "/Default/controller/v1/board%20one"
    assert place.segments == ("deploymentBase", "7731", "feedback")
    assert place.number(1) == 7731


@pytest.mark.parametrize("path", [BASE, BASE + b"/"])
def test_the_base_with_and_without_a_slash(path: bytes) -> None:
    place = parse(path)
    assert place is not None
    assert place.segments == ()


@pytest.mark.parametrize(
    "tail",
    [
        b"/..",
        b"/%2e%2e",
        b"/a/%2E%2E/b",
        b"/.",
        b"/a%2Fb",
        b"/a%2fb",
        b"/%00",
        b"/a%0d%0aSet-Cookie:x",
        b"/%ff",
        b'/a"b',
        b"/a<b",
        b"/a\\b",
        b"/a%2",
        b"/a%zz",
        b"//a",
        b"/a//b",
        b"/a/b/c/d/e",
        b"/" + b"x" * 513,
        b"\x80",
    ],
)
def test_tricks(tail: bytes) -> None:
    assert parse(BASE + tail) is None


@pytest.mark.parametrize(
    "path",
    [
        b"/../controller/v1/490154203237518",
        b"/DEFAULT/controller/v1/..",
        b"/DEFAULT/controller/v1/%2e%2e/",
        b"/DEFAULT/controller/v1/a%2Fb",
        b"/DEFAULT/controller/v2/490154203237518",
        b"/a/DEFAULT/controller/v1/490154203237518",
        b"//controller/v1/490154203237518",
        b"/DEFAULT/controller/v1/",
        b"/DEFAULT/controller/v1/" + b"x" * 257,
    ],
)
def test_bases_that_are_none(path: bytes) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"1", 1),
        (b"2147483647", 2147483647),
        (b"2147483648", None),
        (b"0", None),
        (b"-1", None),
        (b"1x", None),
        (b"%D9%A1", None),
        (b"9" * 256, None),
        (b"0007", 7),
    ],
)
def test_numbers_of_actions(text: bytes, number: int | None) -> None:
    place = parse(BASE + b"/deploymentBase/" + text)
    assert place is not None
    assert place.number(1) == number


@given(st.text(min_size=1, max_size=256))
def test_any_name_that_can_be_written_comes_back_as_it_was(name: str) -> None:
    try:
        written = quote(name, safe="").encode()
    except UnicodeEncodeError:
        return
    place = parse(b"/DEFAULT/controller/v1/" + written + b"/configData")
    if place is not None:
        assert place.controller_id == name
        assert place.base.encode() == b"/DEFAULT/controller/v1/" + written
    else:
        assert name in (".", "..") or "/" in name or not name.isprintable() or len(written) > 768


@given(st.binary(max_size=300))
def test_bytes_never_break_it(raw: bytes) -> None:
    place = parse(b"/" + raw)
    if place is not None:
        assert '"' not in place.base
        assert place.base.isascii()
