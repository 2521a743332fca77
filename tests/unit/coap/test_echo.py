"""A stranger proves its address before it gets a large answer."""

from __future__ import annotations

import pytest

from overair.protocols.coap import (
    Block,
    EchoGuard,
    Endpoint,
    Message,
    ParameterError,
    Request,
    codes,
    decode,
    encode,
)

SECRET = bytes(range(16))
PEER = ("198.51.100.7", 56830)
NOW = 1000.0


@pytest.fixture
def guard() -> EchoGuard:
    return EchoGuard(SECRET, 60.0)


def asked(
    endpoint: Endpoint, *options: tuple[int, bytes], peer: object = PEER, message_id: int = 1
) -> Request:
    message = Message(codes.CON, codes.GET, message_id, b"t", tuple(sorted(options)))
    request = endpoint.receive(encode(message), peer, NOW)
    assert isinstance(request, Request)
    return request


def test_a_request_without_proof_is_challenged_and_passes_with_it(make_endpoint, guard: EchoGuard) -> None:
    server = make_endpoint()
    request = asked(server)
    options = guard.challenge(request, NOW)
    assert options is not None
    server.respond(request, codes.UNAUTHORIZED, options, now=NOW)
    answer = decode(server.outbox[0][0])
    assert (answer.code, answer.payload) == (codes.UNAUTHORIZED, b"")
    value = answer.option(codes.ECHO)
    assert value is not None
    assert guard.challenge(asked(server, (codes.ECHO, value), message_id=2), NOW + 1) is None


def test_the_challenge_is_not_much_larger_than_the_request(make_endpoint, guard: EchoGuard) -> None:
    server = make_endpoint()
    request = asked(server)
    options = guard.challenge(request, NOW)
    assert options is not None
    server.respond(request, codes.UNAUTHORIZED, options, now=NOW)
    assert len(server.outbox[0][0]) <= 3 * len(encode(request.message))


@pytest.mark.parametrize(("later", "passes"), [(0.0, True), (60.0, True), (100.0, False), (120.0, False)])
def test_a_value_is_good_for_a_window_and_the_next(make_endpoint, guard, later: float, passes: bool) -> None:
    options = guard.challenge(asked(make_endpoint()), NOW)
    request = asked(make_endpoint(), *options)
    assert (guard.challenge(request, NOW + later) is None) is passes


def test_a_value_is_good_for_one_address_and_one_secret(make_endpoint, guard: EchoGuard) -> None:
    options = guard.challenge(asked(make_endpoint()), NOW)
    assert options is not None
    other = asked(make_endpoint(), *options, peer=("198.51.100.7", 56831))
    assert guard.challenge(other, NOW) is not None
    assert EchoGuard(bytes(16), 60.0).challenge(asked(make_endpoint(), *options), NOW) is not None


@pytest.mark.parametrize("value", [b"x", bytes(8), bytes(40)])
def test_made_up_values_do_not_pass(make_endpoint, guard: EchoGuard, value: bytes) -> None:
    assert guard.challenge(asked(make_endpoint(), (codes.ECHO, value)), NOW) is not None


def test_later_blocks_of_a_running_download_need_no_proof(make_endpoint, guard: EchoGuard) -> None:
    server = make_endpoint()
    second = (codes.BLOCK2, Block(1, False, 5).encode())
    assert guard.challenge(asked(server, second), NOW) is not None
    first = asked(server, message_id=2)
    portion = server.portion(first, 2000)
    assert portion is not None
    server.respond_portion(first, portion, bytes(512), etag=b"e", now=NOW)
    assert guard.challenge(asked(server, second, message_id=3), NOW) is None
    assert guard.challenge(asked(server, message_id=4), NOW) is not None


@pytest.mark.parametrize(("secret", "window"), [(bytes(15), 60.0), (SECRET, 0.0), (SECRET, float("nan"))])
def test_a_short_secret_and_an_empty_window_are_refused(secret: bytes, window: float) -> None:
    with pytest.raises(ParameterError):
        EchoGuard(secret, window)
