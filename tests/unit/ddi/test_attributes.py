"""Attributes: the three modes, and what they say of the record (spec ddi.md, 2.2 and 10.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.ddi.attributes import description, merged
from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.records import CBOR, JSON, ConfigData, decode

KNOWN = {"make": "ACME", "color": "red"}


@pytest.mark.parametrize(
    ("mode", "after"),
    [
        (None, {"make": "Other", "color": "red", "size": "2"}),
        ("merge", {"make": "Other", "color": "red", "size": "2"}),
        ("replace", {"make": "Other", "size": "2"}),
        ("remove", {"color": "red"}),
    ],
)
def test_modes(mode: str | None, after: dict[str, str]) -> None:
    assert merged(KNOWN, ConfigData({"make": "Other", "size": 2}, mode)) == after  # type: ignore[arg-type]


def test_numbers_and_booleans_are_written_as_json_does() -> None:
    said = ConfigData({"a": True, "b": 1, "c": 1.5, "d": None})
    assert merged({}, said) == {"a": "true", "b": "1", "c": "1.5", "d": ""}


@pytest.mark.parametrize("data", [{"": "x"}, {"x" * 129: "x"}, {"x": "y" * 129}])
def test_what_is_too_long_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="data"):
        merged({}, ConfigData(data))


def test_a_hundred_attributes_and_no_more() -> None:
    hundred = {f"k{number}": "v" for number in range(100)}
    assert len(merged({}, ConfigData(hundred))) == 100
    with pytest.raises(TooMany):
        merged(hundred, ConfigData({"another": "v"}))
    assert merged(hundred, ConfigData({"another": "v"}, "replace")) == {"another": "v"}


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({"IMEI": "490154203237518"}, "imei", "490154203237518"),
        ({"Modem-IMEI": "1", "imei": "2"}, "imei", "2"),
        ({"phone number": "5551234567"}, "mdn", "5551234567"),
        ({"vendor": "ACME"}, "make", "ACME"),
        ({"board": "b", "product": "p"}, "model", "p"),
        ({"fw.version": " 1.4.0 "}, "firmware", "1.4.0"),
        ({"sw_version": "9"}, "firmware", "9"),
        ({"sw_version": "9", "image_version": "1"}, "firmware", "1"),
        ({"firmware": "", "version": "2"}, "firmware", "2"),
        ({"firmware": "  "}, "firmware", None),
        ({"sw.agent": "3.0", "sw_helper": "1"}, "software", (("agent", "3.0"), ("helper", "1"))),
        ({"software_list": '[{"name":"a","version":"1"},{"name":2},7]'}, "software", (("a", "1"),)),
        ({"software_list": "no list"}, "software", ()),
        ({"file.map": "7"}, "files", (("map", "7"),)),
        ({"hw_version": "2", "make": "ACME", "sw.a": "1"}, "others", (("hw_version", "2"),)),
    ],
)
def test_names_of_fields(attributes: dict[str, str], field: str, value: object) -> None:
    assert getattr(description(attributes), field) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":{"a":{"b":"c"}}}',
        b'{"data":{"a":["b"]}}',
        b'{"data":{"a":"b"},"mode":"delete"}',
        b'{"data":"x"}',
        b'{"data":{"a":"\xff"}}',
        b'{"data":' + b"[" * 100_000,
    ],
)
def test_bodies_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body, JSON, ConfigData)


def test_what_older_clients_add_is_not_looked_at() -> None:
    body = b'{"id":"","time":"20261122T233229","status":{"result":{"finished":"success"}},"data":{"a":"b"}}'
    assert decode(body, JSON, ConfigData).data == {"a": "b"}


def test_cbor() -> None:
    assert decode(bytes.fromhex("a1 64 64617461 a1 61 61 01"), CBOR, ConfigData).data == {"a": 1}
    with pytest.raises(Malformed):
        decode(bytes.fromhex("d81c80"), CBOR, ConfigData)  # a shared reference


@given(st.binary(max_size=200), st.sampled_from([JSON, CBOR]))
def test_bytes_never_break_it(body: bytes, media_type: str) -> None:
    try:
        said = decode(body, media_type, ConfigData)
    except Malformed:
        return
    try:
        description(merged({}, said))
    except (Malformed, TooMany):
        return
