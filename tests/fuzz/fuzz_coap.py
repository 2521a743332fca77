"""Fuzz target: any datagrams at a CoAP endpoint that has something of every kind open.

Run it as a script under atheris (`python fuzz_coap.py CORPUS`); the unit tests drive `one_input`, too.
"""

from __future__ import annotations

import random
import sys

from overair.protocols.coap import (
    CoapLimits,
    Endpoint,
    Failure,
    MessageFormatError,
    Notification,
    Request,
    Response,
    codes,
    decode,
    encode,
)

LIMITS = CoapLimits(
    request_bytes=512,
    body_bytes=512,
    body_budget_bytes=1024,
    peers=4,
    pending_requests=8,
    queue_per_peer=4,
    exchanges=12,
    conversations=4,
    observations_per_peer=2,
    observations=3,
)
PEERS = ("one", "two", "three")


def one_input(data: bytes) -> None:
    """Decode `data`, then feed it in pieces: a length byte, a byte for peer and pause, the datagram."""
    _check_codec(data)
    endpoint = _busy_endpoint()
    now, position = 1.0, 0
    while position + 2 <= len(data):
        length, control = data[position], data[position + 1]
        datagram = _aimed(endpoint, control, data[position + 2 : position + 2 + length])
        position += 2 + length
        event = endpoint.receive(datagram, PEERS[control % 3], now)
        _react(endpoint, event, control, now)
        now += (control >> 4) ** 2
        for late in endpoint.advance(now):
            _react(endpoint, late, 0, now)
        _check(endpoint)
    _drain(endpoint, now)


def _check_codec(data: bytes) -> None:
    try:
        message = decode(data)
    except MessageFormatError:
        return
    assert encode(message) == data


def _busy_endpoint() -> Endpoint:
    endpoint = Endpoint(random=random.Random(0), limits=LIMITS)
    endpoint.observe("one", path=("5", "0", "3"), now=1.0)
    endpoint.request("one", codes.GET, path=("3",), now=1.0)
    endpoint.request("two", codes.PUT, payload=bytes(600), now=1.0)
    endpoint.request("two", codes.GET, confirmable=False, now=1.0)
    endpoint.restore_observation("three", b"t", path=("5",), created=1.0)
    endpoint.notify("three", b"n", 1, payload=b"x", now=1.0)
    endpoint.notify("three", b"n", 1, confirmable=False, now=1.0)
    return endpoint


def _aimed(endpoint: Endpoint, control: int, datagram: bytes) -> bytes:
    """Some datagrams get the id and token of a message of ours, or chance would never hit one."""
    peer = PEERS[control % 3]
    sent = [decode(own) for own, to in endpoint.outbox if to == peer]
    if not control & 8 or not sent or len(datagram) < 4:
        return datagram
    request = sent[-1]
    head = bytes((0x40 | datagram[0] & 0x30 | len(request.token), datagram[1]))
    token = request.token if datagram[1] else b""
    if not token:
        return bytes((0x40 | datagram[0] & 0x30, 0)) + request.message_id.to_bytes(2, "big")
    return head + request.message_id.to_bytes(2, "big") + token + datagram[4:]


def _react(endpoint: Endpoint, event: object, control: int, now: float) -> None:
    if isinstance(event, Request):
        _ = event.message.uri_path, event.message.uri_queries, event.message.content_format
        if control & 4:
            endpoint.respond(event, codes.CONTENT, payload=event.message.payload * 3, now=now)
    elif isinstance(event, Response | Failure):
        assert event.exchange.done
    elif isinstance(event, Notification):
        _ = event.message.block2


def _check(endpoint: Endpoint) -> None:
    for datagram, _ in endpoint.outbox:
        decode(datagram)
    del endpoint.outbox[:-8]
    assert len(endpoint._memory) <= LIMITS.peers
    assert len(endpoint._conversations) <= LIMITS.conversations
    assert 0 <= endpoint._open <= LIMITS.exchanges
    assert 0 <= endpoint._observations <= LIMITS.observations
    assert 0 <= endpoint._downloads.held_bytes <= LIMITS.body_budget_bytes
    assert 0 <= endpoint._assemblies.held_bytes <= LIMITS.body_budget_bytes
    assert len(endpoint._pending) <= LIMITS.pending_requests


def _drain(endpoint: Endpoint, now: float) -> None:
    """Left alone, everything but the observations ends."""
    for _ in range(1000):
        due = endpoint.next_due()
        if due is None:
            break
        now = max(now, due)
        endpoint.advance(now)
    assert endpoint.next_due() is None
    assert endpoint._open == 0
    assert endpoint._downloads.held_bytes == 0
    for conversation in endpoint._conversations.values():
        assert not conversation.queue
        assert not conversation.transmissions
        assert (conversation.exchanges, conversation.in_flight) == (0, 0)


def main() -> None:
    """Fuzz until stopped."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz_coap: atheris is not installed (pip install atheris)")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
