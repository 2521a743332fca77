"""Campaigns, rows, devices and accounts with what a test does not care about filled in."""

from typing import Any

import msgspec

from overair.accounts.model import Account, Subscription
from overair.campaigns.model import Campaign, CampaignStatus, Row, RowStatus
from overair.devices.model import Device, Fact
from overair.platform.clock import DAY_MS

DAY = 20_454
"""2026-01-01."""
NOW = DAY * DAY_MS
OLD, NEW = "1.0", "2.0"


def campaign(**said: Any) -> Campaign:
    """A firmware campaign that runs for a week from :data:`DAY`."""
    plain = Campaign(
        id=1, uuid="u", account_id=1, version="v3", name=None, package_id="p", package_name="ACME_T1_1.0_2.0",
        kind="firmware", version_from=OLD, version_to=NEW, make="ACME", model="T1", protocol="LWM2M",
        start_day=DAY, end_day=DAY + 6, windows=(), auto_assign=False, auto_add=False,
        status=CampaignStatus.SCHEDULED, created_ms=NOW, changed_ms=NOW, auto_add_ms=None, auto_add_after=-1,
        open_rows=1, closed_ms=None,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **said)


def row(**said: Any) -> Row:
    """A row that waits for its device."""
    plain = Row(
        campaign_id=1, imei=990012340000006, status=RowStatus.WAITING, detail=None, tries=0, attempts=0,
        updated_ms=NOW, recent_ms=None, next_ms=NOW, not_before_ms=None,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **said)


def device(**said: Any) -> Device:
    """A device that :func:`campaign` is for."""
    plain = Device(
        990012340000006, 1, 0, protocol="LWM2M", make=fact("Acme"), model=fact("t1"), firmware=fact(OLD),
        firmware_capable=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **said)


def fact(value: str) -> Fact:
    return Fact(value, "LWM2M", 0)


def account(subscriptions: tuple[Subscription, ...] = (Subscription.EVENT,)) -> Account:
    return Account(1, "0000000001-00001", True, 1, subscriptions, 0)
