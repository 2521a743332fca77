"""Campaigns of 1 k, 10 k and 100 k devices: to accept, to list, to finish with instant devices.

For each size a process of its own, on the first core, with SQLite on disk and all devices known, heard and
fit. The request goes through the REST door (without a socket), which assigns each device a licence; *accept*
ends when all devices are checked and the campaign waits for its first day, *list* when the last page of its
devices was answered, *finish* when the campaign has ended: the clock is put forward to its first day, and a
driver says of each attempt at once that it succeeded.

Two baselines on the same rows: all pages read as tuples with ``sqlite3``, nothing rendered; and two updates
of a row, as an attempt begins and ends, in transactions as large as the engine's, with no decision made, no
record, no licence, no page count and no news.

Meanwhile somebody has an empty transaction written every few milliseconds, as a device registers: how long
that takes at most is how long campaigns hold registrations up.

``python -m bench.campaigns --million`` has a campaign find a million devices by itself, and lists them.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from starlette.types import ASGIApp

from bench import fleet, inventory
from bench.inventory import ACCOUNT, Login
from bench.pages import Question, _call_app
from bench.processes import ROOT, SERVER_CORE, pin
from bench.registrations import disk
from bench.report import Row, Target, render, thousands
from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.campaigns.engine import Engine
from overair.campaigns.model import Assignment, CampaignStatus
from overair.campaigns.service import Attempts, CampaignService
from overair.devices.model import Provisioning, Report
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.services import Services
from overair.platform.clock import DAY_MS, SystemClock
from overair.platform.database import Database, embedded_url
from overair.platform.limits import DEFAULT_LIMITS
from overair.records.times import format_d

SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (100, 300)
MILLION = 1_000_000
GROUP = 500  # rows in a transaction of the baseline
PROBE_SECONDS = 0.005
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 1800
OLD, NEW = "AT410-1.4.2", "AT410-1.5.0"
PACKAGE = "Acme_AT-410_1.4.2_1.5.0"
V3 = "/api/fota/v3"
_BEGIN = """
UPDATE campaign_rows
SET status = 'running', attempts = 2, updated_ms = ?, recent_ms = ?, next_ms = ?, open = 1
WHERE campaign_id = 1 AND imei = ?
"""
_END = """
UPDATE campaign_rows SET status = 'succeeded', updated_ms = ?, next_ms = NULL, open = 0, news = 1
WHERE campaign_id = 1 AND imei = ?
"""
LINEAR = Target("at most", 1.5)
SOON = Target("at most", 30, " s")


@dataclass
class Phase:
    """One part of a campaign's life."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    longest_wait: float = 0.0
    """Of somebody who wrote meanwhile, in seconds."""
    megabytes: float = 0.0
    """By which the process grew at most."""


@dataclass
class Measured:
    """A whole campaign."""

    devices: int
    idle: Phase = field(default_factory=Phase)
    """A second in which nothing is done."""
    answer: Phase = field(default_factory=Phase)
    accept: Phase = field(default_factory=Phase)
    """From the request, so the answer is part of it."""
    listing: Phase = field(default_factory=Phase)
    finish: Phase = field(default_factory=Phase)
    bare_listing: float = 0.0
    bare_updates: float = 0.0


class ShiftedClock:
    """The machine's clock, which can be put forward."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """Return the time that campaigns live in."""
        return self._clock.now_ms() + self.ahead_ms


class InstantDriver:
    """Devices that have what they are to get as soon as an attempt begins."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._tasks: set[asyncio.Task[bool]] = set()

    def ready(self, _imei: int) -> bool:
        """Whether the device is awake: always."""
        return True

    def begin(self, assignment: Assignment) -> None:
        """Say at once that it succeeded."""
        said = self._attempts.succeeded(assignment.campaign_id, assignment.imei, assignment.attempt, NEW)
        task = asyncio.ensure_future(said)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, _imei: int) -> None:
        """There is nothing to give up."""


class World:
    """The part of the service that campaigns need, and who uses it."""

    def __init__(self, database: Database, devices: int, login: Login) -> None:
        self.clock = ShiftedClock()
        self.database = database
        self._login = login
        limits = replace(DEFAULT_LIMITS, campaign_devices=max(devices, DEFAULT_LIMITS.campaign_devices))
        # Sessions live in the machine's time.
        accounts = AccountService(SqlAccountStore(database), SystemClock(), limits)
        records = DeviceService(SqlDeviceStore(database), self.clock, limits)
        campaigns = CampaignService(database, self.clock, limits)
        attempts = Attempts(database, self.clock)
        self.engine = Engine(database, attempts, {"LWM2M": InstantDriver(attempts)}, self.clock, limits)
        campaigns.wake = self.engine.wake
        self._app: ASGIApp = thingspace_app(Services(accounts, records, limits, campaigns=campaigns))

    async def call(self, method: str, path: str, body: bytes = b"") -> Any:
        """Ask through the door; returns the decoded answer."""
        answer = json.loads(await _call_app(self._app, Question(method, path, body, "", ()), self._login))
        if "errorCode" in answer:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer

    async def until(self, uuid: str, *statuses: CampaignStatus) -> None:
        """Wait until a campaign has one of the statuses; RuntimeError if it takes too long."""
        query = "SELECT status FROM campaigns WHERE uuid = ?"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                ((status,),) = await self.database.read(
                    lambda connection: connection.exec_driver_sql(query, (uuid,)).all()
                )
                if status in statuses:
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def pages(self, uuid: str) -> AsyncIterator[Any]:
        """Read the devices of a campaign, page by page."""
        cursor = "0"
        while True:
            path = f"{V3}/reports/{ACCOUNT}/campaigns/{uuid}/devices?lastSeenDeviceId={cursor}"
            page = await self.call("GET", path)
            yield page
            if not page["hasMoreData"]:
                return
            cursor = page["lastSeenDeviceId"]

    @contextlib.asynccontextmanager
    async def watched(self, phase: Phase) -> AsyncIterator[None]:
        """Take the time, the longest wait and the growth of a phase."""
        before = _begin_peak()
        probe = asyncio.create_task(self._probe(phase))
        started, used = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            phase.seconds = time.perf_counter() - started
            phase.cpu_seconds = time.process_time() - used
            phase.megabytes = (_memory("VmHWM") - before) / 1000
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)

    async def _probe(self, phase: Phase) -> None:
        while True:
            started = time.perf_counter()
            await self.database.write(lambda _connection: None)
            phase.longest_wait = max(phase.longest_wait, time.perf_counter() - started)
            await asyncio.sleep(PROBE_SECONDS)


def _begin_peak() -> float:
    """Let the peak of this process's memory begin anew; return where it begins, in kB."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> float:
    """Return a figure of this process in kB."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition(f"{name}:")[2].split()[0])


# What there is before.


async def prepare(data: Path, count: int) -> Login:
    """Make a data directory with an account, a package and devices; return a login."""
    async with inventory.opened(data) as services:
        account = await services.accounts.add_account(ACCOUNT, 1, ["mrc"])
        now_ms = SystemClock().now_ms()
        imei = int(fleet.imei(0))
        said = {"make": "Acme Telematics", "model": "AT-410", "firmware": OLD, "firmware_capable": True}
        await services.devices.add(account.id, [Provisioning(imei, protocol="LWM2M")])
        await services.devices.report(imei, Report("LWM2M", **said))  # type: ignore[arg-type]
    login = await inventory.log_in(data)
    await asyncio.to_thread(_fill, data, account.id, count, now_ms)
    return login


def _fill(data: Path, account_id: int, count: int, now_ms: int) -> None:
    """Make all devices the first one's twins; add licences enough, and a package."""
    connection = sqlite3.connect(data / "overair.db", isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("UPDATE accounts SET licenses = ?", (count,))
    connection.execute("UPDATE devices SET last_uplink_ms = ?", (now_ms,))
    _copy(connection, count)
    package = {
        "id": "p", "account_id": account_id, "kind": "firmware", "name": PACKAGE, "make": "Acme Telematics",
        "model": "AT-410", "make_key": "acme telematics", "model_key": "at-410", "version_from": OLD,
        "version_to": NEW, "protocol": "LWM2M", "launch_ms": now_ms, "release_note": "", "size_bytes": 1,
        "sha256": bytes(32), "state": "ready", "created_ms": now_ms, "changed_ms": now_ms,
    }  # fmt: skip
    names, places = ", ".join(package), ", ".join("?" * len(package))
    connection.execute(f"INSERT INTO packages ({names}) VALUES ({places})", tuple(package.values()))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _copy(connection: sqlite3.Connection, count: int) -> None:
    first = connection.execute("SELECT * FROM devices").fetchone()
    own = str(first[0]).encode()

    def twins() -> Iterator[tuple[Any, ...]]:
        for index in range(1, count):
            name = fleet.imei(index)
            new = name.encode()
            yield (
                int(name),
                *[value.replace(own, new) if isinstance(value, bytes) else value for value in first[1:]],
            )

    connection.executemany(f"INSERT INTO devices VALUES ({', '.join('?' * len(first))})", twins())


# What is measured.


@contextlib.asynccontextmanager
async def opened(data: Path, count: int, login: Login) -> AsyncIterator[World]:
    """Open the world with its engine running, and what the database keeps in memory filled."""
    async with Database(embedded_url(data)) as database:
        # The writer's connection and both readers'.
        asked = (database.write, database.read, database.read)
        await asyncio.gather(*(ask(_read_all) for ask in asked))
        world = World(database, count, login)
        running = asyncio.create_task(world.engine.run())
        yield world
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        failed = [standing for standing in world.engine.standings if standing.failures]
        if failed:
            raise RuntimeError(f"jobs failed: {failed}")


def _read_all(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT sum(length(state)) FROM devices").all()


async def measure(data: Path, count: int) -> Measured:
    """Bring a campaign of *count* devices from its request to its end."""
    login = await prepare(data, count)
    measured = Measured(count)
    async with opened(data, count, login) as world:
        imeis = [fleet.imei(index) for index in range(count)]
        body = _request(world.clock, imeis)
        async with world.watched(measured.idle):
            await asyncio.sleep(1)
        async with world.watched(measured.accept):
            async with world.watched(measured.answer):
                made = await world.call("POST", f"{V3}/campaigns/firmware/{ACCOUNT}", body)
            await world.until(made["id"], CampaignStatus.QUEUED)
        await _list(world, made["id"], measured)
        async with world.watched(measured.finish):
            world.clock.ahead_ms = DAY_MS - world.clock.now_ms() % DAY_MS
            world.engine.wake()
            await world.until(made["id"], CampaignStatus.ENDED)
        page = await anext(world.pages(made["id"]))
        _expect(len(page["deviceList"]), sum(row["status"] == "UpgradeSuccess" for row in page["deviceList"]))
    measured.bare_listing = _bare_listing(data, count)
    measured.bare_updates = _bare_updates(data, count)
    return measured


async def _list(world: World, uuid: str, measured: Measured) -> None:
    """List a campaign twice, of which the second time counts: the first one reads from the disk."""
    for _ in range(2):
        listed = 0
        async with world.watched(measured.listing):
            async for page in world.pages(uuid):
                listed += len(page["deviceList"])
        _expect(measured.devices, listed, page["totalDevice"])


def _request(clock: ShiftedClock, imeis: list[str], **said: Any) -> bytes:
    tomorrow_ms = clock.now_ms() + DAY_MS
    asked = {
        "campaignName": "bench", "firmwareName": PACKAGE, "firmwareFrom": OLD, "firmwareTo": NEW,
        "protocol": "LWM2M", "startDate": format_d(tomorrow_ms),
        "endDate": format_d(tomorrow_ms + 6 * DAY_MS), "autoAssignLicenseFlag": True,
        "autoAddDevicesFlag": False, "deviceList": imeis, **said,
    }  # fmt: skip
    return json.dumps(asked).encode()


def _expect(count: int, *found: int) -> None:
    if any(each != count for each in found):
        raise RuntimeError(f"{found} devices instead of {count}")


def _bare_listing(data: Path, count: int) -> float:
    """Return the seconds that all pages take as tuples."""
    connection = _connect(data)
    query = (
        "SELECT imei, status, detail, tries, attempts, updated_ms, recent_ms, next_ms FROM campaign_rows "
        "WHERE campaign_id = 1 AND imei > ? ORDER BY imei LIMIT 1000"
    )
    found, after, started = 0, -1, time.perf_counter()
    while rows := connection.execute(query, (after,)).fetchall():
        found, after = found + len(rows), rows[-1][0]
    seconds = time.perf_counter() - started
    connection.close()
    _expect(count, found)
    return seconds


def _bare_updates(data: Path, count: int) -> float:
    """Return the seconds that it takes to write each row twice, in groups."""
    connection = _connect(data)
    imeis = [int(fleet.imei(index)) for index in range(count)]
    started = time.perf_counter()
    for start in range(0, count, GROUP):
        group = imeis[start : start + GROUP]
        for query, values in ((_BEGIN, (1, 2, 3)), (_END, (4,))):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(query, [(*values, imei) for imei in group])
            connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def _connect(data: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(data / "overair.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


async def measure_million(data: Path, count: int) -> Measured:
    """Have a campaign find *count* devices by itself, and list them."""
    login = await prepare(data, count)
    measured = Measured(count)
    async with opened(data, count, login) as world:
        async with world.watched(measured.idle):
            await asyncio.sleep(1)
        body = _request(world.clock, [fleet.imei(0)], autoAddDevicesFlag=True)
        async with world.watched(measured.accept):
            made = await world.call("POST", f"{V3}/campaigns/firmware/{ACCOUNT}", body)
            await world.until(made["id"], CampaignStatus.QUEUED)
        await _list(world, made["id"], measured)
    measured.bare_listing = _bare_listing(data, count)
    return measured


# Processes and the table.


def _in_a_process(count: int, *, million: bool = False) -> Measured:
    with tempfile.TemporaryDirectory(prefix="overair-bench-", dir=disk()) as folder:
        command = [sys.executable, "-m", "bench.campaigns", "--child", str(count), "--data", folder]
        output = subprocess.run(
            [*command, *(["--million"] if million else [])],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
    said = json.loads(output)
    phases = {name: Phase(**value) for name, value in said.items() if isinstance(value, dict)}
    return Measured(**{**said, **phases})


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    measured = [_in_a_process(count) for count in (QUICK_SIZES if quick else SIZES)]
    rows = [row for each in measured for row in _rows(each)]
    rows += [row for one, other in pairwise(measured) for row in _growth(one, other)]
    last = measured[-1]
    planned = last.accept.seconds + last.listing.seconds
    rows.append(Row(f"{_size(last)} accepted and listed", f"{planned:.1f} s", target=SOON, value=planned))
    return render(
        "Campaigns: time from request to end", rows, [note for each in measured for note in _notes(each)]
    )


def _rows(measured: Measured) -> list[Row]:
    count, name = measured.devices, _size(measured)
    return [
        Row(f"{name} answered", f"{measured.answer.seconds * 1000:.0f} ms"),
        Row(f"{name} accepted", _pace(count, measured.accept)),
        Row(
            f"{name} listed",
            _pace(count, measured.listing),
            f"bare SQL {thousands(count / measured.bare_listing)}",
            measured.listing.seconds / measured.bare_listing,
        ),
        Row(
            f"{name} finished",
            _pace(count, measured.finish),
            f"bare updates {thousands(count / measured.bare_updates)}",
            measured.bare_updates / measured.finish.seconds,
        ),
    ]


def _pace(count: int, phase: Phase) -> str:
    rate, by_cpu = thousands(count / phase.seconds), thousands(count / phase.cpu_seconds)
    return f"{phase.seconds:.2f} s, {rate}, {by_cpu} CPU"


def _growth(one: Measured, other: Measured) -> list[Row]:
    """Compare what a device costs, in processor time."""
    times = other.devices / one.devices
    return [
        Row(
            f"{name}: a device of {_size(other)}",
            f"{after.cpu_seconds / other.devices * 1e6:.0f} us CPU",
            f"of {_size(one)} {before.cpu_seconds / one.devices * 1e6:.0f} us",
            after.cpu_seconds / before.cpu_seconds / times,
            LINEAR,
        )
        for name, before, after in (
            ("accept", one.accept, other.accept),
            ("list", one.listing, other.listing),
            ("finish", one.finish, other.finish),
        )
    ]


def _notes(measured: Measured) -> list[str]:
    phases = (
        ("idle", measured.idle), ("answer", measured.answer), ("accept", measured.accept),
        ("list", measured.listing), ("finish", measured.finish),
    )  # fmt: skip
    waits = ", ".join(f"{name} {phase.longest_wait * 1000:.0f} ms" for name, phase in phases)
    memory = ", ".join(f"{name} {phase.megabytes:.1f} MB" for name, phase in phases)
    return [f"{_size(measured)}: longest wait for a write: {waits}; memory grew by at most: {memory}"]


def _size(measured: Measured) -> str:
    count = measured.devices
    return f"{count // 1000} k" if count >= 1000 else str(count)


def run_million(count: int) -> str:
    """Measure a campaign that finds its devices by itself, and return the table."""
    measured = _in_a_process(count, million=True)
    rows = _rows(replace(measured, finish=Phase(1.0, 1.0), bare_updates=1.0))[1:3]
    return render(f"A campaign of {_size(measured)} devices that come by themselves", rows, _notes(measured))


def _child(count: int, data: Path, *, million: bool) -> None:
    pin(SERVER_CORE)
    work: Callable[[Path, int], Awaitable[Measured]] = measure_million if million else measure
    print(json.dumps(asdict(asyncio.run(work(data / "data", count)))))  # type: ignore[arg-type]


def main() -> None:
    """Run one size in this process, or the campaign of a million in one of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.campaigns")
    parser.add_argument("--million", action="store_true", help="a million devices that come by themselves")
    parser.add_argument("--count", type=int, default=MILLION, help="of another number of devices")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is not None:
        _child(chosen.child, chosen.data, million=chosen.million)
    else:
        print(run_million(chosen.count) if chosen.million else run(quick=False), flush=True)


if __name__ == "__main__":
    main()
