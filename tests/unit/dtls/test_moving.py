"""Peers that move, restart, and take each other's places."""

from __future__ import annotations

from overair.protocols.dtls import (
    Closed,
    CloseReason,
    Data,
    DtlsLimits,
    Established,
    Moved,
    codes,
    wire,
)
from overair.protocols.dtls.association import EPOCH_1, EPOCH_2

from .world import AWAY, HOME, IDENTITY, KEY


def test_connection_id_moves_the_association(world) -> None:
    client = world.client()
    association = world.connect(client)
    assert world.say(client, b"one") == [Data(association, b"one")]
    assert world.say(client, b"two", AWAY) == [Moved(association, HOME), Data(association, b"two")]
    assert association.address == AWAY
    world.server.send(association, b"down")
    assert world.server.outbox[0][1] == AWAY
    assert world.say(client, b"three", AWAY) == [Data(association, b"three")]
    assert world.server.counters.moved == 1


def test_only_the_newest_record_moves(world) -> None:
    client = world.client()
    association = world.connect(client)
    client.send(b"older")
    client.send(b"newer")
    older, newer = client.outbox
    assert world.server.receive(newer, HOME, world.now) == [Data(association, b"newer")]
    # Authentic and not seen before, but older than the newest: it may have been held back by somebody.
    assert world.server.receive(older, AWAY, world.now) == [Data(association, b"older")]
    assert association.address == HOME


def test_forged_and_replayed_records_move_nothing(world) -> None:
    client = world.client()
    association = world.connect(client)
    client.send(b"data")
    (datagram,) = client.outbox
    assert world.server.receive(datagram, HOME, world.now)
    assert world.server.receive(datagram, AWAY, world.now) == []
    for at in range(len(datagram)):
        touched = bytearray(datagram)
        touched[at] ^= 1
        assert world.server.receive(bytes(touched), AWAY, world.now) == []
    assert association.address == HOME
    assert world.server.outbox == []
    assert world.server.counters.replayed >= 1
    assert world.server.counters.forged > 0


def test_records_of_other_epochs_and_versions_are_dropped(world) -> None:
    client = world.client()
    association = world.connect(client)
    cid, protection = association.own_cid, client.association.protection
    for number, version, heard in (
        (EPOCH_2, codes.DTLS_1_2, False),
        (EPOCH_1 + 9, codes.DTLS_1_0, False),
        (EPOCH_1 + 9, codes.DTLS_1_2, True),
    ):
        fragment = protection.seal(codes.TLS12_CID, number, b"data\x17", cid)
        head = wire.RECORD_START.pack(codes.TLS12_CID, version, number) + cid
        events = world.server.receive(head + wire.vector(2, fragment), HOME, world.now)
        assert events == ([Data(association, b"data")] if heard else [])


def test_a_replayed_last_flight_is_not_answered(world) -> None:
    client = world.client()
    world.connect(client)
    for _ in range(5):
        assert world.server.receive(world.sent[-1], HOME, world.now) == []
    assert world.server.outbox == []
    assert world.server.counters.replayed == 5


def test_a_last_flight_that_was_lost_comes_again(world) -> None:
    client = world.client()
    client.start(world.now)
    for _ in range(4):
        world.step(client)
    for datagram in client.outbox:
        world.server.receive(datagram, HOME, world.now)
    client.outbox.clear()
    world.server.outbox.clear()
    world.now += 1
    client.advance(world.now)
    world.carry(client)
    assert client.association.established
    assert world.server.counters.established == 1
    assert world.server.counters.repeated_flights == 1


def test_unknown_connection_ids_get_no_answer(world) -> None:
    client = world.client()
    world.connect(client)
    datagram = wire.RECORD_START.pack(codes.TLS12_CID, 0xFEFD, 1 << 48) + bytes(8) + b"\0\x20" + bytes(32)
    assert world.server.receive(datagram, HOME, world.now) == []
    assert world.server.outbox == []
    assert world.server.counters.strayed == 1


def test_records_without_the_connection_id_are_dropped(world) -> None:
    client = world.client()
    association = world.connect(client)
    client.association.peer_cid = b""
    assert world.say(client, b"bare") == []
    assert association.established


def test_without_connection_id_only_a_handshake_moves(world) -> None:
    client = world.client(connection_id_bytes=None)
    old = world.connect(client)
    world.say(client)
    assert world.say(client, b"lost", AWAY) == []
    new = world.connect(client, AWAY, resume=True)
    assert old.established
    assert world.say(client, b"found", AWAY) == [Closed(old, CloseReason.REPLACED), Data(new, b"found")]


def test_a_restarted_device_at_its_old_address(world) -> None:
    """The new handshake runs beside the association, which serves until the new one is there."""
    old_self = world.client(connection_id_bytes=None, seed=1)
    old = world.connect(old_self)
    world.say(old_self)
    new_self = world.client(connection_id_bytes=None, seed=2)
    new_self.start(world.now)
    for _ in range(3):
        world.step(new_self)
        assert old.established
        assert world.server.receive(_one(old_self, b"meanwhile"), HOME, world.now) == [
            Data(old, b"meanwhile")
        ]
    before = len(world.at_server)
    world.carry(new_self)
    assert isinstance(world.at_server[before], Established)
    assert world.at_server[before + 1] == Closed(old, CloseReason.REPLACED)
    assert len(world.server) == 1


def test_a_restarted_device_with_connection_ids(world) -> None:
    old_self, new_self = world.client(seed=1), world.client(seed=2)
    old = world.connect(old_self)
    world.say(old_self)
    new = world.connect(new_self)
    assert old.established
    assert world.say(old_self, b"still here") == [Data(old, b"still here")]
    assert world.say(new_self, b"first") == [Closed(old, CloseReason.REPLACED), Data(new, b"first")]
    assert len(world.server) == 1
    assert world.say(old_self, b"gone") == []


def test_an_identity_has_two_associations_at_most(world) -> None:
    first = world.connect(world.client(seed=0), ("a", 0))
    second = world.connect(world.client(seed=1), ("a", 1))
    assert world.at_server[-1] == Closed(first, CloseReason.REPLACED)
    client = world.client(seed=2)
    third = world.connect(client, ("a", 2))
    assert not second.established
    world.say(client, address=("a", 2))
    fourth = world.connect(world.client(seed=3), ("a", 3))
    assert third.established
    assert fourth.established
    assert len(world.server) == 2


def test_another_device_behind_the_same_address(world) -> None:
    """A NAT gives the address of one device to another: the one found by it makes room."""
    world.keys[b"other"] = (KEY,)
    client = world.client(connection_id_bytes=None)
    first = world.connect(client)
    world.say(client)
    by_cid = world.client(seed=3)
    with_cid = world.connect(by_cid)
    assert world.at_server[-1] == Closed(first, CloseReason.REPLACED)
    world.say(by_cid)
    third = world.connect(world.client(b"other", seed=4), HOME)
    assert with_cid.established
    assert third.established
    assert world.say(by_cid, b"elsewhere", AWAY)[-1] == Data(with_cid, b"elsewhere")


def test_copies_of_a_hello_start_nothing(world) -> None:
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    (hello,) = client.outbox
    world.step(client)
    flight = world.server.outbox[0][0]
    world.carry(client)
    world.server.receive(hello, HOME, world.now)
    assert world.server.outbox == []
    assert world.server.counters.handshakes == 1
    assert flight


def test_a_repeated_hello_gets_the_flight_again(world) -> None:
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    (hello,) = client.outbox
    world.server.receive(hello, HOME, world.now)
    world.server.receive(hello, HOME, world.now)
    first, second = (datagram for datagram, _ in world.server.outbox)
    assert [r.fragment for r in wire.read_records(first, 0)] == [
        r.fragment for r in wire.read_records(second, 0)
    ]
    numbers = [r.number for d in (first, second) for r in wire.read_records(d, 0)]
    assert numbers == sorted(set(numbers))
    assert world.server.counters.handshakes == 1
    assert world.server.counters.repeated_flights == 1


def test_repeats_of_one_flight_are_bounded(make_world) -> None:
    world = make_world(limits=DtlsLimits(flight_repeats=5))
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    (hello,) = client.outbox
    for _ in range(20):
        world.server.receive(hello, HOME, world.now)
    assert len(world.server.outbox) == 6


def test_the_oldest_handshake_makes_room(make_world) -> None:
    world = make_world(limits=DtlsLimits(handshakes=3))
    for at in range(5):
        client = world.client(seed=at)
        client.start(world.now)
        world.step(client, ("a", at))
        world.step(client, ("a", at))
        world.step(client, ("a", at))
    assert list(world.server._peers.handshakes) == [("a", 2), ("a", 3), ("a", 4)]
    assert len(world.server._peers._by_cid) == 3
    assert world.server.counters.evicted == 2


def test_no_more_associations_than_allowed(make_world) -> None:
    world = make_world(limits=DtlsLimits(associations=2))
    for at in range(2):
        world.keys[b"%d" % at] = (KEY,)
        client = world.client(b"%d" % at, seed=at)
        world.connect(client, ("a", at))
        world.say(client, address=("a", at))
    late = world.client(IDENTITY, seed=9)
    late.start(world.now)
    world.carry(late, AWAY)
    assert world.server.counters.refused == 1
    assert len(world.server) == 2


def _one(client, data: bytes) -> bytes:
    client.send(data)
    return client.outbox.pop()
