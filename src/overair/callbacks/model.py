"""Listeners, the messages that wait for them, and the attempts to deliver those (spec callbacks.md).

A *listener* is the URL that an account registered for one version of the API. A *message* is one callback
request; it keeps its id over all *attempts*. Times are UTC epoch milliseconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Version = Literal["v1", "v2", "v3"]


class MessageType(StrEnum):
    """What a message tells (spec callbacks.md, section 3)."""

    NEW_FIRMWARE = "newFirmware"
    UPGRADE_SCHEDULED = "upgradeScheduled"
    UPGRADE_PROGRESS = "upgradeProgress"
    FIRMWARE_REPORT = "deviceFirmwareReport"


class MessageState(StrEnum):
    """What became of a message; only the first may still change."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    DROPPED = "dropped"
    """Its listener was deregistered."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the messages of an account go, for one version of the API."""

    id: int
    account_id: int
    version: Version
    url: str
    sealed_secret: bytes = field(repr=False)
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class ListenerSecret:
    """What receivers check signatures with, shown to the owner."""

    listener: Listener
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListenerStanding:
    """A listener, and how many messages wait for it."""

    listener: Listener
    waiting: int


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell a listener."""

    type: MessageType
    subject: str
    """What it is about: the id of a campaign, or the IMEI of a device."""
    imeis: tuple[int, ...]
    """The devices that it speaks of; it is told after everything earlier about one of them."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides whether a message may be sent now."""

    id: int
    """Ascending in the order of events."""
    subject: str
    imeis: tuple[int, ...]
    due_ms: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message that is to be sent."""

    id: int
    uid: str
    """What the receiver knows it by."""
    attempts: int
    """Those already made."""
    created_ms: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a listener is to be sent now."""

    listener: Listener | None
    """None: nothing waits for it, or it is gone."""
    parcels: tuple[Parcel, ...] = ()
    next_ms: int | None = None
    """Where nothing is to be sent now: when something will be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending a message: the status of an answer, or what kept it from coming."""

    status: int | None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken the message over."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver a message."""

    number: int
    started_ms: int
    duration_ms: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Logged:
    """An attempt with the message that it was about, for the operator."""

    uid: str
    version: Version
    type: str
    subject: str
    state: MessageState
    created_ms: int
    attempt: Attempt


class CallbackError(Exception):
    """A request about callbacks can't be met; the message says why."""


class InvalidUrl(CallbackError):
    """The URL breaks a rule: ``rule`` says what it must be. It is not quoted: it may hold a password."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"url: {rule}")
        self.field = "url"
        self.rule = rule


class NoListener(CallbackError):
    """Nothing is registered for that version of the API."""

    def __init__(self, version: Version) -> None:
        super().__init__(f"no callback URL is registered for {version}")
