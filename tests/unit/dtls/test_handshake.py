"""Whole handshakes between our two roles, and how each of them can end."""

from __future__ import annotations

import pytest

from overair.protocols.dtls import (
    AssociationStateError,
    Client,
    Closed,
    CloseReason,
    Data,
    DataTooLargeError,
    DtlsLimits,
    Established,
    FailureReason,
    HandshakeFailed,
    ParameterError,
    codes,
    suites,
    wire,
)
from overair.protocols.dtls.association import EPOCH_1, EPOCH_2
from overair.protocols.dtls.client_handshake import ClientHandshake
from overair.protocols.dtls.codes import Alert
from overair.protocols.dtls.states import CLIENT, SERVER, State

from .world import HOME, IDENTITY, KEY


def without_extensions(monkeypatch: pytest.MonkeyPatch, *left_out: int) -> None:
    """Clients that know fewer extensions."""
    all_of_them = ClientHandshake._extensions

    def fewer(handshake: ClientHandshake) -> wire.Extensions:
        return {k: v for k, v in all_of_them(handshake).items() if k not in left_out}

    monkeypatch.setattr(ClientHandshake, "_extensions", fewer)


@pytest.mark.parametrize("suite", suites.SUITES)
@pytest.mark.parametrize("cid_bytes", [None, 0, 6])
def test_each_suite_with_and_without_connection_ids(world, suite: int, cid_bytes: int | None) -> None:
    client = world.client(suites=(suite,), connection_id_bytes=cid_bytes)
    association = world.connect(client)
    assert association.identity == IDENTITY
    assert association.suite.number == suite
    assert association.encrypt_then_mac is (suites.SUITES[suite].mode == "cbc")
    assert len(association.own_cid) == (0 if cid_bytes is None else 8)
    assert len(association.peer_cid) == (cid_bytes or 0)
    assert client.association.own_cid == association.peer_cid
    assert world.say(client, b"up") == [Data(association, b"up")]
    world.server.send(association, b"down")
    world.carry(client)
    assert world.at_client[-1] == Data(client.association, b"down")
    assert world.server.counters.verify_requests == 1
    assert world.server.counters.forged == world.server.counters.strayed == 0


@pytest.mark.parametrize("server_bytes", [None, 0, 4])
def test_server_with_another_length_of_connection_id(make_world, server_bytes: int | None) -> None:
    world = make_world(connection_id_bytes=server_bytes, process_number=3)
    client = world.client(connection_id_bytes=5)
    association = world.connect(client)
    assert len(association.own_cid) == (server_bytes or 0)
    assert association.own_cid[:1] == (b"\x03" if server_bytes else b"")
    assert len(association.peer_cid) == (0 if server_bytes is None else 5)
    assert world.say(client, b"up") == [Data(association, b"up")]
    kinds = {record.kind for record in wire.read_records(world.sent[-1], server_bytes or 0)}
    assert kinds == {codes.TLS12_CID if server_bytes else codes.APPLICATION_DATA}


def test_the_servers_order_of_suites_decides(make_world) -> None:
    world = make_world(suites=(suites.PSK_AES_128_CCM, suites.PSK_AES_128_CCM_8))
    client = world.client(suites=(suites.PSK_AES_128_CBC_SHA256, 0xC0A8, 0xC0A4))
    assert world.connect(client).suite.number == suites.PSK_AES_128_CCM


def test_small_fragments(world, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = ClientHandshake._extensions
    monkeypatch.setattr(
        ClientHandshake,
        "_extensions",
        lambda handshake: all_of_them(handshake) | {codes.MAX_FRAGMENT_LENGTH: b"\1"},
    )
    client = world.client()
    association = world.connect(client)
    assert association.content_bytes == 512
    world.server.send(association, bytes(512))
    with pytest.raises(DataTooLargeError, match="512"):
        world.server.send(association, bytes(513))


@pytest.mark.parametrize("most", [256, 300, 1200])
def test_flights_are_cut_to_datagrams(make_world, most: int) -> None:
    identity = b"x" * 250
    world = make_world(datagram_bytes=most)
    world.keys[identity] = (KEY,)
    # A hello must come in one piece, as the server joins none before the cookie: few suites, few extensions.
    client = world.client(identity, datagram_bytes=most, suites=(suites.PSK_AES_128_CCM_8,))
    association = world.connect(client)
    assert association.identity == identity
    assert max(map(len, [*world.sent, *world.answered])) <= most
    assert (len(world.sent) > 3) is (most < 400)


def test_an_identity_of_the_largest_size(world) -> None:
    identity = bytes(range(256))
    world.keys[identity] = (KEY,)
    assert world.connect(world.client(identity, datagram_bytes=300)).identity == identity
    with pytest.raises(ParameterError, match="identity"):
        world.client(bytes(257))


def test_identities_are_bytes(world) -> None:
    world.keys[b"\xff\0\xfe"] = (KEY,)
    assert world.connect(world.client(b"\xff\0\xfe")).identity == b"\xff\0\xfe"


def test_without_extended_master_secret_nothing_is_resumed(world, monkeypatch: pytest.MonkeyPatch) -> None:
    without_extensions(monkeypatch, codes.EXTENDED_MASTER_SECRET)
    client = world.client()
    association = world.connect(client)
    assert world.say(client, b"up") == [Data(association, b"up")]
    assert client.session() is None
    assert len(world.server._sessions) == 0


def test_cbc_without_encrypt_then_mac(world, monkeypatch: pytest.MonkeyPatch) -> None:
    without_extensions(monkeypatch, codes.ENCRYPT_THEN_MAC)
    client = world.client(suites=(suites.PSK_AES_128_CBC_SHA256,))
    association = world.connect(client)
    assert not association.encrypt_then_mac
    assert world.say(client, b"up") == [Data(association, b"up")]


# --- failures


def failures(world) -> list[tuple[FailureReason, int | None]]:
    events = [*world.at_server, *world.at_client]
    return [(event.reason, event.alert) for event in events if isinstance(event, HandshakeFailed)]


@pytest.mark.parametrize("suite", suites.SUITES)
@pytest.mark.parametrize("cid_bytes", [None, 0])
def test_unknown_identity_looks_like_a_wrong_key(make_world, suite: int, cid_bytes: int | None) -> None:
    answers = []
    for identity, key, reason in (
        (IDENTITY, b"not that key", FailureReason.WRONG_KEY),
        (b"urn:imei:000000000000000", KEY, FailureReason.UNKNOWN_IDENTITY),
    ):
        world = make_world()
        client = world.client(identity, key, suites=(suite,), connection_id_bytes=cid_bytes)
        client.start(world.now)
        world.carry(client)
        assert failures(world) == [(reason, None), (FailureReason.ALERT, Alert.DECRYPT_ERROR)]
        assert world.at_server[0].identity == identity
        assert world.server.next_due() is None
        assert len(world.server._peers.handshakes) == len(world.server._peers._by_cid) == 0
        answers.append([len(datagram) for datagram in world.answered])
        assert world.answered[-1] == bytes.fromhex("15fefd") + world.answered[-1][3:11] + b"\0\2\2\x33"
    assert answers[0] == answers[1]


def test_two_keys_while_they_are_changed(world) -> None:
    world.keys[IDENTITY] = (b"the new key", KEY)
    for key in (b"the new key", KEY):
        client = world.client(key=key)
        association = world.connect(client)
        assert world.say(client, key)[-1] == Data(association, key)


def test_no_common_suite(make_world) -> None:
    world = make_world(suites=(suites.PSK_AES_128_CCM_8,))
    client = world.client(suites=(suites.PSK_AES_128_GCM_SHA256,))
    client.start(world.now)
    world.carry(client)
    assert failures(world) == [
        (FailureReason.NO_COMMON_SUITE, None),
        (FailureReason.ALERT, Alert.HANDSHAKE_FAILURE),
    ]
    assert world.server.next_due() is None


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({"version": codes.DTLS_1_0}, Alert.PROTOCOL_VERSION),
        ({"version": 0x0303}, Alert.PROTOCOL_VERSION),
        ({"compressions": b"\1"}, Alert.ILLEGAL_PARAMETER),
        ({"extensions": {codes.RENEGOTIATION_INFO: b"\1x"}}, Alert.HANDSHAKE_FAILURE),
        ({"extensions": {codes.CONNECTION_ID: b"\5x"}}, Alert.DECODE_ERROR),
        ({"extensions": {codes.MAX_FRAGMENT_LENGTH: b"\7"}}, Alert.DECODE_ERROR),
        ({"extensions": {codes.SUPPORTED_GROUPS: b"\0\1x"}}, Alert.DECODE_ERROR),
        ({"suites": (suites.ECDHE_PSK_AES_128_CBC_SHA256,), "extensions": {10: b"\0\2\0\x18"}}, 40),
    ],
)
def test_hellos_without_common_ground(world, changes: dict, alert: int) -> None:
    answer = hello_with_cookie(world, **changes)
    (record,) = wire.read_records(answer, 0)
    assert (record.kind, record.fragment) == (codes.ALERT, bytes((codes.FATAL, alert)))
    assert len(answer) == 15
    assert world.server.next_due() is None
    assert failures(world)[0][1] is None


@pytest.mark.parametrize("record_version", [codes.DTLS_1_0, codes.DTLS_1_2, 0xFE00])
@pytest.mark.parametrize("version", [codes.DTLS_1_2, 0xFEFC])
def test_versions_of_first_flights(world, record_version: int, version: int) -> None:
    answer = hello_with_cookie(world, record_version=record_version, version=version)
    (hello, _) = (record for record in wire.read_records(answer, 0))
    (fragment,) = wire.read_fragments(hello.fragment)
    assert wire.parse_server_hello(fragment.body).version == codes.DTLS_1_2


def hello_with_cookie(world, record_version: int = codes.DTLS_1_2, **changes: object) -> bytes:
    """Go through the cookie exchange with a hello of our own; returns the answer to the second one."""
    fields = {"random": bytes(32), "suites": (suites.PSK_AES_128_CCM_8,)} | changes
    for sequence in range(2):
        body = wire.client_hello_body(wire.ClientHello(**fields))
        message = wire.message(codes.CLIENT_HELLO, sequence, body)
        datagram = wire.plain_record(codes.HANDSHAKE, 40 + sequence, message, record_version)
        world.at_server += world.server.receive(datagram, HOME, world.now)
        ((answer, _),) = world.server.outbox
        world.server.outbox.clear()
        (record, *_) = wire.read_records(answer, 0)
        assert record.number == 40 + sequence
        if not sequence:
            (fragment,) = wire.read_fragments(record.fragment)
            fields["cookie"] = wire.parse_hello_verify_request(fragment.body)
    return answer


def test_finished_in_the_clear_is_refused(world) -> None:
    """The message that proves the key counts only under the key."""
    client = world.client()
    client.start(world.now)
    while not world.answered or len(world.answered) < 2:
        world.step(client)
    client.outbox.clear()
    exchange = wire.client_key_exchange_body(wire.ClientKeyExchange(IDENTITY))
    forged = [
        wire.message(codes.CLIENT_KEY_EXCHANGE, 2, exchange),
        wire.message(codes.FINISHED, 3, bytes(12)),
    ]
    for number, message in enumerate(forged):
        datagram = wire.plain_record(codes.HANDSHAKE, 50 + number, message)
        world.at_server += world.server.receive(datagram, HOME, world.now)
    assert failures(world) == [(FailureReason.PROTOCOL, None)]


def test_data_in_the_clear_is_nothing(world) -> None:
    client = world.client()
    world.connect(client)
    for kind in (codes.APPLICATION_DATA, codes.ALERT, codes.CHANGE_CIPHER_SPEC, 99):
        datagram = wire.plain_record(kind, 9, b"\2\0")
        assert world.server.receive(datagram, HOME, world.now) == []
        assert client.receive(datagram, world.now) == []
    assert client.association.established


def test_handshake_gives_up(make_world) -> None:
    world = make_world(handshake_seconds=300)
    client = world.client()
    client.start(world.now)
    world.step(client)
    world.step(client)
    world.step(client)
    assert len(world.server._peers.handshakes) == 1
    world.server.outbox.clear()
    sends = []
    for _ in range(50):
        if (due := world.server.next_due()) is None:
            break
        world.at_server += world.server.advance(due)
        sends += [due - world.now] * len(world.server.outbox)
        world.server.outbox.clear()
    assert sends == [1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert failures(world) == [(FailureReason.TIMEOUT, None)]
    assert len(world.server._peers.handshakes) == 0


# --- after it


def test_close_notify_from_either_side(world) -> None:
    client = world.client()
    association = world.connect(client)
    client.close()
    world.carry(client)
    assert world.at_server[-1] == Closed(association, CloseReason.CLOSE_NOTIFY)
    assert len(world.server) == 0
    with pytest.raises(AssociationStateError):
        world.server.send(association, b"late")
    with pytest.raises(AssociationStateError):
        client.send(b"late")

    association = world.connect(client)
    world.server.close(association)
    world.server.close(association)
    world.carry(client)
    assert isinstance(world.at_client[-1], Closed)
    assert world.at_client[-1].reason is CloseReason.CLOSE_NOTIFY
    assert len(world.server) == 0
    assert world.server.next_due() is None


def test_fatal_alert_ends_the_association_and_its_session(world, monkeypatch: pytest.MonkeyPatch) -> None:
    without_extensions(monkeypatch, codes.SESSION_TICKET)
    client = world.client()
    association = world.connect(client)
    assert len(world.server._sessions) == 1
    client._send_alert(client.association, bytes((codes.FATAL, 80)))
    world.carry(client)
    assert world.at_server[-1] == Closed(association, CloseReason.ALERT)
    assert len(world.server._sessions) == 0


def test_warnings_and_broken_alerts_mean_nothing(world) -> None:
    client = world.client()
    association = world.connect(client)
    for content in (b"\1\x5a", b"\2", b"\2\x50\0", b""):
        client._send_alert(client.association, content)
    world.carry(client)
    assert association.established
    assert world.server.counters.malformed == 3


def test_renegotiation_is_refused_by_both(world) -> None:
    client = world.client()
    association = world.connect(client)
    hello = wire.client_hello_body(wire.ClientHello(random=bytes(32), suites=(0xC0A8,)))
    hello = wire.message(codes.CLIENT_HELLO, 0, hello)
    client.outbox.append(client.association.seal(codes.HANDSHAKE, hello))
    request = association.seal(codes.HANDSHAKE, wire.message(codes.HELLO_REQUEST, 0, b""))
    world.server.outbox.append((request, HOME))
    world.carry(client)
    assert world.server.counters.renegotiations_refused == 1
    assert client.counters.renegotiations_refused == 1
    assert association.established
    assert client.association.established


def test_all_record_numbers_used(world) -> None:
    """Nothing more can be said, and what comes in still raises nothing."""
    client = world.client()
    association = world.connect(client)
    _, highest, seen = association.counts()
    association.set_counts(EPOCH_2, highest, seen)
    with pytest.raises(AssociationStateError):
        world.server.send(association, b"one too many")
    client.close()
    world.carry(client)
    assert world.at_server[-1] == Closed(association, CloseReason.CLOSE_NOTIFY)


def test_a_record_that_is_broken_at_its_end_does_nothing(world) -> None:
    client = world.client(connection_id_bytes=None)
    client.start(world.now)
    for _ in range(4):
        world.step(client)
    (flight,) = client.outbox
    *_, finished = wire.read_records(flight, 0)
    exchange = flight[: -13 - len(finished.fragment)]
    association = world.server._peers.handshakes[HOME]
    assert world.server.receive(exchange, HOME, world.now) == []
    content = client.association.handshake._flight[-1][2] + b"junk"
    assert world.server.receive(client.association.seal(codes.HANDSHAKE, content), HOME, world.now) == []
    assert not association.established
    assert world.server.counters.malformed == 1
    (event, *_) = world.server.receive(flight, HOME, world.now)
    assert event == Established(association, resumed=False)


def test_idle_associations_end_in_silence(make_world) -> None:
    world = make_world(idle_seconds=1000)
    client = world.client()
    association = world.connect(client)
    world.say(client)
    world.now += 900
    world.at_server += world.server.advance(world.now)
    world.say(client)
    world.now += 900
    world.at_server += world.server.advance(world.now)
    assert association.established
    world.now += 200
    assert world.server.advance(world.now) == [Closed(association, CloseReason.IDLE)]
    assert world.server.outbox == []
    assert world.server.next_due() is None


def test_keys_are_in_no_text(world) -> None:
    client = world.client()
    association = world.connect(client)
    world.say(client)
    session = client._session
    key_block, master = association.material, session.master
    texts = [
        repr(thing)
        for thing in (
            association,
            client,
            world.server,
            session,
            world.at_server,
            client.association.handshake,
        )
    ]
    texts += [repr(key) for key in world.server._tickets.keys.at(world.now)]
    for secret in (KEY, key_block[:16], master[:16]):
        assert not any(repr(secret)[2:-1] in text or secret.hex() in text for text in texts)


def test_tables_lead_to_done() -> None:
    """Every state can be reached from the start, and leads to the end."""
    for table in (SERVER, CLIENT):
        reached, before = {State.START}, 0
        while len(reached) > before:
            before = len(reached)
            reached |= {step.next for (state, _), step in table.items() if state in reached}
        assert reached == {state for state, _ in table} | {State.DONE}
        arriving, before = {State.DONE}, 0
        while len(arriving) > before:
            before = len(arriving)
            arriving |= {state for (state, _), step in table.items() if step.next in arriving}
        assert arriving == reached


def test_early_records_are_kept_and_bounded(make_world) -> None:
    """Data and Finished that come before the key exchange wait; data is delivered after Established."""
    world = make_world(limits=DtlsLimits(early_records=4))
    client = world.client(connection_id_bytes=None)
    client.start(world.now)
    world.step(client)
    world.step(client)
    world.step(client)
    world.step(client)
    (flight,) = client.outbox
    client.outbox.clear()
    exchange, change, finished = wire.read_records(flight, 0)
    as_bytes = [
        wire.RECORD.pack(record.kind, record.version, record.number, len(record.fragment)) + record.fragment
        for record in (exchange, change, finished)
    ]
    client.association.established = True
    data = []
    for at in range(5):
        client.send(b"%d" % at)
        data += client.outbox
        client.outbox.clear()
    for datagram in (*data[:2], as_bytes[2], *data[2:]):
        assert world.server.receive(datagram, HOME, world.now) == []
    assert world.server.counters.early_dropped == 2
    events = world.server.receive(as_bytes[0], HOME, world.now)
    assert isinstance(events[0], Established)
    assert [event.data for event in events if isinstance(event, Data)] == [b"0", b"1", b"2"]
    assert finished.number == EPOCH_1


def test_client_needs_an_association(world) -> None:
    client: Client = world.client()
    with pytest.raises(AssociationStateError):
        client.send(b"too early")
    client.start(world.now)
    with pytest.raises(AssociationStateError):
        client.send(b"too early")
    client.close()
    assert client.next_due() is None
    with pytest.raises(ParameterError, match="key"):
        world.client(key=b"")
