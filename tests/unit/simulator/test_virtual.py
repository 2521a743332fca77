"""Fleets on a virtual clock, on a bad network."""

from __future__ import annotations

import random

import pytest

from overair.protocols.coap import Peer
from overair.simulator import Faults, Network, NetworkError, SimulatedDevice, State, identities

SERVER = "server"
BAD = Faults(
    loss=0.2, duplication=0.1, reordering=0.1, latency_seconds=0.2, jitter_seconds=0.5, late_seconds=3.0
)


def make_fleet(scripted_server, seed: int, faults: Faults, count: int = 40):
    chance = random.Random(seed)
    network = Network(random=chance, faults=faults)
    server = scripted_server(seed)
    network.add_server(SERVER, server)
    devices = [SimulatedDevice(each, SERVER, random=chance) for each in identities(count)]
    for device in devices:
        network.add_device(device.identity.imei, device)
        device.start(network.now)
        network.touched(device.identity.imei)
    return network, server, devices


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_register_in_spite_of_loss_duplication_and_disorder(scripted_server, seed: int) -> None:
    network, server, devices = make_fleet(scripted_server, seed, BAD)
    done = network.run_until(3600, done=lambda: all(device.state is State.REGISTERED for device in devices))
    assert done
    assert network.now < 3600
    assert network.lost > 10
    assert server.endpoint.counters.duplicates > 0
    # Nobody believes in a location that the server did not give, and none was given twice.
    names = [asked.endpoint for asked in server.registers]
    assert set(names) == {device.identity.endpoint for device in devices}
    assert sum(device.tally.registrations for device in devices) == len(devices)


def test_updates_arrive_for_days(scripted_server) -> None:
    network, server, devices = make_fleet(scripted_server, 5, BAD, count=5)
    network.run_until(3 * 86_400)
    assert all(device.tally.updates + device.tally.registrations >= 3 for device in devices)
    assert all(len(path) == 2 for _, _, path, _ in server.heard[-5:])


def test_the_same_seed_gives_the_same_run_and_another_another(scripted_server) -> None:
    runs = []
    for seed in (1, 1, 2):
        network, server, _ = make_fleet(scripted_server, seed, BAD, count=10)
        network.run_until(600)
        runs.append((server.heard, network.carried, network.lost))
    assert runs[0] == runs[1] != runs[2]


def test_a_network_without_faults_carries_everything_in_order_and_time() -> None:
    network = Network(random=random.Random(1), faults=Faults(latency_seconds=0.25))
    one, two = Echo("two", [b"%d" % number for number in range(50)]), Echo("one", [])
    network.add_server("one", one)
    network.add_server("two", two)
    assert not network.run_until(0.2)
    assert two.heard == []
    network.run_until(1)
    assert two.heard == [(0.25, b"%d" % number) for number in range(50)]
    assert (network.now, network.carried, network.lost) == (1, 50, 0)


def test_total_loss_and_total_duplication() -> None:
    network = Network(random=random.Random(1), faults=Faults(loss=1))
    one, two = Echo("two", [b"a", b"b"]), Echo("one", [])
    network.add_server("two", two)
    network.add_server("one", one)
    network.run_until(10)
    assert two.heard == []
    network.faults = Faults(duplication=1, latency_seconds=1)
    one.outbox.append((b"c", "two"))
    network.touched("one")
    network.run_until(20)
    assert two.heard == [(11, b"c"), (11, b"c")]


def test_a_late_datagram_is_overtaken() -> None:
    network = Network(random=random.Random(1), faults=Faults(reordering=1, late_seconds=5))
    one, two = Echo("two", [b"late"]), Echo("one", [])
    network.add_server("one", one)
    network.add_server("two", two)
    network.faults = Faults()
    one.outbox.append((b"quick", "two"))
    network.touched("one")
    network.run_until(10)
    assert [datagram for _, datagram in two.heard] == [b"quick", b"late"]


def test_who_is_removed_hears_nothing_and_wakes_no_more(scripted_server) -> None:
    network, server, devices = make_fleet(scripted_server, 1, Faults(), count=1)
    imei = devices[0].identity.imei
    network.remove(imei)
    network.run_until(1000)
    assert devices[0].state is State.REGISTERING
    assert len(server.heard) == 1
    network.add_device(imei, devices[0])
    network.run_until(2000)
    assert devices[0].state is State.REGISTERED


def test_addresses_are_taken_once_and_must_be_there() -> None:
    network = Network(random=random.Random(1))
    network.add_server("one", Echo("two", []))
    with pytest.raises(NetworkError, match="'one': taken"):
        network.add_server("one", Echo("two", []))
    for call in (network.remove, network.touched):
        with pytest.raises(NetworkError, match="'two': nobody is there"):
            call("two")


def test_who_moves_takes_timers_along_and_leaves_datagrams_behind() -> None:
    network = Network(random=random.Random(1), faults=Faults(latency_seconds=1))
    one, two = Echo("two", [b"too late"]), Echo("one", [])
    two.due = 5.0
    network.add_server("one", one)
    network.add_server("two", two)
    network.move("two", "three")
    one.outbox.append((b"in time", "three"))
    network.touched("one")
    network.run_until(4)
    assert two.heard == [(1, b"in time")]
    assert two.advanced == []
    with pytest.raises(NetworkError, match="'one': taken"):
        network.move("three", "one")
    with pytest.raises(NetworkError, match="'two': nobody is there"):
        network.move("two", "four")
    two.due = None
    network.run_until(6)
    assert two.advanced == [5]


def test_who_does_not_come_to_rest_is_named(monkeypatch) -> None:
    monkeypatch.setattr("overair.simulator.virtual.STEPS_WITHOUT_TIME_MAX", 1000)
    network = Network(random=random.Random(1))
    restless = Echo("two", [])
    restless.due = 0.0
    network.add_server("one", restless)
    with pytest.raises(NetworkError, match="'one': does not come to rest"):
        network.run_until(1)


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.1}, {"duplication": -0.1}, {"reordering": 2}, {"latency_seconds": -1}]
)
def test_faults_have_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(**wrong)


class Echo:
    """Sends what it is made with, and notes what it hears."""

    def __init__(self, other: Peer, datagrams: list[bytes]) -> None:
        self.outbox: list[tuple[bytes, Peer]] = [(datagram, other) for datagram in datagrams]
        self.heard: list[tuple[float, bytes]] = []
        self.due: float | None = None
        self.advanced: list[float] = []

    def receive(self, datagram: bytes, peer: Peer, now: float) -> None:
        self.heard.append((now, datagram))

    def advance(self, now: float) -> None:
        self.advanced.append(now)

    def next_due(self) -> float | None:
        return self.due
