"""What strangers can cost: answers no larger than questions, nothing kept, honest handshakes unharmed."""

from __future__ import annotations

import gc
import random
import tracemalloc

from overair.protocols.dtls import DtlsLimits, codes, suites, wire
from overair.protocols.dtls.cookies import Cookies

from .world import AWAY, HOME

RANDOM = random.Random(3)


def hello(**changes: object) -> bytes:
    fields = {"random": RANDOM.randbytes(32), "suites": (suites.PSK_AES_128_CCM_8,)} | changes
    body = wire.client_hello_body(wire.ClientHello(**fields))
    return wire.plain_record(codes.HANDSHAKE, 0, wire.message(codes.CLIENT_HELLO, 0, body))


def test_the_answer_to_a_stranger_is_smaller_than_the_question(world) -> None:
    smallest = hello()
    world.server.receive(smallest, HOME, world.now)
    ((answer, _),) = world.server.outbox
    assert (len(answer), len(smallest)) == (44, 67)


def test_20_000_spoofed_hellos_leave_nothing_and_honest_ones_go_on(world) -> None:
    honest = world.client()
    spoofed = [hello() for _ in range(64)]
    world.server.receive(spoofed[0], AWAY, world.now)
    world.server.outbox.clear()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(20_000):
        world.server.receive(spoofed[at % 64], (f"203.0.113.{at % 251}", at), world.now)
        if at == 10_000:
            world.server.outbox.clear()
            world.connect(honest)
            connected = tracemalloc.get_traced_memory()[0]
            before += connected - tracemalloc.get_traced_memory()[0]
        world.server.outbox.clear()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert (after - before) / 20_000 < 5
    assert len(world.server._peers.handshakes) == 1
    assert len(world.server) == 1
    assert world.say(honest)


def test_a_cookie_is_good_for_one_address_and_one_hello(world) -> None:
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    (with_cookie,) = client.outbox
    world.server.receive(with_cookie, AWAY, world.now)
    assert world.server.counters.handshakes == 0
    (record,) = wire.read_records(with_cookie, 0)
    (fragment,) = wire.read_fragments(record.fragment)
    parsed = wire.parse_client_hello(fragment.body)
    world.server.receive(hello(cookie=parsed.cookie), HOME, world.now)
    assert world.server.counters.handshakes == 0
    world.server.receive(with_cookie, HOME, world.now)
    assert world.server.counters.handshakes == 1


def test_cookies_grow_old() -> None:
    cookies = Cookies(random.Random(1).randbytes, 100)
    cookie = cookies.make("address", b"hello", 1000.0)
    assert cookies.is_valid(cookie, "address", b"hello", 1099.0)
    assert cookies.is_valid(cookie, "address", b"hello", 1150.0)
    assert not cookies.is_valid(cookie, "address", b"hello", 1200.0)
    cookie = cookies.make("address", b"hello", 1200.0)
    assert not cookies.is_valid(cookie, "address", b"hello", 1900.0)
    assert not cookies.is_valid(b"", "address", b"hello", 1900.0)


def test_a_cookie_that_grew_old_is_asked_for_again(world) -> None:
    """The client answers the second request, and both count messages alike."""
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    world.now += 1000
    world.carry(client)
    assert client.association.established
    assert world.server.counters.verify_requests == 2


def test_hellos_in_fragments_are_counted_and_dropped(world) -> None:
    body = wire.client_hello_body(wire.ClientHello(random=bytes(32), suites=(0xC0A8,)))
    for piece in wire.cut_message(wire.message(codes.CLIENT_HELLO, 0, body), 40):
        world.server.receive(wire.plain_record(codes.HANDSHAKE, 0, piece), HOME, world.now)
    assert world.server.counters.fragmented_hellos == 2
    assert world.server.outbox == []


def test_oversized_datagrams_are_unread(make_world) -> None:
    world = make_world(limits=DtlsLimits(datagram_bytes=60))
    world.server.receive(hello(), HOME, world.now)
    assert world.server.counters.oversized == 1
    assert world.server.outbox == []


def test_nothing_but_a_hello_is_answered(world) -> None:
    for kind in range(256):
        for number in (0, 1 << 48, 2 << 48):
            world.server.receive(
                wire.RECORD.pack(kind, codes.DTLS_1_2, number, 40) + bytes((20,)) + bytes(39), HOME, world.now
            )
    assert world.server.outbox == []


def test_handshake_memory_is_bounded(make_world) -> None:
    """Someone with a valid cookie sends fragments and early records for ever."""
    world = make_world()
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    world.step(client)
    for sequence in range(300):
        piece = wire.fragment_bytes(codes.CLIENT_KEY_EXCHANGE, 4000, sequence, 0, b"x")
        world.server.receive(wire.plain_record(codes.HANDSHAKE, sequence, piece), HOME, world.now)
        early = wire.RECORD.pack(codes.APPLICATION_DATA, codes.DTLS_1_2, (1 << 48) + sequence, 1000)
        world.server.receive(early + bytes(1000), HOME, world.now)
    handshake = world.server._peers.handshakes[HOME].handshake
    assert handshake._inbox._held_bytes <= world.server.limits.handshake_bytes
    assert len(handshake.early) <= world.server.limits.early_records
