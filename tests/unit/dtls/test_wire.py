"""Structures: what is written is read again, and any bytes either parse or raise WireError."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.dtls import WireError, codes, wire

small = st.binary(max_size=40)
extensions = st.dictionaries(st.integers(0, 0xFFFF), small, max_size=6)
client_hellos = st.builds(
    wire.ClientHello,
    version=st.integers(0, 0xFFFF),
    random=st.binary(min_size=32, max_size=32),
    session_id=st.binary(max_size=32),
    cookie=small,
    suites=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8).map(tuple),
    compressions=st.binary(min_size=1, max_size=3),
    extensions=extensions,
)
server_hellos = st.builds(
    wire.ServerHello,
    version=st.integers(0, 0xFFFF),
    random=st.binary(min_size=32, max_size=32),
    session_id=st.binary(max_size=32),
    suite=st.integers(0, 0xFFFF),
    compression=st.integers(0, 255),
    extensions=extensions,
)


@given(client_hellos)
def test_client_hello_round_trip(hello: wire.ClientHello) -> None:
    assert wire.parse_client_hello(wire.client_hello_body(hello)) == hello


@given(server_hellos)
def test_server_hello_round_trip(hello: wire.ServerHello) -> None:
    assert wire.parse_server_hello(wire.server_hello_body(hello)) == hello


@given(client_hellos, small, extensions)
def test_a_cookie_is_bound_to_all_but_itself_and_extensions(
    hello: wire.ClientHello, cookie: bytes, other: wire.Extensions
) -> None:
    fields = {name: getattr(hello, name) for name in hello.__struct_fields__}
    again = wire.ClientHello(**fields | {"cookie": cookie, "extensions": other})
    split = wire.split_client_hello(wire.client_hello_body(hello))
    assert split[0] == hello.cookie
    assert wire.split_client_hello(wire.client_hello_body(again)) == (cookie, split[1])
    for name, value in (
        ("random", bytes(32)),
        ("suites", (1, 2, 3)),
        ("version", 1),
        ("session_id", b"else"),
    ):
        changed = wire.ClientHello(**fields | {name: value})
        if changed != hello:
            assert wire.split_client_hello(wire.client_hello_body(changed))[1] != split[1]


@given(small.filter(bool), small)
def test_key_exchanges_round_trip(point: bytes, identity: bytes) -> None:
    for exchange, ecdhe in (
        (wire.ClientKeyExchange(identity), False),
        (wire.ClientKeyExchange(identity, point), True),
    ):
        body = wire.client_key_exchange_body(exchange)
        assert wire.parse_client_key_exchange(body, ecdhe) == exchange
    for server, ecdhe in (
        (wire.ServerKeyExchange(identity), False),
        (wire.ServerKeyExchange(identity, point), True),
    ):
        assert wire.parse_server_key_exchange(wire.server_key_exchange_body(server), ecdhe) == server


@given(st.integers(0, 0xFFFFFFFF), small)
def test_ticket_round_trip(lifetime: int, ticket: bytes) -> None:
    message = wire.NewSessionTicket(lifetime, ticket)
    assert wire.parse_new_session_ticket(wire.new_session_ticket_body(message)) == message


@given(small)
def test_verify_request_round_trip(cookie: bytes) -> None:
    body = wire.hello_verify_request_body(cookie)
    assert body[:2] == b"\xfe\xff"
    assert wire.parse_hello_verify_request(body) == cookie


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.binary(max_size=300), st.integers(13, 100))
def test_cut_messages_cover_the_message(kind: int, sequence: int, body: bytes, most: int) -> None:
    pieces = wire.cut_message(wire.message(kind, sequence, body), most)
    assert all(len(piece) <= most for piece in pieces)
    fragments = list(wire.read_fragments(b"".join(pieces)))
    assert b"".join(fragment.body for fragment in fragments) == body
    assert {(fragment.kind, fragment.size, fragment.sequence) for fragment in fragments} == {
        (kind, len(body), sequence)
    }
    assert [fragment.offset for fragment in fragments] == [
        sum(len(before.body) for before in fragments[:at]) for at in range(len(fragments))
    ]
    assert [fragment.is_last for fragment in fragments] == [False] * (len(fragments) - 1) + [True]


def test_records_with_and_without_a_connection_id() -> None:
    plain = wire.plain_record(codes.HANDSHAKE, 7, b"abc")
    assert plain == bytes.fromhex("16fefd0000000000000007 0003") + b"abc"
    with_cid = bytes.fromhex("19fefd0001000000000002") + b"12345678" + b"\0\2xy"
    read = list(wire.read_records(plain + with_cid, 8))
    assert read == [
        wire.Record(codes.HANDSHAKE, 0xFEFD, 7, b"", b"abc"),
        wire.Record(codes.TLS12_CID, 0xFEFD, 1 << 48 | 2, b"12345678", b"xy"),
    ]
    with pytest.raises(WireError, match="Connection ID"):
        list(wire.read_records(with_cid, 0))


@given(st.binary(max_size=80), st.sampled_from([0, 4, 8]))
def test_any_datagram_is_records_or_an_error(datagram: bytes, cid_bytes: int) -> None:
    try:
        records = list(wire.read_records(datagram, cid_bytes))
    except WireError:
        return
    assert sum(13 + len(record.cid) + len(record.fragment) for record in records) == len(datagram)


PARSERS: list[Callable[[bytes], object]] = [
    wire.parse_client_hello,
    wire.split_client_hello,
    wire.parse_server_hello,
    wire.parse_hello_verify_request,
    wire.parse_new_session_ticket,
    wire.parse_connection_id,
    wire.parse_max_fragment_length,
    wire.parse_supported_groups,
    lambda body: wire.parse_client_key_exchange(body, ecdhe=False),
    lambda body: wire.parse_client_key_exchange(body, ecdhe=True),
    lambda body: wire.parse_server_key_exchange(body, ecdhe=False),
    lambda body: wire.parse_server_key_exchange(body, ecdhe=True),
    lambda content: list(wire.read_fragments(content)),
]
bodies = (
    st.binary(max_size=120)
    | client_hellos.map(wire.client_hello_body)
    | server_hellos.map(wire.server_hello_body)
)


@given(st.sampled_from(PARSERS), bodies, st.integers(0, 200), st.binary(max_size=3))
def test_any_bytes_parse_or_raise_wire_error(
    parse: Callable[[bytes], object], body: bytes, cut: int, tail: bytes
) -> None:
    for changed in (body, body[:cut], body[:cut] + tail, body[:cut] + tail + body[cut + len(tail) :]):
        try:
            parse(changed)
        except WireError:
            continue


@pytest.mark.parametrize(
    ("extensions_hex", "rule"),
    [
        ("0004 0017 0000 0017 0000", "not as long as they say"),
        ("0008 0017 0000 0017 0000", "comes twice"),
        ("00", "not as long as they say"),
        ("0001", "not as long as they say"),
        ("0003 0017 00", "4 bytes"),
        ("0005 0017 0002 00", "longer than their block"),
    ],
)
def test_broken_extension_blocks(extensions_hex: str, rule: str) -> None:
    body = wire.server_hello_body(wire.ServerHello(random=bytes(32), suite=0xC0A8))
    with pytest.raises(WireError, match=rule):
        wire.parse_server_hello(body + bytes.fromhex(extensions_hex))


@pytest.mark.parametrize(
    ("end_hex", "rule"),
    [
        ("", "ends before"),
        ("00", "ends before"),
        ("00 00 0002 c0a8", "ends before"),
        ("00 00 0002 c0a8 02 00", "longer than the hello"),
        (f"21 {bytes(33).hex()} 00 0002 c0a8 01 00", "session_id"),
        ("00 00 0000 01 00", "cipher_suites"),
        ("00 00 0003 c0a8c0 01 00", "cipher_suites"),
        ("00 00 0002 c0a8 00", "compression_methods: at least one"),
    ],
)
def test_broken_client_hellos(end_hex: str, rule: str) -> None:
    body = bytes(34) + bytes.fromhex(end_hex)
    for parse in (wire.split_client_hello, wire.parse_client_hello):
        with pytest.raises(WireError, match=rule):
            parse(body)


def test_fragment_lengths() -> None:
    assert [wire.parse_max_fragment_length(bytes((code,))) for code in (1, 2, 3, 4)] == [
        512,
        1024,
        2048,
        4096,
    ]
    for data in (b"", b"\0", b"\5", b"\1\1"):
        with pytest.raises(WireError, match="max_fragment_length"):
            wire.parse_max_fragment_length(data)
