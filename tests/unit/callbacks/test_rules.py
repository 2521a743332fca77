"""URLs, order, delays and signatures (spec callbacks.md, sections 1 and 2)."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.callbacks.model import InvalidUrl, MessageState, Parcel, Waiting
from overair.callbacks.rules import (
    HOUR_MS,
    after_failure,
    checked_url,
    delay_ms,
    deliverable,
    signature,
    unhindered,
)
from overair.platform.limits import DEFAULT_LIMITS


@pytest.mark.parametrize(
    "url",
    [
        "https://fleet.example.com:50559/fota/callback",
        "http://fleet.example.com",
        "HTTPS://Fleet.Example.com/a%20b?x=1&y=%2F",
        "https://10.0.0.1/",
        "https://[2606:4700::1111]:8443/",
        "https://my_host-1.xn--bcher-kva.example/",
        "https://e.example/" + "x" * (2048 - 18),
    ],
)
def test_a_url_is_taken_as_it_is(url: str) -> None:
    assert checked_url(url, DEFAULT_LIMITS) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "fleet.example.com/hook",
        "ftp://fleet.example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://fleet.example.com:0/",
        "https://fleet.example.com:65536/",
        "https://fleet.example.com:http/",
        "https://user:secret@fleet.example.com/",
        "https://user@fleet.example.com/",
        "https://@fleet.example.com/",
        "https://fleet.example.com/#part",
        "https://fleet.example.com/a b",
        " https://fleet.example.com/",
        "https://fleet.example.com/\r\nX-Header: 1",
        "https://bücher.example/",
        "https://fleet..example.com/",
        "https://-fleet.example.com/",
        "https://" + "a" * 64 + ".example/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[example.com]/",
        "https://e.example/" + "x" * (2048 - 17),
    ],
)
def test_anything_else_is_refused_without_being_quoted(url: str | None) -> None:
    with pytest.raises(InvalidUrl) as refused:
        checked_url(url, DEFAULT_LIMITS)
    assert refused.value.field == "url"
    assert "secret" not in str(refused.value)


@given(st.text(max_size=100))
def test_no_text_is_more_than_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://e.example{text}"):
        try:
            checked_url(url, DEFAULT_LIMITS)
        except InvalidUrl:
            continue


# Order.


def messages() -> st.SearchStrategy[list[Waiting]]:
    one = st.tuples(
        st.sampled_from(["a", "b", "c", "3"]), st.sets(st.integers(1, 5), max_size=3), st.integers(0, 9)
    )
    return st.lists(one, max_size=12).map(
        lambda drawn: [
            Waiting(place, subject, tuple(imeis), due) for place, (subject, imeis, due) in enumerate(drawn)
        ]
    )


def related(one: Waiting, other: Waiting) -> bool:
    """Say it again in other words than the code: one campaign, or one device, however it is named."""
    devices = [{*map(str, entry.imeis)} for entry in (one, other)]
    return (
        one.subject == other.subject
        or bool(devices[0] & devices[1])
        or one.subject in devices[1]
        or other.subject in devices[0]
    )


@given(messages(), st.integers(0, 9))
def test_what_may_go_is_due_and_held_back_by_nothing_earlier(waiting: list[Waiting], now_ms: int) -> None:
    may_go = list(deliverable(waiting, now_ms))
    for message in waiting:
        held_back = any(related(earlier, message) for earlier in waiting[: message.id])
        assert (message in may_go) == (message.due_ms <= now_ms and not held_back)


@given(messages())
def test_those_that_may_go_at_once_have_nothing_in_common_and_something_always_may(
    waiting: list[Waiting],
) -> None:
    free = list(unhindered(waiting))
    assert not any(related(one, other) for one in free for other in free if one is not other)
    assert free[:1] == waiting[:1]
    assert list(deliverable(waiting, 9)) == free


@given(messages(), st.randoms(use_true_random=False))
def test_any_run_delivers_related_messages_in_order(waiting: list[Waiting], random: object) -> None:
    """Whichever of those that may go gets through first."""
    left, done = list(waiting), []
    while left:
        chosen = random.choice(list(deliverable(left, 9)))  # type: ignore[attr-defined]
        left.remove(chosen)
        done.append(chosen)
    for place, message in enumerate(done):
        assert not any(later.id < message.id and related(later, message) for later in done[place:])


def test_it_looks_no_further_than_needed() -> None:
    def endless() -> object:
        for number in range(10**9):
            assert number < 3, "looked too far"
            yield Waiting(number, f"{number}", (), 0)

    found = deliverable(endless(), 0)  # type: ignore[arg-type]
    assert [next(found).id for _ in range(3)] == [0, 1, 2]


# Delays.


def test_delays_double_up_to_an_hour_and_chance_takes_a_part() -> None:
    longest = [delay_ms(failures, 1.0) // 1000 for failures in range(1, 14)]
    assert longest == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert delay_ms(5, 0.5) == 40_000
    assert delay_ms(1, 0.0) == delay_ms(400, 0.0) == 1000
    assert delay_ms(100_000, 1.0) == 3_600_000


def test_a_message_is_retried_for_a_day_to_the_minute() -> None:
    parcel = Parcel(1, "uid", attempts=30, created_ms=1000, body=b"")
    end_ms = 1000 + 24 * HOUR_MS
    assert after_failure(parcel, 2000, 0.5, DEFAULT_LIMITS) == (MessageState.WAITING, 2000 + 1_800_000)
    assert after_failure(parcel, end_ms - 60_000, 1.0, DEFAULT_LIMITS) == (MessageState.WAITING, end_ms)
    assert after_failure(parcel, end_ms - 1, 1.0, DEFAULT_LIMITS) == (MessageState.WAITING, end_ms)
    assert after_failure(parcel, end_ms, 0.0, DEFAULT_LIMITS) == (MessageState.EXPIRED, None)
    first = replace(parcel, attempts=0)
    assert after_failure(first, 2000, 1.0, DEFAULT_LIMITS) == (MessageState.WAITING, 7000)


# Signatures.


def test_the_signature_covers_time_id_and_body() -> None:
    expected = hmac.new(b"secret", b'1767225600.0f8b.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("secret", "1767225600", "0f8b", b'{"a":1}') == f"v1={expected}"
