"""Observations, on the side that asks and on the side that reports."""

from __future__ import annotations

import pytest

from overair.protocols.coap import (
    Block,
    CoapLimits,
    Endpoint,
    ExchangeStateError,
    Failure,
    FailureReason,
    LimitReachedError,
    Message,
    MessageFieldError,
    Notification,
    Observation,
    ObservationCancelled,
    Request,
    Response,
    codes,
    decode,
    encode,
    encode_uint,
)
from overair.protocols.coap.observe import is_newer

PEER = "device"


def send(endpoint: Endpoint, message: Message, now: float = 1.0):
    return endpoint.receive(encode(message), PEER, now)


def observing(endpoint: Endpoint, *, number: int = 1, now: float = 1.0, **arguments) -> Observation:
    """Begin an observation of /5/0/3 by the book."""
    exchange = endpoint.observe(PEER, path=("5", "0", "3"), now=now, **arguments)
    request = decode(endpoint.outbox[-1][0])
    endpoint.outbox.clear()
    answer = Message(
        codes.ACK,
        codes.CONTENT,
        request.message_id,
        request.token,
        ((codes.OBSERVE, encode_uint(number)),),
        b"0",
    )
    event = send(endpoint, answer, now)
    assert event == Response(exchange, answer)
    assert exchange.observation is not None
    return exchange.observation


def notification(
    token: bytes, number: int | None, payload: bytes = b"1", *, kind: int = codes.CON, mid: int | None = None
) -> Message:
    options = () if number is None else ((codes.OBSERVE, encode_uint(number)),)
    message_id = (number or 0) & 0xFFFF if mid is None else mid
    return Message(kind, codes.CONTENT, message_id, token, options, payload)


# RFC 7641 section 3.4: (V1, T1) then (V2, T2).
@pytest.mark.parametrize(
    ("old", "new", "later", "newer"),
    [
        (1, 2, 1.0, True),
        (2, 1, 1.0, False),
        (2, 2, 1.0, False),
        (0, (1 << 23) - 1, 1.0, True),
        (0, 1 << 23, 1.0, False),
        ((1 << 24) - 1, 0, 1.0, True),
        ((1 << 23) + 1, 0, 1.0, True),
        (1 << 23, 0, 1.0, False),
        (2, 1, 128.0, False),
        (2, 1, 128.1, True),
        (2, 2, 129.0, True),
    ],
)
def test_freshness(old: int, new: int, later: float, newer: bool) -> None:
    assert is_newer(old, 1000.0, new, 1000.0 + later) is newer


def test_an_observation_begins_and_reports(make_endpoint, sent) -> None:
    server = make_endpoint()
    context = object()
    observation = observing(server, context=context, now=7.0)
    assert (observation.peer, observation.path, observation.context) == (PEER, ("5", "0", "3"), context)
    assert (observation.created, len(observation.token), observation.ended) == (7.0, 4, False)
    message = notification(observation.token, 2)
    assert send(server, message) == Notification(observation, message)
    assert sent(server) == [Message(codes.ACK, codes.EMPTY, 2)]
    other = notification(observation.token, 3, kind=codes.NON)
    assert send(server, other) == Notification(observation, other)
    assert sent(server) == []
    assert server.next_due() is None


def test_the_request_says_observe_zero(make_endpoint, sent) -> None:
    server = make_endpoint()
    server.observe(PEER, path=("5", "0", "3"), options=((codes.ACCEPT, b""),), now=1.0)
    [request] = sent(server)
    assert (request.code, request.observe, request.accept) == (codes.GET, 0, 0)
    with pytest.raises(MessageFieldError):
        server.observe(PEER, codes.POST, now=1.0)


def test_stale_and_repeated_notifications_are_acknowledged_and_dropped(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server, number=5)
    assert send(server, notification(observation.token, 4)) is None
    assert sent(server) == [Message(codes.ACK, codes.EMPTY, 4)]
    assert server.counters.stale_notifications == 1
    message = notification(observation.token, 6)
    assert send(server, message) == Notification(observation, message)
    assert send(server, message) is None
    assert sent(server) == [Message(codes.ACK, codes.EMPTY, 6)] * 2
    assert isinstance(send(server, notification(observation.token, 1), 200.0), Notification)


@pytest.mark.parametrize("kind", [codes.CON, codes.NON])
def test_an_unknown_token_is_reset(make_endpoint, sent, kind: int) -> None:
    server = make_endpoint()
    assert send(server, notification(b"who", 2, kind=kind)) is None
    assert sent(server) == [Message(codes.RST, codes.EMPTY, 2)]
    assert server.counters.unknown_tokens == 1
    assert len(server._memory) == 0


def test_no_observe_in_the_answer_is_no_observation(make_endpoint, sent) -> None:
    server = make_endpoint()
    exchange = server.observe(PEER, path=("3",), now=1.0)
    [request] = sent(server)
    send(server, Message(codes.ACK, codes.CONTENT, request.message_id, request.token, (), b"x"))
    assert exchange.done
    assert exchange.observation is None
    assert server._conversations == {}


@pytest.mark.parametrize(
    "last",
    [
        Message(codes.CON, codes.NOT_FOUND, 9, b"tokn"),
        Message(codes.NON, codes.CONTENT, 9, b"tokn", (), b"last"),
    ],
)
def test_an_error_or_a_notification_without_a_number_ends_it(make_endpoint, last: Message) -> None:
    server = make_endpoint()
    observation = server.restore_observation(PEER, b"tokn", path=("5",), created=1.0)
    assert send(server, last) == Notification(observation, last)
    assert observation.ended
    assert server._conversations == {}


def test_a_restored_observation_takes_any_number_first(make_endpoint) -> None:
    server = make_endpoint()
    observation = server.restore_observation(PEER, b"kept", path=("5", "0", "3"), created=3.0)
    assert (observation.path, observation.created) == (("5", "0", "3"), 3.0)
    assert isinstance(send(server, notification(b"kept", 900)), Notification)
    assert send(server, notification(b"kept", 899)) is None
    with pytest.raises(ExchangeStateError):
        server.restore_observation(PEER, b"kept", created=3.0)
    with pytest.raises(MessageFieldError):
        server.restore_observation(PEER, b"123456789", created=3.0)


def test_forgetting_rejects_the_next_notification(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    server.forget_observation(observation)
    server.forget_observation(observation)
    assert observation.ended
    assert send(server, notification(observation.token, 2)) is None
    assert sent(server) == [Message(codes.RST, codes.EMPTY, 2)]
    assert server._conversations == {}


def test_cancelling_asks_with_observe_one_and_the_same_token(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    exchange = server.cancel_observation(observation, now=2.0)
    [request] = sent(server)
    assert (request.observe, request.token, request.uri_path) == (1, observation.token, ("5", "0", "3"))
    assert send(server, notification(observation.token, 2)) is None
    assert sent(server) == [Message(codes.ACK, codes.EMPTY, 2)]
    answer = Message(codes.ACK, codes.CONTENT, request.message_id, request.token, (), b"1")
    assert send(server, answer) == Response(exchange, answer)
    assert server._conversations == {}
    assert server.next_due() is None


def test_a_number_in_the_answer_to_cancelling_does_no_harm(make_endpoint, sent) -> None:
    server = make_endpoint()
    exchange = server.cancel_observation(observing(server), now=2.0)
    [request] = sent(server)
    observe = ((codes.OBSERVE, b"\x07"),)
    answer = Message(codes.ACK, codes.CONTENT, request.message_id, request.token, observe)
    assert send(server, answer) == Response(exchange, answer)
    assert server._conversations == {}


def test_a_critical_option_in_a_notification_ends_it(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    message = Message(codes.CON, codes.CONTENT, 4, observation.token, ((codes.OBSERVE, b"\x05"), (9, b"")))
    assert send(server, message) == Notification(observation, message)
    assert observation.ended
    assert sent(server) == [Message(codes.RST, codes.EMPTY, 4)]


def test_observations_move_with_their_peer(make_endpoint) -> None:
    server = make_endpoint()
    observation = server.restore_observation("old", b"kept", created=1.0)
    server.move_peer("old", PEER)
    assert observation.peer == PEER
    assert isinstance(send(server, notification(b"kept", 1)), Notification)


def test_a_forgotten_peer_has_no_observations(make_endpoint) -> None:
    server = make_endpoint()
    observation = observing(server)
    assert server.forget_peer(PEER) == []
    assert observation.ended
    assert (server._observations, server._conversations) == (0, {})


def test_observations_are_bounded_for_a_peer_and_in_all(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(observations_per_peer=2, observations=5))
    restored = refused = 0
    for number in range(300):
        try:
            server.restore_observation(number // 3, b"%d" % number, created=1.0)
            restored += 1
        except LimitReachedError:
            refused += 1
    assert (restored, refused, server._observations) == (5, 295, 5)
    with pytest.raises(LimitReachedError):
        server.observe(PEER, now=1.0)


def test_observations_asked_for_at_once_keep_to_the_bound(make_endpoint, sent) -> None:
    server = make_endpoint(limits=CoapLimits(observations_per_peer=1))
    exchanges = [server.observe(PEER, path=(str(number),), now=1.0) for number in range(2)]
    for _ in exchanges:
        [request] = sent(server)
        observe = ((codes.OBSERVE, b"\x01"),)
        send(server, Message(codes.ACK, codes.CONTENT, request.message_id, request.token, observe))
    assert [exchange.observation is not None for exchange in exchanges] == [True, False]


# -- notifications in blocks -----------------------------------------------------------------------

BODY = bytes(range(200))


def first_block(token: bytes, number: int, *, kind: int = codes.NON) -> Message:
    options = (
        (codes.ETAG, b"%d" % number),
        (codes.OBSERVE, encode_uint(number)),
        (codes.BLOCK2, Block(0, True, 3).encode()),
    )
    return Message(kind, codes.CONTENT, number, token, options, BODY[:128])


def test_the_rest_of_a_notification_is_fetched_without_observe(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    assert send(server, first_block(observation.token, 2)) is None
    [request] = sent(server)
    assert (request.observe, request.uri_path) == (None, ("5", "0", "3"))
    assert request.block2 == Block(1, False, 3)
    assert request.token != observation.token
    options = ((codes.ETAG, b"2"), (codes.BLOCK2, Block(1, False, 3).encode()))
    event = send(
        server,
        Message(codes.ACK, codes.CONTENT, request.message_id, request.token, options, BODY[128:]),
    )
    assert isinstance(event, Notification)
    assert (event.observation, event.message.payload, event.message.observe) == (observation, BODY, 2)
    assert observation.fetch is None
    assert server._downloads.held_bytes == 0
    assert isinstance(send(server, notification(observation.token, 3)), Notification)


def test_a_newer_notification_ends_the_fetching_of_the_older(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    send(server, first_block(observation.token, 2))
    [old] = sent(server)
    send(server, first_block(observation.token, 3))
    [new] = sent(server)
    assert new.token != old.token
    assert send(server, notification(observation.token, 4, mid=100, kind=codes.NON)) is not None
    assert sent(server) == []
    assert server.advance(500.0) == []
    assert server._downloads.held_bytes == 0


def test_a_rest_that_cannot_be_fetched_is_a_failure(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    send(server, first_block(observation.token, 2))
    [request] = sent(server)
    event = send(server, Message(codes.RST, codes.EMPTY, request.message_id))
    assert isinstance(event, Failure)
    assert (event.reason, event.exchange.fetches) == (FailureReason.RESET, observation)
    assert (observation.ended, observation.fetch) == (False, None)


def test_a_rest_that_is_gone_is_a_failure(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    send(server, first_block(observation.token, 2))
    [request] = sent(server)
    gone = Message(codes.ACK, codes.NOT_FOUND, request.message_id, request.token)
    event = send(server, gone)
    assert isinstance(event, Failure)
    assert (event.reason, event.message, observation.ended) == (FailureReason.BLOCKS, gone, False)


def test_forgetting_an_observation_ends_its_fetch(make_endpoint, sent) -> None:
    server = make_endpoint()
    observation = observing(server)
    send(server, first_block(observation.token, 2))
    server.forget_observation(observation)
    assert server.advance(500.0) == []
    assert (server._conversations, server._open, server._downloads.held_bytes) == ({}, 0, 0)


def test_a_notification_too_large_to_fetch(make_endpoint, sent) -> None:
    server = make_endpoint(limits=CoapLimits(body_bytes=100))
    observation = observing(server)
    event = send(server, first_block(observation.token, 2, kind=codes.CON))
    assert isinstance(event, Failure)
    assert event.reason == FailureReason.TOO_LARGE
    assert sent(server) == [Message(codes.ACK, codes.EMPTY, 2)]


def test_a_first_answer_in_blocks_begins_the_observation_too(make_endpoint, sent) -> None:
    server = make_endpoint()
    exchange = server.observe(PEER, path=("9",), now=1.0)
    [request] = sent(server)
    head = first_block(request.token, 1, kind=codes.ACK)
    message = Message(head.type, head.code, request.message_id, head.token, head.options, head.payload)
    assert send(server, message) is None
    [rest] = sent(server)
    assert (rest.observe, rest.block2) == (None, Block(1, False, 3))
    options = ((codes.ETAG, b"1"), (codes.BLOCK2, Block(1, False, 3).encode()))
    answer = Message(codes.ACK, codes.CONTENT, rest.message_id, rest.token, options, BODY[128:])
    event = send(server, answer)
    assert isinstance(event, Response)
    assert event.message.payload == BODY
    assert exchange.observation is not None
    assert exchange.observation.token == request.token


def test_a_first_answer_that_changes_is_fetched_anew_without_observe(make_endpoint, sent) -> None:
    server = make_endpoint()
    exchange = server.observe(PEER, path=("9",), now=1.0)
    [request] = sent(server)
    head = first_block(request.token, 1, kind=codes.ACK)
    send(server, Message(head.type, head.code, request.message_id, head.token, head.options, head.payload))
    [rest] = sent(server)
    options = ((codes.ETAG, b"other"), (codes.BLOCK2, Block(1, False, 3).encode()))
    send(server, Message(codes.ACK, codes.CONTENT, rest.message_id, rest.token, options, BODY[128:]))
    [again] = sent(server)
    assert (again.observe, again.block2) == (None, None)
    send(server, Message(codes.ACK, codes.CONTENT, again.message_id, again.token, (), b"new"))
    assert exchange.done
    assert exchange.observation is not None
    assert exchange.observation.token == request.token


def test_an_observation_whose_first_answer_fails_does_not_stay(make_endpoint, sent) -> None:
    server = make_endpoint()
    exchange = server.observe(PEER, path=("9",), now=1.0)
    [request] = sent(server)
    options = ((codes.OBSERVE, b"\x01"), (codes.BLOCK2, Block(0, True, 3).encode()))
    event = send(
        server, Message(codes.ACK, codes.CONTENT, request.message_id, request.token, options, b"short")
    )
    assert isinstance(event, Failure)
    assert exchange.observation is None
    assert (server._observations, server._conversations) == (0, {})


# -- the side that reports -------------------------------------------------------------------------


def test_the_vectors_of_an_observed_device(make_endpoint) -> None:
    device = make_endpoint()
    request = device.receive(bytes.fromhex("42012001b1016051350130013360"), "server", 1.0)
    assert isinstance(request, Request)
    assert request.message.observe == 0
    device.respond(
        request, codes.CONTENT, ((codes.OBSERVE, b"\x01"), (codes.CONTENT_FORMAT, b"")), b"0", now=1.0
    )
    device.notify(
        "server", request.message.token, 2, options=((codes.CONTENT_FORMAT, b""),), payload=b"1", now=2.0
    )
    assert device.outbox[0][0].hex() == "62452001b101610160ff30"
    told = decode(device.outbox[1][0])
    assert encode(Message(0, told.code, 0x3001, told.token, told.options, told.payload)).hex() == (
        "42453001b101610260ff31"
    )


def test_a_confirmable_notification_is_repeated_until_acknowledged(make_endpoint, sent) -> None:
    device = make_endpoint(ack_random_factor=1.0)
    device.notify(PEER, b"t", 1, payload=b"x", now=0.0)
    [first] = sent(device)
    assert (first.type, first.observe, first.token) == (codes.CON, 1, b"t")
    device.advance(2.0)
    assert sent(device) == [first]
    assert send(device, Message(codes.ACK, codes.EMPTY, first.message_id)) is None
    assert device.next_due() is None
    assert device._conversations == {}


@pytest.mark.parametrize("confirmable", [True, False])
def test_reset_cancels(make_endpoint, sent, confirmable: bool) -> None:
    device = make_endpoint()
    device.notify(PEER, b"t", 1, confirmable=confirmable, now=0.0)
    [first] = sent(device)
    reset = Message(codes.RST, codes.EMPTY, first.message_id)
    assert send(device, reset) == ObservationCancelled(PEER, b"t", "reset")
    assert send(device, reset) is None
    assert device._conversations == {}


def test_silence_cancels(make_endpoint) -> None:
    device = make_endpoint()
    device.notify(PEER, b"t", 1, now=0.0)
    events = []
    while (due := device.next_due()) is not None:
        events += device.advance(due)
    assert events == [ObservationCancelled(PEER, b"t", "timeout")]
    assert device._conversations == {}


def test_a_newer_state_takes_the_place_of_one_on_its_way(make_endpoint, sent) -> None:
    device = make_endpoint(ack_random_factor=1.0)
    device.notify(PEER, b"t", 1, payload=b"1", now=0.0)
    device.notify(PEER, b"u", 1, payload=b"other", now=0.0)
    first, _ = sent(device)
    device.notify(PEER, b"t", 2, payload=b"2", now=0.5)
    device.notify(PEER, b"t", 3, payload=b"3", now=0.6)
    assert sent(device) == []
    device.advance(2.0)
    second = next(message for message in sent(device) if message.token == b"t")
    assert (second.payload, second.observe) == (b"3", 3)
    assert second.message_id != first.message_id
    device.notify(PEER, b"t", 4, payload=b"4", now=2.5)
    assert send(device, Message(codes.ACK, codes.EMPTY, second.message_id), 3.0) is None
    [third] = sent(device)
    assert third.payload == b"4"


def test_replacing_keeps_the_count_of_attempts(make_endpoint) -> None:
    device = make_endpoint(ack_random_factor=1.0)
    device.notify(PEER, b"t", 1, now=0.0)
    dues, events = [], []
    for number in range(2, 8):
        due = device.next_due()
        if due is None:
            break
        dues.append(due)
        device.notify(PEER, b"t", number, now=due - 0.5)
        events += device.advance(due)
    assert dues == [2.0, 6.0, 14.0, 30.0, 62.0]
    assert events == [ObservationCancelled(PEER, b"t", "timeout")]


def test_a_forgotten_peer_is_told_nothing_more(make_endpoint) -> None:
    device = make_endpoint()
    device.notify(PEER, b"t", 1, now=0.0)
    device.notify(PEER, b"u", 1, confirmable=False, now=0.0)
    assert device.forget_peer(PEER) == []
    assert (device.next_due(), device._open, device._conversations) == (None, 0, {})


def test_a_large_notification_goes_out_as_its_first_block(make_endpoint, sent) -> None:
    device = make_endpoint(block_size=64)
    device.notify(PEER, b"t", 1, payload=BODY, now=0.0)
    [message] = sent(device)
    assert (message.payload, message.block2, message.observe) == (BODY[:64], Block(0, True, 2), 1)
    assert message.uint_option(codes.SIZE2) == 200


def test_the_last_notification_has_no_number(make_endpoint, sent) -> None:
    device = make_endpoint()
    device.notify(PEER, b"t", None, code=codes.NOT_FOUND, now=0.0)
    [message] = sent(device)
    assert (message.code, message.options) == (codes.NOT_FOUND, ())


def test_numbers_have_24_bits(make_endpoint) -> None:
    device = make_endpoint()
    for number in (-1, 1 << 24):
        with pytest.raises(MessageFieldError):
            device.notify(PEER, b"t", number, now=0.0)


def test_notifications_on_their_way_are_bounded(make_endpoint) -> None:
    device = make_endpoint(limits=CoapLimits(queue_per_peer=3, observations_per_peer=4))
    for number in range(3):
        device.notify(PEER, b"%d" % number, 1, now=0.0)
    with pytest.raises(LimitReachedError):
        device.notify(PEER, b"3", 1, now=0.0)
    for number in range(100):
        device.notify(PEER, b"n", number, confirmable=False, now=0.0)
    assert len(device._conversations[PEER].notified) == 4


def test_both_sides_over_a_wire(make_wire) -> None:
    wire = make_wire(device={"block_size": 64})
    exchange = wire.server.observe("device", path=("5", "0", "3"), now=wire.now)
    state = [b"0" * 200]

    def answer(request) -> None:
        observe = ((codes.OBSERVE, b"\x01"),) if request.message.observe == 0 else ()
        wire.device.respond(request, codes.CONTENT, observe, state[0], now=wire.now)

    wire.run(device=answer)
    assert exchange.observation is not None
    state[0] = b"1" * 200
    wire.device.notify("server", exchange.observation.token, 2, payload=state[0], now=wire.now)
    wire.run(device=answer)
    first, second = wire.at_server
    assert isinstance(first, Response)
    assert isinstance(second, Notification)
    assert (first.message.payload, second.message.payload) == (b"0" * 200, b"1" * 200)
    wire.server.forget_observation(exchange.observation)
    wire.device.notify("server", exchange.observation.token, 3, payload=b"2", now=wire.now)
    wire.run(device=answer)
    assert wire.at_device[-1] == ObservationCancelled("server", exchange.observation.token, "reset")
