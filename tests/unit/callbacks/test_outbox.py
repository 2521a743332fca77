"""Registration, and what the outbox keeps and forgets (spec callbacks.md, sections 1 and 2)."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from overair.callbacks import outbox
from overair.callbacks.model import (
    Answer,
    Attempt,
    Batch,
    InvalidUrl,
    Message,
    MessageState,
    MessageType,
    NoListener,
)
from overair.callbacks.rules import HOUR_MS
from overair.callbacks.service import CallbackService
from overair.credentials.service import CredentialService
from overair.credentials.store import SqlCredentialStore
from overair.platform.clock import DAY_MS, VirtualClock
from overair.platform.database import Database
from overair.platform.limits import DEFAULT_LIMITS
from overair.platform.sealing import FILE_NAME, MasterKeyError, Sealer

MINE, OTHERS = 7, 8
URL = "https://fleet.example.com/hook"


def message(text: str, *imeis: int, subject: str = "campaign") -> Message:
    return Message(MessageType.UPGRADE_PROGRESS, subject, imeis, text.encode())


async def put(database: Database, clock: VirtualClock, *told: Message, account_id: int = MINE) -> None:
    now_ms = clock.now_ms()
    await database.write(lambda connection: outbox.put(connection, account_id, "v3", told, now_ms))


async def take(database: Database, clock: VirtualClock, listener_id: int, count: int = 10) -> Batch:
    now_ms = clock.now_ms()
    return await database.read(
        lambda connection: outbox.take(connection, listener_id, count, now_ms, DEFAULT_LIMITS)
    )


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    return await database.read(lambda connection: [tuple(row) for row in connection.exec_driver_sql(query)])


async def settle(
    database: Database, message_id: int, attempt: Attempt, after: tuple[MessageState, int | None]
) -> None:
    await database.write(
        lambda connection: outbox.settle(connection, MINE, message_id, attempt, after, DEFAULT_LIMITS)
    )


async def test_a_listener_is_one_of_its_account_and_version(callbacks: CallbackService) -> None:
    for account_id, version, url in (
        (MINE, "v3", "https://a.example/"), (MINE, "v2", "https://b.example/"),
        (OTHERS, "v3", "https://c.example/"),
    ):  # fmt: skip
        await callbacks.register(account_id, version, url)  # type: ignore[arg-type]
    listener = await callbacks.listener(MINE, "v3")
    assert listener is not None
    assert listener.url == "https://a.example/"
    assert await callbacks.listener(MINE, "v1") is None
    standings = await callbacks.standings(MINE)
    assert [(one.listener.version, one.listener.url, one.waiting) for one in standings] == [
        ("v2", "https://b.example/", 0), ("v3", "https://a.example/", 0),
    ]  # fmt: skip
    with pytest.raises(InvalidUrl):
        await callbacks.register(MINE, "v3", "ftp://a.example/")
    with pytest.raises(NoListener, match="v1"):
        await callbacks.show(MINE, "v1")


async def test_the_secret_is_made_once_kept_by_changes_and_new_after_a_deregistration(
    callbacks: CallbackService, database: Database
) -> None:
    await callbacks.register(MINE, "v3", URL)
    first = await callbacks.show(MINE, "v3")
    assert len(first.secret) == 43
    assert first.secret not in repr(first)
    await callbacks.register(MINE, "v3", URL + "/2")
    assert (await callbacks.show(MINE, "v3")).secret == first.secret
    await callbacks.register(OTHERS, "v3", URL)
    assert (await callbacks.show(OTHERS, "v3")).secret != first.secret
    for (sealed,) in await rows(database, "SELECT sealed_secret FROM callback_listeners"):
        assert first.secret.encode() not in sealed
    await callbacks.deregister(MINE, "v3")
    await callbacks.deregister(MINE, "v3")
    await callbacks.register(MINE, "v3", URL)
    assert (await callbacks.show(MINE, "v3")).secret != first.secret


async def test_a_secret_moved_to_another_account_does_not_open(
    callbacks: CallbackService, database: Database
) -> None:
    await callbacks.register(MINE, "v3", URL)
    move = f"UPDATE callback_listeners SET account_id = {OTHERS}"
    await database.write(lambda connection: connection.exec_driver_sql(move))
    with pytest.raises(MasterKeyError):
        await callbacks.show(OTHERS, "v3")


async def test_no_master_key_is_made_while_keys_of_devices_lie_under_another(
    database: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    def sealer() -> Sealer:
        return Sealer(tmp_path / "data", {})

    keys = CredentialService(SqlCredentialStore(database), sealer(), clock, DEFAULT_LIMITS)
    await keys.add_psk(MINE, 490154203237518)
    (tmp_path / "data" / FILE_NAME).unlink()
    callbacks = CallbackService(database, sealer(), clock, DEFAULT_LIMITS)
    with pytest.raises(MasterKeyError, match="missing"):
        await callbacks.register(MINE, "v3", URL)
    assert await callbacks.listener(MINE, "v3") is None


async def test_nothing_is_kept_for_nobody(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    await callbacks.register(OTHERS, "v3", URL)
    await callbacks.register(MINE, "v2", URL)
    await put(database, clock, message("a"))
    assert await rows(database, "SELECT count(*) FROM callback_messages") == [(0,)]


async def test_messages_are_taken_as_they_were_put(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    listener = await callbacks.register(MINE, "v3", URL)
    assert await take(database, clock, listener.id) == Batch(None)
    await put(
        database,
        clock,
        message("a", 1),
        message("b", 1, subject="2"),
        message("c", 2),
        message("d", 3, subject="x"),
    )
    batch = await take(database, clock, listener.id)
    assert batch.listener == listener
    assert [(one.body, one.attempts, one.created_ms) for one in batch.parcels] == [
        (b"a", 0, clock.now_ms()), (b"d", 0, clock.now_ms()),
    ]  # fmt: skip
    assert len({uuid.UUID(one.uid) for one in batch.parcels}) == 2
    assert [one.body for one in (await take(database, clock, listener.id, 1)).parcels] == [b"a"]
    assert (await callbacks.standings(MINE))[0].waiting == 4


async def test_an_event_that_is_undone_is_not_told(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    await callbacks.register(MINE, "v3", URL)
    now_ms = clock.now_ms()

    def event(connection: Connection) -> None:
        outbox.put(connection, MINE, "v3", [message("a")], now_ms)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        await database.write(event)
    assert await rows(database, "SELECT count(*) FROM callback_messages") == [(0,)]


async def test_attempts_are_logged_newest_first_and_bounded(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    listener = await callbacks.register(MINE, "v3", URL)
    await put(database, clock, message("a", 1), message("b", 2, subject="other"))
    first, second = (await take(database, clock, listener.id)).parcels
    kept = DEFAULT_LIMITS.callback_attempts_kept
    for number in range(1, kept + 21):
        clock.advance(1)
        attempt = Attempt(number, clock.now_ms(), 12, Answer(None, "refused"))
        await settle(database, first.id, attempt, (MessageState.WAITING, clock.now_ms() + 5000))
    clock.advance(1)
    attempt = Attempt(1, clock.now_ms(), 34, Answer(202))
    await settle(database, second.id, attempt, (MessageState.DELIVERED, None))
    log = await callbacks.log(MINE, 500)
    assert len(log) == kept + 1
    assert (log[0].uid, log[0].state, log[0].attempt) == (second.uid, MessageState.DELIVERED, attempt)
    assert [line.attempt.number for line in log[1:]] == list(range(kept + 20, 20, -1))
    assert (log[1].uid, log[1].type, log[1].subject) == (first.uid, "upgradeProgress", "campaign")
    assert len(await callbacks.log(MINE, 3)) == 3
    assert await callbacks.log(OTHERS, 500) == []
    waiting = await take(database, clock, listener.id)
    assert (waiting.parcels, waiting.next_ms) == ((), clock.now_ms() - 1000 + 5000)


async def test_a_message_that_was_dropped_stays_dropped(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    listener = await callbacks.register(MINE, "v3", URL)
    await put(database, clock, message("a"))
    (parcel,) = (await take(database, clock, listener.id)).parcels
    await callbacks.deregister(MINE, "v3")
    attempt = Attempt(1, clock.now_ms(), 1, Answer(200))
    await settle(database, parcel.id, attempt, (MessageState.DELIVERED, None))
    (line,) = await callbacks.log(MINE, 10)
    assert line.state == MessageState.DROPPED
    assert await take(database, clock, listener.id) == Batch(None)


async def test_what_waited_two_days_expires_and_what_ended_goes_after_thirty(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    listener = await callbacks.register(MINE, "v3", URL)
    await put(database, clock, message("delivered"), message("held back"))
    (parcel,) = (await take(database, clock, listener.id)).parcels
    attempt = Attempt(1, clock.now_ms(), 0, Answer(200))
    await settle(database, parcel.id, attempt, (MessageState.DELIVERED, None))
    clock.advance(48 * HOUR_MS / 1000 - 1)
    assert await callbacks.purge() == 0
    states = "SELECT state FROM callback_messages ORDER BY id"
    assert await rows(database, states) == [("delivered",), ("waiting",)]
    clock.advance(1)
    assert await callbacks.purge() == 0
    assert await rows(database, states) == [("delivered",), ("expired",)]
    clock.advance(28 * DAY_MS / 1000)
    assert await callbacks.purge() == 1
    assert await rows(database, "SELECT count(*) FROM callback_attempts") == [(0,)]
    assert await rows(database, states) == [("expired",)]
    clock.advance(2 * DAY_MS / 1000)
    assert await callbacks.purge() == 1
    assert await rows(database, states) == []


async def test_a_purge_goes_on_until_nothing_is_left(
    callbacks: CallbackService, database: Database, clock: VirtualClock
) -> None:
    await callbacks.register(MINE, "v3", URL)
    await put(database, clock, *[message(f"{n}") for n in range(outbox.PURGE_ROWS + 5)])
    await callbacks.deregister(MINE, "v3")
    clock.advance(30 * DAY_MS / 1000)
    assert await callbacks.purge() == outbox.PURGE_ROWS + 5


async def test_waiting_messages_are_found_by_their_index(database: Database) -> None:
    """However many were delivered."""
    plan = await rows(
        database,
        "EXPLAIN QUERY PLAN SELECT id, subject, imeis, due_ms FROM callback_messages"
        " WHERE listener_id = 1 AND state = 'waiting' ORDER BY id LIMIT 2000",
    )
    assert "ix_callback_messages_waiting" in plan[0][3]
    assert len(plan) == 1
