"""Handshakes between OpenSSL's s_client and s_server, recorded: our formulas must give the same bytes.

Each file of `captured` has a datagram a line, ">" from the client and "<" from the server, in hexadecimal.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from overair.protocols.dtls import codes, schedule, suites, wire
from overair.protocols.dtls.association import EPOCH_1
from overair.protocols.dtls.protection import Protection, new_protection

KEY = bytes(range(1, 17))
CAPTURED = Path(__file__).parent / "captured"


class Line(NamedTuple):
    from_client: bool
    record: wire.Record


def records(name: str) -> list[Line]:
    lines = (CAPTURED / f"{name}.txt").read_text().splitlines()
    return [
        Line(line.startswith(">"), record)
        for line in lines
        for record in wire.read_records(bytes.fromhex(line[2:]), 0)
    ]


def plain_messages(lines: list[Line]) -> dict[int, wire.Fragment]:
    """The last message of each kind in epoch 0: of two ClientHellos the one with the cookie."""
    return {
        fragment.kind: fragment
        for line in lines
        if line.record.number < EPOCH_1 and line.record.kind == codes.HANDSHAKE
        for fragment in wire.read_fragments(line.record.fragment)
    }


def whole(fragment: wire.Fragment) -> bytes:
    return wire.message(fragment.kind, fragment.sequence, fragment.body)


@pytest.mark.parametrize(
    ("name", "suite"),
    [
        ("ccm_8", suites.PSK_AES_128_CCM_8),
        ("ccm", suites.PSK_AES_128_CCM),
        ("gcm", suites.PSK_AES_128_GCM_SHA256),
        ("cbc_encrypt_then_mac", suites.PSK_AES_128_CBC_SHA256),
        ("cbc_mac_then_encrypt", suites.PSK_AES_128_CBC_SHA256),
    ],
)
def test_openssl_with_itself(name: str, suite: int) -> None:
    lines = records(name)
    plain = plain_messages(lines)
    client_hello = wire.parse_client_hello(plain[codes.CLIENT_HELLO].body)
    server_hello = wire.parse_server_hello(plain[codes.SERVER_HELLO].body)
    exchange = wire.parse_client_key_exchange(plain[codes.CLIENT_KEY_EXCHANGE].body, ecdhe=False)
    assert exchange.identity == b"device"
    assert server_hello.suite == suite
    assert (codes.ENCRYPT_THEN_MAC in server_hello.extensions) is (name == "cbc_encrypt_then_mac")
    assert codes.EXTENDED_MASTER_SECRET in server_hello.extensions
    cookie = wire.parse_hello_verify_request(plain[codes.HELLO_VERIFY_REQUEST].body)
    assert wire.split_client_hello(plain[codes.CLIENT_HELLO].body)[0] == cookie == client_hello.cookie

    transcript = schedule.new_transcript()
    kinds = (
        codes.CLIENT_HELLO,
        codes.SERVER_HELLO,
        codes.SERVER_HELLO_DONE,
        codes.CLIENT_KEY_EXCHANGE,
    )
    for kind in kinds:
        transcript.update(whole(plain[kind]))
    randoms = client_hello.random, server_hello.random
    premaster = schedule.psk_premaster(KEY)
    master = schedule.extended_master_secret(premaster, transcript.digest())
    prf = schedule.Prf(master)
    block = schedule.key_block(prf, *randoms, suites.SUITES[suite].key_block_bytes)

    def protection(*, is_server: bool) -> Protection:
        return new_protection(
            suites.SUITES[suite],
            encrypt_then_mac=codes.ENCRYPT_THEN_MAC in server_hello.extensions,
            material=block,
            is_server=is_server,
        )

    opened = []
    for from_client, record in lines:
        if record.number >= EPOCH_1:
            content = protection(is_server=from_client).open(record.kind, record.number, record.fragment, b"")
            assert content is not None
            opened.append((from_client, record.kind, content))
    from_client, kind, finished = opened[0]
    assert (from_client, kind, finished[0]) == (True, codes.HANDSHAKE, codes.FINISHED)
    assert finished[12:] == schedule.client_verify_data(prf, transcript)
    transcript.update(finished)
    transcript.update(whole(plain[codes.NEW_SESSION_TICKET]))
    from_client, kind, finished = opened[1]
    assert (from_client, kind, finished[0]) == (False, codes.HANDSHAKE, codes.FINISHED)
    assert finished[12:] == schedule.server_verify_data(prf, transcript)
    assert opened[2] == (True, codes.APPLICATION_DATA, b"from client\n")
    assert opened[3] == (False, codes.APPLICATION_DATA, b"from server\n")
    assert (True, codes.ALERT, bytes((codes.WARNING, codes.Alert.CLOSE_NOTIFY))) in opened


def test_messages_are_written_as_openssl_writes_them() -> None:
    plain = plain_messages(records("ccm_8"))
    client_hello = plain[codes.CLIENT_HELLO].body
    assert wire.client_hello_body(wire.parse_client_hello(client_hello)) == client_hello
    server_hello = plain[codes.SERVER_HELLO].body
    assert wire.server_hello_body(wire.parse_server_hello(server_hello)) == server_hello
    request = plain[codes.HELLO_VERIFY_REQUEST].body
    assert wire.hello_verify_request_body(wire.parse_hello_verify_request(request)) == request
    exchange = plain[codes.CLIENT_KEY_EXCHANGE].body
    parsed = wire.parse_client_key_exchange(exchange, ecdhe=False)
    assert wire.client_key_exchange_body(parsed) == exchange
    ticket = plain[codes.NEW_SESSION_TICKET].body
    assert wire.new_session_ticket_body(wire.parse_new_session_ticket(ticket)) == ticket
