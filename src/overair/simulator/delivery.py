"""How a package comes to a device: pulled over CoAP or HTTP, or pushed in blocks (spec lwm2m.md 13).

Pulled over CoAP it is asked for block by block, no faster than the profile has it. A block without answer is
asked for again after a wait, and a server that is busy says how long; after RETRIES of it the connection is
lost. What is there is in the bank, so a download goes on where it was, also after a reboot, as long as the
ETag is still the same; with another one it begins anew, once.

Pushed blocks come in order. One that is a repetition is answered as before, a gap with 4.08, a block that is
larger than the device takes with 4.13 and the size it does take.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from overair.protocols.coap import Block, Exchange, Message, Options, codes, encode_uint
from overair.protocols.lwm2m.content import TLV
from overair.simulator.bank import Bank
from overair.simulator.firmware import Result
from overair.simulator.profile import Profile
from overair.simulator.source import Source
from overair.simulator.transfer import BlockAnswer, Fetch, Owner, PushedBlock, Radio

RETRIES: Final = 3
RETRY_SECONDS: Final = 10.0
"""Wait before the first retry; each later one takes twice as long."""
RESTARTS: Final = 1
UNREACHED_SECONDS: Final = 5.0
"""Looked again after so long whether the server that has the package is there to be asked."""
PUSH_PATIENCE_SECONDS: Final = 247.0
"""EXCHANGE_LIFETIME: after it an unfinished push is given up."""
MAX_AGE_SECONDS_MAX: Final = 86_400
_RESERVED_SZX: Final = 7
_BUSY: Final = (codes.SERVICE_UNAVAILABLE, codes.TOO_MANY_REQUESTS)


class _Step(enum.Enum):
    ASK = "ask for a block"
    HALF = "half a push is there"
    WHOLE = "a whole push is there"
    GIVE_UP = "the next block of a push is long overdue"


class Delivery:
    """The way of one package into one bank. Only the bank outlives a reboot."""

    __slots__ = (
        "_asked_at",
        "_exchange",
        "_failures",
        "_owner",
        "_pushed",
        "_radio",
        "_restarts",
        "_skipped",
        "_step",
        "_szx",
        "bank",
        "due",
        "fetch",
        "profile",
    )

    def __init__(self, owner: Owner, radio: Radio, profile: Profile, bank: Bank) -> None:
        self.profile: Final = profile
        self.bank: Final = bank
        self.due: float | None = None
        self.fetch: Fetch | None = None
        self._owner = owner
        self._radio = radio
        self._step = _Step.ASK
        self._exchange: Exchange | None = None
        self._szx = profile.block_bytes.bit_length() - 5
        self._asked_at = 0.0
        self._failures = 0
        self._restarts = 0
        self._pushed: int | None = None
        """Bytes of the push that is going on, its wrapping included."""
        self._skipped = 0

    @property
    def pushing(self) -> bool:
        """Whether a push has begun and is not whole."""
        return self._pushed is not None

    def pull(self, source: Source, now: float) -> None:
        """Begin to download, or go on with what the bank has of this source."""
        if self.bank.source != source or self.bank.package is None or not self.profile.manner.resumes:
            self.bank.clear(source)
        self._failures = self._restarts = 0
        self._szx = self.profile.block_bytes.bit_length() - 5
        self._plan(_Step.ASK, now)

    def stop(self) -> None:
        """Do no more; the bank keeps what is there."""
        self.due = None
        self.fetch = None
        self._pushed = None
        if self._exchange is not None:
            self._radio.drop(self._exchange)
            self._exchange = None

    def power_off(self) -> None:
        """Be without memory; who was asked is gone too."""
        self._exchange = None
        self.stop()

    def advance(self, now: float) -> None:
        """Do what is due."""
        if self.due is None or self.due > now:
            return
        self.due = None
        _STEPS[self._step](self, now)

    def _plan(self, step: _Step, when: float) -> None:
        self._step = step
        self.due = max(when, self._radio.awake_from)

    # -- pull over CoAP ----------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        source = self.bank.source
        if source is None:
            return
        if not source.is_coap:
            self._fetch(source, now)
            return
        peer = self._radio.find(source)
        if peer is None:
            self._owner.broke_off(Result.CONNECTION_LOST, now)
        elif not self._radio.reaches(peer):
            self._plan(_Step.ASK, now + UNREACHED_SECONDS)
        else:
            number = self._received >> (self._szx + 4)
            options: Options = ((codes.BLOCK2, Block(number, False, self._szx).encode()),)
            if not number:
                options += ((codes.SIZE2, b""),)
            self._asked_at = now
            self._exchange = self._radio.ask_for_block(peer, source, options, self, now)

    def answered(self, exchange: Exchange, message: Message, now: float) -> None:
        """Take the answer to a request for a block."""
        if exchange is not self._exchange:
            return
        self._exchange = None
        if message.code == codes.CONTENT:
            self._take_block(message, now)
        elif message.code in _BUSY:
            self._retry(message.uint_option(codes.MAX_AGE), now)
        elif message.code == codes.NOT_FOUND and not self.profile.manner.one_error:
            self._owner.broke_off(Result.INVALID_URI, now)
        else:
            self._owner.broke_off(Result.CONNECTION_LOST, now)

    def failed(self, exchange: Exchange, now: float) -> None:
        """Take it that there was no answer."""
        if exchange is self._exchange:
            self._exchange = None
            self._radio.look_for_server(now)
            self._retry(None, now)

    def _retry(self, wait_seconds: int | None, now: float) -> None:
        self._failures += 1
        if self._failures > RETRIES:
            self._owner.broke_off(Result.CONNECTION_LOST, now)
            return
        wait = RETRY_SECONDS * 2 ** (self._failures - 1) if wait_seconds is None else wait_seconds
        self._plan(_Step.ASK, now + min(wait, MAX_AGE_SECONDS_MAX))

    def _take_block(self, message: Message, now: float) -> None:
        bank, block = self.bank, message.block2 or Block(0, False, 6)
        if bank.etag and message.etag != bank.etag:
            self._restart(now)
            return
        wrong_size = block.more and len(message.payload) != block.size_bytes
        if block.szx == _RESERVED_SZX or block.offset != self._received or wrong_size:
            self._owner.broke_off(Result.CONNECTION_LOST, now)
            return
        bank.etag = message.etag or b""
        bank.size_bytes = message.uint_option(codes.SIZE2) or bank.size_bytes
        self._szx = min(self._szx, block.szx)
        self._failures = 0
        if not self._store(message.payload, now):
            return
        if block.more:
            pace = len(message.payload) / self.profile.download_bytes_per_second
            self._plan(_Step.ASK, max(now, self._asked_at + pace))
        else:
            self._owner.arrived(now)

    def _restart(self, now: float) -> None:
        self._restarts += 1
        if self._restarts > RESTARTS:
            self._owner.broke_off(Result.CONNECTION_LOST, now)
            return
        self.bank.clear(self.bank.source)
        self._plan(_Step.ASK, now)

    # -- pull over HTTP ----------------------------------------------------------------------------

    def _fetch(self, source: Source, now: float) -> None:
        fetcher = self._radio.fetcher
        if fetcher is None:
            self._owner.broke_off(Result.PROTOCOL, now)
            return
        self.fetch = Fetch(self, source, self._received, self.bank.etag)
        fetcher(self.fetch)

    def fetch_begins(self, offset: int, size_bytes: int, etag: bytes) -> bool:
        """Take over what the server says of the file; False if its answer does not continue what is there."""
        bank = self.bank
        if offset == 0 and self._received:
            bank.clear(bank.source)
        if offset != self._received:
            return False
        bank.etag, bank.size_bytes = etag, size_bytes
        return True

    def take(self, chunk: bytes, now: float) -> None:
        """Take bytes that come in order."""
        self._failures = 0
        if not self._store(chunk, now):
            self.fetch = None

    def fetch_ends(self, now: float) -> None:
        """Take it that these were all."""
        self.fetch = None
        self._owner.arrived(now)

    def fetch_fails(self, result: int, now: float) -> None:
        """Try again, or give up."""
        self.fetch = None
        if result == Result.CONNECTION_LOST:
            self._retry(None, now)
        else:
            self._owner.broke_off(result, now)

    # -- push --------------------------------------------------------------------------------------

    def take_pushed(self, pushed: PushedBlock, now: float) -> BlockAnswer:
        """Take a block of a push, or the first one of another."""
        refusal = self._refuse(pushed)
        if refusal is not None:
            return refusal
        block = pushed.block or Block(0, False, 6)
        if block.number == 0:
            self._begin_push(pushed)
        held = self._pushed
        if held is None:
            return BlockAnswer(codes.REQUEST_ENTITY_INCOMPLETE)
        echo = ((codes.BLOCK1, block.encode()),) if pushed.block is not None else ()
        if block.offset != held:
            repeated = block.more and block.offset + len(pushed.payload) == held
            return BlockAnswer(*((codes.CONTINUE, echo) if repeated else (codes.REQUEST_ENTITY_INCOMPLETE,)))
        self._pushed = held + len(pushed.payload)
        self._append(pushed.payload[self._skipped :] if block.number == 0 else pushed.payload)
        if not block.more:
            self._pushed = None
        self._plan_push(now, whole=not block.more)
        return BlockAnswer(codes.CONTINUE if block.more else codes.CHANGED, echo)

    def _refuse(self, pushed: PushedBlock) -> BlockAnswer | None:
        block, most = pushed.block, self.profile.package_bytes_max
        if block is not None:
            short = block.more and len(pushed.payload) != block.size_bytes
            if block.szx == _RESERVED_SZX or len(pushed.payload) > block.size_bytes or short:
                return BlockAnswer(codes.BAD_REQUEST)
            if block.size_bytes > self.profile.block_bytes:
                smaller = Block(0, block.more, self.profile.block_bytes.bit_length() - 5)
                return BlockAnswer(codes.REQUEST_ENTITY_TOO_LARGE, ((codes.BLOCK1, smaller.encode()),))
        if max(pushed.size_bytes or 0, (self._pushed or 0) + len(pushed.payload)) > most:
            return BlockAnswer(codes.REQUEST_ENTITY_TOO_LARGE, ((codes.SIZE1, encode_uint(most)),))
        return None

    def _begin_push(self, pushed: PushedBlock) -> None:
        self.stop()
        self.bank.clear()
        self.bank.size_bytes = pushed.size_bytes or 0
        self._pushed = 0
        self._skipped = wrapping_bytes(pushed.payload) if pushed.content_format == TLV else 0

    def _plan_push(self, now: float, *, whole: bool) -> None:
        if self._crosses_half():
            self._plan(_Step.HALF, now)
        elif whole:
            self._plan(_Step.WHOLE, now)
        else:
            self._plan(_Step.GIVE_UP, now + PUSH_PATIENCE_SECONDS)

    def _half_pushed(self, now: float) -> None:
        whole = self._pushed is None
        if self._owner.halfway(now):
            return
        if whole:
            self._owner.arrived(now)
        else:
            self._plan(_Step.GIVE_UP, now + PUSH_PATIENCE_SECONDS)

    def _whole_pushed(self, now: float) -> None:
        self._owner.arrived(now)

    def _give_up(self, now: float) -> None:
        self._owner.broke_off(Result.CONNECTION_LOST, now)

    # -- both --------------------------------------------------------------------------------------

    @property
    def _received(self) -> int:
        return 0 if self.bank.package is None else self.bank.package.received

    def _append(self, chunk: bytes) -> None:
        package = self.bank.package
        if package is not None:
            package.write(chunk)

    def _store(self, chunk: bytes, now: float) -> bool:
        """Write pulled bytes; False if that was the end of it."""
        most = self.profile.package_bytes_max
        if max(self.bank.size_bytes, self._received + len(chunk)) > most:
            self._owner.broke_off(Result.STORAGE, now)
            return False
        self._append(chunk)
        return not (self._crosses_half() and self._owner.halfway(now))

    def _crosses_half(self) -> bool:
        bank, package = self.bank, self.bank.package
        if bank.half or package is None:
            return False
        size = package.header.size_bytes if package.header is not None else bank.size_bytes
        bank.half = package.received * 2 >= size
        return bank.half


_STEPS: Final[dict[_Step, Callable[[Delivery, float], None]]] = {
    _Step.ASK: Delivery._ask,
    _Step.HALF: Delivery._half_pushed,
    _Step.WHOLE: Delivery._whole_pushed,
    _Step.GIVE_UP: Delivery._give_up,
}


def wrapping_bytes(payload: bytes) -> int:
    """Return the length of the TLV header before a package sent as resource 0 (spec lwm2m.md 13.2)."""
    if len(payload) < 2 or payload[0] & 0xC7 != 0xC0:
        return 0
    # Bits 3 and 4 of the first byte count the bytes of the length; the id takes one.
    return 2 + (payload[0] >> 3 & 3)
