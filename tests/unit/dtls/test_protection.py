"""Each suite seals what the other side opens, and opens nothing that was touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.dtls import codes
from overair.protocols.dtls.protection import Protection, _mac, associated_data, new_protection
from overair.protocols.dtls.suites import SUITES, Suite

VARIANTS = [(suite, etm) for suite in SUITES.values() for etm in (True, False) if etm or suite.mode == "cbc"]
variants = st.sampled_from(VARIANTS)
NUMBER = 1 << 48 | 5


def pair(suite: Suite, encrypt_then_mac: bool) -> tuple[Protection, Protection]:
    material = bytes(range(suite.key_block_bytes))
    client, server = (
        new_protection(suite, encrypt_then_mac=encrypt_then_mac, material=material, is_server=is_server)
        for is_server in (False, True)
    )
    return client, server


@given(variants, st.binary(max_size=600), st.sampled_from([b"", b"12345678"]), st.integers(0, (1 << 64) - 1))
def test_round_trip(variant: tuple[Suite, bool], content: bytes, cid: bytes, number: int) -> None:
    client, server = pair(*variant)
    for one, other in ((client, server), (server, client)):
        fragment = one.seal(codes.APPLICATION_DATA, number, content, cid)
        assert len(fragment) <= len(content) + one.expansion
        assert other.open(codes.APPLICATION_DATA, number, fragment, cid) == content
        assert one.open(codes.APPLICATION_DATA, number, fragment, cid) is None


@pytest.mark.parametrize(("suite", "encrypt_then_mac"), VARIANTS)
@pytest.mark.parametrize("cid", [b"", b"12345678"])
def test_nothing_touched_opens(suite: Suite, encrypt_then_mac: bool, cid: bytes) -> None:
    client, server = pair(suite, encrypt_then_mac)
    fragment = client.seal(codes.APPLICATION_DATA, NUMBER, b"content", cid)
    assert server.open(codes.APPLICATION_DATA, NUMBER + 1, fragment, cid) is None
    if cid:
        assert server.open(codes.APPLICATION_DATA, NUMBER, fragment, b"1234567x") is None
    else:
        assert server.open(codes.ALERT, NUMBER, fragment, b"") is None
    for at in range(len(fragment)):
        touched = bytearray(fragment)
        touched[at] ^= 0x80
        assert server.open(codes.APPLICATION_DATA, NUMBER, bytes(touched), cid) is None
    for length in range(len(fragment)):
        assert server.open(codes.APPLICATION_DATA, NUMBER, fragment[:length], cid) is None


@given(variants, st.binary(max_size=200), st.sampled_from([b"", b"1234"]))
def test_any_fragment_opens_or_not(variant: tuple[Suite, bool], fragment: bytes, cid: bytes) -> None:
    _, server = pair(*variant)
    assert server.open(codes.APPLICATION_DATA, NUMBER, fragment, cid) is None


def test_padding_that_lies_is_no_oracle() -> None:
    """CBC blocks under the right key but with any last byte: refused, whatever the padding says."""
    suite = next(suite for suite in SUITES.values() if suite.mode == "cbc")
    client, server = pair(suite, False)
    for last in range(256):
        plain = bytes(79) + bytes((last,))
        blocks = client._encrypt(NUMBER, plain)[:-16]
        assert server.open(codes.APPLICATION_DATA, NUMBER, blocks, b"") is None


def test_padding_that_lies_behind_a_genuine_mac() -> None:
    suite = next(suite for suite in SUITES.values() if suite.mode == "cbc")
    client, server = pair(suite, False)
    content = bytes(27)
    mac = _mac(client._own_mac, associated_data(codes.APPLICATION_DATA, NUMBER, b"", 27), content)
    for padding, opened in ((b"\4" * 5, content), (b"\4\4\5\4\4", None)):
        blocks = client._encrypt(NUMBER, content + mac + padding)[:-16]
        assert server.open(codes.APPLICATION_DATA, NUMBER, blocks, b"") == opened


def test_ivs_differ_and_don_t_follow_the_number() -> None:
    suite = next(suite for suite in SUITES.values() if suite.mode == "cbc")
    client, _ = pair(suite, True)
    ivs = {client.seal(codes.APPLICATION_DATA, number, b"same", b"")[:16] for number in range(64)}
    assert len(ivs) == 64
    assert not {number.to_bytes(16, "big") for number in range(64)} & ivs


def test_associated_data() -> None:
    """RFC 5246 section 6.2.3.3, and RFC 9146 section 5.3 written out."""
    assert associated_data(23, NUMBER, b"", 9) == bytes.fromhex("0001000000000005 17 fefd 0009")
    assert associated_data(25, NUMBER, b"abcd", 9) == (
        bytes.fromhex("ffffffffffffffff 19 04 19 fefd 0001000000000005") + b"abcd" + b"\0\x09"
    )
