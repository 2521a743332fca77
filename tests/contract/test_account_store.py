"""One suite for the account store and its in-memory twin."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, select

from overair.accounts import sql
from overair.accounts.errors import AlreadyThere
from overair.accounts.memory import MemoryAccountStore
from overair.accounts.model import AccessToken, Account, Subscription
from overair.accounts.rules import LoginOutcome
from overair.accounts.store import AccountStore, SqlAccountStore
from overair.platform.database import Database, metadata, upgrade

NOW = 1_767_225_600_000
HOUR = 3_600_000
NAME = "0742000123-00001"
BOTH = (Subscription.MRC, Subscription.EVENT)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/overair.db") as database:
        upgrade(database.engine)
        yield database


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountStore]:
    if request.param == "memory":
        yield MemoryAccountStore()
    else:
        async with Database(f"sqlite:///{tmp_path}/overair.db") as database:
            upgrade(database.engine)
            yield SqlAccountStore(database)


async def account(store: AccountStore, name: str = NAME) -> Account:
    return await store.add_account(name, 5, BOTH, NOW)


def token(key_id: int, n: int = 1, *, scope: str = "read", issued_ms: int = NOW) -> AccessToken:
    return AccessToken(key_id, scope, bytes([n] * 16), bytes([n] * 32), issued_ms, issued_ms + HOUR)


async def test_an_account_is_found_by_name_and_listed_by_name(store: AccountStore) -> None:
    assert await store.accounts() == []
    second = await account(store, "2-2")
    first = await store.add_account("1-1", 0, (), NOW)
    assert second == Account(second.id, "2-2", True, 5, BOTH, NOW)
    assert await store.accounts() == [first, second]
    assert await store.account("2-2") == second
    assert await store.account("3-3") is None


async def test_an_account_name_is_taken_once(store: AccountStore) -> None:
    await account(store)
    with pytest.raises(AlreadyThere, match=NAME):
        await account(store)


async def test_an_account_is_switched_off_and_on(store: AccountStore) -> None:
    added = await account(store)
    await store.set_active(added.id, active=False)
    found = await store.account(NAME)
    assert found is not None
    assert not found.active
    await store.set_active(added.id, active=True)
    assert await store.account(NAME) == added


async def test_keys_belong_to_their_account(store: AccountStore) -> None:
    mine, other = await account(store), await account(store, "2-2")
    first = await store.add_key(mine.id, "first", b"1" * 32, NOW)
    second = await store.add_key(mine.id, "second", b"2" * 32, NOW)
    assert await store.keys(mine.id) == [first, second]
    assert await store.keys(other.id) == []
    assert await store.key("second") == second
    assert await store.key("third") is None
    assert not await store.revoke_key(other.id, "first", NOW)
    assert await store.key("first") == first


async def test_a_key_is_revoked_once_and_stays_so(store: AccountStore) -> None:
    mine = await account(store)
    await store.add_key(mine.id, "key", b"1" * 32, NOW)
    assert await store.revoke_key(mine.id, "key", NOW + 1)
    assert await store.revoke_key(mine.id, "key", NOW + 2)
    found = await store.key("key")
    assert found is not None
    assert found.revoked_ms == NOW + 1


async def test_tokens_of_a_revoked_key_are_not_found(store: AccountStore) -> None:
    mine = await account(store)
    key = await store.add_key(mine.id, "key", b"1" * 32, NOW)
    added = await store.add_token(token(key.id))
    assert (await store.credentials(added.digest, None, None)).token == added
    await store.revoke_key(mine.id, "key", NOW)
    assert (await store.credentials(added.digest, None, None)).token is None


async def test_a_second_token_of_the_same_scope_gives_way_to_the_first(store: AccountStore) -> None:
    key = await store.add_key((await account(store)).id, "key", b"1" * 32, NOW)
    first = await store.add_token(token(key.id, 1))
    assert await store.add_token(token(key.id, 2, issued_ms=NOW + HOUR - 1000)) == first
    assert await store.reusable_token(key.id, "read", NOW + HOUR - 1000) == first
    assert await store.reusable_token(key.id, "write", NOW) is None
    assert await store.reusable_token(key.id + 1, "read", NOW) is None
    later = token(key.id, 3, issued_ms=NOW + HOUR - 999)
    assert await store.reusable_token(key.id, "read", later.issued_ms) is None
    assert await store.add_token(later) == later


async def test_tokens_asked_for_at_the_same_time_are_one(store: AccountStore) -> None:
    key = await store.add_key((await account(store)).id, "key", b"1" * 32, NOW)
    given = await asyncio.gather(*(store.add_token(token(key.id, n)) for n in range(1, 9)))
    assert len({one.digest for one in given}) == 1


async def test_a_token_is_revoked_by_its_own_key_only(store: AccountStore) -> None:
    mine = await account(store)
    key = await store.add_key(mine.id, "key", b"1" * 32, NOW)
    other = await store.add_key(mine.id, "other", b"2" * 32, NOW)
    added = await store.add_token(token(key.id))
    assert not await store.revoke_token(other.id, added.digest, NOW)
    assert await store.reusable_token(key.id, "read", NOW) == added
    assert not await store.revoke_token(key.id, b"?" * 32, NOW)
    assert await store.revoke_token(key.id, added.digest, NOW + 1)
    assert await store.revoke_token(key.id, added.digest, NOW + 2)
    found = (await store.credentials(added.digest, None, None)).token
    assert found is not None
    assert found.revoked_ms == NOW + 1
    assert await store.reusable_token(key.id, "read", NOW) is None


async def test_a_user_name_is_taken_once_in_all_accounts(store: AccountStore) -> None:
    mine, other = await account(store), await account(store, "2-2")
    added = await store.add_user(mine.id, "ops", "hash", NOW)
    assert await store.user("ops") == added
    assert await store.user("Ops") is None
    with pytest.raises(AlreadyThere, match="user 'ops'"):
        await store.add_user(other.id, "ops", "hash", NOW)


async def test_five_failures_in_a_row_lock_and_a_success_in_between_resets(store: AccountStore) -> None:
    user = await store.add_user((await account(store)).id, "ops", "hash", NOW)

    async def attempts(*rights: bool) -> list[LoginOutcome]:
        return [await store.count_login(user.id, right=right, limit=5) for right in rights]

    wrong = [False] * 4
    assert (await attempts(*wrong, True))[-1] == LoginOutcome.RIGHT
    assert await attempts(*wrong) == [LoginOutcome.WRONG] * 4
    assert await attempts(False, True, False) == [
        LoginOutcome.WRONG,
        LoginOutcome.LOCKED,
        LoginOutcome.LOCKED,
    ]
    locked = await store.user("ops")
    assert locked is not None
    assert locked.failed_logins == 5


async def test_failures_at_the_same_time_all_count(store: AccountStore) -> None:
    user = await store.add_user((await account(store)).id, "ops", "hash", NOW)
    outcomes = await asyncio.gather(*(store.count_login(user.id, right=False, limit=5) for _ in range(20)))
    assert sorted(outcomes) == [LoginOutcome.LOCKED] * 15 + [LoginOutcome.WRONG] * 5


async def test_a_user_is_unlocked_in_its_own_account_only(store: AccountStore) -> None:
    mine, other = await account(store), await account(store, "2-2")
    user = await store.add_user(mine.id, "ops", "hash", NOW)
    for _ in range(5):
        await store.count_login(user.id, right=False, limit=5)
    assert not await store.unlock(other.id, "ops")
    assert not await store.unlock(mine.id, "nobody")
    assert await store.count_login(user.id, right=True, limit=5) == LoginOutcome.LOCKED
    assert await store.unlock(mine.id, "ops")
    assert await store.count_login(user.id, right=True, limit=5) == LoginOutcome.RIGHT


async def test_a_password_changes_only_from_the_one_that_was_checked(store: AccountStore) -> None:
    user = await store.add_user((await account(store)).id, "ops", "old", NOW)
    assert not await store.change_password(user.id, "older", "new")
    assert await store.change_password(user.id, "old", "new")
    assert not await store.change_password(user.id, "old", "newer")
    changed = await store.user("ops")
    assert changed is not None
    assert changed.password_hash == "new"


async def test_credentials_are_found_each_by_itself(store: AccountStore) -> None:
    mine = await account(store)
    key = await store.add_key(mine.id, "key", b"1" * 32, NOW)
    bearer = await store.add_token(token(key.id))
    user = await store.add_user(mine.id, "ops", "hash", NOW)
    await store.add_session(user.id, b"s" * 32, NOW, keep=10)
    found = await store.credentials(bearer.digest, b"s" * 32, NAME)
    assert (found.token, found.user, found.account) == (bearer, user, mine)
    assert found.session is not None
    assert (found.session.user_id, found.session.created_ms) == (user.id, NOW)
    nothing = await store.credentials(b"?" * 32, b"?" * 32, "2-2")
    assert (nothing.token, nothing.session, nothing.user, nothing.account) == (None,) * 4
    assert (await store.credentials(bearer.digest, None, None)).session is None


async def settled(store: AccountStore) -> None:
    """Return when all writes submitted so far are committed."""
    await store.unlock(0, "")


async def test_a_use_moves_a_session_forward_only(store: AccountStore) -> None:
    user = await store.add_user((await account(store)).id, "ops", "hash", NOW)
    await store.add_session(user.id, b"s" * 32, NOW, keep=10)

    async def last_used_ms() -> int:
        session = (await store.credentials(b"?" * 32, b"s" * 32, None)).session
        assert session is not None
        return session.last_used_ms

    session = (await store.credentials(b"?" * 32, b"s" * 32, None)).session
    assert session is not None
    store.use_session(session.id, NOW + 5)
    store.use_session(session.id, NOW + 3)
    store.use_session(session.id + 1, NOW + 9)
    await settled(store)
    assert await last_used_ms() == NOW + 5


async def test_a_session_ends_once(store: AccountStore) -> None:
    user = await store.add_user((await account(store)).id, "ops", "hash", NOW)
    await store.add_session(user.id, b"s" * 32, NOW, keep=10)
    session = (await store.credentials(b"?" * 32, b"s" * 32, None)).session
    assert session is not None
    assert await store.end_session(session.id, NOW + 1)
    assert not await store.end_session(session.id, NOW + 2)
    assert not await store.end_session(session.id + 1, NOW)
    ended = (await store.credentials(b"?" * 32, b"s" * 32, None)).session
    assert ended is not None
    assert ended.ended_ms == NOW + 1


async def test_the_session_used_longest_ago_makes_room(store: AccountStore) -> None:
    mine = await account(store)
    user = await store.add_user(mine.id, "ops", "hash", NOW)
    other = await store.add_user(mine.id, "other", "hash", NOW)
    await store.add_session(other.id, b"o" * 32, NOW - 1, keep=2)
    for n in range(2):
        await store.add_session(user.id, bytes([n]) * 32, NOW + n, keep=2)
    first = (await store.credentials(b"", bytes([0]) * 32, None)).session
    assert first is not None
    store.use_session(first.id, NOW + 5)
    await store.add_session(user.id, bytes([2]) * 32, NOW + 6, keep=2)
    left = [n for n in range(3) if (await store.credentials(b"", bytes([n]) * 32, None)).session]
    assert left == [0, 2]
    assert (await store.credentials(b"", b"o" * 32, None)).session is not None


async def test_purge_deletes_what_is_over_for_long(store: AccountStore) -> None:
    mine = await account(store)
    key = await store.add_key(mine.id, "key", b"1" * 32, NOW)
    old = await store.add_token(token(key.id, 1, issued_ms=NOW - HOUR - 1))
    new = await store.add_token(token(key.id, 2, issued_ms=NOW))
    user = await store.add_user(mine.id, "ops", "hash", NOW)
    await store.add_session(user.id, b"o" * 32, NOW - 1, keep=9)
    await store.add_session(user.id, b"n" * 32, NOW, keep=9)
    assert await store.purge(NOW) == 2
    assert await store.purge(NOW) == 0
    assert (await store.credentials(old.digest, b"o" * 32, None)).token is None
    assert (await store.credentials(old.digest, b"o" * 32, None)).session is None
    found = await store.credentials(new.digest, b"n" * 32, None)
    assert found.token == new
    assert found.session is not None


# What only the SQL store has to promise.


async def test_purge_goes_on_until_nothing_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overair.accounts.store.PURGE_ROWS", 2)
    store = SqlAccountStore(database)
    user = await store.add_user((await account(store)).id, "ops", "hash", NOW)
    for n in range(5):
        await store.add_session(user.id, bytes([n]) * 32, NOW - 9, keep=9)
    assert await store.purge(NOW) == 5
    count = select(func.count()).select_from(sql.sessions)
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 0


async def test_what_another_process_writes_is_seen_at_once(database: Database, tmp_path: Path) -> None:
    mine = SqlAccountStore(database)
    added = await account(mine)
    assert await mine.key("key") is None
    async with Database(f"sqlite:///{tmp_path}/overair.db") as elsewhere:
        theirs = SqlAccountStore(elsewhere)
        key = await theirs.add_key(added.id, "key", b"1" * 32, NOW)
        assert await mine.key("key") == key
        bearer = await mine.add_token(token(key.id))
        await theirs.revoke_key(added.id, "key", NOW)
        assert (await mine.credentials(bearer.digest, None, NAME)).token is None


def test_the_migration_makes_the_tables_that_the_code_expects(database: Database) -> None:
    mine = {table.name for table in (sql.accounts, sql.api_keys, sql.access_tokens, sql.users, sql.sessions)}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_object": lambda thing, name, kind, *_: kind != "table" or name in mine},
        )
        assert compare_metadata(context, metadata) == []
