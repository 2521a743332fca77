"""What happens to licences, inside the caller's transaction (spec lifecycle.md, 5.2 and 5.3).

Here and nowhere else a licence and its device's ``licensed`` flag change, always together. The account
that is passed in says who; how many licences it bought is read again, since it was read before the
transaction began. Devices of a list are taken in its order, and a device that stands there twice once.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from overair.accounts import sql as accounts
from overair.accounts.model import Account
from overair.devices.changes import SetLicensed
from overair.devices.group import apply_changes
from overair.devices.model import Outcome
from overair.devices.sql import devices_of
from overair.licenses import rules, sql
from overair.licenses.model import (
    AssignOutcome,
    CancelScheduled,
    Event,
    License,
    RemovalCandidates,
    RemoveOutcome,
    State,
)


def assign(
    connection: Connection, account: Account, imeis: Sequence[int], now_ms: int
) -> dict[int, AssignOutcome]:
    """Give each device a licence, as far as there are any; return what became of each, in order."""
    held = sql.licenses_of(connection, account.id, imeis)
    counters = sql.counters(connection, account.id)
    others = list(dict.fromkeys(imei for imei in imeis if imei not in held))
    devices = devices_of(connection, account.id, others)
    free = rules.bought(counters.account) - counters.assigned
    outcomes = rules.assignments(imeis, held, devices, free)
    new = [imei for imei, outcome in outcomes.items() if outcome is AssignOutcome.ASSIGNED]
    _flag(connection, account.id, new, now_ms, licensed=True)
    sql.add(connection, [License(account.id, imei, now_ms, changed_ms=now_ms) for imei in new])
    return outcomes


def remove(
    connection: Connection,
    account: Account,
    imeis: Sequence[int],
    now_ms: int,
    cancel_scheduled: CancelScheduled,
) -> dict[int, RemoveOutcome]:
    """Take the licences of devices away where that is allowed; return what became of each, in order."""
    held = sql.licenses_of(connection, account.id, imeis)
    outcomes = {imei: rules.removal(held.get(imei)) for imei in imeis}
    going = [imei for imei, outcome in outcomes.items() if outcome is RemoveOutcome.REMOVED]
    there = _flag(connection, account.id, going, now_ms, licensed=False)
    sql.remove(connection, account.id, there)
    _cancel(connection, there, cancel_scheduled)
    return outcomes | {imei: RemoveOutcome.FAILED for imei in going if imei not in there}


def upgrade_started(
    connection: Connection, account: Account, imeis: Sequence[int], campaign_id: str, now_ms: int
) -> set[int]:
    """Begin the upgrades of devices; return those that may begin, the others are left as they are.

    Each that began must be said to have succeeded or failed, or its licence stays busy.
    """
    held = sql.licenses_of(connection, account.id, imeis)
    allowed = {imei for imei in imeis if rules.may_upgrade(account, imei in held)}
    starting = [known for imei, known in held.items() if imei in allowed]
    _tell(connection, starting, Event.UPGRADE_STARTED, campaign_id, now_ms)
    return allowed


def upgrade_succeeded(
    connection: Connection, account: Account, imeis: Sequence[int], campaign_id: str, now_ms: int
) -> None:
    """End the upgrades of devices well; those without a licence are billed as events, once each."""
    held = sql.licenses_of(connection, account.id, imeis)
    ended = _tell(connection, list(held.values()), Event.UPGRADE_SUCCEEDED, campaign_id, now_ms)
    if rules.pays_events(account):
        unlicensed = dict.fromkeys(imei for imei in imeis if imei not in held)
        sql.bill(connection, account.id, unlicensed, campaign_id, now_ms)
    _let_go(connection, account.id, ended, now_ms)


def upgrade_failed(
    connection: Connection, account: Account, imeis: Sequence[int], campaign_id: str, now_ms: int
) -> None:
    """End the upgrades of devices without success."""
    held = sql.licenses_of(connection, account.id, imeis)
    ended = _tell(connection, list(held.values()), Event.UPGRADE_FAILED, campaign_id, now_ms)
    _let_go(connection, account.id, ended, now_ms)


def set_licenses(
    connection: Connection,
    account_id: int,
    bought: int,
    now_ms: int,
    candidates: RemovalCandidates,
    cancel_scheduled: CancelScheduled,
) -> None:
    """Change how many licences an account has bought; where it has too few now, devices lose theirs.

    An upgrade that runs completes: its licence is marked, and goes when it ends.
    """
    accounts.set_licenses(connection, account_id, bought, now_ms)
    sql.stay(connection, account_id)
    surplus = rules.surplus(sql.counters(connection, account_id))
    if not surplus:
        return
    listed = sql.licenses_of(connection, account_id, candidates(connection, account_id))
    oldest = sql.oldest(connection, account_id, surplus)
    losers = rules.losers(list(listed.values()), oldest, surplus)
    after = [replace(known, state=rules.next_state(known.state, Event.SHRINK)) for known in losers]
    gone = [known.imei for known in after if known.state is State.UNLICENSED]
    _release(connection, account_id, gone, now_ms)
    sql.change(
        connection, [replace(known, leaving=True) for known in after if known.state is not State.UNLICENSED]
    )
    _cancel(connection, gone, cancel_scheduled)


def _tell(
    connection: Connection, held: Sequence[License], event: Event, campaign_id: str, now_ms: int
) -> list[License]:
    """Bring licences past an event of an upgrade; return them as they are then."""
    after = [rules.after_upgrade(known, event, campaign_id, now_ms) for known in held]
    sql.change(connection, [new for old, new in zip(held, after, strict=True) if new != old])
    return after


def _let_go(connection: Connection, account_id: int, ended: Sequence[License], now_ms: int) -> None:
    """Release the licences that were only to last as long as their upgrades, if there still are too many."""
    leaving = [known for known in ended if known.leaving and known.state not in rules.RUNNING]
    if not leaving:
        return
    surplus = rules.surplus(sql.counters(connection, account_id))
    losers = rules.losers([], sorted(leaving, key=lambda known: (known.assigned_ms, known.imei)), surplus)
    _release(connection, account_id, [known.imei for known in losers], now_ms)
    sql.change(connection, [replace(known, leaving=False) for known in leaving if known not in losers])


def _release(connection: Connection, account_id: int, imeis: Sequence[int], now_ms: int) -> None:
    _flag(connection, account_id, imeis, now_ms, licensed=False)
    sql.remove(connection, account_id, imeis)


def _flag(
    connection: Connection, account_id: int, imeis: Sequence[int], now_ms: int, *, licensed: bool
) -> list[int]:
    """Set the flags of devices; return those that the account has."""
    changes = [SetLicensed(account_id, imei, licensed, now_ms) for imei in imeis]
    outcomes = apply_changes(connection, changes)
    return [imei for imei, outcome in zip(imeis, outcomes, strict=True) if isinstance(outcome, Outcome)]


def _cancel(connection: Connection, imeis: Sequence[int], cancel_scheduled: CancelScheduled) -> None:
    if imeis:
        cancel_scheduled(connection, imeis)
