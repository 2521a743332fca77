"""Errors of the CoAP package, and the reasons for which an exchange can fail."""

from __future__ import annotations

import enum


class CoapError(Exception):
    """Any error this package raises on purpose."""


class MessageFormatError(CoapError):
    """A datagram that is not a CoAP message (RFC 7252 section 3).

    `message_type` and `message_id` are those of the datagram, or None where it is too short (or of
    another version) to tell; a malformed Confirmable message is answered with a Reset of that id.
    """

    def __init__(self, rule: str, message_type: int | None = None, message_id: int | None = None) -> None:
        super().__init__(rule)
        self.type = message_type
        self.message_id = message_id


class MessageFieldError(CoapError):
    """A message that cannot be encoded: the text names the field and its rule."""


class ParameterError(CoapError):
    """A value of Parameters or CoapLimits outside its range: the text names the field and the range."""


class LimitReachedError(CoapError):
    """A bound of CoapLimits stops this call; `limit` is the field's name. Try again when others ended."""

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(f"{limit}: no more than {value}")
        self.limit = limit


class ExchangeStateError(CoapError):
    """A call that does not fit the state: a second answer to a request, resuming what did not fail."""


class FailureReason(enum.StrEnum):
    """Why an exchange ended without a response; members equal their text."""

    TIMEOUT = "timeout"
    """No acknowledgement after the last retransmission, or no response after the acknowledgement."""
    RESET = "reset"
    """The peer rejected the message."""
    TOO_LARGE = "too_large"
    """The peer takes no body of this size, or its answer is larger than the limits allow."""
    BLOCKS = "blocks"
    """A blockwise transfer went wrong more often than it may be restarted, or breaks the rules."""
    IGNORED_BLOCKS = "ignored_blocks"
    """The peer reported success before it had the last block (spec lwm2m.md 13.2)."""
    BAD_OPTION = "bad_option"
    """The response has a critical option that is unknown or malformed."""
    CANCELLED = "cancelled"
    """The peer was forgotten."""
