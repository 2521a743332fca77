"""What happened in a world, as it is checked and shown: rows as they were stored, answers, complaints."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, NamedTuple
from unittest import mock

import structlog

from overair.campaigns import rows
from overair.campaigns.model import Row, RowStatus

from ..virtual import START_MS


class Turn(NamedTuple):
    """A row, as it was stored at a time (loop's seconds)."""

    at: float
    campaign_id: int
    status: RowStatus
    attempts: int
    detail: str | None


class Chronicle:
    """Collects. `turns` are by device; `broken` says what must not be."""

    def __init__(self) -> None:
        self.turns: dict[int, list[Turn]] = {}
        self.broken: list[str] = []
        self.events: list[tuple[float, str]] = []
        """What happened to the world as a whole."""

    def complain(self, what: str) -> None:
        """Note that something is not as it must be."""
        if len(self.broken) < 50:
            self.broken.append(f"{clock_text(_now())}: {what}")

    def note(self, what: str) -> None:
        self.events.append((_now(), what))

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Take part in what is written about rows, and in what is logged."""
        put, put_checked, add, remove = rows.put, rows.put_checked, rows.add, rows.remove

        def noting_put(connection: Any, changed: Iterable[Row]) -> None:
            kept = list(changed)
            put(connection, kept)
            self._take(kept)

        def noting_put_checked(connection: Any, checked: Iterable[Row]) -> None:
            kept = list(checked)
            put_checked(connection, kept)
            self._take(kept)

        def noting_add(
            connection: Any, campaign_id: int, imeis: Iterable[int], now_ms: int, **said: Any
        ) -> None:
            kept = list(imeis)
            add(connection, campaign_id, kept, now_ms, **said)
            for imei in kept:
                status = said.get("status", RowStatus.UNCHECKED)
                self.turns.setdefault(imei, []).append(Turn(_now(), campaign_id, status, 0, None))

        def noting_remove(connection: Any, campaign_id: int, imeis: Iterable[int]) -> None:
            kept = list(imeis)
            remove(connection, campaign_id, kept)
            for imei in kept:
                turns = self.turns.get(imei, [])
                self.turns[imei] = [turn for turn in turns if turn.campaign_id != campaign_id]

        old = structlog.get_config()
        structlog.configure(processors=[self._logged], wrapper_class=structlog.make_filtering_bound_logger(0))
        try:
            with (
                mock.patch.object(rows, "put", noting_put),
                mock.patch.object(rows, "put_checked", noting_put_checked),
                mock.patch.object(rows, "add", noting_add),
                mock.patch.object(rows, "remove", noting_remove),
            ):
                yield
        finally:
            structlog.configure(**old)

    def _take(self, stored: Iterable[Row]) -> None:
        now = _now()
        for row in stored:
            turn = Turn(now, row.campaign_id, row.status, row.attempts, row.detail)
            self.turns.setdefault(row.imei, []).append(turn)

    def _logged(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        level = logging.getLevelName(method.upper())
        if method == "exception" or (isinstance(level, int) and level >= logging.ERROR):
            self.complain(f"logged: {dict(event)}")
        raise structlog.DropEvent


def clock_text(seconds: float) -> str:
    """Return a time of the world as day and time of day, UTC."""
    day, rest = divmod(int(seconds), 86_400)
    return f"day {day} {rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"


def seconds_of(time_ms: int) -> float:
    """Return the loop's seconds of the service's time."""
    return (time_ms - START_MS) / 1000


def _now() -> float:
    return asyncio.get_running_loop().time()
