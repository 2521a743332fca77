"""Places for images on their way to devices: only so many at once (spec lwm2m.md, section 13.3)."""

from typing import Protocol


class Waiter(Protocol):
    """Who may have to wait for a place."""

    def wake(self) -> None:
        """A place is free."""
        ...


class Places:
    """Who has a place, and who found none; *count* is how many there are."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: set[Waiter] = set()
        self._waiting: dict[Waiter, None] = {}

    @property
    def taken(self) -> int:
        """How many have one."""
        return len(self._taken)

    def may_have(self, who: Waiter) -> bool:
        """Whether there is a place for somebody, who is woken later if there is none."""
        if who in self._taken or len(self._taken) < self._count:
            self._waiting.pop(who, None)
            return True
        self._waiting[who] = None
        return False

    def take(self, who: Waiter) -> None:
        """Have one; what was begun before a restart has one even if there are too few by now."""
        self._taken.add(who)

    def leave(self, who: Waiter) -> None:
        """Want none any more; all who wait look again, since some of them sleep."""
        self._waiting.pop(who, None)
        if who in self._taken:
            self._taken.remove(who)
            waiting, self._waiting = self._waiting, {}
            for each in waiting:
                each.wake()
