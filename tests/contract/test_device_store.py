"""One suite for the device store and its in-memory twin (spec device-record.md, sections 2.2, 4.5, 6)."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overair.accounts.store import SqlAccountStore
from overair.devices.changes import (
    Move,
    Provision,
    Register,
    Said,
    SynchroniseFirmware,
    TakeReport,
    encode_said,
)
from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import (
    AddRefused,
    Admitted,
    Change,
    Device,
    DeviceError,
    FirmwareReading,
    ForeignDevice,
    Observed,
    Operation,
    Outcome,
    Provisioning,
    Registration,
    Report,
    UnknownDevice,
)
from overair.devices.store import DeviceStore, SqlDeviceStore
from overair.platform.database import Database

NOW = 1_767_225_600_000
MINE, OTHER = 1, 2
A, B, C = 490154203237518, 490154203237526, 490154203237534
MDN = "5551234567"


class Put(msgspec.Struct, frozen=True):
    """Any change at all: sets fields of the device, which no use case has to know of."""

    imei: int
    fields: dict[str, Any]

    def apply(self, device: Device | None) -> Outcome:
        before = device or Device(self.imei, MINE, NOW)
        return Outcome(msgspec.structs.replace(before, **self.fields))


class Watch(msgspec.Struct, frozen=True):
    """A change that writes nothing and shows what it was applied to."""

    imei: int

    def apply(self, device: Device | None) -> Outcome:
        return Outcome(result=device)


def registration(imei: int, *, location: str = "abcd1234", at_ms: int = NOW) -> Registration:
    return Registration(
        imei=imei,
        account_id=0,
        location=location,
        endpoint=f"urn:imei:{imei}",
        host="10.0.0.1",
        port=5683,
        lifetime_seconds=86_400,
        lwm2m_version="1.1",
        binding="U",
        queue_mode=True,
        links=b"</3/0>,</5/0>",
        identity=b"",
        said=b"",
        registered_ms=at_ms,
        updated_ms=at_ms,
    )


def register(imei: int, *, sms: str | None = None, at_ms: int = NOW, location: str = "abcd1234") -> Register:
    said = encode_said(Said(sms=sms))
    place = msgspec.structs.replace(registration(imei, location=location, at_ms=at_ms), said=said)
    return Register(place, enrol_account_id=MINE)


def add(imei: int, account_id: int = MINE, now_ms: int = NOW, **said: Any) -> Provision:
    return Provision(account_id, Provisioning(imei, **said), now_ms)


def named(imei: int, *names: str, complete: bool = False, now_ms: int = NOW) -> TakeReport:
    software = tuple((name, "1", None) for name in names)
    return TakeReport(imei, Report("LWM2M", software=software, software_complete=complete), now_ms)


@pytest.fixture
async def sql_store(database: Database) -> SqlDeviceStore:
    await add_accounts(database)
    return SqlDeviceStore(database)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> DeviceStore:
    if request.param == "memory":
        return MemoryDeviceStore()
    found: DeviceStore = request.getfixturevalue("sql_store")
    return found


async def add_accounts(database: Database) -> None:
    accounts = SqlAccountStore(database)
    made = [await accounts.add_account(name, 5, (), NOW) for name in ("1-1", "2-2")]
    assert [account.id for account in made] == [MINE, OTHER]


async def submitted(ask: Callable[[Callable[[Any], None]], None]) -> Any:
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ask(waiter.set_result)
    return await waiter


async def group(store: DeviceStore, *changes: Change) -> list[Any]:
    """Submit changes in one turn of the loop, which puts them into one group."""
    return await asyncio.gather(*[together(store, change) for change in changes])


def together(store: DeviceStore, change: Change) -> "asyncio.Future[Any]":
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    store.submit(change, waiter.set_result)
    return waiter


async def end(store: DeviceStore, imei: int, location: str = "abcd1234") -> None:
    assert await submitted(lambda done: store.end_registration(imei, location, done)) is None


async def touch(store: DeviceStore, imei: int, time_ms: int) -> None:
    assert await submitted(lambda done: store.touch(imei, time_ms, done)) is None


async def device(store: DeviceStore, imei: int) -> Device:
    found = await store.get(imei)
    assert found is not None
    return found


async def record(store: DeviceStore, imei: int, account_id: int = MINE) -> dict[str, Any]:
    found = await store.records(account_id, [imei])
    shown: dict[str, Any] = msgspec.json.decode(found[imei])
    return shown


# Changes.


async def test_a_device_that_was_added_is_kept(store: DeviceStore) -> None:
    (outcome,) = await store.apply([add(A, mdn=MDN, make="Sequans", model="GM01Q", firmware="1.0")])
    assert isinstance(outcome, Outcome)
    kept = await device(store, A)
    assert kept.version == 1
    assert kept == msgspec.structs.replace(outcome.result, version=1)
    assert await store.get(B) is None


async def test_every_write_counts_and_an_identical_change_writes_nothing(store: DeviceStore) -> None:
    await store.apply([add(A, make="Sequans")])
    await store.apply([add(A, make="Sequans", now_ms=NOW + 1)])
    assert (await device(store, A)).version == 1
    await store.apply([add(A, make="Quectel", now_ms=NOW + 2)])
    assert (await device(store, A)).version == 2


async def test_changes_of_one_group_are_applied_in_the_order_submitted(store: DeviceStore) -> None:
    changes = [add(A, firmware=f"1.{n}", now_ms=NOW + n) for n in range(10)]
    seen = await group(store, *changes)
    assert [outcome.result.firmware.value for outcome in seen] == [f"1.{n}" for n in range(10)]
    kept = await device(store, A)
    assert kept.firmware is not None
    assert kept.firmware.value == "1.9"
    assert [old.value for old in kept.history] == [f"1.{n}" for n in range(9)]
    assert kept.version == 10


async def test_a_change_sees_what_an_earlier_one_of_its_group_did(store: DeviceStore) -> None:
    unknown, _, known = await group(store, Watch(A), add(A, make="Sequans"), Watch(A))
    assert unknown.result is None
    assert known.result.make.value == "Sequans"
    assert known.result == await device(store, A)


async def test_a_refusal_is_its_own_and_no_one_elses(store: DeviceStore) -> None:
    before, refused, foreign, after = await group(
        store, add(A), TakeReport(B, Report("LWM2M", make="x"), NOW), add(A, OTHER), add(C)
    )
    assert isinstance(refused, UnknownDevice)
    assert isinstance(foreign, ForeignDevice)
    assert isinstance(before, Outcome)
    assert isinstance(after, Outcome)
    assert [await store.get(imei) is not None for imei in (A, B, C)] == [True, False, True]
    assert (await device(store, A)).account_id == MINE


async def test_apply_without_atomic_keeps_what_was_not_refused(store: DeviceStore) -> None:
    outcomes = await store.apply([add(A), TakeReport(B, Report("LWM2M"), NOW), add(C)])
    assert [isinstance(outcome, DeviceError) for outcome in outcomes] == [False, True, False]
    assert (await device(store, C)).imei == C


async def test_atomic_apply_undoes_everything_and_names_each_refusal(store: DeviceStore) -> None:
    await store.apply([add(C, OTHER), add(A, make="Sequans")])
    before = await device(store, A)
    with pytest.raises(AddRefused) as refused:
        await store.apply(
            [add(A, make="Quectel"), add(B), add(C), register(A), named(B + 1, "x")], atomic=True
        )
    assert [place for place, _ in refused.value.errors] == [2, 4]
    assert "another account" in refused.value.errors[0][1]
    assert await device(store, A) == before
    assert await store.get(B) is None
    assert await store.registrations() == []


async def test_atomic_apply_of_what_is_right_is_kept(store: DeviceStore) -> None:
    await store.apply([add(A), add(B)], atomic=True)
    assert (await device(store, B)).imei == B


async def test_a_hundred_reports_at_once_lose_no_list_entry(store: DeviceStore) -> None:
    await store.apply([add(A)])
    await asyncio.gather(*[store.apply([named(A, f"app{n:03}")]) for n in range(50)])
    await group(store, *[named(A, f"app{n:03}") for n in range(50, 100)])
    shown = (await record(store, A))["softwareList"]
    assert [entry["name"] for entry in shown] == [f"app{n:03}" for n in range(100)]


async def test_a_thousand_entries_are_kept(store: DeviceStore) -> None:
    await store.apply([add(A)])
    await store.apply([named(A, *[f"app{n:04}" for n in range(1000)], complete=True)])
    assert len((await record(store, A))["softwareList"]) == 1000
    await store.apply([named(A, "app0001", complete=True)])
    assert [entry["name"] for entry in (await record(store, A))["softwareList"]] == ["app0001"]


# Numbers (sections 2.2 and 6).


async def test_a_number_moved_by_the_owner_leaves_the_older_device(store: DeviceStore) -> None:
    await store.apply([add(A, mdn=MDN)])
    await store.apply([add(B, mdn=MDN, now_ms=NOW + 5)])
    shown = await record(store, A)
    assert "mdn" not in shown
    assert shown["updateTime"] == "2026-01-01 00:00:00.005 +0000 UTC"
    assert (await record(store, B))["mdn"] == MDN


async def test_a_number_moves_within_one_group(store: DeviceStore) -> None:
    await group(store, add(A, mdn=MDN), add(B, mdn=MDN), add(C, mdn="5550000000"), add(C, mdn=MDN))
    assert [(await device(store, imei)).mdn is None for imei in (A, B, C)] == [True, True, False]
    assert (await record(store, C))["mdn"] == MDN


async def test_a_number_comes_back_within_one_group(store: DeviceStore) -> None:
    await store.apply([add(A, mdn=MDN), add(B)])
    await group(store, add(B, mdn=MDN, now_ms=NOW + 1), add(A, mdn=MDN, now_ms=NOW + 2))
    assert (await record(store, A))["mdn"] == MDN
    assert (await device(store, B)).mdn is None


async def test_two_devices_swap_their_numbers(store: DeviceStore) -> None:
    await store.apply([add(A, mdn="5551111111"), add(B, mdn="5552222222")])
    await store.apply([add(A, mdn="5552222222"), add(B, mdn="5551111111")])
    assert (await record(store, A))["mdn"] == "5552222222"
    assert (await record(store, B))["mdn"] == "5551111111"


async def test_a_number_of_another_account_is_none_of_ours(store: DeviceStore) -> None:
    await store.apply([add(A, mdn=MDN), add(B, OTHER, mdn=MDN)])
    assert (await record(store, A))["mdn"] == MDN
    assert (await record(store, B, OTHER))["mdn"] == MDN


async def test_of_two_devices_that_report_a_number_the_newest_keeps_it(store: DeviceStore) -> None:
    await group(store, register(A, sms=MDN))
    await group(store, register(B, sms=MDN, at_ms=NOW + 1))
    old = await device(store, A)
    assert old.mdn is None
    assert "mdn_duplicate" in old.attributes
    assert (await record(store, B))["mdn"] == MDN


async def test_a_reported_duplicate_does_not_take_a_provisioned_number(store: DeviceStore) -> None:
    await store.apply([add(A, mdn=MDN)])
    await group(store, register(B, sms=MDN, at_ms=NOW + 1))
    old = await device(store, A)
    assert old.mdn is not None
    assert old.mdn.value == MDN
    assert "mdn_duplicate" in old.attributes


# Pages and records.


async def test_pages_go_by_imei_and_end(store: DeviceStore) -> None:
    await store.apply([add(A + n) for n in (4, 0, 3, 1, 2)])
    first = await store.page(MINE, None, -1, 2)
    assert [msgspec.json.decode(document)["deviceId"] for document in first.documents] == [
        f"{A}",
        f"{A + 1}",
    ]
    assert (first.last, first.more) == (f"{A + 1}", True)
    second = await store.page(MINE, None, A + 1, 2)
    assert (second.last, second.more) == (f"{A + 3}", True)
    third = await store.page(MINE, None, A + 3, 2)
    assert (len(third.documents), third.last, third.more) == (1, f"{A + 4}", False)
    empty = await store.page(MINE, None, A + 4, 2)
    assert (empty.documents, empty.last, empty.more) == ([], None, False)


async def test_a_page_that_just_fits_has_no_more(store: DeviceStore) -> None:
    await store.apply([add(A), add(B), add(C)])
    page = await store.page(MINE, None, -1, 3)
    assert (len(page.documents), page.more) == (3, False)
    assert not (await store.page(MINE, None, A, 2)).more


async def test_a_cursor_need_not_be_a_device(store: DeviceStore) -> None:
    await store.apply([add(A), add(C)])
    assert (await store.page(MINE, None, B, 10)).last == f"{C}"


async def test_a_page_has_one_account_and_one_protocol(store: DeviceStore) -> None:
    await store.apply([add(A, protocol="LWM2M"), add(B, protocol="HTTP"), add(C, OTHER, protocol="LWM2M")])

    async def ids(account_id: int, protocol: str | None) -> list[str]:
        page = await store.page(account_id, protocol, -1, 10)
        return [msgspec.json.decode(document)["deviceId"] for document in page.documents]

    assert await ids(MINE, "LWM2M") == [f"{A}"]
    assert await ids(MINE, "HTTP") == [f"{B}"]
    assert await ids(MINE, None) == [f"{A}", f"{B}"]
    assert await ids(MINE, "OMADM") == []
    assert await ids(OTHER, "LWM2M") == [f"{C}"]
    await group(store, register(B))
    assert await ids(MINE, "LWM2M") == [f"{A}", f"{B}"]


async def test_an_imei_with_leading_zeros_is_shown_whole(store: DeviceStore) -> None:
    await store.apply([add(42)])
    assert (await record(store, 42))["deviceId"] == "000000000000042"
    assert (await store.page(MINE, None, -1, 1)).last == "000000000000042"


async def test_records_beyond_a_thousand_with_duplicates_and_strangers(store: DeviceStore) -> None:
    known = range(A, A + 1500)
    await store.apply([add(imei) for imei in known])
    await store.apply([add(A + 5000, OTHER)])
    asked = [*known, *known, A + 5000, A + 6000]
    assert set(await store.records(MINE, asked)) == set(known)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
async def test_records_of_few(store: DeviceStore, count: int) -> None:
    await store.apply([add(A + n) for n in range(6)])
    asked = [A + n for n in range(count)]
    found = await store.records(MINE, asked)
    assert {imei: msgspec.json.decode(row)["deviceId"] for imei, row in found.items()} == {
        imei: f"{imei}" for imei in asked
    }


async def test_synchronised_firmware_moves_refresh_time_only(store: DeviceStore) -> None:
    await store.apply([add(A, firmware="1.0"), add(C, OTHER)])
    changes = [SynchroniseFirmware(MINE, imei, NOW + 7) for imei in (A, B, C)]
    readings = [outcome.result for outcome in await store.apply(changes) if isinstance(outcome, Outcome)]
    assert readings == [
        FirmwareReading(f"{A}", found=True, firmware="1.0", changed_ms=NOW),
        FirmwareReading(f"{B}", found=False),
        FirmwareReading(f"{C}", found=False),
    ]
    shown = await record(store, A)
    assert shown["refreshTime"] == "2026-01-01 00:00:00.007 +0000 UTC"
    assert "updateTime" not in shown
    assert "refreshTime" not in await record(store, C, OTHER)


# Registrations and the last uplink.


async def test_a_registration_is_kept_with_the_account_of_its_device(store: DeviceStore) -> None:
    await store.apply([add(A, OTHER)])
    (outcome,) = await group(store, register(A))
    (kept,) = await store.registrations()
    assert kept == outcome.registration == msgspec.structs.replace(registration(A), account_id=OTHER)


async def test_a_stranger_is_refused_and_leaves_nothing(store: DeviceStore) -> None:
    (refused,) = await group(store, Register(registration(A)))
    assert isinstance(refused, UnknownDevice)
    assert await store.registrations() == []
    assert await store.get(A) is None


async def test_a_new_registration_replaces_the_old_one(store: DeviceStore) -> None:
    await group(store, register(A, location="old00000"), register(A, location="new00000", at_ms=NOW + 1))
    await group(store, register(B))
    kept = {row.imei: row.location for row in await store.registrations()}
    assert kept == {A: "new00000", B: "abcd1234"}


async def test_an_update_moves_the_registration(store: DeviceStore) -> None:
    await group(store, register(A))
    (kept,) = await store.registrations()
    moved = msgspec.structs.replace(kept, host="10.9.9.9", lifetime_seconds=60, updated_ms=NOW + 5)
    await group(store, Move(moved))
    assert await store.registrations() == [moved]


async def test_a_touch_moves_only_the_time(store: DeviceStore) -> None:
    await group(store, register(A))
    before = await device(store, A)
    await touch(store, A, NOW + 9)
    (kept,) = await store.registrations()
    assert (kept.registered_ms, kept.updated_ms) == (NOW, NOW + 9)
    assert await device(store, A) == before
    await touch(store, B, NOW)
    assert len(await store.registrations()) == 1


async def test_an_ended_registration_is_gone_and_the_device_stays(store: DeviceStore) -> None:
    await group(store, register(A), register(B))
    await end(store, A)
    assert [row.imei for row in await store.registrations()] == [B]
    assert (await device(store, A)).protocol == "LWM2M"
    await end(store, A)


async def test_a_register_after_the_end_in_the_same_group_stands(store: DeviceStore) -> None:
    await group(store, register(A, location="old00000"))
    newer = register(A, location="new00000", at_ms=NOW + 1)
    await submit_all(store, [("submit", register(B)), ("end", (A, "old00000")), ("submit", newer)])
    assert {row.imei: row.location for row in await store.registrations()} == {
        A: "new00000",
        B: "abcd1234",
    }


async def test_an_end_is_of_one_registration_only(store: DeviceStore) -> None:
    await group(store, register(A, location="old00000"))
    await group(store, register(A, location="new00000", at_ms=NOW + 1))
    await end(store, A, "old00000")
    assert [row.location for row in await store.registrations()] == ["new00000"]
    newest = register(A, location="newest00", at_ms=NOW + 2)
    await submit_all(store, [("submit", newest), ("end", (A, "new00000"))])
    assert [row.location for row in await store.registrations()] == ["newest00"]


async def test_the_last_connection_is_shown_of_licensed_devices_only(store: DeviceStore) -> None:
    await group(store, register(A, at_ms=NOW + 10))
    assert "lastConnectionTime" not in await record(store, A)
    await store.apply([Put(A, {"licensed": True})])
    assert (await record(store, A))["lastConnectionTime"] == "2026-01-01T00:00:00.01Z"
    await store.apply([Put(A, {"licensed": False})])
    assert "lastConnectionTime" not in await record(store, A)


async def test_a_licensed_device_never_heard_has_no_last_connection(store: DeviceStore) -> None:
    await store.apply([Put(A, {"licensed": True})])
    assert "lastConnectionTime" not in await record(store, A)


async def test_the_last_connection_follows_every_uplink_and_outlives_the_registration(
    store: DeviceStore,
) -> None:
    await group(store, register(A), Put(A, {"licensed": True}))

    async def seen() -> str:
        shown: str = (await record(store, A))["lastConnectionTime"]
        return shown

    await touch(store, A, NOW + 1_000)
    assert await seen() == "2026-01-01T00:00:01Z"
    await store.heard([(A, NOW + 2_000), (B, NOW)])
    assert await seen() == "2026-01-01T00:00:02Z"
    await end(store, A)
    assert await seen() == "2026-01-01T00:00:02Z"
    await store.heard([(A, NOW + 3_000)])
    await end(store, A)
    await group(store, register(A, at_ms=NOW + 4_000))
    assert await seen() == "2026-01-01T00:00:04Z"


async def test_what_was_heard_late_does_not_move_the_last_connection_back(store: DeviceStore) -> None:
    await group(store, register(A), Put(A, {"licensed": True}))
    await touch(store, A, NOW + 5_000)
    await store.heard([(A, NOW + 1_000)])
    assert (await record(store, A))["lastConnectionTime"] == "2026-01-01T00:00:05Z"


# Observations and operations.


def observed(imei: int, *, path: str = "/3/0/3", token: bytes = b"t", location: str = "abcd1234") -> Observed:
    return Observed(imei, path, token, location, NOW)


async def test_an_observation_lives_as_long_as_its_registration(store: DeviceStore) -> None:
    await group(store, register(A), register(B))
    await store.observe(observed(A))
    await store.observe(observed(A, path="/5/0/3"))
    await store.observe(observed(B, location="before00"))
    found = sorted(await store.observations(), key=lambda row: row.path)
    assert found == [observed(A), observed(A, path="/5/0/3")]
    await store.observe(observed(A, token=b"later"))
    assert observed(A, token=b"later") in await store.observations()
    assert len(await store.observations()) == 2
    await group(store, register(A, location="new00000"))
    assert await store.observations() == []


async def test_operations_are_open_until_they_end_oldest_first(store: DeviceStore) -> None:
    late = Operation("2", A, "report_firmware", NOW + 1)
    early = Operation("1", B, "report_firmware", NOW)
    for operation in (late, early):
        await store.add_operation(operation)
    assert await store.open_operations() == [early, late]
    await store.end_operation("1", "done", NOW + 2)
    assert await store.open_operations() == [late]
    await store.end_operation("unknown", "done", NOW + 2)
    await store.end_operation("2", "expired", NOW + 3)
    assert await store.open_operations() == []


# What only the SQL store has to promise.


async def test_all_of_it_survives_a_restart(database_path: Path) -> None:
    url = f"sqlite:///{database_path}"
    async with Database(url) as database:
        await add_accounts(database)
        store = SqlDeviceStore(database)
        await group(store, add(A, mdn=MDN), register(A, at_ms=NOW + 1), Put(A, {"licensed": True}))
        await store.apply([named(A, "app")])
        await store.heard([(A, NOW + 2)])
        await store.observe(observed(A))
        await store.add_operation(Operation("1", A, "report_firmware", NOW))
        before = await everything(store)
    async with Database(url) as database:
        after = SqlDeviceStore(database)
        assert await everything(after) == before
        assert await after.open_operations() == [Operation("1", A, "report_firmware", NOW)]
        (kept,) = await after.registrations()
        assert kept.account_id == MINE
        assert await after.observations() == [observed(A)]


# Admission: the registration at once, the record later.


async def admit(store: DeviceStore, change: Register) -> Any:
    return await submitted(lambda done: store.admit(change, done))


def known_only(
    imei: int, *, sms: str | None = None, location: str = "abcd1234", at_ms: int = NOW
) -> Register:
    return msgspec.structs.replace(
        register(imei, sms=sms, location=location, at_ms=at_ms), enrol_account_id=None
    )


async def test_admission_stores_the_registration_and_the_record_follows(store: DeviceStore) -> None:
    await store.apply([add(A)])
    before = await device(store, A)
    admitted = await admit(store, known_only(A, sms=MDN))
    assert admitted == Admitted(
        msgspec.structs.replace(known_only(A, sms=MDN).registration, account_id=MINE), None, settled=False
    )
    assert await store.registrations() == [admitted.registration]
    assert await device(store, A) == before
    assert await store.unsettled() == [A]
    await store.settle([A, B])
    after = await device(store, A)
    assert (after.protocol, after.mdn and after.mdn.value) == ("LWM2M", MDN)
    assert await store.unsettled() == []
    assert await store.registrations() == [admitted.registration]
    await store.settle([A])
    assert await device(store, A) == after


async def test_admission_of_the_same_again_leaves_nothing_to_settle(store: DeviceStore) -> None:
    await store.apply([add(A)])
    await admit(store, known_only(A))
    assert (await admit(store, known_only(A, location="second00"))).settled is False
    await store.settle([A])
    assert (await admit(store, known_only(A, location="third000"))).settled is True
    assert (await admit(store, known_only(A, sms=MDN))).settled is False


async def test_admission_of_a_stranger(store: DeviceStore) -> None:
    assert isinstance(await admit(store, known_only(A)), UnknownDevice)
    assert await store.registrations() == []
    admitted = await admit(store, register(A, sms=MDN))
    assert (admitted.registration.account_id, admitted.settled) == (MINE, True)
    assert (await device(store, A)).protocol == "LWM2M"


async def test_what_a_registration_said_outlives_it(store: DeviceStore) -> None:
    await store.apply([add(A)])
    await admit(store, known_only(A, sms=MDN))
    await end(store, A)
    after = await device(store, A)
    assert (after.protocol, after.mdn and after.mdn.value) == ("LWM2M", MDN)
    assert await store.unsettled() == []


async def test_an_update_does_not_settle_what_the_register_said(store: DeviceStore) -> None:
    await store.apply([add(A)])
    admitted = await admit(store, known_only(A, sms=MDN))
    moved = msgspec.structs.replace(admitted.registration, port=1, updated_ms=NOW + 1)
    await group(store, Move(moved))
    assert await store.unsettled() == [A]
    await store.settle([A])
    assert await store.registrations() == [moved]
    assert await store.unsettled() == []


async def test_settling_leaves_the_last_uplink_alone(store: DeviceStore) -> None:
    await store.apply([add(A), Put(A, {"licensed": True})])
    await admit(store, known_only(A))
    await touch(store, A, NOW + 5)
    await store.settle([A])
    assert (await record(store, A))["lastConnectionTime"] == "2026-01-01T00:00:00.005Z"


async def test_settling_does_not_move_update_time_back(store: DeviceStore) -> None:
    await store.apply([add(A)])
    await admit(store, known_only(A))
    await store.apply([TakeReport(A, Report("LWM2M", firmware="1"), NOW + 9)])
    await store.settle([A])
    assert (await device(store, A)).updated_ms == NOW + 9


async def test_who_was_not_read_since_its_register(store: DeviceStore) -> None:
    await store.apply([add(A), add(B)])
    await admit(store, known_only(A))
    await admit(store, known_only(B))
    assert await store.not_inventoried(60_000) == {A, B}
    await store.apply([TakeReport(A, Report("LWM2M", inventory=True), NOW + 9)])
    assert await store.not_inventoried(60_000) == {B}
    assert (await admit(store, known_only(A, at_ms=NOW + 60_008))).inventoried_ms == NOW + 9
    assert await store.not_inventoried(60_000) == {B}
    await admit(store, known_only(A, at_ms=NOW + 60_009))
    assert await store.not_inventoried(60_000) == {A, B}


# Twins: the same changes make the same of both stores.

IMEIS = (A, B, C)
Step = tuple[str, Any]

imeis = st.sampled_from(IMEIS)
times = st.integers(NOW, NOW + 50)
numbers = st.sampled_from([MDN, "5550000000", "zero"])
changes = st.one_of(
    st.builds(lambda imei, mdn, at: add(imei, mdn=mdn, now_ms=at), imeis, numbers, times),
    st.builds(lambda imei, at: add(imei, OTHER, now_ms=at), imeis, times),
    st.builds(
        lambda imei, sms, at: register(imei, sms=sms, at_ms=at, location=f"{at % 7}"), imeis, numbers, times
    ),
    st.builds(lambda imei, on: Put(imei, {"licensed": on}), imeis, st.booleans()),
    st.builds(
        lambda imei, names, complete, at: named(imei, *names, complete=complete, now_ms=at),
        imeis,
        st.lists(st.sampled_from(["a", "b", "c"])),
        st.booleans(),
        times,
    ),
    st.builds(
        lambda imei, version, at: TakeReport(imei, Report("LWM2M", firmware=version), at),
        imeis,
        st.sampled_from(["1", "2"]),
        times,
    ),
)
submissions = st.one_of(
    st.tuples(st.just("submit"), changes),
    st.tuples(st.just("admit"), st.builds(known_only, imeis, sms=numbers, at_ms=times)),
    st.tuples(st.just("touch"), st.tuples(imeis, times)),
    st.tuples(st.just("end"), st.tuples(imeis, st.integers(0, 6).map(str))),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("group"), st.lists(submissions, min_size=1, max_size=8)),
        st.tuples(st.just("apply"), st.tuples(st.lists(changes, min_size=1, max_size=4), st.booleans())),
        st.tuples(st.just("heard"), st.lists(st.tuples(imeis, times), max_size=2)),
    ),
    min_size=4,
    max_size=10,
)


async def run(store: DeviceStore, step: Step) -> list[str]:
    kind, given_ = step
    if kind == "heard":
        await store.heard(given_)
        return []
    if kind == "apply":
        try:
            return [answer(outcome) for outcome in await store.apply(given_[0], atomic=given_[1])]
        except AddRefused as refused:
            return [str(refused.errors)]
    return await submit_all(store, given_)


async def submit_all(store: DeviceStore, asked: Sequence[Step]) -> list[str]:
    waiters = []
    for kind, item in asked:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        if kind == "submit":
            store.submit(item, waiter.set_result)
        elif kind == "admit":
            store.admit(item, waiter.set_result)
        elif kind == "touch":
            store.touch(*item, waiter.set_result)
        else:
            store.end_registration(*item, waiter.set_result)
    return [answer(outcome) for outcome in await asyncio.gather(*waiters)]


def answer(outcome: Any) -> str:
    return f"{type(outcome).__name__} {outcome}"


async def everything(store: DeviceStore) -> list[Any]:
    asked = [(account, protocol) for account in (MINE, OTHER) for protocol in (None, "LWM2M", "NONE")]
    return [
        [await store.get(imei) for imei in IMEIS],
        [await store.page(*one, after, count) for one in asked for after in (-1, A) for count in (1, 2, 3)],
        [await store.records(account, IMEIS) for account in (MINE, OTHER)],
        sorted(await store.registrations(), key=lambda row: row.imei),
    ]


@given(steps=steps)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_stores_make_the_same_of_the_same_changes(steps: list[Step], twin_template: Path) -> None:
    async def compare(path: Path) -> None:
        memory = MemoryDeviceStore()
        async with Database(f"sqlite:///{path}") as database:
            store = SqlDeviceStore(database)
            for step in steps:
                assert await run(store, step) == await run(memory, step)
            assert await everything(store) == await everything(memory)

    with TemporaryDirectory() as folder:
        asyncio.run(compare(Path(shutil.copy(twin_template, folder))))


@pytest.fixture(scope="session")
def twin_template(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(migrated, tmp_path_factory.mktemp("twins")))

    async def fill() -> None:
        async with Database(f"sqlite:///{path}") as database:
            await add_accounts(database)

    asyncio.run(fill())
    return path
