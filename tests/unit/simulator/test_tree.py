"""Object trees."""

from __future__ import annotations

import pytest

from overair.protocols.lwm2m.links import parse_links
from overair.simulator import PROFILES, identities
from overair.simulator.profile import Profile
from overair.simulator.tree import LIFETIME, REBOOT, shared_tree, tree_of


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.model)
def test_the_registered_links_are_the_tree(profile: Profile) -> None:
    shared = shared_tree(profile)
    objects = parse_links(shared.links)
    assert objects == shared.objects
    assert {1, 3, 4, 5, 9} <= set(objects.objects)
    assert len(objects.instances_of(9)) == len(profile.software)
    assert objects.has(10299) == (profile.host is not None)
    assert objects.has(10308) == profile.has_subscriber
    assert objects.dropped == 0


def test_devices_of_a_model_share_its_tree_and_differ_in_what_is_their_own() -> None:
    one, other = (tree_of(each) for each in list(identities(6))[::5])
    assert one.shared is other.shared
    assert one.value((3, 0, 2)) != other.value((3, 0, 2))
    assert one.set(LIFETIME, 7)
    assert not one.set(LIFETIME, 7)
    assert one.value(LIFETIME) == 7
    assert other.value(LIFETIME) == 86_400


def test_reading_leaves_out_what_is_executed() -> None:
    tree = tree_of(next(identities(1)))
    values = tree.read((3,))
    assert values[3, 0, 0] == "SEQUANS COMMUNICATIONS"
    assert values[3, 0, 11, 0] == 0
    assert REBOOT in (tree.leaves((3, 0)) or ())
    assert REBOOT not in values
    assert tree.leaves((3, 1)) is None


def test_the_subscriber_object_holds_the_number() -> None:
    device = next(each for each in identities(10) if each.profile.has_subscriber)
    assert tree_of(device).value((10308, 0, 3)) == device.mdn


def test_setting_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        tree_of(next(identities(1))).set((77, 0, 0), 1)
