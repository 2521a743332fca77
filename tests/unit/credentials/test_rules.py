"""What an identity and a key may be, and what becomes of the old keys."""

from dataclasses import replace

import pytest

from overair.credentials import rules
from overair.credentials.model import (
    IdentityTaken,
    InvalidPsk,
    Known,
    StoredPsk,
    TooManyIdentities,
    TooManyKeys,
    identity_text,
)
from overair.platform.clock import DAY_MS
from overair.platform.limits import DEFAULT_LIMITS

IMEI = 490154203237518
NOW = 1_767_225_600_000
WEEK = 7 * DAY_MS


def key(
    sealed: bytes, *, created_ms: int = NOW, expires_ms: int | None = None, imei: int = IMEI
) -> StoredPsk:
    return StoredPsk(b"meter-1", imei, 1, sealed, created_ms, expires_ms)


def after(wanted: StoredPsk, *keys: StoredPsk, same: tuple[StoredPsk, ...] = ()) -> tuple[StoredPsk, ...]:
    known = Known(keys, frozenset(old.identity for old in keys))
    return rules.keys_after(wanted, known, same, DEFAULT_LIMITS)


def test_the_default_identity_is_the_usual_endpoint_name() -> None:
    assert rules.default_identity(12345) == b"urn:imei:000000000012345"


@pytest.mark.parametrize("size", [1, 128])
def test_identities_of_any_bytes(size: int) -> None:
    assert rules.checked_identity(b"\xff" * size) == b"\xff" * size


@pytest.mark.parametrize("size", [0, 129])
def test_identities_too_short_or_long(size: int) -> None:
    with pytest.raises(InvalidPsk, match="1 to 128 bytes"):
        rules.checked_identity(b"i" * size)


def test_keys_by_length() -> None:
    for size in (8, 16, 64):
        assert rules.key_from_hex("aB" * size) == b"\xab" * size
    for size in (1, 7, 65):
        with pytest.raises(InvalidPsk, match="8 to 64 bytes") as refused:
            rules.key_from_hex("ab" * size)
        assert "abab" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "ab" * 8 + "a", "0x" + "ab" * 8, "ab " * 8, "secret-secret-se", "ａb" * 8]
)
def test_a_key_that_is_not_hex(text: str) -> None:
    with pytest.raises(InvalidPsk, match="hex digits") as refused:
        rules.key_from_hex(text)
    assert "secret" not in str(refused.value)


def test_the_first_key() -> None:
    assert after(key(b"1")) == (key(b"1"),)


def test_the_old_key_stays_valid_for_a_week() -> None:
    later = NOW + DAY_MS
    new, old = key(b"2", created_ms=later), key(b"1")
    assert after(new, old) == (new, key(b"1", expires_ms=later + WEEK))


def test_an_older_key_keeps_its_time_and_an_expired_one_goes() -> None:
    new = key(b"4", created_ms=NOW + 10)
    expired, older = key(b"1", expires_ms=NOW + 10), key(b"2", expires_ms=NOW + 11)
    after_it = after(new, key(b"3"), older, expired)
    assert after_it == (new, key(b"3", expires_ms=NOW + 10 + WEEK), older)


def test_the_same_key_changes_nothing() -> None:
    keys = (key(b"2"), key(b"1", expires_ms=NOW + 5))
    assert after(key(b"again", created_ms=NOW + 1), *keys, same=keys[:1]) == keys


def test_an_older_key_that_is_given_again_is_current_again() -> None:
    keys = (key(b"2"), key(b"1", expires_ms=NOW + 5))
    again = key(b"again", created_ms=NOW + 1)
    assert after(again, *keys, same=keys[1:]) == (again, key(b"2", expires_ms=NOW + 1 + WEEK))


def test_an_identity_has_no_more_keys_than_a_handshake_tries() -> None:
    older = tuple(key(b"%d" % n, expires_ms=NOW + 5 + n) for n in range(DEFAULT_LIMITS.keys_per_identity - 1))
    with pytest.raises(TooManyKeys, match="4 valid keys"):
        after(key(b"new"), key(b"current"), *older)
    later = NOW + 5  # one of them expires
    assert len(after(key(b"new", created_ms=later), key(b"current"), *older)) == 4
    assert after(key(b"new"), key(b"current"), *older, same=older[:1])[0] == key(b"new")


def test_an_identity_of_another_device() -> None:
    with pytest.raises(IdentityTaken, match="'meter-1' belongs to another device") as refused:
        after(key(b"2", imei=IMEI + 1), key(b"1"))
    assert str(IMEI) not in str(refused.value)


def test_a_device_has_a_few_identities() -> None:
    full = frozenset(b"%d" % n for n in range(DEFAULT_LIMITS.identities_per_device))
    with pytest.raises(TooManyIdentities, match="490154203237518 has 4"):
        rules.keys_after(key(b"1"), Known((), full), (), DEFAULT_LIMITS)
    mine = replace(key(b"2"), identity=b"0")
    known = Known((replace(key(b"1"), identity=b"0"),), full)
    assert rules.keys_after(mine, known, (), DEFAULT_LIMITS)[0] == mine


@pytest.mark.parametrize(
    ("identity", "text"),
    [(b"meter \xc3\xbc", "meter ü"), (b"\xff\x01", "\\\\xff\\x01"), (b"\x1b[31m", "\\x1b[31m")],
)
def test_an_identity_is_shown_without_control_characters(identity: bytes, text: str) -> None:
    assert identity_text(identity) == text
