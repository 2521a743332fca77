"""What licences and campaigns change of a device, and ask of many (spec device-record.md, 3 and 4.4)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from overair.devices import sql
from overair.devices.changes import SetLicensed, Upgraded
from overair.devices.group import apply_changes
from overair.devices.model import Device, Fact, ListEntry, Registration, Report, UnknownDevice
from overair.devices.rules import reported
from overair.platform.database import metadata

NOW = 1_767_225_600_000
IMEI = 490154203237518
ACCOUNT, OTHER_ACCOUNT = 7, 8


def device(imei: int = IMEI, **fields: Any) -> Device:
    return Device(imei=imei, **{"account_id": ACCOUNT, "created_ms": NOW, **fields})


def upgraded(known: Device | None, version: str = "2.0", **fields: Any) -> Device:
    said = {"kind": "firmware", "name": "fw", "confirmed": True, "now_ms": NOW + 5, **fields}
    outcome = Upgraded(ACCOUNT, IMEI, version=version, **said).apply(known)
    assert outcome.device is outcome.result
    assert outcome.device is not None
    return outcome.device


def test_a_licence_comes_and_goes() -> None:
    licensed = SetLicensed(ACCOUNT, IMEI, licensed=True, now_ms=NOW + 1).apply(device()).device
    assert licensed is not None
    assert (licensed.licensed, licensed.updated_ms) == (True, NOW + 1)
    taken = SetLicensed(ACCOUNT, IMEI, licensed=False, now_ms=NOW + 2).apply(licensed).device
    assert taken is not None
    assert (taken.licensed, taken.updated_ms) == (False, NOW + 2)


def test_the_same_licence_again_is_no_change() -> None:
    known = device(licensed=True)
    assert SetLicensed(ACCOUNT, IMEI, licensed=True, now_ms=NOW + 1).apply(known).device == known


@pytest.mark.parametrize("known", [None, device(account_id=OTHER_ACCOUNT)])
def test_of_another_account_nothing_is_changed(known: Device | None) -> None:
    with pytest.raises(UnknownDevice, match="490154203237518"):
        SetLicensed(ACCOUNT, IMEI, licensed=True, now_ms=NOW).apply(known)
    with pytest.raises(UnknownDevice):
        upgraded(known)


@pytest.mark.parametrize("confirmed", [True, False])
def test_firmware_that_a_campaign_brought(confirmed: bool) -> None:
    known = device(firmware=Fact("1.0", "LWM2M", NOW))
    after = upgraded(known, confirmed=confirmed)
    assert after.firmware == Fact("2.0", "campaign", NOW + 5, confirmed=confirmed)
    assert after.status_ms == after.updated_ms == NOW + 5
    assert [each.value for each in after.history] == ["1.0"]


def test_firmware_that_the_device_has_said_already_stays_its_own_word() -> None:
    known = device(firmware=Fact("2.0", "LWM2M", NOW + 1))
    after = upgraded(known)
    assert (after.firmware, after.status_ms) == (known.firmware, NOW + 5)


def test_what_the_device_says_later_counts_more_than_the_target() -> None:
    after = upgraded(device(firmware=Fact("1.0", "LWM2M", NOW)), confirmed=False)
    said, _ = reported(after, Report("LWM2M", firmware="2.0-rc1"), NOW + 9)
    assert said.firmware is not None
    assert said.firmware.value == "2.0-rc1"


@pytest.mark.parametrize(("kind", "field"), [("software", "software"), ("file", "files")])
def test_an_entry_takes_the_place_of_the_older_one(kind: str, field: str) -> None:
    entries = (ListEntry("alpha", "1", NOW), ListEntry("tracker", "1", NOW))
    after = upgraded(device(**{field: entries}), kind=kind, name="tracker")
    assert getattr(after, field) == (ListEntry("alpha", "1", NOW), ListEntry("tracker", "2.0", NOW + 5))
    first = upgraded(device(), kind=kind, name="new")
    assert getattr(first, field) == (ListEntry("new", "2.0", NOW + 5),)
    assert first.firmware is None


# The statements.


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/devices.db")
    metadata.create_all(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def put(connection: Connection, devices: Sequence[Device]) -> None:
    sql.INSERT_DEVICE.many(connection, [sql.device_row(each) for each in devices])


def of(imei: int, make: str = "Acme", model: str = "T1", **fields: Any) -> Device:
    return device(imei, make=Fact(make, "LWM2M", NOW), model=Fact(model, "LWM2M", NOW), **fields)


def test_devices_of_an_account(connection: Connection) -> None:
    mine, foreign = device(1), device(2, account_id=OTHER_ACCOUNT)
    put(connection, [mine, foreign])
    assert sql.devices_of(connection, ACCOUNT, [1, 2, 3]) == {1: mine}
    assert sql.devices_of(connection, ACCOUNT, []) == {}


def test_more_devices_than_one_statement_names(connection: Connection) -> None:
    many = range(1, 2 * sql.IN_LIST_MAX + 3)
    put(connection, [device(imei) for imei in many])
    assert list(sql.devices_of(connection, ACCOUNT, list(many))) == list(many)
    assert sql.contacts(connection, list(many)) == {}


def test_when_devices_were_heard(connection: Connection) -> None:
    """The registration knows it; after it has ended, the device does."""
    put(connection, [device(1), device(2), device(3)])
    for imei in (1, 2):
        place = Registration(
            imei=imei, account_id=ACCOUNT, location=str(imei), endpoint="", host="", port=1,
            lifetime_seconds=1, lwm2m_version="1.1", binding="U", queue_mode=False, links=b"", identity=b"",
            said=b"", registered_ms=NOW, updated_ms=NOW + imei,
        )  # fmt: skip
        sql.PUT_REGISTRATION.many(connection, [sql.registration_row(place, settled=True)])
    sql.store_uplinks(connection, [(2, NOW + 50)])
    assert sql.contacts(connection, [1, 2, 3]) == {1: NOW + 1, 2: NOW + 50}
    sql.KEEP_UPLINK.many(connection, [(2,)])
    sql.DELETE_REGISTRATION.many(connection, [(1,), (2,)])
    assert sql.contacts(connection, [1, 2, 3]) == {2: NOW + 50}


def test_devices_of_a_model(connection: Connection) -> None:
    put(
        connection,
        [of(1), of(2, "ACME", "t1"), of(3, model="T2"), of(4, account_id=OTHER_ACCOUNT), of(5), device(6)],
    )
    assert sql.of_model(connection, ACCOUNT, "aCME", "T1", -1, 10) == [1, 2, 5]
    assert sql.of_model(connection, ACCOUNT, "acme", "t1", 1, 1) == [2]
    assert sql.of_model(connection, ACCOUNT, "acme", "t1", 5, 10) == []
    assert sql.models_of(connection, ACCOUNT) == {("acme", "t1"), ("acme", "t2")}
    assert sql.models_of(connection, 99) == set()


def test_devices_in_a_campaign_are_shown_as_reachable_or_not(connection: Connection) -> None:
    put(connection, [device(1), device(2), device(3, licensed=True)])
    sql.set_campaigning(connection, [1], campaigning=True)

    def shown() -> dict[int, bool]:
        return {row[0]: bool(row[3]) for row in sql.record_rows(connection, ACCOUNT, [1, 2, 3])}

    assert shown() == {1: True, 2: False, 3: True}
    sql.set_campaigning(connection, [1, 3], campaigning=False)
    assert shown() == {1: False, 2: False, 3: True}


def test_changes_in_one_transaction_with_others(connection: Connection) -> None:
    put(connection, [device()])
    apply_changes(
        connection,
        [
            SetLicensed(ACCOUNT, IMEI, licensed=True, now_ms=NOW),
            Upgraded(ACCOUNT, IMEI, "firmware", "fw", "2.0", confirmed=True, now_ms=NOW + 1),
        ],
    )
    stored = sql.load_state(connection, IMEI)
    assert stored is not None
    assert (stored.licensed, stored.firmware) == (True, Fact("2.0", "campaign", NOW + 1))
