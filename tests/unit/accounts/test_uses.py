"""Last uses of sessions: in memory at once, written now and then."""

from hypothesis import given
from hypothesis import strategies as st

from overair.accounts.model import Session
from overair.accounts.uses import WRITE_AFTER_MS, SessionUses

NOW = 1_767_225_600_000


def session(last_used_ms: int = NOW) -> Session:
    return Session(1, 1, NOW, last_used_ms)


def test_a_use_is_written_only_when_the_stored_one_is_old() -> None:
    uses = SessionUses()
    assert not uses.use(session(), NOW)
    assert not uses.use(session(), NOW + WRITE_AFTER_MS)
    assert uses.use(session(), NOW + WRITE_AFTER_MS + 1)
    # Handed to the writer, though the store may not show it yet.
    assert not uses.use(session(), NOW + WRITE_AFTER_MS + 2)


def test_the_newest_use_counts_whoever_knows_of_it() -> None:
    uses = SessionUses()
    assert uses.last_used_ms(session()) == NOW
    uses.use(session(), NOW + 10)
    assert uses.last_used_ms(session()) == NOW + 10
    assert uses.last_used_ms(session(NOW + 20)) == NOW + 20


def test_what_makes_no_difference_is_forgotten() -> None:
    uses = SessionUses()
    uses.use(session(), NOW + 10)
    uses.forget(NOW + 10)
    assert uses.last_used_ms(session()) == NOW + 10
    uses.forget(NOW + 11)
    assert uses.last_used_ms(session()) == NOW


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=60))
def test_a_crash_forgets_at_most_thirty_seconds(pauses_ms: list[int]) -> None:
    uses, stored, now_ms = SessionUses(), session(), NOW
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        if uses.use(stored, now_ms):
            stored = session(now_ms)
        assert now_ms - stored.last_used_ms <= WRITE_AFTER_MS
