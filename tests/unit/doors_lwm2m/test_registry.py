"""The registrations in memory: look-ups, moves, and expiry without scans (spec lwm2m.md, 3.6)."""

from typing import Any

import msgspec
import pytest

from overair.devices.model import Registration
from overair.doors.lwm2m.registry import SWEEP_SECONDS, Live, Registry
from overair.protocols.lwm2m import ObjectList, parse_links

NOW = 1_767_225_600_000
HOUR_MS = 3_600_000
A, B = 490154203237518, 490154203237526
GRACE_SECONDS = 247  # EXCHANGE_LIFETIME, or a tenth of the lifetime if that is more


class Counted(Live, kw_only=True, gc=False):
    """Counts how often it is looked at."""

    looks: int = 0

    def expires_ms(self) -> float:
        self.looks += 1
        return super().expires_ms()


def live(
    imei: int = A,
    *,
    location: str = "abcd1234",
    port: int = 5683,
    lifetime_seconds: int = 3600,
    at_ms: int = NOW,
    kind: type[Live] = Live,
) -> Any:
    registration = Registration(
        imei,
        1,
        location,
        "e",
        "10.0.0.1",
        port,
        lifetime_seconds,
        "1.1",
        "U",
        False,
        b"",
        b"",
        b"",
        at_ms,
        at_ms,
    )
    return kind(
        queue_mode=False,
        registration=registration,
        peer=("10.0.0.1", port),
        objects=ObjectList(),
        updated_ms=at_ms,
    )


def gone(registry: Registry, now_ms: int) -> list[int]:
    return [each.registration.imei for each in registry.expired(now_ms)]


def test_a_registration_is_found_by_location_imei_and_peer() -> None:
    registry, one, two = Registry(), live(A), live(B, location="other", port=5684)
    assert registry.put(one) is None
    assert registry.put(two) is None
    assert (registry.by_location("abcd1234"), registry.by_location("other")) == (one, two)
    assert (registry.by_imei(A), registry.by_imei(B)) == (one, two)
    assert (registry.by_peer(("10.0.0.1", 5683)), registry.by_peer(("10.0.0.1", 5684))) == (one, two)
    assert (len(registry), list(registry)) == (2, [one, two])
    assert registry.by_location("") is registry.by_imei(0) is registry.by_peer(("", 0)) is None


def test_a_new_registration_of_a_device_replaces_the_old_one() -> None:
    registry, old, new = Registry(), live(location="old", port=1), live(location="new", port=2)
    registry.put(old)
    assert registry.put(new) is old
    assert (registry.by_location("old"), registry.by_peer(("10.0.0.1", 1))) == (None, None)
    assert registry.by_location("new") is registry.by_imei(A) is registry.by_peer(("10.0.0.1", 2)) is new
    assert len(registry) == 1


def test_what_was_replaced_can_be_removed_without_harm() -> None:
    registry, old, new = Registry(), live(location="old"), live(location="new")
    registry.put(old)
    registry.put(new)
    registry.remove(old)
    assert registry.by_location("new") is registry.by_imei(A) is registry.by_peer(("10.0.0.1", 5683)) is new


def test_a_removed_registration_is_gone_from_everywhere() -> None:
    registry, one = Registry(), live()
    registry.put(one)
    registry.remove(one)
    assert registry.by_location("abcd1234") is registry.by_imei(A) is registry.by_peer(one.peer) is None
    assert len(registry) == 0
    assert gone(registry, NOW + 1000 * HOUR_MS) == []
    registry.remove(one)


def test_a_device_that_moves_is_found_at_its_new_address_only() -> None:
    registry, one = Registry(), live()
    registry.put(one)
    registry.move(one, ("10.9.9.9", 7))
    assert registry.by_peer(("10.9.9.9", 7)) is one
    assert registry.by_peer(("10.0.0.1", 5683)) is None
    assert one.peer == ("10.9.9.9", 7)


def test_an_address_belongs_to_whoever_spoke_from_it_last() -> None:
    registry, one, two = Registry(), live(A), live(B, location="other")
    registry.put(one)
    registry.put(two)
    assert registry.by_peer(("10.0.0.1", 5683)) is two
    assert (registry.reaches(one), registry.reaches(two)) == (False, True)
    registry.move(one, ("10.9.9.9", 7))
    assert registry.reaches(one)
    assert registry.by_peer(("10.0.0.1", 5683)) is two
    registry.remove(one)
    assert registry.by_peer(("10.0.0.1", 5683)) is two


def test_a_registration_ends_with_its_lifetime_and_grace() -> None:
    registry = Registry()
    registry.put(live(lifetime_seconds=60))
    end_ms = NOW + (60 + GRACE_SECONDS) * 1000
    assert gone(registry, end_ms - 1) == []
    assert gone(registry, end_ms + SWEEP_SECONDS * 1000) == [A]
    assert len(registry) == 0
    assert gone(registry, end_ms + HOUR_MS) == []


def test_a_tenth_of_a_long_lifetime_is_the_grace() -> None:
    registry = Registry()
    registry.put(live(lifetime_seconds=36_000))
    assert gone(registry, NOW + 11 * HOUR_MS - 1) == []
    assert gone(registry, NOW + 11 * HOUR_MS + SWEEP_SECONDS * 1000) == [A]


def test_lifetime_0_never_ends() -> None:
    registry = Registry()
    registry.put(live(lifetime_seconds=0))
    assert gone(registry, NOW + 10**6 * HOUR_MS) == []
    assert len(registry) == 1


def test_an_update_starts_the_lifetime_again() -> None:
    registry, one = Registry(), live()
    registry.put(one)
    for hour in range(1, 50):
        one.updated_ms = NOW + hour * HOUR_MS
        assert gone(registry, NOW + hour * HOUR_MS + 1) == []
    assert gone(registry, NOW + 51 * HOUR_MS) == [A]


def test_a_shorter_lifetime_ends_earlier_and_a_longer_one_later() -> None:
    registry, one = Registry(), live(lifetime_seconds=86_400)
    registry.put(one)
    shorter = msgspec.structs.replace(one.registration, lifetime_seconds=60)
    one.take(shorter, ObjectList())
    registry.expect_expiry(one)
    assert gone(registry, NOW + (60 + GRACE_SECONDS + SWEEP_SECONDS) * 1000) == [A]

    other = live(B, lifetime_seconds=60)
    registry.put(other)
    other.take(msgspec.structs.replace(other.registration, lifetime_seconds=86_400), ObjectList())
    registry.expect_expiry(other)
    assert gone(registry, NOW + 24 * HOUR_MS) == []
    assert gone(registry, NOW + 27 * HOUR_MS) == [B]


def test_a_new_registration_with_another_lifetime_ends_by_that() -> None:
    registry = Registry()
    registry.put(live(lifetime_seconds=86_400))
    registry.put(live(lifetime_seconds=60))
    assert gone(registry, NOW + HOUR_MS) == [A]
    registry.put(live(lifetime_seconds=60))
    registry.put(live(lifetime_seconds=86_400))
    assert gone(registry, NOW + 24 * HOUR_MS) == []
    assert gone(registry, NOW + 27 * HOUR_MS) == [A]


def test_each_expired_registration_is_given_once() -> None:
    registry = Registry()
    for n in range(100):
        registry.put(live(A + n, location=f"{n}", port=n, lifetime_seconds=60 + n))
    assert sorted(gone(registry, NOW + HOUR_MS)) == [A + n for n in range(100)]
    assert gone(registry, NOW + HOUR_MS) == []


def test_nothing_is_looked_at_before_it_may_be_due() -> None:
    registry = Registry()
    many = [live(A + n, location=f"{n}", port=n, kind=Counted) for n in range(200)]
    for each in many:
        registry.put(each)
    before = sum(each.looks for each in many)
    for minute in range(60):
        assert gone(registry, NOW + minute * 60_000) == []
    assert sum(each.looks for each in many) == before
    assert len(gone(registry, NOW + 2 * HOUR_MS)) == 200


def test_a_device_that_updates_is_looked_at_once_a_lifetime_not_once_an_update() -> None:
    registry, one = Registry(), live(kind=Counted)
    registry.put(one)
    before = one.looks
    for minute in range(24 * 60):
        one.updated_ms = NOW + minute * 60_000
        assert gone(registry, NOW + minute * 60_000) == []
    assert one.looks - before <= 3 * 24


def test_what_an_update_changes_is_taken_over() -> None:
    one = live()
    objects = parse_links(b"</3/0>,</5/0>")
    moved = msgspec.structs.replace(one.registration, queue_mode=True, updated_ms=NOW + 5)
    one.take(moved, objects)
    assert (one.registration, one.objects, one.updated_ms, one.queue_mode) == (moved, objects, NOW + 5, True)


def test_that_a_device_sleeps_without_saying_so_is_not_forgotten_by_an_update() -> None:
    one = live()
    one.asleep_after_timeout()
    one.asleep_after_timeout()
    assert one.queue_mode
    one.take(msgspec.structs.replace(one.registration, lifetime_seconds=60), ObjectList())
    assert one.queue_mode


def entries(registry: Registry) -> int:
    """Everything the registry holds on to."""
    expiries = sum(len(imeis) for imeis in registry._expiries.values())
    return expiries + len(registry._by_imei) + len(registry._by_location) + len(registry._by_peer)


@pytest.mark.parametrize("port_step", [0, 1])
def test_memory_stays_bounded_when_one_device_registers_ten_thousand_times(port_step: int) -> None:
    registry = Registry()
    for n in range(10_000):
        registry.put(live(location=f"{n}", port=1 + n * port_step, at_ms=NOW + n * 1000))
        registry.expired(NOW + n * 1000)
    assert (len(registry), entries(registry)) == (1, 4)


def test_memory_stays_bounded_when_a_device_comes_and_goes_ten_thousand_times() -> None:
    registry = Registry()
    for n in range(10_000):
        one = live(location=f"{n}", lifetime_seconds=2**31 - 1, at_ms=NOW + n * 60_000)
        registry.put(one)
        registry.remove(one)
    assert entries(registry) == 0


def test_memory_stays_bounded_when_a_device_changes_its_lifetime_ten_thousand_times() -> None:
    registry = Registry()
    for n in range(10_000):
        now_ms = NOW + n * 60_000
        registry.put(live(location=f"{n}", lifetime_seconds=(86_400, 300)[n % 2], at_ms=now_ms))
        registry.expired(now_ms)
    assert (len(registry), entries(registry)) == (1, 4)
