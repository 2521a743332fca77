"""What is kept of a handshake that is done: the server's last flight, for a peer that lost it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from overair.protocols.dtls import Association, Client, Data, DtlsLimits, Established, codes, wire
from overair.protocols.dtls.association import EPOCH_1, EPOCH_2

from .test_handshake import without_extensions
from .world import HOME, KEY, World


def lose_the_last_flight(world: World, client: Client) -> tuple[Association, list[bytes]]:
    """A handshake whose last datagrams don't arrive; returns them too."""
    client.start(world.now)
    while not world.at_server:
        world.step(client)
    lost = [datagram for datagram, _ in world.server.outbox]
    world.server.outbox.clear()
    (established,) = world.at_server
    return established.association, lost


def contents(client: Client, datagrams: list[bytes]) -> list[tuple[int, int, bytes]]:
    """Content type, epoch and content of each record that the client gets."""
    client_side = client.association
    records = [record for datagram in datagrams for record in wire.read_records(datagram, 8)]
    opened = []
    for record in records:
        kind, content = (record.kind, record.fragment)
        if record.number >= EPOCH_1:
            kind, content = client_side.open(record)
        opened.append((kind, record.number >> 48, content))
    return opened


@pytest.mark.parametrize("ticket", [True, False])
@pytest.mark.parametrize("most", [256, 1200])
def test_it_comes_again_under_new_numbers(
    make_world, monkeypatch: pytest.MonkeyPatch, ticket: bool, most: int
) -> None:
    if not ticket:
        without_extensions(monkeypatch, codes.SESSION_TICKET)
    world = make_world(datagram_bytes=most)
    identity = b"x" * 200
    world.keys[identity] = (KEY,)
    client = world.client(identity)
    association, lost = lose_the_last_flight(world, client)
    assert (len(lost) > 1) is (ticket and most < 400)
    numbers = [record.number for datagram in lost for record in wire.read_records(datagram, 8)]
    for _ in range(2):
        world.now = client.next_due()
        client.advance(world.now)
        world.step(client)
        again = [datagram for datagram, _ in world.server.outbox]
        assert contents(client, again) == contents(client, lost)
        numbers += [record.number for datagram in again for record in wire.read_records(datagram, 8)]
        assert len(set(numbers)) == len(numbers)
        world.server.outbox.clear()
    world.now = client.next_due()
    client.advance(world.now)
    world.carry(client)
    assert client.association.established
    assert client.session() is not None
    assert world.say(client, b"up") == [Data(association, b"up")]
    assert association.last_flight is None


def test_repeats_of_it_are_bounded(make_world) -> None:
    world = make_world(limits=DtlsLimits(flight_repeats=3))
    client = world.client()
    lose_the_last_flight(world, client)
    sent = 0
    for _ in range(9):
        world.now = client.next_due()
        client.advance(world.now)
        (flight,) = client.outbox
        world.server.receive(flight, HOME, world.now)
        client.outbox.clear()
        sent += len(world.server.outbox)
        world.server.outbox.clear()
    assert sent == world.server.counters.repeated_flights == 3


def test_without_record_numbers_it_stays_away(world) -> None:
    client = world.client()
    association, _ = lose_the_last_flight(world, client)
    _, highest, seen = association.counts()
    association.set_counts(EPOCH_2, highest, seen)
    world.now = client.next_due()
    client.advance(world.now)
    world.carry(client)
    assert association.established
    assert not client.association.established


def test_only_the_end_of_a_repeated_finished_asks_for_it(world) -> None:
    client = world.client()
    association, _ = lose_the_last_flight(world, client)
    finished = client.association.handshake._flight[-1][2]
    first, last = wire.cut_message(finished, 18)
    other = wire.message(codes.CLIENT_KEY_EXCHANGE, 2, b"\0\6device")
    ahead = wire.message(codes.FINISHED, 9, bytes(12))
    for content, answers in ((first, 0), (other, 0), (ahead, 0), (last, 1), (finished, 1)):
        record = client.association.seal(codes.HANDSHAKE, content)
        assert world.server.receive(record, HOME, world.now) == []
        assert len(world.server.outbox) == answers
        world.server.outbox.clear()
    clear = wire.plain_record(codes.HANDSHAKE, 9, finished)
    assert world.server.receive(clear, HOME, world.now) == []
    assert world.server.outbox == []
    assert association.established


def test_what_follows_a_finished_in_its_record_is_left_alone(world) -> None:
    client = world.client()
    client.start(world.now)
    while not (client.association.handshake and client.association.handshake._sealing):
        world.step(client)
    (flight,) = client.outbox
    exchange, _, _ = wire.read_records(flight, 8)
    world.server.receive(
        wire.plain_record(exchange.kind, exchange.number, exchange.fragment), HOME, world.now
    )
    finished = client.association.handshake._flight[-1][2]
    more = wire.message(codes.CLIENT_KEY_EXCHANGE, finished[5] + 1, b"\0\6device")
    record = client.association.seal(codes.HANDSHAKE, finished + more)
    (event,) = world.server.receive(record, HOME, world.now)
    assert event == Established(event.association, resumed=False)


def test_it_is_small(make_world) -> None:
    """A fleet that comes at once is idle at once: all of it is within the minutes of its last flights."""
    world = make_world()
    devices = [b"urn:imei:%015d" % at for at in range(300)]
    world.keys.update((identity, (KEY,)) for identity in devices)

    def arrive(identities: list[bytes]) -> None:
        for at, identity in enumerate(identities):
            world.connect(world.client(identity, seed=at), (identity.decode(), 5683))
        for kept in (world.at_server, world.at_client, world.sent, world.answered):
            kept.clear()

    arrive(devices[:100])
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    arrive(devices[100:])
    gc.collect()
    lingering = tracemalloc.get_traced_memory()[0] - before
    world.now += world.server.parameters.linger_seconds
    world.server.advance(world.now)
    gc.collect()
    idle = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(world.server._peers.handshakes) == 0
    assert len(world.server) == 300
    assert idle / 200 < 2500
    assert (lingering - idle) / 200 < 1000
