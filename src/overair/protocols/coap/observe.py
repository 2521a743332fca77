"""Observations: what the client of a resource keeps, and which notification is newer.

Source: RFC 7641 sections 3.4 and 3.6; spec lwm2m.md 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from overair.protocols.coap import codes
from overair.protocols.coap.message import Message
from overair.protocols.coap.options import Options
from overair.protocols.coap.peers import Peer

if TYPE_CHECKING:
    from overair.protocols.coap.exchanges import Conversation, Exchange

BEGIN: Final = 0
END: Final = 1
HALF_OF_NUMBERS: Final = 1 << 23
FRESHNESS_SECONDS: Final = 128.0


def is_newer(old_number: int, old_at: float, number: int, at: float) -> bool:
    """Whether a notification is newer than one received before (RFC 7641 section 3.4).

    Numbers are 24 bits and wrap; after 128 seconds any number is newer. Times in seconds.
    """
    if at > old_at + FRESHNESS_SECONDS:
        return True
    if old_number < number:
        return number - old_number < HALF_OF_NUMBERS
    return old_number - number > HALF_OF_NUMBERS


class Observation:
    """One resource of a peer that reports its changes. Keep (peer, token, path, created) to restore it.

    `created` is the time of the call that began it, in the caller's seconds. `ended` tells whether
    notifications can still come.
    """

    __slots__ = (
        "code",
        "context",
        "conversation",
        "created",
        "ended",
        "fetch",
        "number",
        "number_at",
        "options",
        "payload",
        "token",
    )

    def __init__(
        self,
        conversation: Conversation,
        token: bytes,
        *,
        code: int,
        options: Options,
        payload: bytes,
        created: float,
        context: object,
    ) -> None:
        self.conversation = conversation
        self.token = token
        self.code = code
        self.options = options
        self.payload = payload
        self.created = created
        self.context = context
        self.ended = False
        self.number: int | None = None
        self.number_at = 0.0
        self.fetch: Exchange | None = None
        """The request for the rest of a notification that came with more blocks to follow."""

    @property
    def peer(self) -> Peer:
        """The peer whose resource this is, wherever it moved."""
        return self.conversation.peer

    @property
    def path(self) -> tuple[str, ...]:
        """Segments of the observed path."""
        return tuple([value.decode() for number, value in self.options if number == codes.URI_PATH])

    def accepts(self, message: Message, now: float) -> bool:
        """Whether a notification is newer than all before it; notes its number if so."""
        number = message.observe
        if number is None:
            return True
        if self.number is not None and not is_newer(self.number, self.number_at, number, now):
            return False
        self.number = number
        self.number_at = now
        return True
