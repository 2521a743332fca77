"""Cutting answers, and the two sides of a client's transfer, one response at a time."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import Block, FailureReason, Message, codes, encode_uint
from overair.protocols.coap.blockwise import Budget, Download, Step, Upload, cut, portion_of

BODY = bytes(range(256)) * 5


def answer(code: int, *options: tuple[int, bytes], payload: bytes = b"") -> Message:
    return Message(codes.ACK, code, 1, b"t", tuple(sorted(options)), payload)


def block1(number: int, more: bool, szx: int) -> tuple[int, bytes]:
    return (codes.BLOCK1, Block(number, more, szx).encode())


def block2(number: int, more: bool, szx: int) -> tuple[int, bytes]:
    return (codes.BLOCK2, Block(number, more, szx).encode())


# -- cut -------------------------------------------------------------------------------------------


def test_the_first_block_has_size_and_etag() -> None:
    block = cut(((codes.CONTENT_FORMAT, b"*"),), BODY, wanted=None, block_size=512)
    assert block is not None
    assert block.more
    assert block.payload == BODY[:512]
    assert block.options == (
        (codes.ETAG, hashlib.sha256(BODY).digest()[:8]),
        (codes.CONTENT_FORMAT, b"*"),
        (codes.BLOCK2, Block(0, True, 5).encode()),
        (codes.SIZE2, encode_uint(1280)),
    )


def test_the_last_block_and_a_full_last_block() -> None:
    last = cut((), BODY, wanted=Block(2, False, 5), block_size=512)
    assert last is not None
    assert (last.payload, last.more) == (BODY[1024:], False)
    full = cut((), BODY[:1024], wanted=Block(1, False, 5), block_size=512)
    assert full is not None
    assert (full.payload, full.more) == (BODY[512:1024], False)
    assert cut((), BODY[:1024], wanted=Block(2, False, 5), block_size=512) is None


def test_the_smaller_size_wins_for_block_0_and_later_blocks_come_as_asked() -> None:
    first = cut((), BODY, wanted=Block(0, False, 6), block_size=512)
    assert first is not None
    assert block2(0, True, 5) in first.options
    small = cut((), BODY, wanted=Block(0, False, 2), block_size=512)
    assert small is not None
    assert (small.payload, block2(0, True, 2) in small.options) == (BODY[:64], True)
    later = cut((), BODY, wanted=Block(1, False, 6), block_size=512)
    assert later is not None
    assert later.payload == BODY[1024:]


def test_the_callers_etag_is_kept_and_size_comes_when_asked() -> None:
    block = cut(
        ((codes.ETAG, b"mine"),), memoryview(BODY), wanted=Block(1, False, 5), block_size=512, with_size=True
    )
    assert block is not None
    assert block.options == ((codes.ETAG, b"mine"), block2(1, True, 5), (codes.SIZE2, encode_uint(1280)))


@given(st.binary(max_size=300), st.integers(0, 6), st.integers(0, 6))
def test_the_blocks_make_the_body(body: bytes, asked: int, own: int) -> None:
    joined, block, number = b"", None, 0
    while block is None or block.more:
        block = cut((), body, wanted=Block(number, False, min(asked, own)), block_size=16 << own)
        assert block is not None
        joined += block.payload
        number += 1
    assert joined == body


@given(st.integers(0, 3000), st.integers(0, 6), st.integers(0, 6), st.integers(0, 200))
def test_a_portion_lies_where_the_block_is_cut(size: int, asked: int, own: int, number: int) -> None:
    body = (BODY * 3)[:size]
    wanted = Block(number, False, asked)
    portion = portion_of(len(body), wanted, 16 << own)
    block = cut((), body, wanted=wanted, block_size=16 << own)
    assert (portion is None) is (block is None)
    if portion is not None and block is not None:
        assert body[portion.offset : portion.offset + portion.size_bytes] == block.payload
        assert (codes.BLOCK2, portion.block.encode()) in block.options
        assert portion.block.more is (portion.offset + portion.size_bytes < size)


# -- upload ----------------------------------------------------------------------------------------


def test_an_upload_goes_block_by_block() -> None:
    upload = Upload(BODY, 512)
    assert upload.compose() == ([block1(0, True, 5), (codes.SIZE1, encode_uint(1280))], BODY[:512])
    assert upload.take(answer(codes.CONTINUE, block1(0, True, 5))) is Step.SEND
    assert upload.compose() == ([block1(1, True, 5)], BODY[512:1024])
    assert upload.take(answer(codes.CONTINUE)) is Step.SEND
    assert upload.compose() == ([block1(2, False, 5)], BODY[1024:])
    assert upload.take(answer(codes.CHANGED, block1(2, False, 5))) is Step.DONE


class Pages:
    """A body that isn't held: it is made where it is read."""

    def __init__(self) -> None:
        self.read: list[slice] = []

    def __len__(self) -> int:
        return len(BODY)

    def __getitem__(self, part: slice) -> bytes:
        self.read.append(part)
        return BODY[part]


def test_an_upload_reads_its_source_where_it_is() -> None:
    pages = Pages()
    upload = Upload(pages, 512)
    sent = b""
    step: Step | FailureReason = Step.SEND
    while step is Step.SEND:
        block = upload.block
        sent += upload.compose()[1]
        step = upload.take(answer(codes.CONTINUE if block.more else codes.CHANGED))
    assert (step, sent) == (Step.DONE, BODY)
    assert pages.read == [slice(0, 512), slice(512, 1024), slice(1024, 1536)]


def test_a_smaller_size_in_the_echo_changes_the_number() -> None:
    upload = Upload(BODY, 512)
    assert upload.take(answer(codes.CONTINUE, block1(0, True, 3))) is Step.SEND
    assert upload.block == Block(4, True, 3)
    assert upload.take(answer(codes.CONTINUE, block1(4, True, 6))) is Step.SEND
    assert upload.block == Block(5, True, 3)


def test_413_with_a_size_begins_again_with_it() -> None:
    upload = Upload(BODY, 1024)
    upload.take(answer(codes.CONTINUE, block1(0, True, 6)))
    assert upload.take(answer(codes.REQUEST_ENTITY_TOO_LARGE, block1(1, True, 4))) is Step.SEND
    assert upload.block == Block(0, True, 4)


def test_413_with_the_size_we_use_counts_as_bare() -> None:
    upload = Upload(BODY, 512)
    assert upload.take(answer(codes.REQUEST_ENTITY_TOO_LARGE, block1(0, True, 5))) is Step.SEND
    assert upload.block == Block(0, True, 4)


def test_bare_413_walks_the_sizes_down_to_32() -> None:
    upload = Upload(BODY, 512)
    sizes = []
    while (step := upload.take(answer(codes.REQUEST_ENTITY_TOO_LARGE))) is Step.SEND:
        sizes.append(upload.block.size_bytes)
    assert sizes == [256, 128, 64, 32]
    assert step is FailureReason.TOO_LARGE


def test_413_with_a_limit_below_our_size_is_final() -> None:
    refused = answer(codes.REQUEST_ENTITY_TOO_LARGE, (codes.SIZE1, encode_uint(1000)), block1(0, True, 4))
    assert Upload(BODY, 512).take(refused) is FailureReason.TOO_LARGE


def test_408_begins_again_three_times() -> None:
    upload = Upload(BODY, 512)
    steps = []
    for _ in range(4):
        upload.take(answer(codes.CONTINUE, block1(0, True, 5)))
        steps.append(upload.take(answer(codes.REQUEST_ENTITY_INCOMPLETE)))
        assert upload.block.number == 0
    assert steps == [Step.SEND] * 3 + [FailureReason.BLOCKS]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(codes.CHANGED), FailureReason.IGNORED_BLOCKS),
        (answer(codes.CONTINUE, block1(1, True, 5)), FailureReason.BLOCKS),
        (answer(codes.METHOD_NOT_ALLOWED), Step.DONE),
        (answer(codes.UNSUPPORTED_CONTENT_FORMAT), Step.DONE),
    ],
)
def test_other_answers_to_the_first_block(response: Message, expected: Step | FailureReason) -> None:
    assert Upload(BODY, 512).take(response) is expected


def test_continue_after_the_last_block_is_wrong() -> None:
    upload = Upload(BODY[:600], 512)
    upload.take(answer(codes.CONTINUE))
    assert upload.take(answer(codes.CONTINUE)) is FailureReason.BLOCKS


def test_a_body_of_too_many_blocks_is_too_large() -> None:
    upload = Upload(bytes((1 << 24) + 1), 1024)
    assert upload.take(answer(codes.CONTINUE, block1(0, True, 0))) is FailureReason.TOO_LARGE


# -- download --------------------------------------------------------------------------------------


def download(limit: int = 10_000, budget: int = 10_000, block_size: int = 512) -> Download:
    return Download(block_size, limit, Budget(budget))


def test_a_download_goes_block_by_block() -> None:
    transfer = download()
    assert transfer.whole() is None
    first = answer(
        codes.CONTENT,
        (codes.ETAG, b"e"),
        (codes.CONTENT_FORMAT, b"*"),
        block2(0, True, 5),
        payload=BODY[:512],
    )
    assert transfer.take(first) is Step.SEND
    assert transfer.block == Block(1, False, 5)
    assert (
        transfer.take(answer(codes.CONTENT, (codes.ETAG, b"e"), block2(1, True, 5), payload=BODY[512:1024]))
        is Step.SEND
    )
    last = answer(codes.CONTENT, (codes.ETAG, b"e"), block2(2, False, 5), payload=BODY[1024:])
    assert transfer.take(last) is Step.DONE
    assert transfer.whole() == answer(
        codes.CONTENT, (codes.ETAG, b"e"), (codes.CONTENT_FORMAT, b"*"), payload=BODY
    )


def test_a_smaller_preferred_size_is_asked_for_after_the_first_block() -> None:
    transfer = download(block_size=64)
    assert transfer.take(answer(codes.CONTENT, block2(0, True, 5), payload=BODY[:512])) is Step.SEND
    assert transfer.block == Block(8, False, 2)


def test_another_etag_begins_again_once() -> None:
    transfer = download()
    transfer.take(answer(codes.CONTENT, (codes.ETAG, b"1"), block2(0, True, 5), payload=BODY[:512]))
    other = answer(codes.CONTENT, (codes.ETAG, b"2"), block2(1, True, 5), payload=BODY[512:1024])
    assert transfer.take(other) is Step.SEND
    assert (transfer.block.number, transfer.budget.held_bytes) == (0, 0)
    transfer.take(answer(codes.CONTENT, (codes.ETAG, b"2"), block2(0, True, 5), payload=BODY[:512]))
    third = answer(codes.CONTENT, (codes.ETAG, b"3"), block2(1, True, 5), payload=BODY[512:1024])
    assert transfer.take(third) is FailureReason.BLOCKS


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(codes.CONTENT, block2(1, True, 5), payload=BODY[:512]), FailureReason.BLOCKS),
        (answer(codes.CONTENT, block2(0, True, 5), payload=BODY[:511]), FailureReason.BLOCKS),
        (answer(codes.CONTENT, block2(0, True, 7), payload=BODY[:512]), FailureReason.BLOCKS),
        (answer(codes.CONTENT, block2(0, False, 4), payload=BODY[:512]), FailureReason.BLOCKS),
        (answer(codes.CONTENT, block2(0, True, 6), payload=BODY[:1024]), FailureReason.TOO_LARGE),
        (
            answer(codes.CONTENT, block2(0, True, 5), (codes.SIZE2, encode_uint(1001)), payload=BODY[:512]),
            FailureReason.TOO_LARGE,
        ),
    ],
)
def test_blocks_that_end_a_download(response: Message, expected: FailureReason) -> None:
    assert download(limit=1000).take(response) is expected


def test_all_downloads_share_one_budget() -> None:
    budget = Budget(1000)
    one, two = Download(512, 10_000, budget), Download(512, 10_000, budget)
    block = answer(codes.CONTENT, block2(0, True, 5), payload=BODY[:512])
    assert one.take(block) is Step.SEND
    assert two.take(block) is FailureReason.TOO_LARGE
    one.release()
    assert two.take(block) is Step.SEND


@given(st.binary(min_size=33, max_size=400), st.integers(0, 4), st.integers(0, 4))
def test_a_download_of_what_cut_cuts(body: bytes, server_szx: int, client_szx: int) -> None:
    transfer = download(block_size=16 << client_szx)
    wanted, step = None, Step.SEND
    while step is Step.SEND:
        block = cut((), body, wanted=wanted, block_size=16 << server_szx)
        assert block is not None
        step = transfer.take(Message(codes.ACK, codes.CONTENT, 1, b"", block.options, block.payload))
        wanted = transfer.block
    assert step is Step.DONE
    whole = transfer.whole()
    assert whole is not None
    assert whole.payload == body
