"""Whose telephone number it is (spec device-record.md, sections 2.2 and 6)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.devices.model import Device, Fact, Provisioning, Report, Source
from overair.devices.rules import (
    gave_up_mdn,
    lost_mdn,
    normalise_mdn,
    provisioned,
    reported,
    source_of_mdn,
)

NOW = 1_767_225_600_000
IMEI = 490154203237518
MDN = "5551234567"
SOURCES: list[Source] = ["provisioned", "endpoint", "sms", "LWM2M", "HTTP", "OMADM"]


def device(**fields: Any) -> Device:
    return Device(imei=IMEI, account_id=1, created_ms=NOW, **fields)


def said(number: str, source: Source = "LWM2M") -> Report:
    return Report("LWM2M", mdn=number, mdn_source=source, refreshed=False)


@pytest.mark.parametrize(
    "text",
    [
        "5551234567",
        "15551234567",
        "+15551234567",
        "0015551234567",
        "+0015551234567",
        "05551234567",
        " 5551234567 ",
        "5551234567\0\0",
    ],
)
def test_a_number_has_one_form(text: str) -> None:
    assert normalise_mdn(text) == MDN


@pytest.mark.parametrize(
    "text",
    ["", "0", "000", "zero", "ZERO", "+", " ", "\0", "5551a34567", "+1 555 123", "5" * 16, "٥٥٥١٢٣٤٥٦٧"],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert normalise_mdn(text) is None


def test_only_a_leading_one_of_eleven_digits_goes() -> None:
    assert normalise_mdn("1555123456") == "1555123456"
    assert normalise_mdn("155512345678") == "155512345678"
    assert normalise_mdn("49155512345") == "49155512345"


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_none(text: str) -> None:
    number = normalise_mdn(text)
    assert number is None or (number.isascii() and number.isdigit() and len(number) <= 15)


@given(st.from_regex(r"\A\+?[0-9]{1,15}\Z"))
def test_the_form_of_ten_digits_is_final(text: str) -> None:
    number = normalise_mdn(text)
    if number is not None and len(number) == 10 and number[0] != "0":
        assert normalise_mdn(number) == number


@pytest.mark.parametrize("source", SOURCES[1:])
def test_each_source_alone_gives_the_number(source: Source) -> None:
    after, events = reported(device(), said("+15551234567", source), NOW)
    assert after.mdn == Fact(MDN, source, NOW)
    assert events == ()


def test_a_report_without_a_finer_source_counts_by_its_protocol() -> None:
    after, _ = reported(device(), Report("HTTP", mdn=MDN), NOW)
    assert after.mdn == Fact(MDN, "HTTP", NOW)


@pytest.mark.parametrize("text", ["zero", "0", "", None])
@pytest.mark.parametrize("source", SOURCES)
def test_no_number_erases_none(text: str | None, source: Source) -> None:
    before = device(mdn=Fact(MDN, source, NOW))
    after, events = reported(before, Report("LWM2M", mdn=text, refreshed=False), NOW + 1)
    assert after == before
    assert events == ()


@pytest.mark.parametrize("strong", range(1, len(SOURCES)))
def test_the_better_source_wins_whenever_it_comes(strong: int) -> None:
    for weak in range(strong + 1, len(SOURCES)):
        first, _ = reported(device(), said("5550000001", SOURCES[strong]), NOW)
        kept, _ = reported(first, said("5550000002", SOURCES[weak]), NOW + 1)
        assert kept.mdn == Fact("5550000001", SOURCES[strong], NOW)
        first, _ = reported(device(), said("5550000002", SOURCES[weak]), NOW)
        replaced, _ = reported(first, said("5550000001", SOURCES[strong]), NOW + 1)
        assert replaced.mdn == Fact("5550000001", SOURCES[strong], NOW + 1)
        assert [(old.field, old.value, old.source) for old in replaced.history] == [
            ("mdn", "5550000002", SOURCES[weak])
        ]


@pytest.mark.parametrize("source", SOURCES[1:])
def test_the_newest_of_one_source_counts(source: Source) -> None:
    first, _ = reported(device(), said("5550000001", source), NOW)
    second, _ = reported(first, said("5550000002", source), NOW + 1)
    assert second.mdn == Fact("5550000002", source, NOW + 1)
    assert second.updated_ms == NOW + 1


def test_a_mismatch_shows_the_provisioned_and_is_an_event() -> None:
    before = device(mdn=Fact(MDN, "provisioned", NOW))
    after, events = reported(before, said("5559999999"), NOW + 1)
    assert after.mdn == before.mdn
    assert events == ("mdn_mismatch",)
    assert after.attributes["mdn_mismatch"] == "5559999999"


def test_the_provisioned_number_in_another_form_is_no_mismatch() -> None:
    before = device(mdn=Fact(MDN, "provisioned", NOW))
    assert reported(before, said("+15551234567"), NOW + 1) == (before, ())


def test_a_newer_provisioning_replaces_an_older_and_a_reported_number() -> None:
    for source in SOURCES:
        before = device(mdn=Fact("5550000001", source, NOW))
        after, _ = provisioned(before, Provisioning(IMEI, mdn="1" + MDN), NOW + 1)
        assert after.mdn == Fact(MDN, "provisioned", NOW + 1)
        assert after.updated_ms == NOW + 1


def test_a_locked_number_stays_and_the_reported_one_is_kept_aside() -> None:
    for source in SOURCES:
        before = device(mdn=Fact(MDN, source, NOW), locked=("mdn",))
        after, events = reported(before, said("5559999999", "endpoint"), NOW + 1)
        assert after.mdn == before.mdn
        assert after.attributes == {"reported_mdn": "5559999999"}
        assert events == ()


def test_a_duplicate_lets_go_of_a_reported_number_and_keeps_a_provisioned() -> None:
    gone = gave_up_mdn(device(mdn=Fact(MDN, "sms", NOW)), NOW + 1)
    assert gone.mdn is None
    assert (gone.history[-1].field, gone.history[-1].value) == ("mdn", MDN)
    kept = gave_up_mdn(device(mdn=Fact(MDN, "provisioned", NOW)), NOW + 1)
    assert kept.mdn == Fact(MDN, "provisioned", NOW)
    assert "mdn_duplicate" in gone.attributes.keys() & kept.attributes.keys()


def test_a_number_moved_away_is_empty_and_remembered() -> None:
    after = lost_mdn(device(mdn=Fact(MDN, "provisioned", NOW)), NOW + 1)
    assert after.mdn is None
    assert after.updated_ms == NOW + 1
    assert (after.history[-1].value, after.history[-1].source) == (MDN, "provisioned")
    assert lost_mdn(device(), NOW + 1) == device()


@pytest.mark.parametrize(
    ("endpoint", "sms", "expected"),
    [
        ("5551234567", "5550000000", ("5551234567", "endpoint")),
        (None, "5550000000", ("5550000000", "sms")),
        ("", "5550000000", ("5550000000", "sms")),
        ("0", "5550000000", ("5550000000", "sms")),
        (None, None, (None, None)),
        ("", "", (None, None)),
    ],
)
def test_a_registration_names_its_number_by_endpoint_before_sms(
    endpoint: str | None, sms: str | None, expected: tuple[str | None, str | None]
) -> None:
    assert source_of_mdn(endpoint, sms) == expected
