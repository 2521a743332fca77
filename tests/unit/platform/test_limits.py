"""The bounds that the API publishes, and that agree with those of the protocols."""

import dataclasses

import pytest

from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.protocols.lwm2m.awake import AWAKE_WINDOW_SECONDS
from overair.records.fields import MAX_ENTRIES
from overair.records.lenient import MAX_REQUEST_BYTES


def test_published_limits() -> None:
    assert DEFAULT_LIMITS.page_size == 1000
    assert DEFAULT_LIMITS.device_list_items == 1000
    assert DEFAULT_LIMITS.firmware_sync_devices == 100
    assert (DEFAULT_LIMITS.software_list_items, DEFAULT_LIMITS.file_list_items) == (1000, 1000)
    assert DEFAULT_LIMITS.history_items == 20
    assert DEFAULT_LIMITS.refresh_after_hours == 24


def test_one_bound_that_stands_in_two_places_is_the_same() -> None:
    assert DEFAULT_LIMITS.device_list_items == MAX_ENTRIES
    assert DEFAULT_LIMITS.software_list_items == MAX_ENTRIES
    assert DEFAULT_LIMITS.request_body_bytes == MAX_REQUEST_BYTES
    assert DEFAULT_LIMITS.awake_seconds == AWAKE_WINDOW_SECONDS


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
def test_every_limit_lets_something_through(field: str) -> None:
    assert getattr(DEFAULT_LIMITS, field) > 0


def test_limits_do_not_change_while_the_service_runs() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_LIMITS.page_size = 1  # type: ignore[misc]
