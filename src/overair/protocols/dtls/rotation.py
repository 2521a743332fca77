"""A secret that is replaced from time to time, and counts for a while after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

SecretT = TypeVar("SecretT")


class Rotating(Generic[SecretT]):
    """A secret in use for `seconds`, and the one before it, which counts for as long again."""

    __slots__ = ("_before", "_current", "_made", "_make", "_seconds")

    def __init__(self, make: Callable[[], SecretT], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._current, self._before = make(), make()
        self._made: float | None = None

    def at(self, now: float) -> tuple[SecretT, SecretT]:
        """The secret to use now, and the one before."""
        if self._made is None or now - self._made >= 2 * self._seconds:
            if self._made is not None:
                self._current, self._before = self._make(), self._make()
            self._made = now
        elif now - self._made >= self._seconds:
            self._current, self._before = self._make(), self._current
            # Not `now`: who asks late must not make the secret before it last longer.
            self._made += self._seconds
        return self._current, self._before

    def age(self, now: float) -> float:
        """How long the secret has been in use, in seconds."""
        return now - self._made if self._made is not None else 0.0

    def restore(self, current: SecretT, before: SecretT, made: float) -> None:
        """Take up secrets that were saved."""
        self._current, self._before, self._made = current, before, made
