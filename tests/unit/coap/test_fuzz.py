"""The fuzz target of tests/fuzz, driven by hypothesis."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from overair.protocols.coap import Block, codes, encode_uint
from overair.protocols.coap.message import encode_fields

_path = Path(__file__).parents[2] / "fuzz" / "fuzz_coap.py"
_spec = importlib.util.spec_from_file_location("fuzz_coap", _path)
assert _spec is not None
assert _spec.loader is not None
fuzz_coap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_coap)

blocks = st.builds(Block, st.integers(0, 3), st.booleans(), st.integers(0, 7)).map(Block.encode)
options = st.lists(
    st.tuples(st.sampled_from([codes.BLOCK1, codes.BLOCK2]), blocks)
    | st.tuples(st.sampled_from([codes.OBSERVE, codes.SIZE1]), st.integers(0, 700).map(encode_uint))
    | st.tuples(st.sampled_from([codes.URI_PATH, codes.ETAG, 9]), st.binary(max_size=2)),
    max_size=4,
)
datagrams = st.builds(
    encode_fields,
    st.integers(0, 3),
    st.sampled_from([codes.GET, codes.POST, codes.CONTENT, codes.CHANGED, codes.CONTINUE, 0x88, 0x8D]),
    st.integers(0, 4),
    st.sampled_from([b"", b"t", b"n"]),
    options,
    st.sampled_from([b"", b"x", bytes(16), bytes(32), bytes(64)]),
)
empties = st.builds(encode_fields, st.integers(0, 3), st.just(0), st.integers(0, 4))
pieces = st.tuples(st.integers(0, 255), datagrams | empties | st.binary(max_size=24)).map(
    lambda piece: bytes((len(piece[1]), piece[0])) + piece[1]
)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    fuzz_coap.one_input(data)


@settings(max_examples=400)
@given(st.lists(pieces, max_size=30).map(b"".join))
def test_datagrams_that_nearly_make_sense(data: bytes) -> None:
    fuzz_coap.one_input(data)
