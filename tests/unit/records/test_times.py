"""The three forms of time, against datetime and the samples of the specification."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.records import RecordError
from overair.records.errors import DATE_RULE, T1_RULE, T2_RULE, TIME_RANGE_RULE
from overair.records.times import format_d, format_t1, format_t2, parse_d, parse_t1, parse_t2

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
FIRST_MS = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)

instants = st.integers(0, LAST_MS)


def expected(epoch_ms: int, between: str, end: str) -> str:
    moment = EPOCH + timedelta(milliseconds=epoch_ms)
    fraction = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment.year:04}-{moment:%m-%d}{between}{moment:%H:%M:%S}{fraction}{end}"


@given(instants)
def test_formats_agree_with_datetime(epoch_ms: int) -> None:
    assert format_t1(epoch_ms) == expected(epoch_ms, " ", " +0000 UTC")
    assert format_t2(epoch_ms) == expected(epoch_ms, "T", "Z")
    assert format_d(epoch_ms) == expected(epoch_ms, "T", "Z")[:10]


@given(st.integers(FIRST_MS, LAST_MS))
def test_parsing_undoes_formatting(epoch_ms: int) -> None:
    assert parse_t1(format_t1(epoch_ms)) == epoch_ms
    assert parse_t2(format_t2(epoch_ms)) == epoch_ms
    assert parse_d(format_d(epoch_ms)) == parse_d(format_t2(epoch_ms)) == epoch_ms // 86_400_000 * 86_400_000


@given(instants, st.text("0123456789", min_size=1, max_size=9))
def test_a_fraction_is_cut_to_milliseconds(epoch_ms: int, digits: str) -> None:
    second = epoch_ms // 1000 * 1000
    wanted = second + int(digits.ljust(9, "0")) // 1_000_000
    assert parse_t1(f"{format_t1(second)[:19]}.{digits} +0000 UTC") == wanted
    assert parse_t2(f"{format_t2(second)[:19]}.{digits}Z") == wanted


@given(st.text(max_size=40) | st.text("0123456789-:. TZ+UC", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse in (parse_t1, parse_t2, parse_d):
        with suppress(RecordError):
            assert FIRST_MS <= parse(text) <= LAST_MS


@pytest.mark.parametrize(
    ("epoch_ms", "t1", "t2"),
    [
        (1622678636079, "2021-06-03 00:03:56.079 +0000 UTC", "2021-06-03T00:03:56.079Z"),
        (1335205543511, "2012-04-23 18:25:43.511 +0000 UTC", "2012-04-23T18:25:43.511Z"),
        (1739245337080, "2025-02-11 03:42:17.08 +0000 UTC", "2025-02-11T03:42:17.08Z"),
        (1750464012500, "2025-06-21 00:00:12.5 +0000 UTC", "2025-06-21T00:00:12.5Z"),
        (951782400000, "2000-02-29 00:00:00 +0000 UTC", "2000-02-29T00:00:00Z"),
        (0, "1970-01-01 00:00:00 +0000 UTC", "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31 23:59:59.999 +0000 UTC", "1969-12-31T23:59:59.999Z"),
        (-62135596800000, "0001-01-01 00:00:00 +0000 UTC", "0001-01-01T00:00:00Z"),
    ],
)
def test_known_instants(epoch_ms: int, t1: str, t2: str) -> None:
    assert (format_t1(epoch_ms), format_t2(epoch_ms)) == (t1, t2)
    assert (parse_t1(t1), parse_t2(t2)) == (epoch_ms, epoch_ms)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2021-06-03T00:03:56Z",
        "2021-06-03 00:03:56 +0100 UTC",
        "2021-06-03 00:03:56 +0000 UTC\n",
        "2021-06-03 00:03:56. +0000 UTC",
        "2021-06-03 00:03:56.1234567890 +0000 UTC",
        "2021-02-29 00:03:56 +0000 UTC",
        "2021-13-01 00:03:56 +0000 UTC",
        "2021-06-03 24:00:00 +0000 UTC",
        "2021-06-03 00:60:00 +0000 UTC",
        "2021-06-03 00:00:60 +0000 UTC",
        "0000-06-03 00:03:56 +0000 UTC",
        "٢٠٢١-06-03 00:03:56 +0000 UTC",
    ],
)
def test_what_is_no_t1(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_t1(text)
    assert caught.value.rule == T1_RULE


@pytest.mark.parametrize(
    "text",
    [
        "2021-06-03 00:03:56 +0000 UTC",
        "2021-06-03T00:03:56",
        "2021-06-03T00:03:56+00:00",
        "2021-06-03t00:03:56z",
        "2021-06-31T00:03:56Z",
        "2021-06-03T00:03:56Z\n",
    ],
)
def test_what_is_no_t2(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_t2(text)
    assert caught.value.rule == T2_RULE


def test_dates_are_taken_from_a_date_or_a_t2_time() -> None:
    start = (date(2025, 7, 7) - date(1970, 1, 1)).days * 86_400_000
    assert parse_d("2025-07-07") == parse_d("2025-07-07T23:59:59.999Z") == start
    assert format_d(start + 86_399_999) == "2025-07-07"


@pytest.mark.parametrize(
    "text", ["", "2025-7-7", "2025-02-30", "2025-02-30T00:00:00Z", "2025-07-07\n", "20250707"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_d(text)
    assert caught.value.rule == DATE_RULE


@pytest.mark.parametrize("epoch_ms", [LAST_MS + 1, FIRST_MS - 1, 10**30])
def test_an_instant_outside_the_calendar_is_refused(epoch_ms: int) -> None:
    for form in (format_t1, format_t2, format_d):
        with pytest.raises(RecordError) as caught:
            form(epoch_ms)
        assert caught.value.rule == TIME_RANGE_RULE
