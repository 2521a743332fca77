"""Campaigns without an engine: each portion of its work is called by hand, in one open transaction."""

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import msgspec
from sqlalchemy import Connection, insert, select, update

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns import checking, dispatching, ending, engine, owners, rows, sql, telling
from overair.campaigns.ending import Ended
from overair.campaigns.model import Assignment, Campaign, CampaignStatus, MemberChange, NewCampaign, Row
from overair.campaigns.states import CampaignEvent
from overair.campaigns.tables import campaign_rows, campaigns
from overair.devices.changes import Provision, TakeReport
from overair.devices.group import apply_changes
from overair.devices.model import Provisioning, Report
from overair.devices.tables import devices
from overair.licenses import sql as license_sql
from overair.licenses import store as licenses
from overair.licenses.model import License
from overair.packages.sql import packages
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.platform.database.database import engine_for
from overair.platform.limits import Limits

from ..virtual import START_MS

TODAY = START_MS // DAY_MS
FIRST_IMEI = 990012340000006
OLD, NEW = "1.0", "2.0"
PACKAGE = "ACME_T1_1.0_2.0"
PORTIONS = (checking, dispatching, ending, telling)


class Portions:
    """One account with devices and a package; *portion* rows at most in each portion."""

    def __init__(self, licenses: int, subscriptions: str, portion: int | None = None) -> None:
        self.limits = Limits()
        self.now_ms = START_MS
        self._closing = contextlib.ExitStack()
        for module in PORTIONS if portion else ():
            self._closing.enter_context(mock.patch.object(module, "PORTION", portion))
        database = engine_for("sqlite://")
        self._closing.callback(database.dispose)
        self.connection: Connection = self._closing.enter_context(database.connect())
        self._closing.enter_context(contextlib.closing(self.connection.begin()))
        metadata.create_all(self.connection)
        self.account_id = self.add_account("0000000001-00001", licenses, subscriptions)
        self.package_id = self._add_package()

    def close(self) -> None:
        self._closing.close()

    # The world around the campaigns.

    def add_account(self, name: str, licenses: int, subscriptions: str) -> int:
        row = {
            "name": name, "active": True, "licenses": licenses, "subscriptions": subscriptions,
            "created_ms": 0,
        }  # fmt: skip
        key = self.connection.execute(insert(accounts).values(row)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _add_package(self) -> str:
        row = {
            "id": "p", "account_id": self.account_id, "kind": "firmware", "name": PACKAGE, "make": "ACME",
            "model": "T1", "make_key": "acme", "model_key": "t1", "version_from": OLD, "version_to": NEW,
            "protocol": "LWM2M", "launch_ms": 0, "release_note": "", "size_bytes": 1, "sha256": bytes(32),
            "state": "ready", "created_ms": 0, "changed_ms": 0,
        }  # fmt: skip
        self.connection.execute(insert(packages).values(row))
        return "p"

    @property
    def account(self) -> Account:
        return account_of(
            self.connection.execute(select(accounts).where(accounts.c.id == self.account_id)).one()
        )

    def add_devices(
        self, count: int, *, account_id: int | None = None, firmware: str = OLD, capable: bool = True
    ) -> list[int]:
        known = len(self.connection.execute(select(devices.c.imei)).all())
        imeis = [FIRST_IMEI + known + offset for offset in range(count)]
        owner = account_id or self.account_id
        added = [Provision(owner, Provisioning(imei, protocol="LWM2M"), self.now_ms) for imei in imeis]
        apply_changes(self.connection, added)
        self.report(imeis, firmware, capable=capable)
        return imeis

    def report(self, imeis: Iterable[int], firmware: str, *, capable: bool | None = None) -> None:
        said = Report("LWM2M", make="ACME", model="T1", firmware=firmware, firmware_capable=capable)
        apply_changes(self.connection, [TakeReport(imei, said, self.now_ms) for imei in imeis])

    def set_status(self, imei: int, status: str) -> None:
        said = Provision(self.account_id, Provisioning(imei, status=status), self.now_ms)
        apply_changes(self.connection, [said])

    def hear(self, imeis: Sequence[int]) -> None:
        heard = update(devices).where(devices.c.imei.in_(imeis)).values(last_uplink_ms=self.now_ms)
        self.connection.execute(heard)

    def set_package(self, state: str) -> None:
        self.connection.execute(update(packages).values(state=state))

    def set_active(self, active: bool) -> None:
        mine = update(accounts).where(accounts.c.id == self.account_id)
        self.connection.execute(mine.values(active=active))

    # What owners do.

    def schedule(self, imeis: Sequence[int], **said: Any) -> Campaign:
        asked: dict[str, Any] = {
            "version": "v3", "name": None, "package_name": PACKAGE, "version_from": OLD, "version_to": NEW,
            "start_day": self.now_ms // DAY_MS, "end_day": self.now_ms // DAY_MS + 6, "windows": (), **said,
        }  # fmt: skip
        return owners.schedule(
            self.connection,
            account=self.account,
            asked=NewCampaign(device_ids=(), **asked),
            imeis=imeis,
            strays=[],
            whole=True,
            now_ms=self.now_ms,
        )

    def campaign(self, number: int) -> Campaign:
        return sql.get(self.connection, number)

    def cancel(self, number: int) -> None:
        owners.cancel(self.connection, self.account_id, self.campaign(number).uuid, self.now_ms)

    def add_members(self, number: int, imeis: Sequence[int]) -> list[MemberChange]:
        return checking.add_members(self.connection, self.campaign(number), self.account, imeis, self.now_ms)

    def remove_members(self, number: int, imeis: Sequence[int]) -> list[MemberChange]:
        return checking.remove_members(self.connection, self.campaign(number), imeis)

    def assign_licences(self, imeis: Sequence[int]) -> None:
        licenses.assign(self.connection, self.account, imeis, self.now_ms)

    def remove_licences(self, imeis: Sequence[int]) -> None:
        licenses.remove(self.connection, self.account, imeis, self.now_ms, self._cancel_scheduled)

    def buy(self, bought: int) -> None:
        licenses.set_licenses(
            self.connection, self.account_id, bought, self.now_ms, lambda *_: (), self._cancel_scheduled
        )

    def _cancel_scheduled(self, connection: Connection, imeis: Sequence[int]) -> None:
        checking.cancel_scheduled(connection, imeis, self.now_ms)

    # What the engine does.

    def check(self, number: int) -> int:
        return checking.check_portion(self.connection, number, self.now_ms)

    def check_all(self, number: int) -> None:
        while self.check(number):
            continue

    def auto_add(self, number: int) -> bool:
        return checking.auto_add_portion(self.connection, number, self.now_ms)

    def move(self, number: int) -> bool:
        return engine._move(self.connection, campaign_id=number, now_ms=self.now_ms)

    def start(self, number: int) -> None:
        self.check_all(number)
        while self.move(number):
            continue

    def abort(self, number: int) -> None:
        sql.move(self.connection, self.campaign(number), CampaignEvent.ABORT, self.now_ms)

    def look(self, ready: Iterable[int], places: int, heard: Sequence[int] = ()) -> list[Assignment]:
        running = {each.id: each for each in self.campaigns() if each.status is CampaignStatus.SCHEDULED}
        candidates = engine._candidates(
            self.connection, campaigns=running, heard=heard, now_ms=self.now_ms, places=places
        )
        return dispatching.look(self.connection, candidates, set(ready), places, self.limits, self.now_ms)

    def end(self, *items: Ended) -> list[bool]:
        return ending.end_attempts(self.connection, items)

    def close_some(self, number: int) -> bool:
        """Let go of the devices of a campaign that is over; returns whether that is done."""
        while ending.close_unchecked(self.connection, number, self.now_ms):
            continue
        after: int | None = -1
        while after is not None:
            after, _ = ending.close_portion(self.connection, number, after, self.limits, self.now_ms)
        return ending.note_closed(self.connection, number, self.now_ms)

    def tell(self, number: int) -> bool:
        return telling.ended_portion(self.connection, number, self.limits, self.now_ms)

    # What there is.

    def campaigns(self) -> list[Campaign]:
        numbers = set(self.connection.scalars(select(campaigns.c.id)))
        return [sql.get(self.connection, number) for number in sorted(numbers)]

    def rows(self, number: int) -> dict[int, Row]:
        return {row.imei: row for row in rows.page(self.connection, number, -1, 1000)}

    def flags(self, name: str) -> set[tuple[int, int]]:
        """Campaign and device of the rows whose flag *name* is set: ``open`` or ``news``."""
        table = campaign_rows
        query = select(table.c.campaign_id, table.c.imei).where(table.c[name] == 1)
        return {(number, imei) for number, imei in self.connection.execute(query)}

    def campaigning(self) -> set[int]:
        return set(self.connection.scalars(select(devices.c.imei).where(devices.c.campaigning)))

    def held(self) -> dict[int, License]:
        found = license_sql.oldest(self.connection, self.account_id, 1000)
        return {each.imei: each for each in found}


def ended(assignment: Assignment, outcome: Any, now_ms: int, **said: Any) -> Ended:
    """What a driver says of an attempt."""
    return Ended(
        campaign_id=assignment.campaign_id,
        imei=assignment.imei,
        attempt=assignment.attempt,
        outcome=outcome,
        now_ms=now_ms,
        **said,
    )


replaced = msgspec.structs.replace
succeeded = partial(ended, outcome="succeeded")
