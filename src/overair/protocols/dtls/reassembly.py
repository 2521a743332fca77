"""Handshake messages put back together and in order (RFC 6347 sections 4.2.2 and 4.2.3).

Fragments may come in any order, overlap, and come again. A message that is ahead of its turn waits.
"""

from __future__ import annotations

import msgspec

from overair.protocols.dtls.parameters import DtlsLimits
from overair.protocols.dtls.wire import Fragment, message


class Message(msgspec.Struct, frozen=True, gc=False):
    """A handshake message in its turn; `whole` is the message with a header as if never fragmented."""

    kind: int
    epoch: int
    sequence: int
    body: bytes

    @property
    def whole(self) -> bytes:
        """What is hashed."""
        return message(self.kind, self.sequence, self.body)


class _Partial:
    """A message of which some bytes are here: `ranges` are those, sorted, with gaps between them."""

    __slots__ = ("body", "epoch", "kind", "ranges")

    def __init__(self, fragment: Fragment, epoch: int) -> None:
        self.kind = fragment.kind
        self.epoch = epoch
        self.body: bytes | bytearray = fragment.body
        self.ranges = [(0, fragment.size)]
        if not fragment.is_whole:
            self.body = bytearray(fragment.size)
            self.ranges = []

    def matches(self, fragment: Fragment, epoch: int) -> bool:
        return (self.kind, self.epoch, len(self.body)) == (fragment.kind, epoch, fragment.size)

    @property
    def is_complete(self) -> bool:
        return self.ranges == [(0, len(self.body))]

    def add(self, fragment: Fragment) -> None:
        start, end = fragment.offset, fragment.offset + len(fragment.body)
        if isinstance(self.body, bytes) or self.is_complete:
            return
        self.body[start:end] = fragment.body
        apart = [known for known in self.ranges if known[1] < start or known[0] > end]
        touching = [known for known in self.ranges if known[0] <= end and known[1] >= start]
        joined = (
            min([start, *(known[0] for known in touching)]),
            max([end, *(known[1] for known in touching)]),
        )
        self.ranges = sorted([*apart, joined])


class Inbox:
    """The messages of a handshake that are not complete or not in their turn."""

    __slots__ = ("_held_bytes", "_limits", "_partials", "next_sequence")

    def __init__(self, limits: DtlsLimits, next_sequence: int = 0) -> None:
        self._limits = limits
        self._partials: dict[int, _Partial] = {}
        self._held_bytes = 0
        self.next_sequence = next_sequence
        """The message whose turn it is."""

    def pass_on(self, fragment: Fragment, epoch: int) -> Message | None:
        """The message in its turn that comes whole while none waits: nearly all of them. None for others."""
        if self._partials or fragment.sequence != self.next_sequence or not fragment.is_whole:
            return None
        if fragment.size > self._limits.handshake_message_bytes:
            return None
        self.next_sequence += 1
        return Message(fragment.kind, epoch, fragment.sequence, fragment.body)

    def add(self, fragment: Fragment, epoch: int) -> bool:
        """Take a fragment; False if a bound or an earlier fragment of the message forbids it."""
        limits = self._limits
        if not 0 <= fragment.sequence - self.next_sequence < limits.messages_ahead:
            return False
        partial = self._partials.get(fragment.sequence)
        if partial is None:
            if fragment.size > limits.handshake_message_bytes:
                return False
            if self._held_bytes + fragment.size > limits.handshake_bytes:
                return False
            partial = self._partials[fragment.sequence] = _Partial(fragment, epoch)
            self._held_bytes += fragment.size
        elif not partial.matches(fragment, epoch):
            return False
        partial.add(fragment)
        return True

    def pop(self) -> Message | None:
        """The message whose turn it is, if it is complete."""
        partial = self._partials.get(self.next_sequence)
        if partial is None or not partial.is_complete:
            return None
        del self._partials[self.next_sequence]
        self._held_bytes -= len(partial.body)
        self.next_sequence += 1
        return Message(partial.kind, partial.epoch, self.next_sequence - 1, bytes(partial.body))
