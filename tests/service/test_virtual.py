"""The virtual-time loop that the door's tests stand on."""

import asyncio
import socket

import pytest

from ..virtual import START_MS, LoopClock, NothingLeft, run, virtual


def test_a_week_passes_at_once() -> None:
    async def sleep() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(7 * 86_400)
        return loop.time() - before

    assert run(sleep()) == pytest.approx(7 * 86_400)


@virtual
async def test_timers_fire_in_order_and_on_time() -> None:
    loop = asyncio.get_running_loop()
    fired: list[tuple[str, float]] = []
    for name, delay in (("c", 3.3), ("a", 0.1), ("b", 0.2), ("d", 1e6)):
        loop.call_later(delay, lambda name=name: fired.append((name, loop.time())))
    await asyncio.sleep(2e6)
    assert [name for name, _ in fired] == ["a", "b", "c", "d"]
    assert [when for _, when in fired] == pytest.approx([0.1, 0.2, 3.3, 1e6])
    assert all(when >= due for (_, when), due in zip(fired, [0.1, 0.2, 3.3, 1e6], strict=True))


@virtual
async def test_a_timer_set_for_a_time_is_not_before_it() -> None:
    """Else a callback that looks whether it is due and sets itself again would never let time pass."""
    loop = asyncio.get_running_loop()
    for step in range(1, 2000):
        when = step * 313.1
        due: asyncio.Future[float] = loop.create_future()
        loop.call_at(when, lambda due=due: due.set_result(loop.time()))
        assert await due >= when


@virtual
async def test_the_clock_moves_with_the_loop() -> None:
    clock = LoopClock()
    assert clock.now_ms() == START_MS
    await asyncio.sleep(93.5)
    assert clock.now_ms() == START_MS + 93_500


@virtual
async def test_a_datagram_arrives_before_time_moves() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (one, other):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        for count in range(200):
            one.sendto(b"%d" % count, other.getsockname())
            async with asyncio.timeout(0.001):
                assert await loop.sock_recv(other, 100) == b"%d" % count
    assert loop.time() == 0.0


@virtual
async def test_a_timeout_comes_when_nothing_else_does() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    assert loop.time() == pytest.approx(30)


def test_waiting_for_nothing_fails_instead_of_hanging() -> None:
    with pytest.raises(NothingLeft):
        run(asyncio.Event().wait())


def test_a_failing_callback_fails_the_run() -> None:
    async def failing() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(failing())


def test_two_runs_are_the_same() -> None:
    async def story() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def beat(seconds: float) -> None:
            for _ in range(20):
                await asyncio.sleep(seconds)
                times.append(loop.time())

        await asyncio.gather(*(beat(seconds) for seconds in (0.3, 0.7, 1.1)))
        return times

    assert run(story()) == run(story())
