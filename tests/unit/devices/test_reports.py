"""What a report makes of a record (spec device-record.md, sections 1, 3, 4.5 and 6)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.devices.model import (
    Device,
    Fact,
    FieldName,
    ListEntry,
    ProtocolName,
    Provisioning,
    Report,
    Source,
)
from overair.devices.rules import (
    clean,
    contacted,
    created,
    eligible,
    monitored,
    provisioned,
    reported,
)

NOW = 1_767_225_600_000
IMEI = 490154203237518
EARLIEST = 1_420_070_400_000  # 2015-01-01
DESCRIPTION: list[FieldName] = ["make", "model", "firmware"]
PROTOCOLS: list[Source] = ["LWM2M", "OMADM", "HTTP"]


def device(**fields: Any) -> Device:
    return Device(imei=IMEI, account_id=1, created_ms=NOW, **fields)


def report(source: Source = "LWM2M", **said: Any) -> Report:
    return Report(source, **said)


def take(before: Device, now_ms: int, source: Source = "LWM2M", **said: Any) -> Device:
    return reported(before, report(source, **said), now_ms)[0]


def software(
    before: Device, now_ms: int, *rows: tuple[str, str, int | None], complete: bool = False
) -> Device:
    return take(before, now_ms, software=rows, software_complete=complete)


# Each source fills what it claims (section 1).


@pytest.mark.parametrize("source", PROTOCOLS)
@pytest.mark.parametrize("name", DESCRIPTION)
def test_each_protocol_alone_describes_the_device(source: Source, name: FieldName) -> None:
    after = take(device(), NOW, source, **{name: "value"})
    assert getattr(after, name) == Fact("value", source, NOW, confirmed=True)
    assert [getattr(after, other) for other in DESCRIPTION if other != name] == [None, None]


@pytest.mark.parametrize("name", DESCRIPTION)
def test_provisioning_alone_describes_the_device(name: FieldName) -> None:
    after = created(Provisioning(IMEI, **{name: "value"}), 1, NOW)
    assert getattr(after, name) == Fact("value", "provisioned", NOW, confirmed=False)


def test_a_report_never_touches_licence_identity_status_and_protocol() -> None:
    before = device(licensed=True, status="Suspended", protocol="HTTP")
    after = take(before, NOW + 1, make="m", model="x", firmware="1", software=(("a", "1", None),))
    assert (after.imei, after.account_id, after.created_ms) == (IMEI, 1, NOW)
    assert (after.licensed, after.status, after.protocol) == (True, "Suspended", "HTTP")


# Trimming and bounds.


@pytest.mark.parametrize("padded", ["v1", " v1 ", "v1\0\0", "\tv1\r\n", "v1 \0"])
def test_white_space_and_trailing_nuls_go(padded: str) -> None:
    assert clean(padded) == "v1"


@pytest.mark.parametrize("empty", [None, "", " ", "\0\0", "\r\n\t"])
def test_nothing_left_is_none(empty: str | None) -> None:
    assert clean(empty) is None


@given(st.text(st.characters(), max_size=400))
def test_cleaned_text_is_bounded_stable_and_can_be_stored(text: str) -> None:
    cleaned = clean(text + "\ud800" * (len(text) % 2))
    if cleaned is not None:
        assert 1 <= len(cleaned.encode()) <= 255
        assert clean(cleaned) == cleaned


def test_case_is_kept() -> None:
    after = take(device(), NOW, make="SEQUANS Communications")
    assert after.make is not None
    assert after.make.value == "SEQUANS Communications"


def test_attributes_are_bounded_in_number_and_length() -> None:
    state = device()
    for n in range(1000):
        state, _ = contacted(state, "LWM2M", [(f"registration:{n}", "x" * 1000)], NOW + n)
    assert len(state.attributes) <= 100
    assert all(len(text) <= 255 for text in state.attributes.values())
    state = take(state, NOW, attributes=(("registration:0", "new"),))
    assert state.attributes["registration:0"] == "new"


# Section 6, rank by rank.


@pytest.mark.parametrize("name", DESCRIPTION)
def test_rank_2_a_confirmed_report_beats_a_provisional_value(name: FieldName) -> None:
    imported = created(Provisioning(IMEI, **{name: "S"}), 1, NOW)
    after = take(imported, NOW + 1, **{name: "P"})
    assert getattr(after, name) == Fact("P", "LWM2M", NOW + 1)
    again, _ = provisioned(after, Provisioning(IMEI, **{name: "S"}), NOW + 2)
    assert again == after


@pytest.mark.parametrize("name", DESCRIPTION)
def test_rank_2_a_report_of_the_imported_value_confirms_it(name: FieldName) -> None:
    imported = created(Provisioning(IMEI, **{name: "S"}), 1, NOW)
    after = take(imported, NOW + 1, **{name: "S"})
    assert getattr(after, name).confirmed
    again, _ = provisioned(after, Provisioning(IMEI, **{name: "T"}), NOW + 2)
    assert again == after


@pytest.mark.parametrize("name", DESCRIPTION)
@pytest.mark.parametrize("first", PROTOCOLS)
@pytest.mark.parametrize("second", PROTOCOLS)
def test_rank_3_newer_beats_older_across_protocols(name: FieldName, first: Source, second: Source) -> None:
    before = take(device(), NOW, first, **{name: "A"})
    after = take(before, NOW + 1, second, **{name: "B"})
    assert getattr(after, name) == Fact("B", second, NOW + 1)


@pytest.mark.parametrize("name", DESCRIPTION)
def test_rank_4_at_the_same_time_lwm2m_then_omadm_then_http(name: FieldName) -> None:
    for better, best in enumerate(PROTOCOLS):
        for other in PROTOCOLS[better + 1 :]:
            for order in ((best, other), (other, best)):
                state = device()
                for source in order:
                    state = take(state, NOW, source, **{name: source})
                assert getattr(state, name).value == best


@pytest.mark.parametrize("empty", [None, "", " ", "\0"])
@pytest.mark.parametrize("name", DESCRIPTION)
def test_rank_5_absent_and_empty_never_overwrite(name: FieldName, empty: str | None) -> None:
    before = take(device(), NOW, make="m", model="x", firmware="1", refreshed=False)
    assert take(before, NOW + 1, refreshed=False, **{name: empty}) == before
    assert provisioned(before, Provisioning(IMEI, **{name: empty}), NOW + 1) == (before, ())


def test_rank_5_an_unknown_capability_never_overwrites() -> None:
    before = take(device(), NOW, firmware_capable=True)
    assert take(before, NOW + 1, firmware_capable=None).firmware_capable is True
    assert take(before, NOW + 1, firmware_capable=False).firmware_capable is False


def test_rank_5_an_empty_attribute_never_overwrites() -> None:
    before = take(device(), NOW, attributes=(("iccid", "8901"),))
    assert take(before, NOW + 1, attributes=(("iccid", ""), ("imsi", "\0"))).attributes == {"iccid": "8901"}


@pytest.mark.parametrize("name", DESCRIPTION)
def test_rank_6_a_locked_field_stays_and_the_report_is_kept_aside(name: FieldName) -> None:
    before = take(device(locked=(name,)), NOW, refreshed=False)
    before = msgspec.structs.replace(before, **{name: Fact("fixed", "provisioned", NOW, confirmed=False)})
    after = take(before, NOW + 1, **{name: "reported"})
    assert getattr(after, name) == getattr(before, name)
    assert after.attributes == {f"reported_{name}": "reported"}
    assert (after.history, after.status_ms) == ((), None)


def test_rank_7_each_replaced_value_is_remembered_with_source_and_time() -> None:
    state = created(Provisioning(IMEI, firmware="S"), 1, NOW)
    state = take(state, NOW + 1, firmware="P")
    state = take(state, NOW + 2, "HTTP", firmware="Q", make="m")
    assert [(old.field, old.value, old.source, old.at_ms) for old in state.history] == [
        ("firmware", "S", "provisioned", NOW),
        ("firmware", "P", "LWM2M", NOW + 1),
    ]


def test_rank_7_the_history_keeps_the_last_twenty() -> None:
    state = device()
    for n in range(30):
        state = take(state, NOW + n, firmware=f"1.{n}")
    assert [old.value for old in state.history] == [f"1.{n}" for n in range(9, 29)]


def test_rank_7_one_report_that_replaces_two_values_keeps_both() -> None:
    state = take(device(), NOW, make="m", model="x", firmware="1")
    state = take(state, NOW + 1, make="n", model="y", firmware="2")
    assert [(old.field, old.value) for old in state.history] == [
        ("make", "m"),
        ("model", "x"),
        ("firmware", "1"),
    ]


@pytest.mark.parametrize(("after_ms", "events"), [(59_000, ("firmware_conflict",)), (61_000, ())])
def test_two_protocols_that_disagree_within_a_minute_are_an_event(
    after_ms: int, events: tuple[str, ...]
) -> None:
    before = take(device(), NOW, firmware="A")
    after, raised = reported(before, report("HTTP", firmware="B"), NOW + after_ms)
    assert after.firmware == Fact("B", "HTTP", NOW + after_ms)
    assert raised == events


def test_one_protocol_that_changes_its_mind_is_no_conflict() -> None:
    before = take(device(), NOW, firmware="A")
    assert reported(before, report(firmware="B"), NOW + 1)[1] == ()
    imported = created(Provisioning(IMEI, firmware="A"), 1, NOW)
    assert reported(imported, report(firmware="B"), NOW + 1)[1] == ()
    assert reported(before, report("HTTP", firmware="A"), NOW + 1)[1] == ()


def test_import_says_s_then_the_device_p() -> None:
    after = take(created(Provisioning(IMEI, firmware="S"), 1, NOW), NOW + 1, firmware="P")
    assert after.firmware == Fact("P", "LWM2M", NOW + 1)
    assert after.status_ms is None


@pytest.mark.parametrize("name", ["make", "model"])
def test_another_make_or_model_is_an_event(name: FieldName) -> None:
    before = take(device(), NOW, **{name: "A"})
    after, events = reported(before, report(**{name: "B"}), NOW + 1)
    assert events == ("identity_changed",)
    assert after.updated_ms == NOW + 1
    assert reported(after, report(**{name: "B"}), NOW + 2)[1] == ()


@pytest.mark.parametrize("name", ["make", "model"])
def test_the_first_report_of_make_and_model_is_no_change_of_identity(name: FieldName) -> None:
    imported = created(Provisioning(IMEI, **{name: "A"}), 1, NOW)
    assert reported(imported, report(**{name: "B"}), NOW + 1)[1] == ()
    assert reported(device(), report(**{name: "B"}), NOW + 1)[1] == ()


# Software (sections 3.3 and 3.4).


def test_a_first_inventory_dates_from_the_report_and_is_sorted() -> None:
    after = software(device(), NOW, ("b", "1", None), ("a", "2", None))
    assert after.software == (ListEntry("a", "2", NOW), ListEntry("b", "1", NOW))
    assert after.status_ms is None


def test_a_version_change_dates_from_the_report() -> None:
    before = software(device(), NOW, ("a", "1", None), ("b", "1", None))
    after = software(before, NOW + 5, ("a", "2", None), ("b", "1", None))
    assert after.software == (ListEntry("a", "2", NOW + 5), ListEntry("b", "1", NOW))
    assert after.status_ms == NOW + 5


@pytest.mark.parametrize(
    ("device_ms", "shown_ms"),
    [
        (NOW - 5, NOW - 5),
        (NOW, NOW),
        (NOW + 1, NOW),
        (EARLIEST, EARLIEST),
        (EARLIEST - 1, NOW),
        (0, NOW),
        (-1, NOW),
        (None, NOW),
    ],
)
def test_the_devices_own_time_counts_if_it_can_be_true(device_ms: int | None, shown_ms: int) -> None:
    assert software(device(), NOW, ("a", "1", device_ms)).software == (ListEntry("a", "1", shown_ms),)


def test_a_partial_report_never_deletes_and_a_complete_one_does() -> None:
    before = software(device(), NOW, ("a", "1", None), ("b", "1", None))
    partial = software(before, NOW + 1, ("c", "1", None))
    assert [entry.name for entry in partial.software] == ["a", "b", "c"]
    complete = software(partial, NOW + 2, ("c", "1", None), complete=True)
    assert complete.software == (ListEntry("c", "1", NOW + 1),)
    assert complete.updated_ms == NOW + 2
    assert software(complete, NOW + 3, complete=True).software == ()
    assert software(complete, NOW + 3).software == complete.software


def test_a_list_that_was_not_read_leaves_the_known_one() -> None:
    before = software(device(), NOW, ("a", "1", None))
    assert take(before, NOW + 1, software=None, software_complete=True).software == before.software


@pytest.mark.parametrize("missing", ["", " ", "\0"])
@pytest.mark.parametrize("complete", [True, False])
def test_a_version_that_could_not_be_read_erases_none(missing: str, complete: bool) -> None:
    before = software(device(), NOW, ("a", "1", None))
    after = software(before, NOW + 1, ("a", missing, None), complete=complete)
    assert after.software == before.software
    assert after.status_ms is None


def test_an_entry_without_name_is_dropped_and_one_without_version_kept() -> None:
    assert software(device(), NOW, ("", "1", None), ("\0", "1", None)).software == ()
    assert software(device(), NOW, ("a", "", None)).software == (ListEntry("a", "", NOW),)


def test_duplicates_are_one_entry_and_stay_as_they_are() -> None:
    rows = (("a", "1", None), ("a ", "1", None), ("a", "1", None), ("b", "1", None), ("b", "2", None))
    once = software(device(), NOW, *rows, complete=True)
    assert [entry.name for entry in once.software] == ["a", "b"]
    twice = software(once, NOW + 1, *rows, complete=True)
    assert (twice.software, twice.updated_ms) == (once.software, once.updated_ms)
    assert twice.status_ms is None


def test_a_thousand_entries_are_the_most() -> None:
    rows = [(f"app{n:04}", "1", None) for n in range(1200)]
    assert len(software(device(), NOW, *rows[:1000], complete=True).software) == 1000
    assert len(software(device(), NOW, *rows, complete=True).software) == 1000


def test_a_partial_report_to_a_full_list_pushes_nothing_out() -> None:
    full = software(device(), NOW, *[(f"app{n:04}", "1", None) for n in range(1000)], complete=True)
    after = software(full, NOW + 1, ("aaa", "1", None), ("app0500", "2", None))
    assert [entry.name for entry in after.software] == [entry.name for entry in full.software]
    assert after.software[500] == ListEntry("app0500", "2", NOW + 1)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "1", "2"]), st.none()), max_size=6),
    st.booleans(),
)
def test_the_same_report_again_changes_nothing(
    rows: list[tuple[str, str, int | None]], complete: bool
) -> None:
    once = software(device(), NOW, *rows, complete=complete)
    twice = software(once, NOW + 1, *rows, complete=complete)
    assert [entry.name for entry in once.software] == sorted({row[0] for row in rows})
    assert msgspec.structs.replace(twice, refreshed_ms=NOW) == once


# Times (section 4.5).


def test_create_time_is_that_of_the_first_provisioning() -> None:
    first = created(Provisioning(IMEI, make="m"), 1, NOW)
    again, _ = provisioned(first, Provisioning(IMEI, make="n"), NOW + 1)
    assert (first.created_ms, again.created_ms) == (NOW, NOW)
    assert (first.updated_ms, again.updated_ms) == (None, NOW + 1)


def test_status_time_moves_with_a_confirmed_version_change_only() -> None:
    state = created(Provisioning(IMEI, firmware="S"), 1, NOW)
    state = take(state, NOW + 1, firmware="P", software=(("a", "1", None),))
    assert state.status_ms is None
    state = take(state, NOW + 2, firmware="P", make="m", software=(("a", "1", None), ("b", "1", None)))
    assert state.status_ms is None
    state = take(state, NOW + 3, firmware="Q")
    assert state.status_ms == NOW + 3
    state = take(state, NOW + 4, firmware="Q", make="n")
    assert state.status_ms == NOW + 3


def test_update_time_moves_with_any_value_and_not_with_an_identical_report() -> None:
    said: dict[str, Any] = {
        "make": "m",
        "model": "x",
        "firmware": "1",
        "mdn": "5551234567",
        "firmware_capable": True,
        "software": (("a", "1", None),),
        "attributes": (("iccid", "8901"),),
    }
    state = take(device(), NOW + 1, **said)
    assert state.updated_ms == NOW + 1
    assert take(state, NOW + 2, **said).updated_ms == NOW + 1
    assert take(state, NOW + 2, "HTTP", make="m", model="x", firmware="1").updated_ms == NOW + 1
    news: dict[str, Any] = {
        "make": "n",
        "model": "y",
        "firmware": "2",
        "mdn": "5550000000",
        "firmware_capable": False,
        "software": (("b", "1", None),),
        "attributes": (("iccid", "8902"),),
    }
    for name, value in news.items():
        assert take(state, NOW + 3, **{name: value}).updated_ms == NOW + 3, name


def test_update_time_does_not_move_when_an_imported_value_is_only_confirmed() -> None:
    imported = created(Provisioning(IMEI, firmware="S"), 1, NOW)
    assert take(imported, NOW + 1, firmware="S").updated_ms is None


def test_refresh_time_moves_with_each_reading_even_of_the_same() -> None:
    state = take(device(), NOW + 1, make="m")
    state = take(state, NOW + 2, make="m")
    assert (state.refreshed_ms, state.updated_ms) == (NOW + 2, NOW + 1)
    assert take(state, NOW + 3, make="n", refreshed=False).refreshed_ms == NOW + 2


# Service-derived fields (sections 4.1 to 4.4).


def test_the_protocol_is_the_provisioned_until_the_device_speaks() -> None:
    assert created(Provisioning(IMEI), 1, NOW).protocol == "NONE"
    hinted = created(Provisioning(IMEI, protocol="HTTP"), 1, NOW)
    assert hinted.protocol == "HTTP"
    heard, _ = contacted(hinted, "LWM2M", (), NOW + 1)
    assert (heard.protocol, heard.updated_ms) == ("LWM2M", NOW + 1)
    again, _ = provisioned(heard, Provisioning(IMEI, protocol="HTTP"), NOW + 2)
    assert again == heard


def test_the_protocol_follows_the_last_contact() -> None:
    state = device()
    order: list[ProtocolName] = ["LWM2M", "HTTP", "OMADM", "LWM2M"]
    for day, protocol in enumerate(order):
        state, _ = contacted(state, protocol, (), NOW + day * 90_000_000)
        assert state.protocol == protocol
    assert contacted(state, "LWM2M", (), NOW + 1)[0] == state


@pytest.mark.parametrize("status", ["Active", "Pending", "Suspended", "Inactive"])
def test_status_is_set_by_provisioning(status: str) -> None:
    assert created(Provisioning(IMEI), 1, NOW).status == "Active"
    assert created(Provisioning(IMEI, status=status), 1, NOW).status == status


def test_a_device_is_eligible_when_it_takes_firmware_and_has_one() -> None:
    firmware = Fact("1", "LWM2M", NOW)
    assert not eligible(device())
    assert not eligible(device(firmware=firmware))
    assert not eligible(device(firmware_capable=True))
    assert not eligible(device(firmware=firmware, firmware_capable=False))
    assert eligible(device(firmware=firmware, firmware_capable=True))
    assert eligible(device(eligible_override=True))
    assert not eligible(device(firmware=firmware, firmware_capable=True, eligible_override=False))


def test_licensed_devices_are_monitored() -> None:
    assert [monitored(device(licensed=on)) for on in (True, False)] == [True, False]
