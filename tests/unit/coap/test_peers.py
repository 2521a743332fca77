"""What is remembered of peers: duplicates, rate, two generations."""

from __future__ import annotations

import pytest

from overair.protocols.coap import CoapLimits
from overair.protocols.coap.peers import PeerMemory


def memory(**limits) -> PeerMemory:
    return PeerMemory(CoapLimits(**limits), 247.0)


def test_a_message_is_remembered_for_a_lifetime() -> None:
    peers = memory()
    record = peers.touch("a", 0.0)
    receipt = peers.remember(record, b"1", 0.0)
    assert peers.duplicate(record, b"1", 246.9) is receipt
    assert peers.duplicate(record, b"1", 247.0) is None
    assert peers.duplicate(record, b"2", 1.0) is None


def test_the_ring_holds_as_many_as_the_limit() -> None:
    peers = memory(receipts_per_peer=8)
    record = peers.touch("a", 0.0)
    for key in range(9):
        peers.remember(record, b"%d" % key, 0.0)
    held = [key for key in range(9) if peers.duplicate(record, b"%d" % key, 1.0)]
    assert held == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_older_message_is_forgotten_in_its_own_time() -> None:
    peers = memory()
    record = peers.touch("a", 0.0)
    peers.remember(record, b"1", 0.0)
    peers.remember(record, b"2", 200.0)
    assert peers.duplicate(record, b"1", 246.0) is not None
    assert peers.duplicate(record, b"1", 247.0) is None
    assert peers.duplicate(record, b"2", 247.0) is not None


def test_the_ring_shrinks_when_all_of_it_is_old() -> None:
    peers = memory()
    record = peers.touch("a", 0.0)
    for key in range(5):
        peers.remember(record, b"%d" % key, 0.0)
    peers.remember(record, b"new", 300.0)
    assert record.older is None


def test_a_peer_is_known_for_at_least_a_lifetime_and_at_most_two() -> None:
    peers = memory()
    peers.touch("other", 0.0)
    record = peers.touch("a", 200.0)
    peers.rotate(247.0)
    assert peers.find("a") is record
    peers.rotate(448.0)
    assert peers.find("a") is record
    peers.rotate(494.0)
    assert peers.find("a") is None


def test_a_peer_that_comes_back_keeps_its_record() -> None:
    peers = memory()
    record = peers.touch("a", 0.0)
    peers.rotate(250.0)
    assert peers.touch("a", 400.0) is record
    peers.rotate(500.0)
    assert peers.find("a") is record


def test_a_million_peers_stay_within_the_bound() -> None:
    peers = memory(peers=1000)
    sizes = set()
    for number in range(20_000):
        peers.touch(number, 0.0)
        sizes.add(len(peers))
    assert max(sizes) == 1000
    assert peers.find(19_999) is not None


def test_burst_then_rate() -> None:
    peers = memory(requests_per_second=20, request_burst=50)
    record = peers.touch("a", 0.0)
    assert [peers.admit(record, 1000.1) for _ in range(60)] == [True] * 50 + [False] * 10
    assert [peers.admit(record, 1000.16) for _ in range(2)] == [True, False]
    assert sum(peers.admit(record, 1010.0) for _ in range(60)) == 50


@pytest.mark.parametrize("now", [0.0, 1e-9, 12345.678, 1e9])
def test_the_burst_is_whole_at_any_time(now: float) -> None:
    peers = memory()
    record = peers.touch("a", now)
    assert sum(peers.admit(record, now) for _ in range(60)) == 50
