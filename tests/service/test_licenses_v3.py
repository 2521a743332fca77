"""Licences and subscriptions of API v3 through the door, on a database (spec api-v3.md, section 7)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from sqlalchemy import Connection, update

from overair.accounts import sql as accounts
from overair.accounts.model import Account
from overair.devices.changes import TakeReport
from overair.devices.group import apply_changes
from overair.devices.model import Provisioning, Report
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.licenses import sql, store
from overair.licenses.model import License
from overair.licenses.service import LicenseService
from overair.platform.database import Database, upgrade
from overair.platform.limits import Limits
from overair.records import V3LicenseAssignedRemovedResult, V3LicenseSummary, decode
from overair.records.times import parse_t1, parse_t2

from .harness import ACCOUNT, IMEI, Door, open_door, vector

LICENSES = f"/api/fota/v3/licenses/{ACCOUNT}"
OTHER_LICENSES = f"/api/fota/v3/firmware/licenses/{ACCOUNT}"
SUBSCRIPTIONS = f"/api/fota/v3/subscriptions/{ACCOUNT}"
SECOND, THIRD, FOURTH = "990010991200255", "990010991200339", "990010991200412"
UNKNOWN = "990099990000014"
CAMPAIGN = "0c1dd6e4-5c2b-4a35-9a2e-7a1d4b3f0e01"
CAPABLE = Report("LWM2M", firmware="1.0", firmware_capable=True)


@dataclass
class Fleet:
    """A door with licences behind it, and the devices of its account."""

    door: Door
    database: Database
    headers: dict[str, str]

    @property
    def devices(self) -> DeviceService:
        return DeviceService(SqlDeviceStore(self.database), self.door.clock, Limits())

    async def account(self) -> Account:
        return await self.door.accounts.account(ACCOUNT)

    async def add(self, *imeis: str) -> None:
        """Add devices that can be upgraded."""
        await self.devices.add((await self.account()).id, [Provisioning(int(imei)) for imei in imeis])
        reports = [TakeReport(int(imei), CAPABLE, self.door.clock.now_ms()) for imei in imeis]
        await self.database.write(lambda connection: apply_changes(connection, reports))

    async def set_account(self, **values: object) -> None:
        await self.database.write(
            lambda connection: connection.execute(update(accounts.accounts).values(values))
        )

    async def hold(self, imei: str, assigned: str) -> None:
        """Have a device hold a licence since the time *assigned*, T1."""
        account, at_ms = await self.account(), parse_t1(assigned)
        await self.database.write(lambda c: store.assign(c, account, [int(imei)], at_ms))

    async def upgrade(self, *imeis: str) -> None:
        """Have devices upgraded."""
        account, numbers, now_ms = await self.account(), [int(i) for i in imeis], self.door.clock.now_ms()

        def write(connection: Connection) -> None:
            assert store.upgrade_started(connection, account, numbers, CAMPAIGN, now_ms) == set(numbers)
            store.upgrade_succeeded(connection, account, numbers, CAMPAIGN, now_ms)

        await self.database.write(write)

    async def get(self, path: str, **params: str) -> httpx2.Response:
        return await self.door.client.get(path, params=params, headers=self.headers)

    async def post(self, path: str, body: object) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.door.client.post(path, content=content, headers=self.headers)

    async def rows(self, path: str, *imeis: str) -> list[tuple[str, str]]:
        """Assign or remove; return (status, reason) a row."""
        answer = await self.post(path, {"deviceList": imeis})
        assert answer.status_code == 200
        body = answer.json()
        assert [row["deviceId"] for row in body["deviceList"]] == list(dict.fromkeys(imeis))
        assert all(row["resultReason"] == row["Reason"] for row in body["deviceList"])
        return [(row["status"], row["resultReason"]) for row in body["deviceList"]]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/overair.db") as database:
        await asyncio.to_thread(upgrade, database.engine)
        yield database


@pytest.fixture
async def make_fleet(database: Database) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Door] = []

    async def make(limits: Limits | None = None) -> Fleet:
        door = await open_door(limits=limits, database=database)
        opened.append(door)
        return Fleet(door, database, await door.signed_in())

    yield make
    for door in opened:
        await door.client.aclose()


@pytest.fixture
async def fleet(make_fleet: Callable[..., Any]) -> Fleet:
    fleet: Fleet = await make_fleet()
    await fleet.add(IMEI, SECOND, THIRD, FOURTH)
    return fleet


def invalid(message: str) -> dict[str, str]:
    return {"errorCode": "INVALID_PARAMETER", "errorMessage": message}


def compact(sample: object) -> bytes:
    return json.dumps(sample, separators=(",", ":")).encode()


# The published samples, byte for byte.


async def test_the_samples(fleet: Fleet) -> None:
    await fleet.set_account(
        licenses=500, subscriptions="mrc,event", subscription_ms=parse_t2("2025-01-15T21:11:32.17Z")
    )
    await fleet.hold(IMEI, "2025-01-29 20:15:42.738 +0000 UTC")
    await fleet.hold(THIRD, "2025-06-30 08:01:12.4 +0000 UTC")
    answer = await fleet.get(LICENSES)
    assert answer.content == compact(vector("v3-get-licenses.response"))
    assert decode(V3LicenseSummary, answer.content).assigned_licenses == 2
    answer = await fleet.get(SUBSCRIPTIONS)
    assert answer.content == compact(vector("v3-get-subscriptions.response"))
    answer = await fleet.post(f"{LICENSES}/assign", vector("v3-post-licenses-assign.request"))
    assert answer.content == compact(vector("v3-post-licenses-assign.response"))
    assert decode(V3LicenseAssignedRemovedResult, answer.content).lic_used_count == 3
    await fleet.upgrade(IMEI)
    answer = await fleet.post(f"{LICENSES}/remove", vector("v3-post-licenses-remove.request"))
    assert answer.content == compact(vector("v3-post-licenses-remove.response"))


# GET /licenses/{acc}


@pytest.mark.parametrize(("cursor", "echoed"), [(None, "0"), ("0", "0"), ("", "0"), (IMEI, IMEI)])
async def test_an_empty_page_echoes_its_cursor(fleet: Fleet, cursor: str | None, echoed: str) -> None:
    answer = await fleet.get(LICENSES, **({} if cursor is None else {"lastSeenDeviceId": cursor}))
    assert answer.json() == {
        "accountName": ACCOUNT,
        "totalLicenses": 5,
        "totalLicense": 5,
        "assignedLicenses": 0,
        "hasMoreData": False,
        "lastSeenDeviceId": echoed,
        "maxPageSize": 1000,
        "deviceList": [],
    }


@pytest.mark.parametrize("by_path", [False, True])
async def test_pages_follow_each_other(make_fleet: Callable[..., Any], by_path: bool) -> None:
    fleet: Fleet = await make_fleet(replace(Limits(), page_size=2))
    imeis = sorted([IMEI, SECOND, THIRD, FOURTH, "000000000000000"])
    await fleet.add(*imeis)
    await fleet.rows(f"{LICENSES}/assign", *reversed(imeis))
    seen, cursor, more = [], "0", True
    while more:
        path, params = (
            (f"{LICENSES}/index/{cursor}", {}) if by_path else (LICENSES, {"lastSeenDeviceId": cursor})
        )
        body = (await fleet.get(path, **params)).json()
        assert (body["assignedLicenses"], body["maxPageSize"]) == (5, 2)
        seen.append([row["deviceId"] for row in body["deviceList"]])
        cursor, more = body["lastSeenDeviceId"], body["hasMoreData"]
    assert seen == [imeis[:2], imeis[2:4], imeis[4:]]


async def test_the_cursor_of_the_query_wins(fleet: Fleet) -> None:
    await fleet.rows(f"{LICENSES}/assign", IMEI, SECOND)
    for in_path, query, shown in (
        (IMEI, None, [SECOND]),
        (IMEI, "0", [IMEI, SECOND]),
        ("0", IMEI, [SECOND]),
        (IMEI, "", [SECOND]),
        (IMEI, SECOND, []),
    ):
        params = {} if query is None else {"lastSeenDeviceId": query}
        body = (await fleet.get(f"{LICENSES}/index/{in_path}", **params)).json()
        assert [row["deviceId"] for row in body["deviceList"]] == shown


@pytest.mark.parametrize("cursor", ["1", "00", "9900109912001720", "99001099120017a", "\uff19" * 15])
async def test_a_cursor_that_is_no_imei_is_refused(fleet: Fleet, cursor: str) -> None:
    wrong = (400, invalid("LastSeenDeviceId Not Valid"))
    answer = await fleet.get(LICENSES, lastSeenDeviceId=cursor)
    assert (answer.status_code, answer.json()) == wrong
    answer = await fleet.get(f"{LICENSES}/index/{cursor}")
    assert (answer.status_code, answer.json()) == wrong
    answer = await fleet.get(f"{LICENSES}/index/0", lastSeenDeviceId=cursor)
    assert (answer.status_code, answer.json()) == wrong


# POST /licenses/{acc}/assign and /remove


async def test_every_outcome_of_an_assignment(fleet: Fleet) -> None:
    await fleet.devices.add((await fleet.account()).id, [Provisioning(999)])
    await fleet.set_account(licenses=2)
    await fleet.rows(f"{LICENSES}/assign", IMEI)
    rows = await fleet.rows(f"{LICENSES}/assign", UNKNOWN, SECOND, "000000000000999", IMEI, THIRD, SECOND)
    assert rows == [
        ("LicenseAssignFailed", "Device not found."),
        ("LicenseAssignSuccess", "Success"),
        ("LicenseAssignFailed", "Device not eligible for service."),
        ("LicenseAssignSuccess", "Device license preexisting"),
        ("LicenseAssignFailed", "Not enough licenses."),
    ]


async def test_every_outcome_of_a_removal(fleet: Fleet) -> None:
    await fleet.rows(f"{LICENSES}/assign", IMEI, SECOND)
    await fleet.upgrade(SECOND)
    ghost = License((await fleet.account()).id, int(UNKNOWN), 1)
    await fleet.database.write(lambda c: sql.add(c, [ghost]))
    rows = await fleet.rows(f"{LICENSES}/remove", SECOND, IMEI, THIRD, UNKNOWN)
    assert rows == [
        (
            "LicenseRemoveFailed",
            "License removal not allowed for devices that have ever upgraded firmware.",
        ),
        ("LicenseRemoveSuccess", "Success"),
        ("LicenseRemoveFailed", "No license attached to device"),
        ("LicenseRemoveFailed", "Internal error."),
    ]


@pytest.mark.parametrize("path", [LICENSES, OTHER_LICENSES])
async def test_the_counters_are_those_after_the_call(fleet: Fleet, path: str) -> None:
    for action, used in (("assign", 2), ("assign", 2), ("remove", 0), ("remove", 0)):
        body = (await fleet.post(f"{path}/{action}", {"deviceList": [IMEI, SECOND]})).json()
        assert (body["licCount"], body["licTotalCount"], body["licUsedCount"]) == (5, 5, used)


async def test_the_record_shows_the_licence(fleet: Fleet) -> None:
    account_id = (await fleet.account()).id
    for action, assigned in (("assign", True), ("remove", False)):
        await fleet.rows(f"{LICENSES}/{action}", IMEI)
        (document,) = await fleet.devices.look_up(account_id, [IMEI])
        assert msgspec.json.decode(document)["licenseAssigned"] is assigned


@pytest.mark.parametrize(
    "body",
    [
        {"devceList": [IMEI]},
        {"devicelist": [int(IMEI)], "unknown": 1},
        [{"deviceList": [IMEI]}],
    ],
)
async def test_every_published_spelling_of_a_list_is_taken(fleet: Fleet, body: object) -> None:
    for action in ("assign", "remove"):
        (row,) = (await fleet.post(f"{LICENSES}/{action}", body)).json()["deviceList"]
        assert (row["deviceId"], row["Reason"]) == (IMEI, "Success")


@pytest.mark.parametrize("action", ["assign", "remove"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input binding error"),
        (b"{", "Input binding error"),
        (b"{}", "Device list is empty"),
        (b'{"deviceList":[]}', "Device list is empty"),
        (b'{"deviceList":"990010991200172"}', "Device list is empty"),
        (b'{"deviceList":["990010991200172","1"]}', "Invalid device id format"),
    ],
)
async def test_a_list_that_is_none_is_refused(fleet: Fleet, action: str, body: bytes, message: str) -> None:
    answer = await fleet.post(f"{LICENSES}/{action}", body)
    assert (answer.status_code, answer.json()) == (400, invalid(message))
    assert (await fleet.get(LICENSES)).json()["assignedLicenses"] == 0


async def test_a_list_has_a_thousand_devices_at_most(fleet: Fleet) -> None:
    imeis = [f"{990010991200000 + n}" for n in range(1001)]
    await fleet.add(*imeis)
    await fleet.set_account(licenses=1000)
    answer = await fleet.post(f"{LICENSES}/assign", {"deviceList": imeis})
    assert (answer.status_code, answer.json()) == (400, invalid("Device list exceeds limit of 1000"))
    answer = await fleet.post(f"{LICENSES}/assign", {"deviceList": imeis[:1000]})
    assert answer.json()["licUsedCount"] == len(answer.json()["deviceList"]) == 1000
    page = (await fleet.get(LICENSES)).json()
    assert (len(page["deviceList"]), page["hasMoreData"], page["lastSeenDeviceId"]) == (
        1000,
        False,
        imeis[999],
    )


async def test_calls_at_the_same_time_never_exceed_the_pool(fleet: Fleet) -> None:
    imeis = [f"{990010991300000 + n}" for n in range(60)]
    await fleet.add(*imeis)
    await fleet.set_account(licenses=20)
    answers = await asyncio.gather(
        *(fleet.post(f"{LICENSES}/assign", {"deviceList": imeis[n : n + 3]}) for n in range(50))
    )
    used = [answer.json()["licUsedCount"] for answer in answers]
    assert (max(used), (await fleet.get(LICENSES)).json()["assignedLicenses"]) == (20, 20)
    granted = {
        row["deviceId"]
        for answer in answers
        for row in answer.json()["deviceList"]
        if row["status"] == "LicenseAssignSuccess"
    }
    assert len(granted) == 20


async def test_assigning_and_shrinking_at_the_same_time(fleet: Fleet) -> None:
    licenses = LicenseService(fleet.database, fleet.door.clock, Limits())
    account = await fleet.account()
    await asyncio.gather(
        licenses.assign(account, [IMEI, SECOND, THIRD]),
        licenses.set_licenses(account.id, 2),
        licenses.assign(account, [FOURTH, THIRD]),
        licenses.set_licenses(account.id, 1),
        licenses.assign(account, [IMEI, SECOND]),
    )
    assert (await licenses.counters(account.id)).assigned == 1


async def test_a_call_needs_both_tokens_and_an_account_of_ones_own(fleet: Fleet) -> None:
    answer = await fleet.door.client.get(LICENSES)
    assert answer.status_code == 401
    answer = await fleet.get(LICENSES.replace(ACCOUNT, "1-1"))
    assert answer.json()["errorMessage"] == "The account does not exist."


# GET /subscriptions/{acc}


@pytest.mark.parametrize(
    ("subscriptions", "shown", "count"),
    [
        ("mrc", "TS-HFOTA-MRC", 5),
        ("event", "TS-HFOTA-EVNT", 0),
        ("mrc,event", "TS-HFOTA-EVNT,TS-HFOTA-MRC", 5),
        ("", "", 0),
    ],
)
async def test_subscriptions(fleet: Fleet, subscriptions: str, shown: str, count: int) -> None:
    await fleet.set_account(subscriptions=subscriptions)
    assert (await fleet.get(SUBSCRIPTIONS)).json() == {
        "accountName": ACCOUNT,
        "purchaseType": shown,
        "licenseCount": count,
        "licenseUsedCount": 0,
        "updateTime": "2026-01-01T00:00:00Z",
    }
    page = (await fleet.get(LICENSES)).json()
    assert (page["totalLicenses"], page["totalLicense"], page["assignedLicenses"]) == (count, count, 0)


async def test_a_subscription_that_changed_says_when(fleet: Fleet) -> None:
    fleet.door.clock.advance(90.5)
    licenses = LicenseService(fleet.database, fleet.door.clock, Limits())
    await licenses.set_licenses((await fleet.account()).id, 7)
    body = (await fleet.get(SUBSCRIPTIONS)).json()
    assert (body["licenseCount"], body["updateTime"]) == (7, "2026-01-01T00:01:30.5Z")
