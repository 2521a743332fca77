"""Somebody between the two who changes what is in the clear, or plays the server without the key."""

from __future__ import annotations

import pytest

from overair.protocols.dtls import Client, Established, FailureReason, HandshakeFailed, codes, suites, wire
from overair.protocols.dtls.codes import Alert

from .test_handshake import without_extensions
from .world import HOME, World


def until_the_client_finishes(world: World, client: Client) -> list[bytes]:
    """Carry on until the client's last flight is in its outbox; returns the server's answer to it."""
    client.start(world.now)
    for _ in range(4):
        world.step(client)
    for datagram in client.outbox:
        world.at_server += world.server.receive(datagram, HOME, world.now)
    client.outbox.clear()
    answer = [datagram for datagram, _ in world.server.outbox]
    world.server.outbox.clear()
    return answer


def test_a_changed_hello_is_noticed_at_finished(world, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without extended master secret the keys are the same for both: only Finished tells."""
    without_extensions(monkeypatch, codes.EXTENDED_MASTER_SECRET)
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    (datagram,) = client.outbox
    (record,) = wire.read_records(datagram, 0)
    (fragment,) = wire.read_fragments(record.fragment)
    hello = wire.parse_client_hello(fragment.body)
    fields = {name: getattr(hello, name) for name in hello.__struct_fields__}
    del fields["extensions"][codes.CONNECTION_ID]
    body = wire.client_hello_body(wire.ClientHello(**fields))
    message = wire.message(codes.CLIENT_HELLO, fragment.sequence, body)
    client.outbox[:] = [wire.plain_record(codes.HANDSHAKE, record.number, message)]
    world.carry(client)
    assert [(event.reason, event.alert) for event in world.at_server + world.at_client] == [
        (FailureReason.WRONG_KEY, None),
        (FailureReason.ALERT, Alert.DECRYPT_ERROR),
    ]


def test_a_wrong_finished_of_the_server(world) -> None:
    client = world.client(connection_id_bytes=None)
    answer = until_the_client_finishes(world, client)
    (association,) = world.server._peers
    *before, finished = wire.read_records(answer[0], 0)
    for record in before:
        raw = wire.plain_record(record.kind, record.number, record.fragment, record.version)
        assert client.receive(raw, world.now) == []
    assert finished.number == 1 << 48
    sequence = client.association.handshake._inbox.next_sequence
    forged = association.seal(codes.HANDSHAKE, wire.message(codes.FINISHED, sequence, bytes(12)))
    (failed,) = client.receive(forged, world.now)
    assert failed == HandshakeFailed(None, FailureReason.WRONG_KEY, world.at_server[0].association.identity)


def test_a_true_finished_of_the_server_in_the_clear(world) -> None:
    client = world.client(connection_id_bytes=None)
    answer = until_the_client_finishes(world, client)
    *before, finished = wire.read_records(answer[0], 0)
    _, content = client.association.open(finished)
    for record in before:
        raw = wire.plain_record(record.kind, record.number, record.fragment, record.version)
        assert client.receive(raw, world.now) == []
    (failed,) = client.receive(wire.plain_record(codes.HANDSHAKE, 99, content), world.now)
    assert failed.reason is FailureReason.PROTOCOL


def test_the_answer_to_an_older_hello(world) -> None:
    """A server that still repeats its flight to the handshake before does not confuse the new one."""
    client = world.client()
    client.start(world.now)
    for _ in range(3):
        world.step(client)
    old_flight = world.server.outbox.pop()[0]
    client.start(world.now)
    assert client.receive(old_flight, world.now) == []
    world.carry(client)
    assert client.association.established


def answers(world: World, kind: int, body: bytes, *, sequence: int = 0, client: Client | None = None) -> list:
    """What our client makes of one message as the answer to its hello."""
    if client is None:
        client = world.client()
        client.start(world.now)
    message = wire.message(kind, sequence, body)
    return client.receive(wire.plain_record(codes.HANDSHAKE, 0, message), world.now)


def server_hello(**changes: object) -> bytes:
    fields = {"random": bytes(32), "suite": suites.PSK_AES_128_CCM_8} | changes
    return wire.server_hello_body(wire.ServerHello(**fields))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"version": codes.DTLS_1_0}, FailureReason.VERSION),
        ({"suite": 0x1301}, FailureReason.PROTOCOL),
        ({"compression": 1}, FailureReason.PROTOCOL),
        ({"extensions": {codes.MAX_FRAGMENT_LENGTH: b"\1"}}, FailureReason.PROTOCOL),
        ({"extensions": {codes.RENEGOTIATION_INFO: b"\1x"}}, FailureReason.PROTOCOL),
        ({"extensions": {codes.CONNECTION_ID: b"\3x"}}, FailureReason.PROTOCOL),
    ],
)
def test_server_hellos_that_are_no_answer(world, changes: dict, reason: FailureReason | None) -> None:
    events = answers(world, codes.SERVER_HELLO, server_hello(**changes))
    assert [event.reason for event in events] == ([] if reason is None else [reason])


@pytest.mark.parametrize("kind", [11, codes.SERVER_HELLO_DONE, codes.FINISHED, codes.NEW_SESSION_TICKET])
def test_messages_out_of_place(world, kind: int) -> None:
    (failed,) = answers(world, kind, b"")
    assert failed.reason is FailureReason.PROTOCOL


def test_a_hello_request_before_the_end_is_nothing(world) -> None:
    assert answers(world, codes.HELLO_REQUEST, b"") == []


def test_a_server_that_asks_for_ever(world) -> None:
    client = world.client()
    client.start(world.now)
    events = []
    for at in range(5):
        body = wire.hello_verify_request_body(b"cookie %d" % at)
        events += answers(world, codes.HELLO_VERIFY_REQUEST, body, client=client)
    (failed,) = events
    assert failed.reason is FailureReason.PROTOCOL


def test_a_suite_with_ecdhe_needs_the_servers_key(world) -> None:
    client = world.client()
    client.start(world.now)
    suite = suites.ECDHE_PSK_AES_128_CBC_SHA256
    assert answers(world, codes.SERVER_HELLO, server_hello(suite=suite), client=client) == []
    (failed,) = answers(world, codes.SERVER_HELLO_DONE, b"", sequence=1, client=client)
    assert failed.reason is FailureReason.PROTOCOL


@pytest.mark.parametrize("point", [b"\4" + bytes(64), b"\4", b"\2" + bytes(32), b"\0"])
def test_points_that_are_on_no_curve(world, point: bytes) -> None:
    client = world.client()
    client.start(world.now)
    suite = suites.ECDHE_PSK_AES_128_CBC_SHA256
    answers(world, codes.SERVER_HELLO, server_hello(suite=suite), client=client)
    body = wire.server_key_exchange_body(wire.ServerKeyExchange(b"hint", point))
    events = answers(world, codes.SERVER_KEY_EXCHANGE, body, sequence=1, client=client)
    events += answers(world, codes.SERVER_HELLO_DONE, b"", sequence=2, client=client)
    assert [event.reason for event in events] == [FailureReason.PROTOCOL]
    assert not any(isinstance(event, Established) for event in events)
