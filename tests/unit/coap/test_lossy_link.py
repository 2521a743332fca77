"""Two endpoints over a link that loses, repeats and reorders: one outcome each, nothing done twice."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest

from overair.protocols.coap import (
    Endpoint,
    Event,
    Exchange,
    Failure,
    Notification,
    Parameters,
    Request,
    Response,
    codes,
)

BODY = bytes(range(256)) * 3


class Link:
    """Carries datagrams with up to 1.5 s of delay, and answers the device's requests after a while."""

    def __init__(self, seed: int, *, loss: float, repeats: float) -> None:
        self.random = random.Random(seed)
        self.loss, self.repeats = loss, repeats
        self.now = 0.0
        self.ends = {
            "server": Endpoint(random=random.Random(seed + 1), parameters=Parameters(block_size=64)),
            "device": Endpoint(random=random.Random(seed + 2), parameters=Parameters(block_size=128)),
        }
        self.flying: list[tuple[float, int, str, object]] = []
        self.count = 0
        self.requests: Counter[bytes] = Counter()
        self.outcomes: Counter[int] = Counter()
        self.results: list[Response | Failure] = []
        self.notifications: list[bytes] = []

    def later(self, seconds: float, end: str, what: object) -> None:
        self.count += 1
        heapq.heappush(self.flying, (self.now + seconds, self.count, end, what))

    def collect(self) -> None:
        for end, other in (("server", "device"), ("device", "server")):
            endpoint = self.ends[end]
            for datagram, peer in endpoint.outbox:
                assert peer == other
                copies = 0 if self.random.random() < self.loss else 1
                copies += self.random.random() < self.repeats
                for _ in range(copies):
                    self.later(self.random.random() * 1.5, other, datagram)
            endpoint.outbox.clear()

    def take(self, end: str, event: Event | None) -> None:
        if isinstance(event, Request):
            self.requests[event.message.payload] += 1
            self.later(self.random.choice((0.001, 0.5, 3.0)), end, event)
        elif isinstance(event, Response | Failure):
            self.outcomes[id(event.exchange)] += 1
            self.results.append(event)
        elif isinstance(event, Notification):
            self.notifications.append(event.message.payload)

    def run(self) -> None:
        """Until nothing flies and nothing is due."""
        self.collect()
        for _ in range(100_000):
            dues = [due for end in self.ends.values() if (due := end.next_due()) is not None]
            if self.flying:
                dues.append(self.flying[0][0])
            if not dues:
                return
            self.now = max(self.now, min(dues))
            self.step()
            self.collect()
        raise AssertionError("never quiet")

    def step(self) -> None:
        while self.flying and self.flying[0][0] <= self.now:
            _, _, end, what = heapq.heappop(self.flying)
            endpoint = self.ends[end]
            if isinstance(what, bytes):
                peer = "device" if end == "server" else "server"
                self.take(end, endpoint.receive(what, peer, self.now))
            elif isinstance(what, Request):
                path = what.message.uri_path
                body = path[0].encode() * 300 if path else what.message.payload[::-1]
                endpoint.respond(what, codes.CONTENT, payload=body, now=self.now)
        for end, endpoint in self.ends.items():
            for event in endpoint.advance(self.now):
                self.take(end, event)

    def assert_nothing_left(self) -> None:
        for endpoint in self.ends.values():
            assert endpoint._conversations == {}
            assert endpoint._open == 0
            assert endpoint._downloads.held_bytes == 0
            assert not endpoint._pending


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("loss", "repeats"), [(0.0, 0.5), (0.2, 0.2), (0.5, 0.3), (1.0, 0.0)])
def test_every_request_has_one_outcome_and_is_seen_once(seed: int, loss: float, repeats: float) -> None:
    link = Link(seed, loss=loss, repeats=repeats)
    exchanges: list[Exchange] = []
    for end, peer in (("device", "server"), ("server", "device")):
        for number in range(4):
            payload = b"%s %d" % (end.encode(), number)
            confirmable = number != 3
            exchanges.append(
                link.ends[end].request(
                    peer, codes.POST, payload=payload, now=link.now, confirmable=confirmable
                )
            )
    link.run()
    assert link.outcomes == Counter(id(exchange) for exchange in exchanges)
    assert set(link.requests.values()) <= {1}
    for result in link.results:
        if isinstance(result, Response):
            assert result.message.payload == bytes(result.exchange.payload)[::-1]
    if loss == 0.0:
        assert all(isinstance(result, Response) for result in link.results)
    if loss == 1.0:
        assert all(isinstance(result, Failure) for result in link.results)
    link.assert_nothing_left()


@pytest.mark.parametrize("seed", range(15))
def test_blockwise_transfers_end_whole_or_fail(seed: int) -> None:
    link = Link(seed, loss=0.1, repeats=0.2)
    for end, peer in (("device", "server"), ("server", "device")):
        link.ends[end].request(peer, codes.PUT, path=("?",), payload=BODY + end.encode(), now=link.now)
        link.ends[end].request(peer, codes.GET, path=(end,), now=link.now)
    link.run()
    assert sorted(link.outcomes.values()) == [1] * 4
    answers = [result for result in link.results if isinstance(result, Response)]
    assert len(answers) >= 3
    for result in answers:
        expected = b"?" if result.exchange.code == codes.PUT else result.exchange.options[0][1]
        assert result.message.payload == expected * 300
    uploads = [payload for payload in link.requests if len(payload) > 1]
    assert sorted(uploads) == [BODY + b"device", BODY + b"server"]
    assert [link.requests[payload] for payload in uploads] == [1, 1]
    link.assert_nothing_left()


@pytest.mark.parametrize("seed", range(15))
def test_notifications_come_in_order_and_the_last_one_comes(seed: int) -> None:
    link = Link(seed, loss=0.3, repeats=0.3)
    link.ends["server"].restore_observation("device", b"tokn", path=("5",), created=0.0)
    for number in range(1, 6):
        link.ends["device"].notify("server", b"tokn", number, payload=b"%d" % number, now=link.now)
        link.collect()
        for _ in range(3):
            link.now += 0.4
            link.step()
            link.collect()
    link.run()
    assert link.notifications == sorted(set(link.notifications))
    assert link.notifications[-1] == b"5"
