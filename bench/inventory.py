"""Databases full of devices, made through the service's own use cases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import fleet
from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.devices.changes import Register, TakeReport
from overair.devices.model import Provisioning, Registration, Report
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.platform.clock import SystemClock
from overair.platform.database import Database, check_schema, embedded_url
from overair.platform.limits import DEFAULT_LIMITS

ACCOUNT = "0742000123-00001"
USER, PASSWORD = "fleet-ops", "c0rrect-horse"
CHUNK = 5_000  # devices a transaction


@dataclass
class Services:
    """The use cases on one database."""

    accounts: AccountService
    store: SqlDeviceStore
    devices: DeviceService


@dataclass(frozen=True)
class Login:
    """What a call on the account has to show."""

    bearer: str
    session: str


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Services]:
    """Open the database of a data directory, made when missing, as the service would."""
    database, clock = Database(embedded_url(data)), SystemClock()
    await asyncio.to_thread(check_schema, database.engine)
    async with database:
        store = SqlDeviceStore(database)
        accounts = AccountService(SqlAccountStore(database), clock, DEFAULT_LIMITS)
        yield Services(accounts, store, DeviceService(store, clock, DEFAULT_LIMITS))


async def provision(data: Path, count: int) -> int:
    """Add an account and *count* devices that were never heard; returns the account's number."""
    async with opened(data) as services:
        account = await services.accounts.add_account(ACCOUNT, count, [])
        for chunk in _chunks(count):
            await services.devices.add(account.id, [_provisioning(index) for index in chunk])
    return account.id


async def report(data: Path, count: int) -> None:
    """Have each of the devices registered, and what it said of itself recorded."""
    async with opened(data) as services:
        now_ms = SystemClock().now_ms()
        for chunk in _chunks(count):
            await services.store.apply([_register(index, now_ms) for index in chunk])
            await services.store.apply([_report(index, now_ms) for index in chunk])


async def log_in(data: Path) -> Login:
    """Add a key and a user to the account, and return a token and a session of theirs."""
    async with opened(data) as services:
        made = await services.accounts.add_key(ACCOUNT)
        await services.accounts.add_user(ACCOUNT, USER, PASSWORD)
        issued = await services.accounts.issue_token(made.key, made.secret, "")
        session = await services.accounts.log_in(USER, PASSWORD)
    return Login(issued.token, session.token)


def _provisioning(index: int) -> Provisioning:
    return Provisioning(
        imei=int(fleet.imei(index)),
        mdn=f"{2_025_000_000 + index}",
        make="Acme Telematics",
        model="AT-410",
        firmware="AT410-1.4.2",
        protocol="LWM2M",
    )


def _register(index: int, now_ms: int) -> Register:
    registration = Registration(
        imei=int(fleet.imei(index)),
        account_id=0,
        location=f"{index:08d}",
        endpoint=f"urn:imei:{fleet.imei(index)}",
        host="127.0.0.1",
        port=5683,
        lifetime_seconds=fleet.LIFETIME_SECONDS,
        lwm2m_version="1.1",
        binding="U",
        queue_mode=False,
        links=fleet.LINKS,
        identity=b"",
        said=b"",
        registered_ms=now_ms,
        updated_ms=now_ms,
    )
    return Register(registration)


def _report(index: int, now_ms: int) -> TakeReport:
    said = Report(
        "LWM2M",
        make="Acme Telematics",
        model="AT-410",
        firmware=f"AT410-1.4.{index % 10}",
        firmware_capable=True,
        # A third of the fleet has software beside its firmware.
        software=(("tracker", f"2.{index % 7}.0", now_ms),) if index % 3 == 0 else None,
    )
    return TakeReport(int(fleet.imei(index)), said, now_ms)


def _chunks(count: int) -> Iterator[range]:
    return (range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))
