"""The server role: requests in, answers out, through bytes only."""

from __future__ import annotations

import pytest

from overair.protocols.coap import (
    Block,
    CoapLimits,
    ExchangeStateError,
    Message,
    MessageFieldError,
    Request,
    codes,
    decode,
    encode,
    encode_uint,
)

UPDATE = bytes.fromhex("41021002a2b272640435613366")
UPDATED = bytes.fromhex("61441002a2")
PEER = ("198.51.100.7", 56830)
RD = (codes.URI_PATH, b"rd")


def con(message_id: int, *options: tuple[int, bytes], code: int = codes.POST, payload: bytes = b"") -> bytes:
    return encode(Message(codes.CON, code, message_id, b"t", options, payload))


def non(message_id: int, *options: tuple[int, bytes], code: int = codes.POST, payload: bytes = b"") -> bytes:
    return encode(Message(codes.NON, code, message_id, b"t", options, payload))


def datagrams(endpoint) -> list[bytes]:
    taken = [datagram for datagram, _ in endpoint.outbox]
    endpoint.outbox.clear()
    return taken


def test_the_update_vector_is_answered_on_its_acknowledgement(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(UPDATE, PEER, 1.0)
    assert isinstance(request, Request)
    assert (request.peer, request.message.uri_path) == (PEER, ("rd", "5a3f"))
    server.respond(request, codes.CHANGED, now=1.005)
    assert server.outbox == [(UPDATED, PEER)]
    assert server.next_due() is None


def test_the_register_vector_is_answered_with_a_location(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(con(0x1001, RD), PEER, 1.0)
    location = ((codes.LOCATION_PATH, b"rd"), (codes.LOCATION_PATH, b"5a3f"))
    server.respond(request, codes.CREATED, location, now=1.0)
    assert datagrams(server) == [bytes.fromhex("6141100174827264" + "0435613366")]


def test_a_duplicate_gets_the_same_bytes_and_makes_no_event(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(UPDATE, PEER, 1.0)
    assert server.receive(UPDATE, PEER, 1.1) is None
    assert server.outbox == []
    server.respond(request, codes.CHANGED, now=1.2)
    assert datagrams(server) == [UPDATED]
    for now in (1.3, 100.0, 247.9):
        assert server.receive(UPDATE, PEER, now) is None
        assert datagrams(server) == [UPDATED]
    assert server.counters.duplicates == 4
    assert isinstance(server.receive(UPDATE, PEER, 248.0), Request)


def test_the_same_id_of_another_peer_or_with_another_token_is_another_message(make_endpoint) -> None:
    server = make_endpoint()
    server.receive(UPDATE, PEER, 1.0)
    assert isinstance(server.receive(UPDATE, "other", 1.0), Request)
    assert isinstance(server.receive(UPDATE.replace(b"\xa2", b"\xa3"), PEER, 1.0), Request)


def test_a_request_is_answered_once(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(UPDATE, PEER, 1.0)
    server.respond(request, codes.CHANGED, now=1.0)
    with pytest.raises(ExchangeStateError):
        server.respond(request, codes.CHANGED, now=1.0)


def test_a_slow_answer_goes_out_by_itself_until_acknowledged(make_endpoint) -> None:
    server = make_endpoint(ack_random_factor=1.0)
    request = server.receive(UPDATE, PEER, 1.0)
    assert server.next_due() == 2.0
    assert server.advance(1.9) == []
    assert server.outbox == []
    server.advance(2.0)
    assert datagrams(server) == [bytes.fromhex("60001002")]
    assert server.receive(UPDATE, PEER, 2.5) is None
    assert datagrams(server) == [bytes.fromhex("60001002")]
    server.respond(request, codes.CHANGED, payload=b"late", now=10.0)
    [first] = datagrams(server)
    response = decode(first)
    assert (response.type, response.code, response.token) == (codes.CON, codes.CHANGED, b"\xa2")
    for due in (12.0, 16.0, 24.0, 40.0):
        assert server.next_due() == due
        assert server.advance(due) == []
        assert datagrams(server) == [first]
    assert server.next_due() == 72.0
    server.receive(encode(Message(codes.ACK, codes.EMPTY, response.message_id)), PEER, 41.0)
    assert server.next_due() is None
    assert server._conversations == {}


@pytest.mark.parametrize("kind", [codes.RST, None])
def test_a_separate_answer_ends_by_reset_or_silence(make_endpoint, kind: int | None) -> None:
    server = make_endpoint()
    request = server.receive(UPDATE, PEER, 1.0)
    server.advance(2.0)
    server.outbox.clear()
    server.respond(request, codes.CHANGED, now=3.0)
    response = decode(server.outbox[0][0])
    if kind is not None:
        server.receive(encode(Message(kind, codes.EMPTY, response.message_id)), PEER, 4.0)
    while (due := server.next_due()) is not None:
        assert server.advance(due) == []
    assert server._conversations == {}
    assert len(server.outbox) == (1 if kind is not None else 5)


def test_answers_between_others_do_not_disturb_the_order_of_acknowledgements(make_endpoint) -> None:
    server = make_endpoint()
    requests = [server.receive(con(number, RD), PEER, float(number)) for number in range(3)]
    server.respond(requests[1], codes.CHANGED, now=2.0)
    server.outbox.clear()
    assert server.next_due() == 1.0
    server.advance(3.0)
    assert [decode(datagram).message_id for datagram in datagrams(server)] == [0, 2]


def test_a_non_confirmable_request_gets_a_non_confirmable_answer_once(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(non(7, RD), PEER, 1.0)
    server.respond(request, codes.CHANGED, now=5.0)
    [answer] = datagrams(server)
    assert decode(answer).type == codes.NON
    assert decode(answer).token == b"t"
    assert server.receive(non(7, RD), PEER, 6.0) is None
    assert server.outbox == []


def test_message_ids_count_up_for_each_peer(make_endpoint) -> None:
    server = make_endpoint()
    for message_id in range(3):
        server.respond(server.receive(non(message_id, RD), PEER, 1.0), codes.CHANGED, now=1.0)
    first, second, third = (decode(datagram).message_id for datagram in datagrams(server))
    assert (second - first) % 65536 == (third - second) % 65536 == 1


# -- what is not a request -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("40001234", ["70001234"]),
        ("50001234", []),
        ("60001234", []),
        ("70001234", []),
        ("49011234", ["70001234"]),
        ("59011234", []),
        ("69011234", []),
        ("40011234ff", ["70001234"]),
        ("c0011234", []),
        ("40", []),
        ("", []),
        ("40201234", []),
        ("40c01234", []),
        ("40e01234", []),
        ("60011234", []),
        ("70011234", []),
        ("41451234aa", ["70001234"]),
        ("51451234aa", ["70001234"]),
        ("61451234aa", []),
        ("71451234aa", []),
    ],
)
def test_messages_that_mean_nothing(make_endpoint, text: str, answers: list[str]) -> None:
    server = make_endpoint()
    assert server.receive(bytes.fromhex(text), PEER, 1.0) is None
    assert [datagram.hex() for datagram in datagrams(server)] == answers
    assert server.next_due() is None


def test_a_large_datagram_is_not_read(make_endpoint) -> None:
    server = make_endpoint()
    assert server.receive(con(1, RD, payload=bytes(1500)), PEER, 1.0) is None
    assert (server.outbox, server.counters.oversized) == ([], 1)


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (((9, b"oscore"),), codes.BAD_OPTION),
        (((codes.IF_MATCH, b"e"),), codes.BAD_OPTION),
        (((codes.ACCEPT, b""), (codes.ACCEPT, b"")), codes.BAD_OPTION),
        (((codes.URI_PATH, b"\xff"),), codes.BAD_OPTION),
        (((codes.BLOCK1, b"1234"),), codes.BAD_OPTION),
        (((codes.PROXY_URI, b"coap://elsewhere/"),), codes.PROXYING_NOT_SUPPORTED),
        (((codes.PROXY_SCHEME, b"coap"),), codes.PROXYING_NOT_SUPPORTED),
        (((codes.BLOCK2, b"\x07"),), codes.BAD_REQUEST),
        (((codes.BLOCK1, b"\x07"),), codes.BAD_REQUEST),
    ],
)
def test_requests_the_endpoint_refuses_itself(make_endpoint, options, code: int) -> None:
    server = make_endpoint()
    assert server.receive(con(1, *options), PEER, 1.0) is None
    [answer] = datagrams(server)
    assert (decode(answer).type, decode(answer).code, decode(answer).token) == (codes.ACK, code, b"t")
    server.receive(con(1, *options), PEER, 1.5)
    assert datagrams(server) == [answer]
    assert server.next_due() is None


def test_a_non_confirmable_request_with_a_bad_option_is_only_rejected(make_endpoint) -> None:
    server = make_endpoint()
    assert server.receive(non(1, (9, b"")), PEER, 1.0) is None
    assert datagrams(server) == [bytes.fromhex("70000001")]


def test_host_port_and_elective_options_do_not_matter(make_endpoint) -> None:
    server = make_endpoint()
    options = ((codes.URI_HOST, b"server"), (codes.URI_PORT, b"\x16\x33"), RD, (2048, b"whatever"))
    assert isinstance(server.receive(con(1, *options), PEER, 1.0), Request)


# -- rate ------------------------------------------------------------------------------------------


def test_requests_above_the_rate_are_dropped_and_counted(make_endpoint) -> None:
    server = make_endpoint()
    taken = [server.receive(con(number, RD), PEER, 1.0) is not None for number in range(60)]
    assert taken == [True] * 50 + [False] * 10
    assert server.counters.limited == 10
    assert server.receive(con(100, RD), "other", 1.0) is not None
    assert server.receive(con(59, RD), PEER, 1.1) is not None


def test_blocks_of_a_running_download_do_not_count(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(request_burst=2))
    image, etag = bytes(40 * 512), (codes.ETAG, b"e")
    for number in range(40):
        value = Block(number, False, 5).encode()
        request = server.receive(con(number, (codes.BLOCK2, value), code=codes.GET), PEER, 1.0)
        server.respond(request, codes.CONTENT, (etag,), image, now=1.0)
    assert server.receive(con(90, (codes.BLOCK2, b"\x15"), code=codes.GET), PEER, 1.0) is not None
    assert server.receive(con(91, (codes.BLOCK2, b"\x15"), code=codes.GET), PEER, 1.0) is None


def test_blocks_of_a_running_upload_do_not_count(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(request_burst=1))
    for number in range(20):
        value = Block(number, True, 0).encode()
        server.receive(con(number, (codes.BLOCK1, value), payload=bytes(16)), PEER, 1.0)
    answers = [decode(datagram).code for datagram in datagrams(server)]
    assert answers == [codes.CONTINUE] * 20
    assert server.receive(con(30, RD), PEER, 1.0) is None
    assert server.counters.limited == 1
    for message_id in (31, 32):
        server.receive(con(message_id, (codes.BLOCK1, b"\x10")), "other", 1.0)
    assert server.counters.limited == 2


def test_pending_requests_are_bounded(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(pending_requests=3))
    taken = [server.receive(con(1, RD), number, 1.0) for number in range(5)]
    assert [request is not None for request in taken] == [True] * 3 + [False] * 2
    server.respond(taken[0], codes.CHANGED, now=1.0)
    assert server.receive(con(1, RD), 4, 1.5) is not None


def test_separate_answers_without_room_are_sent_once(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(queue_per_peer=1))
    requests = [server.receive(con(number, RD), PEER, 1.0) for number in range(2)]
    server.advance(2.0)
    server.outbox.clear()
    for request in requests:
        server.respond(request, codes.CHANGED, now=3.0)
    assert [decode(datagram).type for datagram in datagrams(server)] == [codes.CON, codes.NON]


def test_separate_answers_to_a_million_peers_stay_within_the_bound(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(conversations=10, exchanges=10))
    requests = [server.receive(con(1, RD), number, 1.0) for number in range(500)]
    server.advance(2.0)
    server.outbox.clear()
    for request in requests:
        server.respond(request, codes.CHANGED, now=3.0)
    kinds = [decode(datagram).type for datagram in datagrams(server)]
    assert (kinds.count(codes.CON), kinds.count(codes.NON), len(server._conversations)) == (10, 490, 10)


# -- blockwise -------------------------------------------------------------------------------------


def test_a_body_in_blocks_is_one_request(make_endpoint) -> None:
    server = make_endpoint()
    body = bytes(range(100))
    for number in range(6):
        value = Block(number, True, 0).encode()
        chunk = body[number * 16 : number * 16 + 16]
        assert server.receive(con(number, RD, (codes.BLOCK1, value), payload=chunk), PEER, 1.0) is None
        reply = decode(server.outbox[-1][0])
        assert (reply.code, reply.option(codes.BLOCK1)) == (codes.CONTINUE, value)
    server.outbox.clear()
    value = Block(6, False, 0).encode()
    request = server.receive(con(6, RD, (codes.BLOCK1, value), payload=body[96:]), PEER, 1.0)
    assert isinstance(request, Request)
    assert request.message.payload == body
    server.respond(request, codes.CREATED, ((codes.LOCATION_PATH, b"rd"),), now=1.0)
    [answer] = datagrams(server)
    assert decode(answer).options == ((codes.LOCATION_PATH, b"rd"), (codes.BLOCK1, value))


def test_a_gap_and_a_body_too_large(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(request_bytes=100, body_bytes=100, body_budget_bytes=100))
    server.receive(con(1, (codes.BLOCK1, b"\x18"), payload=bytes(16)), PEER, 1.0)
    server.receive(
        con(2, (codes.BLOCK1, b"\x0a"), (codes.SIZE1, encode_uint(101)), payload=bytes(64)), PEER, 1.0
    )
    gap, large = (decode(datagram) for datagram in datagrams(server))
    assert gap.code == codes.REQUEST_ENTITY_INCOMPLETE
    assert (large.code, large.uint_option(codes.SIZE1)) == (codes.REQUEST_ENTITY_TOO_LARGE, 100)


def test_a_large_answer_is_cut_by_the_request(make_endpoint) -> None:
    server = make_endpoint()
    image = bytes(range(256)) * 5
    asked = [None, Block(0, False, 6), Block(1, False, 6), Block(4, False, 4), Block(2, False, 5)]
    expected = [(0, True, 5), (0, True, 5), (1, False, 6), (4, False, 4), (2, False, 5)]
    for message_id, (block, shown) in enumerate(zip(asked, expected, strict=True)):
        options = () if block is None else ((codes.BLOCK2, block.encode()),)
        request = server.receive(con(message_id, *options, code=codes.GET), PEER, 1.0)
        server.respond(request, codes.CONTENT, payload=memoryview(image), now=1.0)
        answer = decode(datagrams(server)[0])
        number, more, szx = shown
        assert answer.block2 == Block(number, more, szx)
        assert answer.payload == image[number << szx + 4 : (number + 1) << szx + 4]
        assert answer.etag is not None
        assert (answer.uint_option(codes.SIZE2) == 1280) is (number == 0)


def test_a_block_beyond_the_end_is_400(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(con(1, (codes.BLOCK2, b"\x15"), code=codes.GET), PEER, 1.0)
    server.respond(request, codes.CONTENT, payload=bytes(512), now=1.0)
    assert decode(datagrams(server)[0]).code == codes.BAD_REQUEST


def test_an_error_is_not_cut_and_not_replaced(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(con(1, (codes.BLOCK2, b"\x15"), code=codes.GET), PEER, 1.0)
    server.respond(request, codes.NOT_FOUND, payload=b"x" * 2000, now=1.0)
    answer = decode(datagrams(server)[0])
    assert (answer.code, answer.options, len(answer.payload)) == (codes.NOT_FOUND, (), 512)


# -- a part of a body that isn't at hand -----------------------------------------------------------

IMAGE = bytes(range(256)) * 6
ETAG = b"whole-im"


def serve(server, request: Request, now: float = 1.0) -> Message:
    portion = server.portion(request, len(IMAGE))
    assert portion is not None
    part = IMAGE[portion.offset : portion.offset + portion.size_bytes]
    server.respond_portion(
        request, portion, part, etag=ETAG, options=((codes.CONTENT_FORMAT, b"*"),), now=now
    )
    return decode(datagrams(server)[0])


def get(message_id: int, block: Block | None = None, *options: tuple[int, bytes]) -> bytes:
    wanted = () if block is None else ((codes.BLOCK2, block.encode()),)
    return con(message_id, *wanted, *options, code=codes.GET)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (None, Block(0, True, 5)),
        (Block(0, False, 6), Block(0, True, 5)),
        (Block(0, False, 2), Block(0, True, 2)),
        (Block(1, False, 6), Block(1, False, 6)),
        (Block(1, False, 5), Block(1, True, 5)),
        (Block(2, False, 5), Block(2, False, 5)),
        (Block(95, False, 0), Block(95, False, 0)),
    ],
)
def test_a_portion_is_the_block_that_is_asked_for(make_endpoint, asked: Block | None, shown: Block) -> None:
    server = make_endpoint()
    answer = serve(server, server.receive(get(1, asked), PEER, 1.0))
    assert (answer.code, answer.block2, answer.etag) == (codes.CONTENT, shown, ETAG)
    assert answer.payload == IMAGE[shown.offset : shown.offset + shown.size_bytes]
    assert answer.option(codes.CONTENT_FORMAT) == b"*"
    assert answer.uint_option(codes.SIZE2) == (None if shown.number else len(IMAGE))


def test_the_size_comes_with_any_block_that_asks_for_it(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(get(1, Block(2, False, 5), (codes.SIZE2, b"")), PEER, 1.0)
    assert serve(server, request).uint_option(codes.SIZE2) == len(IMAGE)


def test_there_is_no_portion_beyond_the_end(make_endpoint) -> None:
    server = make_endpoint()
    assert server.portion(server.receive(get(1, Block(3, False, 5)), PEER, 1.0), len(IMAGE)) is None


def test_a_portion_of_another_length_is_not_sent(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(get(1), PEER, 1.0)
    with pytest.raises(MessageFieldError, match="512 bytes"):
        server.respond_portion(request, server.portion(request, 600), b"short", etag=ETAG, now=1.0)
    assert server.outbox == []


def test_a_repeated_block_is_served_afresh_and_nothing_is_kept_of_it(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(get(1, Block(1, False, 5)), PEER, 1.0)
    assert server.receive(get(1, Block(1, False, 5)), PEER, 1.1) is None
    first = serve(server, request)
    record = request.record
    kept = [receipt.reply for receipt in (record.last, *(record.older or ()))]
    assert kept == [None]
    again = server.receive(get(1, Block(1, False, 5)), PEER, 1.2)
    assert isinstance(again, Request)
    assert serve(server, again) == first


def test_a_portion_that_was_long_in_coming_goes_out_by_itself(make_endpoint) -> None:
    server = make_endpoint()
    request = server.receive(get(1, Block(1, False, 5)), PEER, 1.0)
    server.advance(2.0)
    datagrams(server)
    assert serve(server, request, now=3.0).type == codes.CON
    # The acknowledgement stands: the answer is on its way, and is repeated by itself.
    assert server.receive(get(1, Block(1, False, 5)), PEER, 3.5) is None
    assert decode(datagrams(server)[0]).code == codes.EMPTY


def test_portions_of_a_running_download_do_not_count(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(request_burst=2))
    for number in range(96):
        serve(server, server.receive(get(number, Block(number, False, 0)), PEER, 1.0))
    # The last block ended it.
    server.receive(get(100, Block(1, False, 0)), PEER, 1.0)
    assert server.receive(get(101, Block(1, False, 0)), PEER, 1.0) is None


def test_an_error_ends_the_free_ride_of_a_download(make_endpoint) -> None:
    server = make_endpoint(limits=CoapLimits(request_burst=2))
    serve(server, server.receive(get(1, Block(1, False, 0)), PEER, 1.0))
    request = server.receive(get(2, Block(2, False, 0)), PEER, 1.0)
    server.respond(request, codes.NOT_FOUND, now=1.0)
    assert server.receive(get(3, Block(2, False, 0)), PEER, 1.0) is not None
    assert server.receive(get(4, Block(2, False, 0)), PEER, 1.0) is None
