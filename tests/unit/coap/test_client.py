"""The client role: one request at a time, retransmission, separate answers, blocks, resumption."""

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
    Parameters,
    Response,
    codes,
    decode,
    encode,
    encode_uint,
)

PEER = "device"
BODY = bytes(range(256)) * 6


def reply(endpoint: Endpoint, request: Message, code: int, *options, payload: bytes = b"", now: float = 1.0):
    message = Message(codes.ACK, code, request.message_id, request.token, tuple(sorted(options)), payload)
    return endpoint.receive(encode(message), PEER, now)


def empty(endpoint: Endpoint, kind: int, message_id: int, now: float = 1.0):
    return endpoint.receive(encode(Message(kind, codes.EMPTY, message_id)), PEER, now)


def separate(endpoint: Endpoint, kind: int, token: bytes, *options, message_id: int = 9, now: float = 1.0):
    message = Message(kind, codes.CONTENT, message_id, token, tuple(sorted(options)), b"22")
    return endpoint.receive(encode(message), PEER, now)


def block(number: int, more: bool, szx: int) -> bytes:
    return Block(number, more, szx).encode()


def is_quiet(endpoint: Endpoint) -> bool:
    """Nothing is open or waits, so nothing was left behind."""
    return endpoint.next_due() is None and not endpoint._conversations and endpoint._open == 0


def test_a_request_and_its_answer(make_endpoint, sent) -> None:
    client = make_endpoint()
    context = object()
    exchange = client.request(
        PEER,
        codes.GET,
        path=("3", "0"),
        queries=("a=1",),
        options=((codes.ACCEPT, b"*"),),
        context=context,
        now=1.0,
    )
    [message] = sent(client)
    assert (message.type, message.code, len(message.token)) == (codes.CON, codes.GET, 4)
    assert (message.uri_path, message.uri_queries, message.accept) == (("3", "0"), ("a=1",), 42)
    event = reply(client, message, codes.CONTENT, payload=b"x")
    assert isinstance(event, Response)
    assert (event.exchange, event.message.payload, exchange.context) == (exchange, b"x", context)
    assert exchange.done
    assert is_quiet(client)


def test_retransmission_by_the_numbers(make_endpoint, sent) -> None:
    client = make_endpoint(ack_random_factor=1.0)
    exchange = client.request(PEER, codes.GET, now=0.0)
    [first] = sent(client)
    for due in (2.0, 6.0, 14.0, 30.0):
        assert client.next_due() == due
        assert client.advance(due - 0.01) == []
        assert sent(client) == []
        assert client.advance(due) == []
        assert sent(client) == [first]
    assert client.next_due() == 62.0
    assert client.advance(62.0) == [Failure(exchange, FailureReason.TIMEOUT)]
    assert client.counters.retransmissions == 4
    assert is_quiet(client)


def test_the_first_timeout_is_spread_by_the_random_factor(make_endpoint) -> None:
    dues = []
    for seed in range(50):
        client = make_endpoint(seed)
        client.request(PEER, codes.GET, now=0.0)
        dues.append(client.next_due())
    assert min(dues) >= 2.0
    assert max(dues) <= 3.0
    assert max(dues) - min(dues) > 0.7


def test_a_request_can_bring_its_own_patience(make_endpoint) -> None:
    client = make_endpoint()
    own = Parameters(ack_timeout_seconds=10.0, ack_random_factor=1.0, separate_response_wait_seconds=300.0)
    client.request(PEER, codes.GET, now=0.0, parameters=own)
    assert client.next_due() == 10.0
    empty(client, codes.ACK, decode(client.outbox[0][0]).message_id, now=5.0)
    assert client.next_due() == 305.0


@pytest.mark.parametrize("kind", [codes.CON, codes.NON])
def test_a_separate_answer_after_the_acknowledgement(make_endpoint, sent, kind: int) -> None:
    client = make_endpoint()
    client.request(PEER, codes.GET, now=1.0)
    [message] = sent(client)
    assert empty(client, codes.ACK, message.message_id) is None
    assert client.next_due() == 61.0
    assert isinstance(separate(client, kind, message.token), Response)
    acknowledgements = [Message(codes.ACK, codes.EMPTY, 9)] if kind == codes.CON else []
    assert sent(client) == acknowledgements
    assert separate(client, kind, message.token) is None
    assert sent(client) == acknowledgements
    assert is_quiet(client)


def test_a_separate_answer_that_overtakes_the_acknowledgement(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.request(PEER, codes.GET, now=1.0)
    [message] = sent(client)
    assert isinstance(separate(client, codes.CON, message.token), Response)
    assert sent(client) == [Message(codes.ACK, codes.EMPTY, 9)]
    assert is_quiet(client)
    assert empty(client, codes.ACK, message.message_id) is None
    assert sent(client) == []


def test_no_answer_after_the_acknowledgement(make_endpoint, sent) -> None:
    client = make_endpoint()
    exchange = client.request(PEER, codes.GET, now=1.0)
    empty(client, codes.ACK, sent(client)[0].message_id)
    assert client.advance(60.9) == []
    assert client.advance(61.0) == [Failure(exchange, FailureReason.TIMEOUT)]
    assert is_quiet(client)


def test_reset_ends_a_request(make_endpoint, sent) -> None:
    client = make_endpoint()
    exchange = client.request(PEER, codes.GET, now=1.0)
    assert empty(client, codes.RST, sent(client)[0].message_id) == Failure(exchange, FailureReason.RESET)
    assert is_quiet(client)


def test_a_non_confirmable_request_waits_without_repeating(make_endpoint, sent) -> None:
    client = make_endpoint()
    one = client.request(PEER, codes.POST, confirmable=False, now=1.0)
    two = client.request(PEER, codes.POST, confirmable=False, now=1.0)
    first, second = sent(client)
    assert first.type == second.type == codes.NON
    assert empty(client, codes.ACK, first.message_id) is None
    assert empty(client, codes.RST, second.message_id) == Failure(two, FailureReason.RESET)
    assert client.advance(61.0) == [Failure(one, FailureReason.TIMEOUT)]
    assert sent(client) == []
    assert is_quiet(client)


def test_an_acknowledgement_with_the_wrong_token_or_from_elsewhere_is_ignored(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.request(PEER, codes.GET, now=1.0)
    [message] = sent(client)
    wrong = Message(codes.ACK, codes.CONTENT, message.message_id, b"no")
    assert client.receive(encode(wrong), PEER, 1.0) is None
    right = Message(codes.ACK, codes.CONTENT, message.message_id, message.token)
    assert client.receive(encode(right), "elsewhere", 1.0) is None
    assert isinstance(client.receive(encode(right), PEER, 1.0), Response)


@pytest.mark.parametrize("kind", [codes.CON, codes.NON, codes.ACK])
def test_a_critical_option_in_the_answer(make_endpoint, sent, kind: int) -> None:
    client = make_endpoint()
    exchange = client.request(PEER, codes.GET, now=1.0)
    [message] = sent(client)
    message_id = message.message_id if kind == codes.ACK else 9
    answer = Message(kind, codes.CONTENT, message_id, message.token, ((9, b""),))
    assert client.receive(encode(answer), PEER, 1.0) == Failure(exchange, FailureReason.BAD_OPTION, answer)
    # An acknowledgement has no id of the peer's own that could be rejected.
    assert sent(client) == ([] if kind == codes.ACK else [Message(codes.RST, codes.EMPTY, 9)])
    assert is_quiet(client)


@pytest.mark.parametrize("code", [0, 32, codes.CONTENT])
def test_only_methods_are_requested(make_endpoint, code: int) -> None:
    client = make_endpoint()
    with pytest.raises(MessageFieldError):
        client.request(PEER, code, now=1.0)
    assert is_quiet(client)


def test_a_bad_option_leaves_nothing_behind(make_endpoint) -> None:
    client = make_endpoint()
    with pytest.raises(MessageFieldError):
        client.request(PEER, codes.GET, path=("x" * 300,), now=1.0)
    assert is_quiet(client)


# -- one at a time ---------------------------------------------------------------------------------


def test_requests_to_a_peer_go_one_after_the_other(make_endpoint, sent) -> None:
    client = make_endpoint()
    exchanges = [client.request(PEER, codes.GET, path=(str(number),), now=1.0) for number in range(3)]
    client.request("other", codes.GET, now=1.0)
    first, _ = sent(client)
    assert first.uri_path == ("0",)
    empty(client, codes.ACK, first.message_id)
    assert sent(client) == []
    separate(client, codes.NON, first.token)
    [second] = sent(client)
    assert second.uri_path == ("1",)
    assert second.message_id == (first.message_id + 1) % 65536
    assert empty(client, codes.RST, second.message_id) == Failure(exchanges[1], FailureReason.RESET)
    [third] = sent(client)
    assert third.uri_path == ("2",)


def test_the_next_one_goes_after_the_last_timeout(make_endpoint, sent) -> None:
    client = make_endpoint(max_retransmit=0, ack_random_factor=1.0)
    one = client.request(PEER, codes.GET, now=0.0)
    client.request(PEER, codes.PUT, now=0.0)
    sent(client)
    assert client.advance(2.0) == [Failure(one, FailureReason.TIMEOUT)]
    assert [message.code for message in sent(client)] == [codes.PUT]
    assert client.next_due() == 4.0


def test_nstart_lets_more_than_one_out(make_endpoint, sent) -> None:
    client = make_endpoint(nstart=2)
    for _ in range(3):
        client.request(PEER, codes.GET, now=1.0)
    first, _ = sent(client)
    reply(client, first, codes.CONTENT)
    assert len(sent(client)) == 1


def test_the_queue_of_a_peer_is_bounded(make_endpoint) -> None:
    client = make_endpoint(limits=CoapLimits(queue_per_peer=2))
    for _ in range(3):
        client.request(PEER, codes.GET, now=1.0)
    with pytest.raises(LimitReachedError) as caught:
        client.request(PEER, codes.GET, now=1.0)
    assert caught.value.limit == "queue_per_peer"
    client.request("other", codes.GET, now=1.0)


def test_a_million_requests_stay_within_the_bound(make_endpoint) -> None:
    client = make_endpoint(limits=CoapLimits(exchanges=20))
    refused = 0
    for number in range(300):
        try:
            client.request(number, codes.GET, now=1.0)
        except LimitReachedError:
            refused += 1
    assert (refused, len(client._conversations)) == (280, 20)


def test_conversations_are_bounded(make_endpoint) -> None:
    client = make_endpoint(limits=CoapLimits(conversations=1))
    client.request(PEER, codes.GET, now=1.0)
    with pytest.raises(LimitReachedError, match="conversations"):
        client.request("other", codes.GET, now=1.0)


def test_cancel_is_quiet_and_lets_the_next_one_out(make_endpoint, sent) -> None:
    client = make_endpoint()
    one, two, three = (client.request(PEER, codes.GET, path=(str(number),), now=1.0) for number in range(3))
    [first] = sent(client)
    client.cancel(two)
    client.cancel(one)
    client.cancel(one)
    assert client.next_due() <= 1.0
    assert client.advance(5.0) == []
    [third] = sent(client)
    assert third.uri_path == ("2",)
    assert client.next_due() >= 7.0
    assert reply(client, first, codes.CONTENT) is None
    assert separate(client, codes.CON, first.token) is None
    assert sent(client) == [Message(codes.RST, codes.EMPTY, 9)]
    assert reply(client, third, codes.CONTENT) == Response(three, reply_message(third))
    assert is_quiet(client)


def reply_message(request: Message) -> Message:
    return Message(codes.ACK, codes.CONTENT, request.message_id, request.token)


def test_a_new_request_does_not_overtake_the_queue(make_endpoint, sent) -> None:
    client = make_endpoint()
    one, *_ = [client.request(PEER, codes.GET, path=(str(number),), now=1.0) for number in range(2)]
    sent(client)
    client.cancel(one)
    client.request(PEER, codes.GET, path=("2",), now=1.0)
    assert sent(client) == []
    client.advance(1.0)
    assert [message.uri_path for message in sent(client)] == [("1",)]


def test_all_cancelled_leaves_nothing(make_endpoint) -> None:
    client = make_endpoint()
    for exchange in [client.request(PEER, codes.GET, now=1.0) for _ in range(3)]:
        client.cancel(exchange)
    client.advance(1.0)
    assert is_quiet(client)


# -- peers that leave and move ---------------------------------------------------------------------


def test_a_forgotten_peer_fails_what_is_open_but_its_duplicates_are_answered(make_endpoint, sent) -> None:
    client = make_endpoint()
    remove = encode(Message(codes.CON, codes.DELETE, 77, b"d"))
    request = client.receive(remove, PEER, 1.0)
    exchanges = [client.request(PEER, codes.GET, now=1.0) for _ in range(2)]
    assert client.forget_peer(PEER) == [Failure(exchange, FailureReason.CANCELLED) for exchange in exchanges]
    client.respond(request, codes.DELETED, now=1.0)
    client.outbox.clear()
    client.receive(remove, PEER, 2.0)
    assert [message.code for message in sent(client)] == [codes.DELETED]
    assert client.forget_peer(PEER) == []
    assert is_quiet(client)


def test_a_peer_that_moved_is_asked_and_heard_at_its_new_address(make_endpoint, sent) -> None:
    client = make_endpoint(ack_random_factor=1.0)
    one = client.request("old", codes.GET, now=0.0)
    two = client.request("old", codes.PUT, now=0.0)
    [first] = sent(client)
    assert client.move_peer("old", PEER) == []
    assert one.peer == two.peer == PEER
    client.advance(2.0)
    assert client.outbox == [(encode(first), PEER)]
    client.outbox.clear()
    assert isinstance(reply(client, first, codes.CONTENT), Response)
    assert client.outbox[0][1] == PEER
    assert isinstance(reply(client, sent(client)[0], codes.CHANGED), Response)
    assert is_quiet(client)


def test_moving_to_an_address_in_use_joins_both(make_endpoint, sent) -> None:
    client = make_endpoint()
    for peer in ("old", PEER):
        for number in range(2):
            client.request(peer, codes.GET, path=(peer, str(number)), now=1.0)
    open_requests = sent(client)
    assert client.move_peer("old", PEER) == []
    answered = [open_requests[0].uri_path]
    reply(client, open_requests.pop(0), codes.CONTENT)
    # One of two in flight is answered, the other one still holds the only place.
    assert sent(client) == []
    while open_requests:
        message = open_requests.pop(0)
        answered.append(message.uri_path)
        assert isinstance(reply(client, message, codes.CONTENT), Response)
        client.advance(1.0)
        open_requests += sent(client)
    assert sorted(answered) == [("device", "0"), ("device", "1"), ("old", "0"), ("old", "1")]
    assert is_quiet(client)


def test_joining_takes_over_a_turn_that_is_free(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.restore_observation("old", b"kept", created=1.0)
    one, two = (client.request(PEER, codes.GET, now=1.0) for _ in range(2))
    client.cancel(one)
    client.move_peer("old", PEER)
    sent(client)
    client.advance(1.0)
    [message] = sent(client)
    assert reply(client, message, codes.CONTENT) == Response(two, reply_message(message))
    assert client.next_due() is None
    assert client._conversations[PEER].in_flight == 0


def test_moving_where_tokens_collide_fails_the_one_that_was_there(make_endpoint) -> None:
    client = make_endpoint()
    client.restore_observation("old", b"same", created=1.0)
    client.restore_observation(PEER, b"same", created=1.0)
    exchange = client.request(PEER, codes.GET, now=1.0)
    assert client.move_peer("old", PEER) == [Failure(exchange, FailureReason.CANCELLED)]
    assert list(client._conversations) == [PEER]


def test_moving_what_is_not_there(make_endpoint) -> None:
    client = make_endpoint()
    assert client.move_peer("old", "new") == []
    assert is_quiet(client)


# -- blockwise over a wire -------------------------------------------------------------------------


def test_a_large_body_there_and_a_large_answer_back(make_wire) -> None:
    wire = make_wire(server={"block_size": 64}, device={"block_size": 256})
    exchange = wire.server.request("device", codes.POST, path=("x",), payload=BODY, now=wire.now)
    taken = []

    def answer(request) -> None:
        taken.append(request.message.payload)
        wire.device.respond(request, codes.CONTENT, payload=BODY[::-1], now=wire.now)

    wire.run(device=answer)
    [response] = wire.at_server
    assert response.exchange is exchange
    assert response.message.payload == BODY[::-1]
    assert response.message.block2 is None
    assert taken[0] == BODY
    tokens = {message.token for message in wire.seen if message.code == codes.POST}
    assert len(tokens) == len([message for message in wire.seen if message.code == codes.POST])


def test_the_peer_says_a_smaller_size_with_413(make_wire) -> None:
    wire = make_wire(device={"accepted_block_size": 64})
    exchange = wire.server.request("device", codes.PUT, payload=BODY, now=wire.now)
    bodies = []

    def answer(request) -> None:
        bodies.append(request.message.payload)
        wire.device.respond(request, codes.CHANGED, now=wire.now)

    wire.run(device=answer)
    assert bodies == [BODY]
    assert wire.at_server[0].message.code == codes.CHANGED
    assert exchange.done


def test_progress_of_both_directions(make_endpoint, sent) -> None:
    client = make_endpoint()
    exchange = client.request(PEER, codes.FETCH, payload=BODY, now=1.0)
    progress = []
    answers = [
        (codes.CONTINUE, b""),
        (codes.CONTINUE, b""),
        (codes.CONTENT, BODY[:512]),
        (codes.CONTENT, BODY[512:1024]),
        (codes.CONTENT, BODY[1024:]),
    ]
    for code, payload in answers:
        progress.append((exchange.bytes_sent, exchange.bytes_received))
        [message] = sent(client)
        number = 0 if message.block2 is None else message.block2.number
        options = ((codes.BLOCK2, block(number, number < 2, 5)),) if payload else ()
        reply(client, message, code, *options, payload=payload)
    assert progress == [(0, 0), (512, 0), (1024, 0), (1536, 512), (1536, 1024)]
    assert exchange.done


def test_message_ids_skip_the_ones_in_flight(make_endpoint, sent) -> None:
    client = make_endpoint(nstart=2)
    client.request(PEER, codes.GET, now=1.0)
    [first] = sent(client)
    client._memory.touch(PEER, 1.0).message_id = (first.message_id - 1) % 65536
    client.request(PEER, codes.GET, now=1.0)
    assert sent(client)[0].message_id == (first.message_id + 1) % 65536


def test_413_with_a_size_to_a_request_sent_whole(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.request(PEER, codes.PUT, payload=bytes(100), now=1.0)
    [whole] = sent(client)
    assert reply(client, whole, codes.REQUEST_ENTITY_TOO_LARGE, (codes.BLOCK1, block(0, True, 2))) is None
    [first] = sent(client)
    assert (first.block1, len(first.payload)) == (Block(0, True, 2), 64)


def test_blocks_ignored_by_the_peer_are_a_failure(make_endpoint, sent) -> None:
    client = make_endpoint()
    exchange = client.request(PEER, codes.PUT, payload=BODY, now=1.0)
    event = reply(client, sent(client)[0], codes.CHANGED)
    assert isinstance(event, Failure)
    assert (event.exchange, event.reason) == (exchange, "ignored_blocks")
    assert is_quiet(client)


def test_each_block_has_its_own_timer(make_endpoint, sent) -> None:
    client = make_endpoint(ack_random_factor=1.0)
    client.request(PEER, codes.PUT, payload=BODY, now=0.0)
    now = 0.0
    for number in range(2):
        now += 60.0
        client.advance(now - 60.0 + 30.0)
        message = sent(client)[-1]
        assert message.block1 == Block(number, True, 5)
        reply(client, message, codes.CONTINUE, (codes.BLOCK1, block(number, True, 5)), now=now)
    assert client.next_due() == now + 2.0


@pytest.mark.parametrize(("pause", "number"), [(200.0, 1), (248.0, 0)])
def test_a_failed_upload_resumes_at_its_block_within_a_lifetime(
    make_endpoint, sent, pause: float, number: int
) -> None:
    client = make_endpoint(ack_random_factor=1.0)
    exchange = client.request(PEER, codes.PUT, payload=BODY, now=0.0)
    reply(client, sent(client)[0], codes.CONTINUE, now=0.0)
    for due in (2.0, 6.0, 14.0, 30.0):
        client.advance(due)
    assert client.advance(62.0) == [Failure(exchange, FailureReason.TIMEOUT)]
    sent(client)
    client.resume(exchange, now=62.0 + pause)
    [message] = sent(client)
    assert message.block1 is not None
    assert message.block1.number == number
    with pytest.raises(ExchangeStateError):
        client.resume(exchange, now=62.0 + pause)


def test_a_failed_upload_resumes_where_the_device_is_now(make_endpoint, sent) -> None:
    client = make_endpoint(ack_random_factor=1.0)
    exchange = client.request(PEER, codes.PUT, payload=BODY, now=0.0)
    reply(client, sent(client)[0], codes.CONTINUE, now=0.0)
    for due in (2.0, 6.0, 14.0, 30.0, 62.0):
        client.advance(due)
    client.outbox.clear()
    client.resume(exchange, peer="moved", now=70.0)
    [(datagram, peer)] = client.outbox
    assert (peer, exchange.peer, decode(datagram).block1.number) == ("moved", "moved", 1)


def test_a_block_named_by_the_caller_is_his_own_affair(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.request(PEER, codes.GET, options=((codes.BLOCK2, block(3, False, 2)),), now=1.0)
    event = reply(
        client, sent(client)[0], codes.CONTENT, (codes.BLOCK2, block(3, True, 2)), payload=bytes(64)
    )
    assert isinstance(event, Response)
    assert event.message.block2 == Block(3, True, 2)
    assert is_quiet(client)


def test_an_error_in_the_middle_of_a_download_is_the_answer(make_endpoint, sent) -> None:
    client = make_endpoint()
    client.request(PEER, codes.GET, path=("f",), now=1.0)
    assert (
        reply(client, sent(client)[0], codes.CONTENT, (codes.BLOCK2, block(0, True, 2)), payload=bytes(64))
        is None
    )
    [second] = sent(client)
    assert (second.uri_path, second.block2) == (("f",), Block(1, False, 2))
    event = reply(client, second, codes.NOT_FOUND)
    assert isinstance(event, Response)
    assert event.message.code == codes.NOT_FOUND
    assert client._downloads.held_bytes == 0
    assert is_quiet(client)


def test_a_download_repeats_the_payload_of_fetch_only(make_endpoint, sent) -> None:
    client = make_endpoint()
    for code, repeated in ((codes.FETCH, b"what"), (codes.POST, b"")):
        client.request(PEER, code, payload=b"what", now=1.0)
        reply(client, sent(client)[0], codes.CONTENT, (codes.BLOCK2, block(0, True, 0)), payload=bytes(16))
        [second] = sent(client)
        assert second.payload == repeated
        reply(client, second, codes.CONTENT, (codes.BLOCK2, block(1, False, 0)))
    assert is_quiet(client)


def test_a_changed_body_is_fetched_anew_but_nothing_is_posted_twice(make_endpoint, sent) -> None:
    client = make_endpoint()
    for code in (codes.GET, codes.POST):
        client.request(PEER, code, now=1.0)
        blocks = ((0, b"1"), (1, b"2"))
        event = None
        for number, etag in blocks:
            options = ((codes.BLOCK2, block(number, True, 0)), (codes.ETAG, etag))
            event = reply(client, sent(client)[0], codes.CONTENT, *options, payload=bytes(16))
        if code == codes.POST:
            assert isinstance(event, Failure)
            assert event.reason == FailureReason.BLOCKS
        else:
            assert event is None
            [again] = sent(client)
            assert again.block2 is None
            assert isinstance(reply(client, again, codes.CONTENT, payload=b"now small"), Response)
    assert is_quiet(client)


def test_an_answer_larger_than_the_limit(make_endpoint, sent) -> None:
    client = make_endpoint(limits=CoapLimits(body_bytes=100))
    exchange = client.request(PEER, codes.GET, now=1.0)
    options = ((codes.BLOCK2, block(0, True, 0)), (codes.SIZE2, encode_uint(101)))
    event = reply(client, sent(client)[0], codes.CONTENT, *options, payload=bytes(16))
    assert isinstance(event, Failure)
    assert (event.exchange, event.reason) == (exchange, FailureReason.TOO_LARGE)
    assert is_quiet(client)


def test_an_upload_of_too_many_blocks_is_refused_at_once(make_endpoint) -> None:
    client = make_endpoint(block_size=16)
    with pytest.raises(MessageFieldError):
        client.request(PEER, codes.PUT, payload=memoryview(bytes((1 << 24) + 1)), now=1.0)
    assert is_quiet(client)
