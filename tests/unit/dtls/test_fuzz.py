"""The fuzz target of tests/fuzz, driven by hypothesis."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from overair.protocols.dtls import codes, wire

_path = Path(__file__).parents[2] / "fuzz" / "fuzz_dtls.py"
_spec = importlib.util.spec_from_file_location("fuzz_dtls", _path)
assert _spec is not None
assert _spec.loader is not None
fuzz_dtls = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_dtls)

extensions = st.dictionaries(
    st.sampled_from([1, 10, 11, 22, 23, 35, 54, 0xFF01, 0]), st.binary(max_size=6), max_size=4
)
bodies = (
    st.binary(max_size=40)
    | st.builds(
        wire.ServerHello,
        random=st.just(bytes(32)),
        session_id=st.binary(max_size=3),
        suite=st.sampled_from([0xC0A8, 0xC0A4, 0xA8, 0xAE, 0xC037, 1]),
        extensions=extensions,
    ).map(wire.server_hello_body)
    | st.builds(
        wire.ClientHello,
        random=st.just(bytes(32)),
        suites=st.just((0xC0A8,)),
        extensions=extensions,
    ).map(wire.client_hello_body)
    | st.builds(wire.ClientKeyExchange, st.sampled_from([b"device", b"x"])).map(wire.client_key_exchange_body)
    | st.binary(max_size=20).map(wire.hello_verify_request_body)
)
messages = st.builds(
    wire.fragment_bytes,
    st.sampled_from([0, 1, 2, 3, 4, 12, 14, 16, 20, 11]),
    st.integers(0, 60),
    st.integers(0, 5),
    st.integers(0, 5),
    st.binary(max_size=20),
) | st.builds(wire.message, st.sampled_from([0, 1, 2, 3, 4, 12, 14, 16, 20, 11]), st.integers(0, 5), bodies)
datagrams = (
    st.binary(max_size=30)
    | messages.filter(lambda content: len(content) < 256)
    | st.builds(
        wire.plain_record,
        st.sampled_from([codes.ALERT, codes.HANDSHAKE, codes.CHANGE_CIPHER_SPEC, codes.TLS12_CID]),
        st.sampled_from([0, 1, 1 << 48, 2 << 48]),
        st.binary(max_size=20),
    )
)
pieces = st.tuples(st.integers(0, 255), datagrams).map(
    lambda piece: bytes((piece[0], len(piece[1]))) + piece[1]
)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    fuzz_dtls.one_input(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=25).map(b"".join))
def test_datagrams_that_nearly_make_sense(data: bytes) -> None:
    fuzz_dtls.one_input(data)
