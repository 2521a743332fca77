"""Bodies larger than a datagram: cutting answers, sending and fetching bodies (RFC 7959).

Upload and Download are the two sides of a client: each is fed the response to one block and says what
comes next. Spec lwm2m.md 13.2 (push) and 13.3 (pull) have the rules beyond the RFC.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final, NamedTuple, Protocol

import msgspec

from overair.protocols.coap import codes
from overair.protocols.coap.errors import FailureReason
from overair.protocols.coap.message import Message
from overair.protocols.coap.options import (
    MAX_BLOCK_NUMBER,
    RESERVED_SZX,
    Block,
    OptionPair,
    Options,
    encode_uint,
    szx_of,
    without,
)

UPLOAD_RESTARTS: Final = 3
DOWNLOAD_RESTARTS: Final = 1
SMALLEST_GUESSED_SZX: Final = 1
"""32 bytes: where guessing smaller sizes after a bare 4.13 ends."""


Body = bytes | bytearray | memoryview
"""A payload of any size; a memoryview lets a mapped file be sent without reading it whole."""


class Source(Protocol):
    """A request body that is read where it is sent: it has a length in bytes, and slices of it are bytes.

    So one image that many devices are sent is held once, or not at all. Slices must be quick to get,
    and the same every time: a block is asked for again when a transfer is taken up or begun anew.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Body: ...


class Step(enum.Enum):
    """What a client does after a response, unless the exchange failed."""

    SEND = "send the next block"
    DONE = "hand over the response"


class Budget:
    """Bytes that all transfers of one kind may hold together."""

    __slots__ = ("held_bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Reserve bytes; False, and nothing reserved, if there are not as many left."""
        if self.held_bytes + size_bytes > self.limit_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def give(self, size_bytes: int) -> None:
        """Return reserved bytes."""
        self.held_bytes -= size_bytes


class Cut(msgspec.Struct, gc=False):
    """One block of an answer: its options, its payload, and whether more follow."""

    options: Options
    payload: bytes
    more: bool


class Portion(NamedTuple):
    """The part of a body that one block carries: where it begins, how long it is, how its block is named."""

    block: Block
    size_bytes: int
    """Bytes in it: the size of the block, less in the last one."""
    body_bytes: int

    @property
    def offset(self) -> int:
        """Where it begins, in bytes."""
        return self.block.offset


def portion_of(body_bytes: int, wanted: Block | None, block_size: int) -> Portion | None:
    """Which part of a body of that many bytes the block `wanted` is; None if it begins beyond the end.

    Without `wanted` it is the first one, of `block_size` bytes. A block 0 that is asked for larger
    than that comes smaller; later ones come as asked (spec lwm2m.md 13.3). The last one says so, also
    if it is full.
    """
    wanted = wanted or Block(0, False, szx_of(block_size))
    szx = wanted.szx if wanted.number else min(wanted.szx, szx_of(block_size))
    offset = wanted.number << (szx + 4)
    if offset >= body_bytes and wanted.number:
        return None
    end = min(offset + (16 << szx), body_bytes)
    return Portion(Block(wanted.number, end < body_bytes, szx), end - offset, body_bytes)


def portion_options(portion: Portion, etag: bytes | None, with_size: bool) -> list[OptionPair]:
    """Block2, the ETag, and Size2 in block 0 of several and wherever `with_size` asks for it."""
    block = portion.block
    added = [(codes.BLOCK2, block.encode())]
    if etag is not None:
        added.append((codes.ETAG, etag))
    if with_size or (block.more and not block.number):
        added.append((codes.SIZE2, encode_uint(portion.body_bytes)))
    return added


def cut(
    options: tuple[OptionPair, ...],
    body: Body,
    *,
    wanted: Block | None,
    block_size: int,
    with_size: bool = False,
) -> Cut | None:
    """The block `wanted` of a body (see `portion_of`) with its options; None if it begins beyond the end.

    The ETag is the caller's, or the first 8 bytes of the body's SHA-256: for a large body give one,
    since each block is cut afresh.
    """
    portion = portion_of(len(body), wanted, block_size)
    if portion is None:
        return None
    block, offset = portion.block, portion.offset
    needs_etag = (block.more or block.number) and not any(number == codes.ETAG for number, _ in options)
    etag = hashlib.sha256(body).digest()[:8] if needs_etag else None
    added = portion_options(portion, etag, with_size)
    added += without(options, codes.BLOCK2, codes.SIZE2)
    payload = bytes(body[offset : offset + portion.size_bytes])
    return Cut(tuple(sorted(added, key=_number)), payload, block.more)


class Upload:
    """A request body on its way to the peer, one block at a time."""

    __slots__ = ("body", "offset", "restarts", "szx")

    def __init__(self, body: Body | Source, block_size: int) -> None:
        self.body = body
        self.szx = szx_of(block_size)
        self.offset = 0
        self.restarts = 0

    @property
    def block(self) -> Block:
        """The block to send now."""
        end = self.offset + (16 << self.szx)
        return Block(self.offset >> (self.szx + 4), end < len(self.body), self.szx)

    def compose(self) -> tuple[list[OptionPair], bytes]:
        """(Block1 and, in block 0, Size1; the bytes of the block)."""
        block = self.block
        added = [(codes.BLOCK1, block.encode())]
        if not block.number:
            added.append((codes.SIZE1, encode_uint(len(self.body))))
        return added, bytes(self.body[self.offset : self.offset + block.size_bytes])

    def restart(self) -> None:
        """Begin again at block 0."""
        self.offset = 0

    def take(self, response: Message) -> Step | FailureReason:
        """Go on by the response to the block sent last."""
        if response.code == codes.REQUEST_ENTITY_TOO_LARGE:
            return self._shrink(response)
        if response.code == codes.REQUEST_ENTITY_INCOMPLETE:
            self.restarts += 1
            self.restart()
            return Step.SEND if self.restarts <= UPLOAD_RESTARTS else FailureReason.BLOCKS
        block = self.block
        if response.code == codes.CONTINUE:
            return self._advance(block, response.block1)
        if codes.is_success(response.code) and block.more:
            return FailureReason.IGNORED_BLOCKS
        return Step.DONE

    def _advance(self, sent: Block, confirmed: Block | None) -> Step | FailureReason:
        # The echo is not always there; where it is, it must be about this block.
        if not sent.more or (confirmed is not None and confirmed.number != sent.number):
            return FailureReason.BLOCKS
        self.offset += sent.size_bytes
        if confirmed is not None and confirmed.szx < self.szx:
            self.szx = confirmed.szx
        return Step.SEND if self.fits else FailureReason.TOO_LARGE

    def _shrink(self, response: Message) -> Step | FailureReason:
        """4.13: a smaller Block1 is a proposal, a Size1 below our size is final, else we guess."""
        hint = response.block1
        most = response.uint_option(codes.SIZE1)
        if most is not None and most < len(self.body):
            return FailureReason.TOO_LARGE
        if hint is not None and hint.szx < self.szx:
            self.szx = hint.szx
        elif self.szx > SMALLEST_GUESSED_SZX:
            self.szx -= 1
        else:
            return FailureReason.TOO_LARGE
        self.restart()
        return Step.SEND if self.fits else FailureReason.TOO_LARGE

    @property
    def fits(self) -> bool:
        """Whether the block numbers suffice for this body in blocks of this size."""
        return len(self.body) <= (MAX_BLOCK_NUMBER + 1) << (self.szx + 4)


class Download:
    """A response body on its way from the peer. `answer` is the first block's message."""

    __slots__ = ("answer", "body", "budget", "limit_bytes", "restarts", "szx")

    def __init__(self, block_size: int, limit_bytes: int, budget: Budget) -> None:
        self.answer: Message | None = None
        self.body = bytearray()
        self.budget = budget
        self.limit_bytes = limit_bytes
        self.restarts = 0
        self.szx = szx_of(block_size)

    @property
    def block(self) -> Block:
        """The block to ask for now."""
        return Block(len(self.body) >> (self.szx + 4), False, self.szx)

    def release(self) -> None:
        """Drop what is there, and begin again at block 0 if asked for more."""
        self.budget.give(len(self.body))
        self.body.clear()
        self.answer = None

    def take(self, response: Message) -> Step | FailureReason:
        """Add the block in a response of class 2 that has a Block2."""
        block = response.block2
        if block is None or block.szx == RESERVED_SZX:
            return FailureReason.BLOCKS
        if self.answer is not None and self.answer.etag != response.etag:
            return self._restart()
        size = len(response.payload)
        wrong_size = size != block.size_bytes if block.more else size > block.size_bytes
        if block.offset != len(self.body) or wrong_size:
            return FailureReason.BLOCKS
        if self._too_large(response):
            return FailureReason.TOO_LARGE
        if self.answer is None:
            self.answer = response
        self.body += response.payload
        self.szx = min(self.szx, block.szx)
        if not block.more:
            return Step.DONE
        return Step.SEND if self.block.number <= MAX_BLOCK_NUMBER else FailureReason.TOO_LARGE

    def whole(self) -> Message | None:
        """The first block's message with the whole body and without Block2; None before any block."""
        answer = self.answer
        if answer is None:
            return None
        options = without(answer.options, codes.BLOCK2)
        return Message(answer.type, answer.code, answer.message_id, answer.token, options, bytes(self.body))

    def _too_large(self, response: Message) -> bool:
        end = len(self.body) + len(response.payload)
        announced = response.uint_option(codes.SIZE2) or 0
        return max(end, announced) > self.limit_bytes or not self.budget.take(len(response.payload))

    def _restart(self) -> Step | FailureReason:
        self.restarts += 1
        self.release()
        return Step.SEND if self.restarts <= DOWNLOAD_RESTARTS else FailureReason.BLOCKS


def _number(pair: OptionPair) -> int:
    return pair[0]
