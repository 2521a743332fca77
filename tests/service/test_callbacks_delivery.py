"""Retries, order, crashes and dead receivers, over days of virtual time."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overair.callbacks import outbox
from overair.callbacks.model import Answer, Message
from overair.platform.database import upgrade
from overair.platform.database.database import engine_for
from overair.platform.limits import DEFAULT_LIMITS

from ..virtual import run, virtual
from .callbacks_world import (
    ACCOUNT_ID,
    OTHER_URL,
    URL,
    Got,
    World,
    answering,
    build,
    hanging,
    message,
    world,
)

HOUR = 3600.0


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Let SQLite run on the loop's own thread: virtual time does not wait for others."""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at this version's schema, copied for each test."""
    path = tmp_path_factory.mktemp("callbacks") / "overair.db"
    engine = engine_for(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@virtual
async def test_a_message_is_sent_at_once_signed_and_only_once(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        await asyncio.sleep(100)
        await w.put(message('{"n":1}', 1))
        await asyncio.sleep(1)
        (got,) = w.receivers.got[URL]
        assert got.at_seconds == pytest.approx(100, abs=0.1)
        assert got.body == b'{"n":1}'
        assert got.headers["Content-Type"] == "application/json"
        assert got.headers["User-Agent"].startswith("overair/")
        assert int(got.headers["Overair-Timestamp"]) == w.clock.now_ms() // 1000 - 1
        assert await w.is_signed(got)
        await asyncio.sleep(HOUR)
        assert len(w.receivers.got[URL]) == 1
        assert await w.states() == {'{"n":1}': "delivered"}
        assert w.deliverer.lanes == 0
        assert w.deliverer.status.runs > 50


@virtual
async def test_a_receiver_that_refuses_gets_it_in_the_end_under_the_same_id(
    migrated: Path, tmp_path: Path
) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = answering(500)
        await w.put(message("a", 1))
        await asyncio.sleep(10 * HOUR)
        w.receivers.behaviours[URL] = answering(204)
        await asyncio.sleep(1.01 * HOUR)
        got = w.receivers.got[URL]
        assert await w.states() == {"a": "delivered"}
        assert len({one.uid for one in got}) == 1
        assert len({one.headers["Overair-Signature"] for one in got}) == len(got)
        assert all([await w.is_signed(one) for one in got])


@virtual
async def test_delays_double_from_5_seconds_to_an_hour_and_end_after_a_day(
    migrated: Path, tmp_path: Path
) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = answering(503)
        await w.put(message("a", 1))
        await asyncio.sleep(25 * HOUR)
        times = [got.at_seconds for got in w.receivers.got[URL]]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(0.9 < gap <= min(5 * 2**n, 3600) + 0.1 for n, gap in enumerate(gaps))
        assert max(gaps) > 1800
        assert 25 < len(times) < 100
        assert times[-1] == pytest.approx(24 * HOUR, abs=0.1)
        assert await w.states() == {"a": "expired"}


@virtual
async def test_what_expired_does_not_hold_back_the_next(migrated: Path, tmp_path: Path) -> None:
    """Not even if it is as old: each is tried at least once."""
    async with world(migrated, tmp_path) as w, w.delivering():

        async def poison(got: Got) -> Answer:
            return Answer(400 if got.body == b"poison" else 200)

        w.receivers.behaviours[URL] = poison
        await w.put(message("poison", 1), message("same campaign", 2), message("same device", 1, subject="b"))
        await asyncio.sleep(23.9 * HOUR)
        assert w.receivers.bodies().count("poison") == len(w.receivers.bodies())
        await asyncio.sleep(HOUR)
        assert w.receivers.bodies()[-2:] == ["same campaign", "same device"]
        assert await w.states() == {
            "poison": "expired", "same campaign": "delivered", "same device": "delivered",
        }  # fmt: skip


@virtual
async def test_others_pass_by_a_message_in_retry(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():

        async def choosy(got: Got) -> Answer:
            return Answer(500 if got.body == b"a1" else 200)

        w.receivers.behaviours[URL] = choosy
        await w.put(
            message("a1", 1, subject="a"), message("a2", 2, subject="a"),
            message("b1", 3, subject="b"), message("b2", 1, subject="b"), message("b3", 3, subject="b"),
            message("c1", 4, subject="c"),
        )  # fmt: skip
        await asyncio.sleep(HOUR)
        assert set(w.receivers.bodies()) == {"a1", "b1", "c1"}
        w.receivers.behaviours[URL] = answering(200)
        await asyncio.sleep(HOUR)
        rest = w.receivers.bodies()[-4:]
        assert rest[0] == "a1"
        assert set(rest[1:3]) == {"a2", "b2"}
        assert rest[3] == "b3"


@virtual
async def test_messages_of_one_campaign_arrive_one_after_the_other(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():

        async def slow(_: Got) -> Answer:
            await asyncio.sleep(0.3)
            return Answer(200)

        w.receivers.behaviours[URL] = slow
        await w.put(*[message(f"{n}", n) for n in range(20)])
        await asyncio.sleep(60)
        assert w.receivers.bodies() == [f"{n}" for n in range(20)]
        assert w.receivers.most_at_once[URL] == 1
        await w.put(*[message(f"{n}", n, subject=f"campaign {n}") for n in range(20)])
        await asyncio.sleep(60)
        assert w.receivers.most_at_once[URL] == w.limits.callbacks_per_listener


@virtual
async def test_a_receiver_that_is_gone_is_left_alone_as_a_whole(migrated: Path, tmp_path: Path) -> None:
    """A thousand messages do not mean a thousand connections that hang."""
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = hanging()
        await w.put(*[message(f"{n}", n, subject=f"campaign {n}") for n in range(1000)])
        await asyncio.sleep(10 * HOUR)
        tried = len(w.receivers.got[URL])
        assert 10 < tried < 80
        w.receivers.behaviours[URL] = answering(200)
        await asyncio.sleep(1.01 * HOUR)
        assert len(set(w.receivers.bodies()[tried:])) == 1000
        assert set((await w.states()).values()) == {"delivered"}


@virtual
async def test_a_receiver_that_came_back_is_not_punished_for_the_past(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = hanging()
        await w.put(message("a", 1, subject="a"))
        await asyncio.sleep(10 * HOUR)
        w.receivers.behaviours[URL] = answering(500)
        await asyncio.sleep(2 * HOUR)
        w.receivers.behaviours[URL] = hanging()
        await w.put(message("b", 2, subject="b"))
        await asyncio.sleep(4 * 10 + 5 + 10 + 20 + 1)
        assert w.receivers.bodies().count("b") >= 4


@virtual
async def test_a_dead_receiver_with_ten_thousand_messages_delays_nobody(
    migrated: Path, tmp_path: Path
) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = hanging()
        await w.put(*[message(f"{n}", n, subject=f"campaign {n}") for n in range(10_000)])
        await w.callbacks.register(8, "v3", OTHER_URL)
        await asyncio.sleep(5)
        loop = asyncio.get_running_loop()
        for n in range(20):
            before = loop.time()
            await w.put(message(f"other {n}", n), account_id=8)
            await w.put(message(f"more {n}", n))
            assert loop.time() - before < 0.001
            await asyncio.sleep(1)
            assert w.receivers.bodies(OTHER_URL)[-1] == f"other {n}"
        assert w.receivers.most_at_once[URL] <= w.limits.callbacks_per_listener


@virtual
async def test_receivers_that_hang_share_the_places_fairly(migrated: Path, tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, callbacks_at_once=4)
    async with world(migrated, tmp_path, limits) as w:
        for account_id in range(100, 120):
            url = f"https://dead{account_id}.example.com/"
            w.receivers.behaviours[url] = hanging()
            await w.callbacks.register(account_id, "v3", url)
            for n in range(10):
                await w.put(message(f"{n}", n, subject=f"{n}"), account_id=account_id)
        async with w.delivering():
            await w.put(message("alive", 1))
            await asyncio.sleep(5 * 60)
            assert w.receivers.bodies() == ["alive"]
            assert sum(w.receivers.under_way.values()) <= 4


@virtual
async def test_a_crash_after_the_answer_sends_again_under_the_same_id(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w:
        answered = asyncio.Event()

        async def answers_into_the_void(_: Got) -> Answer:
            answered.set()
            await asyncio.sleep(1)
            return Answer(200)

        w.receivers.behaviours[URL] = answers_into_the_void
        await w.put(message("a", 1))
        async with w.delivering():
            await answered.wait()  # the receiver has it, and we end before we write that down
        assert await w.states() == {"a": "waiting"}
        again = build(w.database, w.clock)
        again.callbacks = w.callbacks
        again.deliverer._shared = replace(again.deliverer._shared, callbacks=w.callbacks)
        async with again.delivering():
            await asyncio.sleep(1)
        assert await w.states() == {"a": "delivered"}
        assert {got.uid for got in w.receivers.got[URL]} == {got.uid for got in again.receivers.got[URL]}


@virtual
async def test_a_new_url_gets_what_waits_at_once(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = hanging()
        await w.put(message("a", 1))
        await asyncio.sleep(5 * HOUR)
        before = await w.callbacks.show(ACCOUNT_ID, "v3")
        await w.callbacks.register(ACCOUNT_ID, "v3", OTHER_URL)
        await asyncio.sleep(60)
        assert w.receivers.bodies(OTHER_URL) == ["a"]
        assert (await w.callbacks.show(ACCOUNT_ID, "v3")).secret == before.secret


@virtual
async def test_what_waits_for_a_listener_that_goes_is_dropped(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        w.receivers.behaviours[URL] = hanging()
        await w.put(message("under way", 1), message("behind it", 1))
        await asyncio.sleep(1)
        await w.callbacks.deregister(ACCOUNT_ID, "v3")
        await asyncio.sleep(2 * HOUR)
        assert w.receivers.bodies() == ["under way"]
        assert await w.states() == {"under way": "dropped", "behind it": "dropped"}
        assert w.deliverer.lanes == 0


@virtual
async def test_a_listener_whose_secret_does_not_open_waits_and_the_log_says_why(
    migrated: Path, tmp_path: Path
) -> None:
    async with world(migrated, tmp_path) as w, w.delivering():
        spoil = "UPDATE callback_listeners SET sealed_secret = X'00'"
        await w.database.write(lambda connection: connection.exec_driver_sql(spoil))
        await w.put(message("a", 1))
        await asyncio.sleep(60)
        assert w.receivers.bodies() == []
        (line, *_) = await w.callbacks.log(ACCOUNT_ID, 10)
        assert "master key" in (line.attempt.answer.error or "")
        assert line.state == "waiting"


@virtual
async def test_a_database_that_fails_is_shown_and_outlived(migrated: Path, tmp_path: Path) -> None:
    async with world(migrated, tmp_path) as w:
        running = asyncio.create_task(w.deliverer.run())
        await asyncio.sleep(1)
        write, w.database.write = w.database.write, _broken  # type: ignore[method-assign]
        told, now_ms = [message("a", 1)], w.clock.now_ms()
        await write(lambda connection: outbox.put(connection, ACCOUNT_ID, "v3", told, now_ms))
        w.deliverer.wake()
        await asyncio.sleep(10)
        assert "no space" in str(w.deliverer.status.last_error)
        w.database.write = write  # type: ignore[method-assign]
        await asyncio.sleep(60)
        assert await w.states() == {"a": "delivered"}
        running.cancel()
        await asyncio.wait([running])


async def _broken(_: object) -> None:
    raise OSError("no space left on the disk")


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "3"]),
        st.sets(st.integers(1, 4), max_size=2),
        st.floats(0, 9_000),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS, st.lists(st.floats(0, 9_000), max_size=6), st.integers(0, 1000))
def test_whatever_a_receiver_does_for_a_while_it_gets_all_in_order(
    migrated: Path, tmp_path: Path, plan: list[tuple[str, set[int], float]], moods: list[float], seed: int
) -> None:
    """A receiver that changes between answering, refusing and hanging, and is well in the end."""
    (tmp_path / "overair.db").unlink(missing_ok=True)
    run(_story(migrated, tmp_path, plan, moods, seed))


async def _story(
    migrated: Path, tmp_path: Path, plan: list[tuple[str, set[int], float]], moods: list[float], seed: int
) -> None:
    async with world(migrated, tmp_path) as w:
        w.deliverer._shared.random.seed(seed)
        loop = asyncio.get_running_loop()
        for n, when in enumerate(sorted(moods)):
            mood = (hanging(), answering(500), answering(200))[n % 3]
            loop.call_at(when, w.receivers.behaviours.__setitem__, URL, mood)
        loop.call_at(9_001, w.receivers.behaviours.__setitem__, URL, answering(200))
        told = []
        async with w.delivering():
            for n, (subject, imeis, when) in enumerate(sorted(plan, key=lambda entry: entry[2])):
                await asyncio.sleep(max(0, when - loop.time()))
                told.append(message(f"{n}", *imeis, subject=subject))
                await w.put(told[-1])
            await asyncio.sleep(13_000 - loop.time())  # an hour, and the last time-out
            _check(w, told, await w.states())


def _check(w: World, told: list[Message], states: dict[str, str]) -> None:
    assert set(states.values()) == {"delivered"}
    bodies = w.receivers.bodies()
    assert set(bodies) == set(states)
    last = {body: place for place, body in enumerate(bodies)}
    first = {body: bodies.index(body) for body in states}
    assert min(Counter(bodies).values()) >= 1
    for n, later in enumerate(told):
        for m, earlier in enumerate(told[:n]):
            about = {earlier.subject, *map(str, earlier.imeis)}
            if about & {later.subject, *map(str, later.imeis)}:
                assert last[f"{m}"] < first[f"{n}"], (m, n, bodies)
