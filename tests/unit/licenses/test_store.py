"""Licences in the database: every row of lifecycle.md 5.1 to 5.3 and of api-v3.md 7.2."""

from collections.abc import Callable

import pytest
from sqlalchemy import event, update

from overair.devices.tables import devices
from overair.licenses import sql
from overair.licenses.model import AssignOutcome, RemoveOutcome, State

from .world import C1, C2, NOW, World, add_account

MakeWorld = Callable[..., World]
ASSIGNED, PREEXISTING, NOT_FOUND, NOT_ELIGIBLE, POOL_EMPTY = AssignOutcome
REMOVED, NONE_HELD, UPGRADED, FAILED = RemoveOutcome
UNKNOWN = 990099990000014


def states(world: World) -> list[State]:
    """The states of the account's licences, by IMEI."""
    return [known.state for _, known in sorted(world.licenses().items())]


# Assigning.


def test_an_assigned_licence_shows_on_the_device_and_starts_monitoring(world: World) -> None:
    a, b = world.add(2)
    assert world.assign(a) == [ASSIGNED]
    known = world.licenses()[a]
    assert (known.assigned_ms, known.state, known.campaign_id, known.leaving) == (
        NOW + 1000, State.LICENSED, None, False,
    )  # fmt: skip
    assert (world.device(a).licensed, world.device(a).updated_ms) == (True, NOW + 1000)
    assert (world.device(b).licensed, world.flagged(), world.counters().assigned) == (False, [a], 1)


def test_to_assign_again_uses_nothing_and_keeps_the_time(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    before = world.licenses()
    assert world.assign(a) == [PREEXISTING]
    assert (world.licenses(), world.counters().assigned) == (before, 1)


def test_the_first_of_the_list_get_what_there_is(world: World) -> None:
    a, b, c, d, e = world.add(5)
    assert world.assign(e) == [ASSIGNED]
    assert world.assign(d, e, UNKNOWN, c, b, a) == [
        ASSIGNED, PREEXISTING, NOT_FOUND, ASSIGNED, POOL_EMPTY, POOL_EMPTY,
    ]  # fmt: skip
    assert world.held() == world.flagged() == [c, d, e]
    assert world.assign(b, b) == [POOL_EMPTY]


def test_a_device_that_stands_twice_in_the_list_gets_one(world: World) -> None:
    a, b = world.add(2)
    assert world.assign(a, a, b, a) == [ASSIGNED, ASSIGNED]
    assert world.counters().assigned == 2


def test_devices_of_others_and_devices_of_nobody_are_not_found(world: World) -> None:
    other = add_account(world.connection, "2-2", 1, "mrc")
    (foreign,) = world.add(1, account=other)
    assert world.assign(foreign, UNKNOWN) == [NOT_FOUND, NOT_FOUND]
    assert world.remove(foreign, UNKNOWN) == [NONE_HELD, NONE_HELD]
    assert (world.flagged(), world.counters().assigned) == ([], 0)


def test_a_device_that_can_not_be_upgraded_gets_none(world: World) -> None:
    (capable,) = world.add(1)
    (incapable,) = world.add(1, capable=False)
    assert world.assign(incapable, capable) == [NOT_ELIGIBLE, ASSIGNED]


def test_how_many_were_bought_is_read_when_it_counts(world: World) -> None:
    a, b = world.add(2)
    world.set_licenses(1)  # world.account still says 3, as for a call that was let in before
    assert world.assign(a, b) == [ASSIGNED, POOL_EMPTY]


@pytest.mark.parametrize("subscriptions", ["event", ""])
def test_who_does_not_pay_by_the_month_has_none_to_assign(make_world: MakeWorld, subscriptions: str) -> None:
    world = make_world(3, subscriptions)
    assert world.assign(*world.add(1)) == [POOL_EMPTY]


def test_accounts_do_not_share_their_pools(world: World) -> None:
    other = add_account(world.connection, "2-2", 1, "mrc")
    mine, (theirs,) = world.add(3), world.add(1, account=other)
    assert world.assign(*mine) == [ASSIGNED] * 3
    world.account, mine_account = other, world.account
    assert world.assign(theirs, mine[0]) == [ASSIGNED, NOT_FOUND]
    assert world.remove(mine[0]) == [NONE_HELD]
    world.account = mine_account
    assert world.held() == mine


# Removing.


def test_a_removed_licence_returns_to_the_pool_and_ends_monitoring(world: World) -> None:
    a, b, c, d = world.add(4)
    world.assign(a, b, c)
    assert world.remove(d, b) == [NONE_HELD, REMOVED]
    assert (world.held(), world.flagged(), world.device(b).updated_ms) == ([a, c], [a, c], world.now_ms)
    assert world.assign(d) == [ASSIGNED]


def test_a_removal_cancels_what_is_scheduled_for_the_device(world: World) -> None:
    a, b, c, d = world.add(4)
    world.assign(a, b, c)
    world.start(c)
    assert world.remove(a, d, c, a, b) == [REMOVED, NONE_HELD, UPGRADED, REMOVED]
    assert world.cancelled == [a, b]


def test_nothing_is_cancelled_where_nothing_is_removed(world: World) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("called for nothing")

    world._cancel = fail  # type: ignore[method-assign]
    (a,) = world.add(1)
    assert world.remove(a) == [NONE_HELD]


def test_no_removal_while_an_upgrade_runs_or_after_one_was_completed(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    world.start(a)
    assert (states(world), world.remove(a)) == ([State.BUSY], [UPGRADED])
    world.succeed(a)
    assert (states(world), world.remove(a)) == ([State.USED], [UPGRADED])
    assert (world.flagged(), world.cancelled) == ([a], [])


def test_after_an_upgrade_that_failed_the_licence_can_be_removed(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    world.start(a)
    world.fail(a)
    assert (states(world), world.remove(a)) == ([State.LICENSED], [REMOVED])


def test_a_later_failure_does_not_make_a_used_licence_removable(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    world.start(a)
    world.succeed(a)
    world.start(a, campaign=C2)
    assert states(world) == [State.BUSY_AGAIN]
    world.fail(a, campaign=C2)
    assert (states(world), world.remove(a)) == ([State.USED], [UPGRADED])


def test_a_new_assignment_begins_anew(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    world.start(a)
    world.succeed(a)
    world.set_licenses(0)
    world.set_licenses(1)
    assert world.assign(a) == [ASSIGNED]
    assert world.remove(a) == [REMOVED]


def test_the_licence_of_a_device_that_is_gone_is_an_internal_error(world: World) -> None:
    a, b = world.add(2)
    other = add_account(world.connection, "2-2", 1, "mrc")
    world.assign(a, b)
    moved = b'"account_id":%d' % world.account.id, b'"account_id":%d' % other.id
    state = world.connection.execute(devices.select().where(devices.c.imei == a)).one().state
    world.connection.execute(
        update(devices).where(devices.c.imei == a).values(account_id=other.id, state=state.replace(*moved))
    )
    assert world.remove(a, b) == [FAILED, REMOVED]
    assert (world.held(), world.cancelled) == ([a], [b])


# Upgrading.


def test_with_licences_only_licensed_devices_are_upgraded(world: World) -> None:
    a, b = world.add(2)
    world.assign(a)
    assert world.start(a, b) == {a}
    world.succeed(a)
    assert world.billed() == []
    assert world.start(a, campaign=C2) == {a}  # as often as one likes


def test_by_the_event_every_device_is_upgraded_and_billed_once(make_world: MakeWorld) -> None:
    world = make_world(0, "event")
    a, b, c = world.add(3)
    assert world.start(a, b, c) == {a, b, c}
    world.succeed(a, b)
    at_ms = world.now_ms
    world.fail(c)
    world.succeed(a)  # said again after a crash
    assert world.billed() == [(C1, a, at_ms), (C1, b, at_ms)]
    world.start(a, campaign=C2)
    world.succeed(a, campaign=C2)
    assert world.billed()[2:] == [(C2, a, world.now_ms)]
    assert world.counters().assigned == 0


def test_with_both_a_licence_saves_the_event(make_world: MakeWorld) -> None:
    world = make_world(1, "mrc,event")
    a, b = world.add(2)
    world.assign(a)
    assert world.start(a, b) == {a, b}
    world.succeed(a, b)
    assert ([imei for _, imei, _ in world.billed()], states(world)) == ([b], [State.USED])


def test_a_licence_assigned_while_the_upgrade_runs_pays_for_it(make_world: MakeWorld) -> None:
    world = make_world(1, "mrc,event")
    (a,) = world.add(1)
    world.start(a)
    world.assign(a)
    world.succeed(a)
    assert (world.billed(), states(world)) == ([], [State.USED])


def test_without_a_subscription_nothing_is_upgraded(make_world: MakeWorld) -> None:
    world = make_world(3, "")
    assert world.start(*world.add(1)) == set()


def test_nothing_is_billed_to_who_does_not_pay_by_the_event(world: World) -> None:
    (a,) = world.add(1)
    world.succeed(a)
    assert world.billed() == []


def test_a_whole_campaign_goes_in_one_call(make_world: MakeWorld) -> None:
    world = make_world(2000, "mrc,event")
    imeis = world.add(2500)
    assert world.assign(*imeis).count(ASSIGNED) == 2000
    assert len(world.start(*imeis)) == 2500
    world.succeed(*imeis)
    assert len(world.billed()) == 500
    assert world.remove(*imeis) == [UPGRADED] * 2000 + [NONE_HELD] * 500


# Shrinking.


def test_the_oldest_assignments_go_first(world: World) -> None:
    a, b, c = world.add(3)
    for imei in (b, a, c):
        world.assign(imei)
    world.set_licenses(1)
    assert (world.held(), world.flagged(), world.cancelled) == ([c], [c], [b, a])
    assert world.counters().account.subscription_ms == world.now_ms


def test_a_used_licence_goes_as_well(world: World) -> None:
    a, b = world.add(2)
    world.assign(a, b)
    world.start(a)
    world.succeed(a)
    world.set_licenses(1)
    assert (world.held(), world.cancelled) == ([b], [a])


def test_candidates_go_before_the_others_in_their_order(world: World) -> None:
    a, b, c, d = world.add(4)
    world.assign(a, b, c)
    world.candidates = [d, c, UNKNOWN, b]  # those without a licence do not count
    world.set_licenses(2)
    assert world.held() == [a, b]
    world.set_licenses(0)
    assert world.cancelled == [c, b, a]


def test_nothing_goes_as_long_as_there_are_enough(world: World) -> None:
    a, b = world.add(2)
    world.assign(a, b)
    world.candidates = [a]
    world.set_licenses(2)
    assert (world.held(), world.cancelled) == ([a, b], [])


def test_an_upgrade_that_runs_completes_and_its_licence_goes_then(world: World) -> None:
    a, b, c = world.add(3)
    world.assign(a, b, c)
    world.start(a, c)
    world.set_licenses(1)
    assert (world.held(), world.cancelled) == ([a, c], [b])
    assert (world.counters().assigned, world.counters().account.licenses) == (2, 1)
    world.fail(c)
    assert world.held() == [a, c]  # not the one that was to go
    world.succeed(a)
    assert (world.held(), world.flagged(), world.cancelled) == ([c], [c], [b])


def test_a_licence_that_leaves_is_released_after_a_failure_too(world: World) -> None:
    (a,) = world.add(1)
    world.assign(a)
    world.start(a)
    world.set_licenses(0)
    assert world.assign(a) == [PREEXISTING]
    assert world.remove(a) == [UPGRADED]
    world.fail(a, campaign=C2)  # the end of another upgrade, that comes late
    assert world.held() == [a]
    world.fail(a)
    assert (world.held(), world.flagged()) == ([], [])
    assert world.start(a) == set()


def test_the_busy_ones_that_leave_count_as_gone(world: World) -> None:
    a, b, c = world.add(3)
    world.assign(a)
    world.assign(b, c)
    world.start(a)
    world.set_licenses(2)
    assert (world.held(), world.cancelled) == ([a, b, c], [])
    assert [known.imei for known in world.licenses().values() if known.leaving] == [a]
    world.set_licenses(1)
    assert (world.held(), world.cancelled) == ([a, c], [b])


def test_none_is_assigned_while_too_many_are(world: World) -> None:
    a, b, c = world.add(3)
    world.assign(a, b)
    world.start(a, b)
    world.set_licenses(1)
    assert world.assign(c) == [POOL_EMPTY]


def test_a_licence_stays_when_there_are_enough_again(world: World) -> None:
    a, b = world.add(2)
    world.assign(a, b)
    world.start(a, b)
    world.set_licenses(0)
    world.set_licenses(2)
    world.succeed(a)
    assert world.held() == [a, b]


def test_who_leaves_is_decided_anew_each_time(world: World) -> None:
    a, b = world.add(2)
    world.assign(a, b)
    world.start(a, b)
    world.set_licenses(1)  # marks a
    world.set_licenses(2)
    world.candidates = [b]
    world.set_licenses(1)
    world.fail(a)
    assert world.held() == [a, b]
    world.fail(b)
    assert world.held() == [a]


def test_a_licence_stays_when_another_made_room_meanwhile(world: World) -> None:
    a, b = world.add(2)
    world.assign(a)
    world.assign(b)
    world.start(a)
    world.set_licenses(1)  # marks a
    assert world.remove(b) == [REMOVED]
    world.fail(a)
    assert world.held() == [a]
    assert not world.licenses()[a].leaving
    assert world.remove(a) == [REMOVED]


# Counting and listing.


def test_counters_take_one_statement(world: World) -> None:
    world.assign(*world.add(2))
    seen: list[str] = []

    def note(*arguments: object) -> None:
        seen.append(str(arguments[2]))

    event.listen(world.connection, "before_cursor_execute", note)
    assert world.counters().assigned == 2
    event.remove(world.connection, "before_cursor_execute", note)
    assert len(seen) == 1


def test_pages_are_by_imei_and_of_one_account(world: World) -> None:
    other = add_account(world.connection, "2-2", 1, "mrc")
    (theirs,) = world.add(1, account=other)
    imeis = world.add(3)
    for imei in reversed(imeis):
        world.assign(imei)
    world.account, mine = other, world.account
    world.assign(theirs)
    page = sql.page_rows(world.connection, mine.id, -1, 2)
    assert [imei for imei, _ in page] == imeis[:2]
    assert sql.page_rows(world.connection, mine.id, imeis[1], 2) == [(imeis[2], NOW + 1000)]
