"""Options: the block value, unsigned integers, and which option rejects a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import Block, MessageFieldError, codes, decode_block, encode_uint
from overair.protocols.coap.options import examine, request_options, szx_of


# Table of spec lwm2m.md 13.1.
@pytest.mark.parametrize(
    ("number", "more", "size", "text"),
    [
        (0, False, 64, "02"),
        (0, True, 512, "0d"),
        (1, True, 512, "1d"),
        (15, True, 512, "fd"),
        (16, False, 512, "0105"),
        (0, True, 1024, "0e"),
        (4095, True, 1024, "fffe"),
        (4096, True, 1024, "01000e"),
    ],
)
def test_block_values(number: int, more: bool, size: int, text: str) -> None:
    block = Block(number, more, szx_of(size))
    assert block.encode().hex() == text
    assert decode_block(bytes.fromhex(text)) == block
    assert (block.size_bytes, block.offset) == (size, number * size)


def test_block_zero_is_empty_and_numbers_end_at_20_bits() -> None:
    assert Block(0, False, 0).encode() == b""
    assert decode_block(b"") == Block(0, False, 0)
    with pytest.raises(MessageFieldError):
        Block(1 << 20, False, 6).encode()


@given(st.integers(0, (1 << 20) - 1), st.booleans(), st.integers(0, 7))
def test_blocks_round_trip(number: int, more: bool, szx: int) -> None:
    assert decode_block(Block(number, more, szx).encode()) == Block(number, more, szx)


@given(st.integers(0, 1 << 40))
def test_uints_have_no_leading_zeros(value: int) -> None:
    encoded = encode_uint(value)
    assert int.from_bytes(encoded, "big") == value
    assert not encoded.startswith(b"\0")


@pytest.mark.parametrize(
    ("size", "szx"), [(16, 0), (31, 0), (32, 1), (500, 4), (512, 5), (1024, 6), (4096, 6)]
)
def test_szx_of(size: int, szx: int) -> None:
    assert szx_of(size) == szx


@pytest.mark.parametrize(
    ("options", "rejected"),
    [
        (((codes.URI_PATH, b"rd"), (codes.URI_PATH, b"1")), 0),
        (((codes.URI_HOST, b"example"), (codes.URI_PORT, b"\x16\x33")), 0),
        (((codes.IF_MATCH, b""),), codes.IF_MATCH),
        (((9, b""),), 9),
        (((65001, b""),), 65001),
        (((2048, b"elective"),), 0),
        (((codes.PROXY_URI, b"coap://x"),), codes.PROXY_URI),
        (((codes.PROXY_SCHEME, b"coap"),), codes.PROXY_SCHEME),
        (((codes.ACCEPT, b""), (codes.ACCEPT, b"")), codes.ACCEPT),
        (((codes.ACCEPT, b"123"),), codes.ACCEPT),
        (((codes.URI_HOST, b""),), codes.URI_HOST),
        (((codes.URI_PATH, bytes(256)),), codes.URI_PATH),
        (((codes.URI_PATH, b"\xc3\x28"),), codes.URI_PATH),
        (((codes.URI_PATH, "ä".encode()),), 0),
        (((codes.BLOCK1, b"1234"),), codes.BLOCK1),
        # Elective ones outside their format are merely ignored.
        (((codes.CONTENT_FORMAT, b"123"),), 0),
        (((codes.OBSERVE, b""), (codes.OBSERVE, b"")), 0),
    ],
)
def test_the_option_that_rejects(options: tuple[tuple[int, bytes], ...], rejected: int) -> None:
    assert examine(options)[0] == rejected


def test_examine_finds_the_blocks() -> None:
    assert examine(((codes.BLOCK2, b"\x06"), (codes.BLOCK1, b""))) == (0, b"", b"\x06")


def test_request_options_are_in_order_and_without_a_host() -> None:
    options = request_options(("5", "0"), ("a=1",), ((codes.ACCEPT, b"*"), (codes.URI_HOST, b"h"), (6, b"")))
    assert [number for number, _ in options] == [6, 11, 11, 15, 17]


@pytest.mark.parametrize("pair", [(70000, b""), (-1, b""), (codes.ETAG, bytes(9)), (2049, bytes(70000))])
def test_request_options_out_of_range(pair: tuple[int, bytes]) -> None:
    with pytest.raises(MessageFieldError):
        request_options((), (), (pair,))


def test_a_path_segment_has_at_most_255_bytes() -> None:
    with pytest.raises(MessageFieldError):
        request_options(("x" * 256,), (), ())
