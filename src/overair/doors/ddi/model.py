"""What the door keeps: actions with the attempts that they are for, targets, and how accounts want them."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec

from overair.campaigns.model import Window
from overair.protocols.ddi.action import Action
from overair.protocols.ddi.polling import Polling

Kind = Literal["firmware", "software", "file"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How an account wants its HTTP devices treated."""

    polling: Polling = Polling()
    confirmation: bool = False
    """Whether a device is to agree before it gets an action."""
    issuers: tuple[str, ...] = ()
    """Who may certify devices, as the proxy names them, in lower case."""


class AutoConfirmed(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a device needs not agree any more, and who said so."""

    activated_ms: int
    initiator: str | None = None
    remark: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a target besides its record."""

    attributes: dict[str, str] = {}
    reported_ms: int | None = None
    """When it last sent its attributes."""
    wanted: bool = True
    installed_id: int | None = None
    """The action that it finished last."""
    expected: str | None = None
    """The firmware that it said it installed, until it says what it has."""
    auto_confirm: AutoConfirmed | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An action, and the attempt of a campaign that it is for."""

    action: Action
    imei: int
    account_id: int
    campaign_id: int
    attempt: int
    package_id: str
    kind: Kind


class Job:
    """An action that is not closed, or whose end the campaign engine has not been told."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.windows: Sequence[Window] = ()
        self.attached = False
        """Whether the campaign engine knows of it since the start of the service."""
        self.lock = asyncio.Lock()
        """Held while what a device said is stored."""

    @property
    def action(self) -> Action:
        return self.stored.action


class UnknownAction(Exception):
    """The device has no such action, or none for which that could be said."""


class NotCancelling(Exception):
    """The action is not being cancelled."""


class AlreadyConfirming(Exception):
    """The device needs not agree already."""
