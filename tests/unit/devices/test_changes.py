"""The changes that the use cases make (spec device-record.md, sections 2 to 7)."""

from typing import Any

import msgspec
import pytest

from overair.devices.changes import (
    Move,
    Provision,
    Register,
    Said,
    SynchroniseFirmware,
    TakeReport,
    encode_said,
)
from overair.devices.model import (
    Device,
    DeviceError,
    Fact,
    FirmwareReading,
    ForeignDevice,
    Provisioning,
    Registration,
    Report,
    UnknownDevice,
)

NOW = 1_767_225_600_000
IMEI = 490154203237518
MDN = "5551234567"
PLACE = Registration(
    imei=IMEI,
    account_id=0,
    location="abcd1234",
    endpoint="urn:imei:490154203237518",
    host="10.0.0.1",
    port=5683,
    lifetime_seconds=86_400,
    lwm2m_version="1.1",
    binding="U",
    queue_mode=True,
    links=b"</3/0>",
    identity=b"",
    said=b"",
    registered_ms=NOW + 1,
    updated_ms=NOW + 1,
)


def device(**fields: Any) -> Device:
    return Device(imei=IMEI, account_id=7, created_ms=NOW, **fields)


def saying(place: Registration = PLACE, *, msisdn: str | None = None, sms: str | None = None) -> Registration:
    return msgspec.structs.replace(place, said=encode_said(Said(msisdn=msisdn, sms=sms)))


def test_a_register_makes_the_device_an_lwm2m_one_and_gives_the_place_its_account() -> None:
    outcome = Register(PLACE).apply(device())
    assert outcome.device is not None
    assert outcome.device.protocol == "LWM2M"
    assert outcome.device.attributes["endpoint"] == PLACE.endpoint
    assert outcome.device.updated_ms == NOW + 1
    assert outcome.device.refreshed_ms is None
    assert outcome.registration == msgspec.structs.replace(PLACE, account_id=7)
    assert outcome.result == outcome.device


def test_an_identical_register_changes_the_place_only() -> None:
    once = Register(saying(sms=MDN)).apply(device()).device
    later = msgspec.structs.replace(PLACE, registered_ms=NOW + 9, updated_ms=NOW + 9, location="other")
    again = Register(saying(later, sms=MDN)).apply(once)
    assert again.device == once
    assert again.registration is not None
    assert again.registration.location == "other"


@pytest.mark.parametrize(
    ("msisdn", "sms", "expected"),
    [
        ("15551234567", "5550000000", Fact(MDN, "endpoint", NOW + 1)),
        (None, "15551234567", Fact(MDN, "sms", NOW + 1)),
        (None, "zero", None),
        (None, None, None),
    ],
)
def test_a_register_brings_the_number(msisdn: str | None, sms: str | None, expected: Fact | None) -> None:
    outcome = Register(saying(msisdn=msisdn, sms=sms)).apply(device())
    assert outcome.device is not None
    assert outcome.device.mdn == expected


def test_a_register_with_another_number_than_the_provisioned_is_an_event() -> None:
    outcome = Register(saying(sms="5550000000")).apply(device(mdn=Fact(MDN, "provisioned", NOW)))
    assert outcome.events == ("mdn_mismatch",)
    assert outcome.device is not None
    assert outcome.device.mdn == Fact(MDN, "provisioned", NOW)


def test_a_stranger_is_taken_in_only_where_that_is_wanted() -> None:
    with pytest.raises(UnknownDevice, match="490154203237518"):
        Register(PLACE).apply(None)
    outcome = Register(saying(sms=MDN), enrol_account_id=3).apply(None)
    assert outcome.device is not None
    assert (outcome.device.account_id, outcome.device.created_ms) == (3, NOW + 1)
    assert (outcome.device.protocol, outcome.device.licensed) == ("LWM2M", False)
    assert outcome.registration is not None
    assert outcome.registration.account_id == 3


def test_a_known_device_stays_in_its_account_whoever_takes_in_strangers() -> None:
    outcome = Register(PLACE, enrol_account_id=3).apply(device())
    assert outcome.device is not None
    assert outcome.device.account_id == 7


def test_a_move_writes_the_place_and_the_number_only() -> None:
    outcome = Move(PLACE).apply(device())
    assert (outcome.device, outcome.registration) == (None, PLACE)
    outcome = Move(PLACE, sms=MDN).apply(device())
    assert outcome.device is not None
    assert outcome.device.mdn == Fact(MDN, "sms", PLACE.updated_ms)
    assert outcome.device.refreshed_ms is None


@pytest.mark.parametrize("change", [Move(PLACE), TakeReport(IMEI, Report("LWM2M"), NOW)])
def test_only_a_known_device_moves_and_reports(change: Move | TakeReport) -> None:
    assert change.imei == IMEI
    with pytest.raises(UnknownDevice, match="490154203237518"):
        change.apply(None)


def test_a_report_is_taken_over() -> None:
    outcome = TakeReport(IMEI, Report("LWM2M", firmware="1"), NOW + 1).apply(device())
    assert outcome.device is not None
    assert outcome.device.firmware == Fact("1", "LWM2M", NOW + 1)
    assert outcome.result == outcome.device
    assert outcome.registration is None


def test_an_owner_adds_a_device_and_says_more_of_it_later() -> None:
    made = Provision(7, Provisioning(IMEI, mdn=MDN), NOW).apply(None).device
    assert made is not None
    assert (made.account_id, made.created_ms, made.updated_ms) == (7, NOW, None)
    after = Provision(7, Provisioning(IMEI, make="m"), NOW + 1).apply(made).device
    assert after is not None
    assert (after.mdn, after.created_ms, after.updated_ms) == (Fact(MDN, "provisioned", NOW), NOW, NOW + 1)


def test_no_owner_changes_anothers_device() -> None:
    with pytest.raises(ForeignDevice, match="490154203237518"):
        Provision(8, Provisioning(IMEI), NOW).apply(device())


@pytest.mark.parametrize("before", [None, device()])
def test_a_status_that_no_owner_may_give_is_refused(before: Device | None) -> None:
    with pytest.raises(DeviceError, match="status 'active'"):
        Provision(7, Provisioning(IMEI, status="active"), NOW).apply(before)


def test_synchronising_reads_and_moves_the_refresh_time() -> None:
    known = device(firmware=Fact("1.0", "LWM2M", NOW))
    outcome = SynchroniseFirmware(7, IMEI, NOW + 1).apply(known)
    assert outcome.result == FirmwareReading(f"{IMEI}", found=True, firmware="1.0", changed_ms=NOW)
    assert outcome.device == msgspec.structs.replace(known, refreshed_ms=NOW + 1)


def test_synchronising_an_unknown_version_gives_an_empty_one() -> None:
    reading = SynchroniseFirmware(7, IMEI, NOW + 1).apply(device()).result
    assert reading == FirmwareReading(f"{IMEI}", found=True, firmware="", changed_ms=None)


@pytest.mark.parametrize("before", [None, msgspec.structs.replace(device(), account_id=8)])
def test_synchronising_what_the_account_has_not_finds_and_changes_nothing(before: Device | None) -> None:
    outcome = SynchroniseFirmware(7, IMEI, NOW + 1).apply(before)
    assert outcome.result == FirmwareReading(f"{IMEI}", found=False)
    assert outcome.device is None
