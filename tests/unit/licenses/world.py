"""Accounts, devices and licences in an empty database, within one transaction that is never committed."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, insert, select

from overair.accounts import sql as accounts
from overair.accounts.model import Account
from overair.devices.changes import Provision, TakeReport
from overair.devices.group import apply_changes
from overair.devices.model import Device, Outcome, Provisioning, Report
from overair.devices.sql import load_state
from overair.devices.tables import devices, observations, operations, registrations
from overair.licenses import sql, store
from overair.licenses.model import AssignOutcome, Counters, License, RemoveOutcome
from overair.platform.database import metadata
from overair.platform.database.database import engine_for

TABLES = (
    accounts.accounts,
    devices,
    registrations,
    observations,
    operations,
    sql.licenses,
    sql.billed_events,
)
NOW = 1_767_225_600_000
FIRST = 990010991200000
C1, C2 = "0c1dd6e4-5c2b-4a35-9a2e-7a1d4b3f0e01", "0c1dd6e4-5c2b-4a35-9a2e-7a1d4b3f0e02"


def add_account(connection: Connection, name: str, licenses: int, subscriptions: str) -> Account:
    """Add an account; *subscriptions* as the database has them."""
    row = {
        "name": name, "active": True, "licenses": licenses, "subscriptions": subscriptions, "created_ms": NOW,
    }  # fmt: skip
    key = connection.execute(insert(accounts.accounts).values(row)).inserted_primary_key
    assert key is not None
    return sql.counters(connection, key[0]).account


def add_devices(
    connection: Connection, account: Account, imeis: Iterable[int], *, capable: bool = True
) -> list[int]:
    """Add devices that have said what firmware they have, and whether it can be changed."""
    added = list(imeis)
    said = Report("LWM2M", firmware="1.0", firmware_capable=capable)
    changes = [Provision(account.id, Provisioning(imei), NOW) for imei in added]
    outcomes = apply_changes(connection, [*changes, *(TakeReport(imei, said, NOW) for imei in added)])
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    return added


class World:
    """One account, time that moves a second with each use case, and a list of what was cancelled."""

    def __init__(self, licenses: int = 3, subscriptions: str = "mrc") -> None:
        self._engine = engine_for("sqlite://")
        self.connection = self._engine.connect()
        self._transaction = self.connection.begin()
        metadata.create_all(self.connection, tables=list(TABLES))
        self.account = add_account(self.connection, "1-1", licenses, subscriptions)
        self.now_ms = NOW
        self.candidates: list[int] = []
        self.cancelled: list[int] = []

    def close(self) -> None:
        self._transaction.rollback()
        self.connection.close()
        self._engine.dispose()

    def add(self, count: int, *, capable: bool = True, account: Account | None = None) -> list[int]:
        known = self.connection.execute(select(devices.c.imei)).all()
        first = FIRST + len(known)
        return add_devices(
            self.connection, account or self.account, range(first, first + count), capable=capable
        )

    def assign(self, *imeis: int) -> list[AssignOutcome]:
        outcomes = store.assign(self.connection, self.account, imeis, self._tick())
        assert list(outcomes) == list(dict.fromkeys(imeis))
        return list(outcomes.values())

    def remove(self, *imeis: int) -> list[RemoveOutcome]:
        outcomes = store.remove(self.connection, self.account, imeis, self._tick(), self._cancel)
        assert list(outcomes) == list(dict.fromkeys(imeis))
        return list(outcomes.values())

    def start(self, *imeis: int, campaign: str = C1) -> set[int]:
        return store.upgrade_started(self.connection, self.account, imeis, campaign, self._tick())

    def succeed(self, *imeis: int, campaign: str = C1) -> None:
        store.upgrade_succeeded(self.connection, self.account, imeis, campaign, self._tick())

    def fail(self, *imeis: int, campaign: str = C1) -> None:
        store.upgrade_failed(self.connection, self.account, imeis, campaign, self._tick())

    def set_licenses(self, bought: int) -> None:
        store.set_licenses(
            self.connection, self.account.id, bought, self._tick(), self._candidates, self._cancel
        )

    # What there is.

    def counters(self) -> Counters:
        return sql.counters(self.connection, self.account.id)

    def licenses(self) -> dict[int, License]:
        """All licences of the account, the oldest first."""
        return {known.imei: known for known in sql.oldest(self.connection, self.account.id, 1000)}

    def held(self) -> list[int]:
        return sorted(self.licenses())

    def device(self, imei: int) -> Device:
        found = load_state(self.connection, imei)
        assert found is not None
        return found

    def flagged(self) -> list[int]:
        """Devices of any account that are licensed by their own record, and monitored."""
        rows = self.connection.execute(select(devices.c.imei, devices.c.monitored)).all()
        assert [bool(monitored) for _, monitored in rows] == [self.device(imei).licensed for imei, _ in rows]
        return sorted(imei for imei, monitored in rows if monitored)

    def billed(self) -> list[tuple[str, int, int]]:
        """(campaign, imei, time in ms) of the account's billed events."""
        table = sql.billed_events
        query = select(table.c.campaign_id, table.c.imei, table.c.at_ms).where(
            table.c.account_id == self.account.id
        )
        return [(campaign, imei, at_ms) for campaign, imei, at_ms in self.connection.execute(query)]

    def _tick(self) -> int:
        self.now_ms += 1000
        return self.now_ms

    def _candidates(self, connection: Connection, account_id: int) -> Sequence[int]:
        assert (connection, account_id) == (self.connection, self.account.id)
        return self.candidates

    def _cancel(self, connection: Connection, imeis: Sequence[int]) -> None:
        assert connection is self.connection
        self.cancelled += imeis
