"""Request bodies put together from Block1, and their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import Block, CoapLimits, Message, Parameters, codes, encode_uint
from overair.protocols.coap.assembly import Assemblies, BlockReply

BODY = bytes(range(256)) * 4


def make(*, accepted: int = 1024, **limits: int) -> Assemblies:
    return Assemblies(CoapLimits(**limits), Parameters(accepted_block_size=accepted))


def feed(
    assemblies: Assemblies,
    number: int,
    more: bool,
    szx: int = 4,
    *,
    body: bytes = BODY,
    peer: str = "a",
    path: bytes = b"rd",
    options: tuple[tuple[int, bytes], ...] = (),
    now: float = 0.0,
) -> bytes | BlockReply:
    block = Block(number, more, szx)
    payload = body[block.offset : block.offset + block.size_bytes]
    pairs = ((codes.URI_PATH, path), (codes.BLOCK1, block.encode()), *options)
    return assemblies.take(peer, Message(codes.CON, codes.POST, 1, b"", pairs, payload), block, now)


def test_blocks_in_order_make_the_body() -> None:
    assemblies = make()
    replies = [feed(assemblies, number, True) for number in range(3)]
    assert replies == [
        BlockReply(codes.CONTINUE, ((codes.BLOCK1, Block(number, True, 4).encode()),)) for number in range(3)
    ]
    assert assemblies.held_bytes == 768
    assert feed(assemblies, 3, False) == BODY
    assert (len(assemblies), assemblies.held_bytes, assemblies.has("a")) == (0, 0, False)


def test_a_single_block_is_whole_at_once() -> None:
    assert feed(make(), 0, False, 6) == BODY


def test_a_gap_is_408_and_leaves_the_transfer() -> None:
    assemblies = make()
    feed(assemblies, 0, True)
    assert feed(assemblies, 2, True) == BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)
    assert isinstance(feed(assemblies, 1, True), BlockReply)
    feed(assemblies, 2, True)
    assert feed(assemblies, 3, False) == BODY


def test_a_later_block_of_nothing_is_408() -> None:
    assert feed(make(), 1, True) == BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)


def test_a_repeated_block_is_answered_as_before_unless_it_differs() -> None:
    assemblies = make()
    feed(assemblies, 0, True)
    first = feed(assemblies, 1, True)
    assert feed(assemblies, 1, True) == first
    assert feed(assemblies, 1, True, body=bytes(1024)) == BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)
    assert assemblies.held_bytes == 512


def test_a_last_block_in_the_middle_is_a_gap() -> None:
    assemblies = make()
    for number in range(3):
        feed(assemblies, number, True)
    assert feed(assemblies, 1, False) == BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)


def test_block_0_begins_again() -> None:
    assemblies = make()
    feed(assemblies, 0, True)
    feed(assemblies, 1, True)
    feed(assemblies, 0, True)
    assert assemblies.held_bytes == 256


def test_a_client_may_change_to_smaller_blocks() -> None:
    assemblies = make()
    feed(assemblies, 0, True, 5)
    for number in range(4, 7):
        feed(assemblies, number, True, 3)
    assert feed(assemblies, 7, False, 3) == BODY[:1024]


@pytest.mark.parametrize(
    ("block", "payload", "code"),
    [
        (Block(0, True, 7), bytes(16), codes.BAD_REQUEST),
        (Block(0, True, 0), bytes(15), codes.BAD_REQUEST),
        (Block(0, False, 0), bytes(17), codes.BAD_REQUEST),
    ],
)
def test_blocks_that_break_a_rule(block: Block, payload: bytes, code: int) -> None:
    message = Message(codes.CON, codes.POST, 1, b"", (), payload)
    assert make().take("a", message, block, 0.0) == BlockReply(code)


def test_too_large_by_announcement_and_by_bytes() -> None:
    limit = (codes.SIZE1, encode_uint(600))
    assemblies = make(request_bytes=600)
    announced = feed(assemblies, 0, True, options=((codes.SIZE1, encode_uint(601)),))
    assert announced == BlockReply(codes.REQUEST_ENTITY_TOO_LARGE, (limit,))
    feed(assemblies, 0, True)
    feed(assemblies, 1, True)
    assert feed(assemblies, 2, True) == BlockReply(codes.REQUEST_ENTITY_TOO_LARGE, (limit,))


def test_blocks_above_the_accepted_size_are_answered_with_that_size() -> None:
    hint = (codes.BLOCK1, Block(0, True, 2).encode())
    assert feed(make(accepted=64), 0, True, 5) == BlockReply(codes.REQUEST_ENTITY_TOO_LARGE, (hint,))


def test_resources_do_not_mix_and_a_third_pushes_out_the_first() -> None:
    assemblies = make(assemblies_per_peer=2)
    for path in (b"1", b"2", b"3"):
        feed(assemblies, 0, True, path=path)
    assert (len(assemblies), assemblies.evicted) == (2, 1)
    assert feed(assemblies, 1, True, path=b"1") == BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)
    assert feed(assemblies, 1, False, path=b"2", body=BODY[:512]) == BODY[:512]


def test_one_per_peer() -> None:
    assemblies = make(assemblies_per_peer=1)
    feed(assemblies, 0, True, path=b"1")
    feed(assemblies, 0, True, path=b"2")
    assert (len(assemblies), assemblies.held_bytes) == (1, 256)


def test_a_million_open_transfers_stay_within_the_byte_budget() -> None:
    assemblies = make(body_budget_bytes=2048, request_bytes=1024, body_bytes=1024)
    most = 0
    for number in range(5_000):
        feed(assemblies, 0, True, peer=f"peer {number}")
        most = max(most, assemblies.held_bytes)
    assert most == 2048
    assert len(assemblies) == 8
    assert assemblies.evicted == 4_992


def test_a_transfer_that_goes_on_outlives_ones_that_do_not() -> None:
    assemblies = make(body_budget_bytes=1024, request_bytes=1024, body_bytes=1024)
    for number in range(3):
        feed(assemblies, number, True, 2, peer="steady")
        for stranger in range(3):
            feed(assemblies, 0, True, peer=f"stranger {number} {stranger}")
    assert isinstance(feed(assemblies, 3, False, 2, peer="steady"), bytes)


def test_a_lifetime_counts_from_the_last_block() -> None:
    assemblies = make()
    feed(assemblies, 0, True, now=0.0)
    feed(assemblies, 0, True, now=1.0, peer="b")
    feed(assemblies, 1, True, now=200.0)
    assemblies.expire(250.0)
    assert (assemblies.has("a"), assemblies.has("b")) == (True, False)
    assemblies.expire(447.0)
    assert (len(assemblies), assemblies.held_bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 7), st.binary(max_size=40))))
def test_bytes_held_are_always_the_bytes_there(blocks: list[tuple[int, bool, int, bytes]]) -> None:
    assemblies = make(request_bytes=100, body_bytes=100, body_budget_bytes=150)
    for number, more, szx, payload in blocks:
        message = Message(codes.CON, codes.POST, 1, b"", ((codes.URI_PATH, payload[:1]),), payload)
        assemblies.take("a", message, Block(number, more, szx), 0.0)
        held = sum(len(assembly.body) for assembly in assemblies._transfers.values())
        assert held == assemblies.held_bytes <= 150
        assert len(assemblies) <= 2
