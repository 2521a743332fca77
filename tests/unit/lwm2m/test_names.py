"""Endpoint names: every form of spec lwm2m.md 2.1 and the Luhn rows of 2.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m.names import (
    EndpointName,
    luhn_digit,
    luhn_valid,
    normalise_msisdn,
    parse_endpoint_name,
)

IMEI = "490154203237518"


def explicit(text: str, imei: str | None = IMEI, **more: object) -> EndpointName:
    return EndpointName(text, imei, imei is not None, "explicit", **more)


def embedded(text: str) -> EndpointName:
    return EndpointName(text, IMEI, True, "embedded")


@pytest.mark.parametrize(
    "expected",
    [
        explicit("urn:imei:490154203237518"),
        explicit("urn:imei:49015420323751"),
        explicit("urn:imei:4901542032375103"),
        explicit("URN:IMEI:490154203237518"),
        explicit("urn:dev:imei:490154203237518"),
        explicit("urn:imei-msisdn:490154203237518-5551234567", msisdn="5551234567"),
        explicit("urn:imei-msisdn:490154203237518-+15551234567", msisdn="5551234567"),
        explicit("urn:IMEI-MSISDN:490154203237518-000005551234567", msisdn="5551234567"),
        explicit("urn:imei-imsi:490154203237518-311480123456789", imsi="311480123456789"),
        explicit("urn:gsma:imei:49015420-323751-0"),
        explicit("urn:gsma:imei:49015420-323751-0;svn=42"),
        explicit("urn:esn:8012AB34", None, esn="8012AB34"),
        explicit("urn:dev:esn:8012ab34", None, esn="8012AB34"),
        explicit("urn:meid:A1000009ABCDEF", None, meid="A1000009ABCDEF"),
        EndpointName("urn:uuid:0f32a1c4-3ac8-4b44-9d6c-1f4a0bd23e51"),
        embedded("urn:dev:ops:00D09E-GM01Q-490154203237518"),
        embedded("urn:dev:os:00D09E-490154203237518"),
        EndpointName("urn:dev:os:00D09E-490154203237519"),
        explicit("490154203237518"),
        EndpointName("490154203237519"),
        embedded("imei-490154203237518"),
        embedded("imei:490154203237518"),
        embedded("imei_490154203237518"),
        embedded("nrf-490154203237518"),
        EndpointName("nrf-490154203237519"),
        embedded("490154203237518-490154203237518"),
        EndpointName("490154203237518-867723030209919"),
        EndpointName("x4901542032375180"),
        EndpointName(""),
    ],
    ids=lambda expected: expected.text,
)
def test_forms(expected: EndpointName) -> None:
    assert parse_endpoint_name(expected.text) == expected


@pytest.mark.parametrize("text", [" urn:imei:490154203237518\n", '"urn:imei:490154203237518"', f"<{IMEI}>"])
def test_trims_white_space_quotes_and_brackets(text: str) -> None:
    found = parse_endpoint_name(text)
    assert (found.imei, found.text) == (IMEI, text.strip(' \n"<>'))


def test_explicit_imei_with_wrong_check_digit_is_kept_and_flagged() -> None:
    found = parse_endpoint_name("urn:imei:490154203237519")
    assert found == EndpointName("urn:imei:490154203237519", "490154203237519", False, "explicit")


def test_bare_number_on_record_needs_no_check_digit() -> None:
    found = parse_endpoint_name("490154203237519", known={"490154203237519"}.__contains__)
    assert (found.imei, found.luhn_valid, found.confidence) == ("490154203237519", False, "explicit")


def test_name_over_the_bound_yields_nothing() -> None:
    assert parse_endpoint_name("nrf-490154203237518" + " x" * 200).confidence == "none"


def test_digits_of_other_scripts_are_no_digits() -> None:
    assert parse_endpoint_name("urn:imei:" + "٤" * 15).imei is None
    assert not luhn_valid("٤" * 15)


@pytest.mark.parametrize("imei", ["490154203237518", "867723030209919", "864475044204278"])
def test_luhn_holds(imei: str) -> None:
    assert luhn_valid(imei)
    assert luhn_digit(imei[:14]) == imei[14]


@pytest.mark.parametrize(
    "text",
    [
        "490154203237519",
        "352656100123451",
        "990013907884259",
        "861641040123452",
        "",
        "49015420323751",
        "x" * 15,
    ],
)
def test_luhn_fails(text: str) -> None:
    assert not luhn_valid(text)


@given(st.from_regex(r"\A[0-9]{14}\Z"))
def test_luhn_digit_is_the_only_valid_one(first14: str) -> None:
    assert [str(d) for d in range(10) if luhn_valid(first14 + str(d))] == [luhn_digit(first14)]


@pytest.mark.parametrize("text", ["", "4901542032375", "490154203237518", "4901542032375x"])
def test_luhn_digit_wants_14_digits(text: str) -> None:
    with pytest.raises(ValueError, match="first14"):
        luhn_digit(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5551234567", "5551234567"),
        ("+15551234567", "5551234567"),
        ("15551234567", "5551234567"),
        ("000005551234567", "5551234567"),
        ("0015551234567", "5551234567"),
        ("+4915112345678", "4915112345678"),
        ("zero", None),
        ("0", None),
        ("", None),
        ("5551234567\0", "5551234567"),
        ("1234567890123456", None),
    ],
)
def test_normalise_msisdn(text: str, number: str | None) -> None:
    assert normalise_msisdn(text) == number


@given(st.text(max_size=300))
def test_any_text_gives_a_consistent_answer(text: str) -> None:
    found = parse_endpoint_name(text)
    assert found.imei is None or (len(found.imei) == 15 and found.imei.isdigit())
    assert (found.confidence == "none") == (found.imei is found.esn is found.meid is None)
