"""Names, scopes, tokens, lockout and sessions, decided without I/O (spec auth.md)."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.accounts import rules
from overair.accounts.errors import (
    AccountError,
    AccountNameFormat,
    ExpiredSession,
    InvalidField,
    UnknownScope,
)
from overair.accounts.model import AccessToken, Session, Subscription
from overair.accounts.rules import LoginOutcome, SessionEvent, SessionState

NOW = 1_767_225_600_000


def token(**changes: object) -> AccessToken:
    values: dict[str, object] = {
        "key_id": 1,
        "scope": "default",
        "nonce": b"n" * 16,
        "digest": b"d" * 32,
        "issued_ms": NOW,
        "expires_ms": NOW + 3_600_000,
    }
    return AccessToken(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["0742000123-00001", "0000123456-000001", "00000000000-123345", "1-1"])
def test_published_account_names_are_taken(name: str) -> None:
    assert rules.checked_account_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-", "1-", "-1", "1-1-1", "1-1\n", " 1-1", "1_1", "a-1", "\u0661-1", "9" * 99]
)
def test_another_account_name_is_refused(name: str) -> None:
    with pytest.raises(AccountNameFormat, match="digits"):
        rules.checked_account_name(name)


@pytest.mark.parametrize("name", ["", "a" * 256, "a\nb", "\x00"])
def test_a_user_name_can_be_typed(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        rules.checked_user_name(name)
    assert refused.value.field == "user name"
    assert rules.checked_user_name("Zoë of the fleet") == "Zoë of the fleet"


@pytest.mark.parametrize("password", ["1234567", "x" * 257, "pass\nword\n"])
def test_a_password_that_is_refused_is_not_quoted(password: str) -> None:
    with pytest.raises(InvalidField) as refused:
        rules.checked_password(password)
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", ["12345678", "x" * 256])
def test_a_password_within_its_bounds_is_taken(password: str) -> None:
    assert rules.checked_password(password) == password


def test_licenses_are_a_count() -> None:
    assert rules.checked_licenses(0) == 0
    for licenses in (-1, 1_000_000_001):
        with pytest.raises(InvalidField, match="licenses"):
            rules.checked_licenses(licenses)


def test_subscriptions_have_a_fixed_order() -> None:
    both = (Subscription.MRC, Subscription.EVENT)
    assert rules.checked_subscriptions(["event", "mrc", "event"]) == both
    assert rules.checked_subscriptions([]) == ()
    with pytest.raises(InvalidField, match="mrc"):
        rules.checked_subscriptions(["mrc", "yearly"])


def test_a_scope_is_granted_as_a_set() -> None:
    assert rules.granted_scope("") == "default"
    assert rules.granted_scope("write read  write") == "read write"
    assert rules.granted_scope(" ".join(rules.SCOPES)) == " ".join(sorted(rules.SCOPES))


@given(st.text(max_size=40))
def test_any_scope_is_granted_or_refused(requested: str) -> None:
    try:
        granted = rules.granted_scope(requested)
    except UnknownScope:
        assert set(requested.split()) - rules.SCOPES
    else:
        assert rules.granted_scope(granted) == granted


def test_a_scope_has_a_bound() -> None:
    with pytest.raises(UnknownScope):
        rules.granted_scope("read " * 1000)


def test_a_token_is_worked_out_from_all_that_is_kept_and_the_secret() -> None:
    base = {"secret": "s", "key_id": 1, "issued_ms": 2, "nonce": b"n", "scope": "read"}
    others = [
        {"secret": "t"},
        {"key_id": 12},
        {"issued_ms": 3},
        {"nonce": b"m"},
        {"scope": "write"},
    ]
    derived = [rules.derived_token(**(base | other)) for other in [{}, *others]]  # type: ignore[arg-type]
    assert len(set(derived)) == len(derived)
    assert derived[0] == rules.derived_token(**base)  # type: ignore[arg-type]
    assert all(re.fullmatch("[0-9a-f]{32}", text) for text in derived)


@pytest.mark.parametrize(
    ("after_ms", "alive", "reusable", "left"),
    [
        (0, True, True, 3600),
        (1, True, True, 3599),
        (3_599_000, True, True, 1),
        (3_599_001, True, False, 0),
        (3_599_999, True, False, 0),
        (3_600_000, False, False, 0),
        (9_999_999, False, False, 0),
    ],
)
def test_a_token_lives_an_hour(after_ms: int, alive: bool, reusable: bool, left: int) -> None:
    now_ms = NOW + after_ms
    assert rules.is_alive(token(), now_ms) is alive
    assert rules.is_reusable(token(), now_ms) is reusable
    assert rules.seconds_left(token(), now_ms) == left


def test_a_revoked_token_is_dead() -> None:
    assert not rules.is_alive(token(revoked_ms=NOW), NOW)
    assert not rules.is_reusable(token(revoked_ms=NOW), NOW)


@given(st.lists(st.booleans(), max_size=40))
def test_five_failures_in_a_row_lock_and_nothing_else_does(attempts: list[bool]) -> None:
    failed, locked, in_a_row = 0, False, 0
    for right in attempts:
        outcome, failed = rules.after_login(failed, right=right, limit=5)
        assert (outcome is LoginOutcome.LOCKED) is locked
        in_a_row = 0 if right else in_a_row + 1
        locked = locked or in_a_row == 5


TABLE = {
    (SessionState.ACTIVE, SessionEvent.CALL): SessionState.ACTIVE,
    (SessionState.ACTIVE, SessionEvent.IDLE): SessionState.EXPIRED,
    (SessionState.ACTIVE, SessionEvent.LOGOUT): SessionState.ENDED,
}


@pytest.mark.parametrize(("state", "event"), list(product(SessionState, SessionEvent)))
def test_a_session_moves_as_the_diagram_says_and_never_comes_back(
    state: SessionState, event: SessionEvent
) -> None:
    if (state, event) in TABLE:
        assert rules.next_state(state, event) is TABLE[state, event]
    else:
        with pytest.raises(ExpiredSession):
            rules.next_state(state, event)


@pytest.mark.parametrize(
    ("idle_ms", "ended_ms", "state"),
    [
        (0, None, SessionState.ACTIVE),
        (1_200_000, None, SessionState.ACTIVE),
        (1_200_001, None, SessionState.EXPIRED),
        (0, NOW, SessionState.ENDED),
        (1_200_001, NOW, SessionState.ENDED),
        (-5_000, None, SessionState.ACTIVE),
    ],
)
def test_a_session_expires_when_it_was_idle_for_more_than_twenty_minutes(
    idle_ms: int, ended_ms: int | None, state: SessionState
) -> None:
    session = Session(1, 1, NOW, NOW, ended_ms)
    assert rules.session_state(session, NOW, NOW + idle_ms, 1200) is state


def test_every_refusal_is_an_account_error() -> None:
    assert issubclass(AccountNameFormat, AccountError)
    assert issubclass(InvalidField, AccountError)
