"""Places for images on their way."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from overair.doors.lwm2m.updates.places import Places


class Waiter:
    """Tries to get a place whenever it is woken."""

    def __init__(self, places: Places, *, sleeps: bool = False) -> None:
        self.places = places
        self.sleeps = sleeps
        self.woken = 0
        self.has_one = False

    def wake(self) -> None:
        self.woken += 1
        self.look()

    def look(self) -> None:
        if not self.sleeps and self.places.may_have(self):
            self.places.take(self)
            self.has_one = True

    def leave(self) -> None:
        self.has_one = False
        self.places.leave(self)


def test_the_next_gets_the_place_that_is_free() -> None:
    places = Places(1)
    first, second, third = (Waiter(places) for _ in range(3))
    for each in (first, second, third):
        each.look()
    assert [each.has_one for each in (first, second, third)] == [True, False, False]
    first.leave()
    assert [each.has_one for each in (first, second, third)] == [False, True, False]
    assert places.taken == 1
    third.leave()  # wants none any more
    second.leave()
    assert (places.taken, third.woken) == (0, 1)


def test_who_sleeps_does_not_hold_up_the_others() -> None:
    places = Places(1)
    first, sleeping, awake = Waiter(places), Waiter(places), Waiter(places)
    for each in (first, sleeping, awake):
        each.look()
    sleeping.sleeps = True
    first.leave()
    assert awake.has_one
    assert not sleeping.has_one


def test_what_was_begun_before_a_restart_keeps_its_place() -> None:
    places = Places(1)
    first, second = Waiter(places), Waiter(places)
    for each in (first, second):
        places.take(each)
    assert places.taken == 2
    assert places.may_have(first)
    assert not places.may_have(Waiter(places))


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=60))
def test_never_more_than_there_are_and_none_empty_while_somebody_waits(
    count: int, moves: list[tuple[int, bool]]
) -> None:
    places = Places(count)
    waiters = [Waiter(places) for _ in range(8)]
    wanting: deque[Waiter] = deque()
    for number, wants in moves:
        who = waiters[number]
        if wants:
            who.look()
            if who not in wanting:
                wanting.append(who)
        else:
            who.leave()
            if who in wanting:
                wanting.remove(who)
        assert places.taken == sum(each.has_one for each in waiters) == min(count, len(wanting))
