"""Errors of the DTLS package, and the reasons for which handshakes fail and associations end."""

from __future__ import annotations

import enum

from overair.protocols.dtls.codes import Alert


class DtlsError(Exception):
    """Any error this package raises on purpose. No text of one ever holds a key."""


class WireError(DtlsError):
    """Bytes that are not the structure they should be: the text names the field and the rule."""


class ParameterError(DtlsError):
    """A value of DtlsParameters or DtlsLimits outside its range: the text names the field and the range."""


class AssociationStateError(DtlsError):
    """A call that does not fit the state: sending before a handshake is done, or after the end."""


class DataTooLargeError(DtlsError):
    """Application data above what fits one record; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"data: at most {limit} bytes")
        self.limit = limit


class SavedStateError(DtlsError):
    """Bytes that `save_sessions` or `Client.session` did not make, or made in another version."""


class FailureReason(enum.StrEnum):
    """Why a handshake failed; members equal their text."""

    TIMEOUT = "timeout"
    UNKNOWN_IDENTITY = "unknown_identity"
    """The peer gets the same answer as for a wrong key; only the operator learns the difference."""
    WRONG_KEY = "wrong_key"
    NO_COMMON_SUITE = "no_common_suite"
    VERSION = "version"
    """The peer does not speak DTLS 1.2."""
    PROTOCOL = "protocol"
    """The peer broke a rule of the protocol."""
    ALERT = "alert"
    """The peer gave up."""


class CloseReason(enum.StrEnum):
    """Why an association ended; members equal their text."""

    REPLACED = "replaced"
    """A newer association of the same identity, or from the same address, took its place."""
    CLOSE_NOTIFY = "close_notify"
    ALERT = "alert"
    IDLE = "idle"
    """Nothing heard for `idle_seconds`."""


class HandshakeError(DtlsError):
    """Ends a handshake: the alert that the peer gets, and the reason that the driver gets."""

    def __init__(self, alert: Alert, reason: FailureReason = FailureReason.PROTOCOL, rule: str = "") -> None:
        super().__init__(rule or alert.name.lower())
        self.alert = alert
        self.reason = reason
