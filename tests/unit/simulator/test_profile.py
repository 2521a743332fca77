"""Profiles and identities."""

from __future__ import annotations

import re

import pytest

from overair.protocols.lwm2m.names import luhn_valid, parse_endpoint_name
from overair.simulator import FIRST_IMEI, PROFILES, IdentityError, identities


def test_identities_have_successive_valid_imeis_and_fictional_numbers() -> None:
    fleet = list(identities(250))
    assert fleet[0].imei == FIRST_IMEI
    assert [int(each.imei[:14]) - int(FIRST_IMEI[:14]) for each in fleet] == list(range(250))
    assert all(luhn_valid(each.imei) for each in fleet)
    assert all(re.fullmatch(r"[2-9]\d\d55501\d\d", each.mdn) for each in fleet)


def test_ten_thousand_devices_have_ten_thousand_numbers() -> None:
    fleet = list(identities(10_000))
    assert len({each.mdn for each in fleet}) == len({each.imei for each in fleet}) == 10_000


def test_the_same_imei_is_the_same_device_in_every_fleet() -> None:
    fleet = list(identities(20, seed=7))
    again = list(identities(5, first_imei=fleet[10].imei, seed=7))
    assert again == fleet[10:15]


def test_a_few_devices_show_every_model_and_the_seed_shifts_them() -> None:
    assert {each.profile for each in identities(len(PROFILES))} == set(PROFILES)
    assert next(identities(1, seed=1)).profile != next(identities(1, seed=0)).profile


def test_endpoint_names_say_who_the_device_is() -> None:
    forms = set()
    for each in identities(10):
        name = parse_endpoint_name(each.endpoint)
        assert name.imei == each.imei
        assert name.msisdn in (None, each.mdn)
        forms.add(name.msisdn is None)
    assert forms == {True, False}


@pytest.mark.parametrize("imei", ["", "990012340000000", "99001234000000", "abcdefghijklmno", "9" * 5000])
def test_an_imei_with_a_wrong_check_digit_begins_no_fleet(imei: str) -> None:
    with pytest.raises(IdentityError, match="15 digits with the right check digit"):
        identities(1, first_imei=imei)


def test_numbers_run_out() -> None:
    last = "999999999999994"
    assert [each.imei for each in identities(1, first_imei=last)] == [last]
    with pytest.raises(IdentityError, match="no 2 numbers follow"):
        identities(2, first_imei=last)
