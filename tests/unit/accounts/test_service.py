"""The use cases on the in-memory store and a virtual clock."""

import asyncio
from dataclasses import replace

import argon2
import pytest

from overair.accounts.errors import (
    AccountNameFormat,
    AlreadyThere,
    ExpiredSession,
    InvalidBearer,
    InvalidClient,
    InvalidField,
    LoginFailed,
    NotThere,
    UnknownSession,
    WrongPassword,
)
from overair.accounts.memory import MemoryAccountStore
from overair.accounts.model import Access, AccessToken, SignedIn
from overair.accounts.passwords import Passwords
from overair.accounts.service import AccountService
from overair.platform.clock import VirtualClock
from overair.platform.limits import Limits

NAME = "0742000123-00001"
PASSWORD = "c0rrect-horse"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountingStore(MemoryAccountStore):
    """Counts what a call costs."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    async def credentials(self, *args: object) -> object:  # type: ignore[override]
        self.reads += 1
        return await super().credentials(*args)  # type: ignore[arg-type]

    def use_session(self, session_id: int, used_ms: int) -> None:
        self.writes += 1
        super().use_session(session_id, used_ms)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def service(store: CountingStore, clock: VirtualClock) -> AccountService:
    return AccountService(store, clock, Limits(), passwords=Passwords(CHEAP))


async def tokens(service: AccountService) -> tuple[str, str]:
    """Return an access token and a session token of a new account."""
    await service.add_account(NAME, 5, ["mrc"])
    await service.add_user(NAME, "ops", PASSWORD)
    key = await service.add_key(NAME)
    issued = await service.issue_token(key.key, key.secret, "")
    return issued.token, (await service.log_in("ops", PASSWORD)).token


async def test_an_operator_adds_and_lists(service: AccountService) -> None:
    account = await service.add_account(NAME, 5, ["event", "mrc"])
    assert await service.list_accounts() == [account]
    assert await service.account(NAME) == account
    key = await service.add_key(NAME)
    (kept,) = await service.list_keys(NAME)
    assert kept.key == key.key
    await service.revoke_key(NAME, key.key)
    assert (await service.list_keys(NAME))[0].revoked_ms is not None


async def test_what_is_not_there_or_already_is_named(service: AccountService) -> None:
    with pytest.raises(NotThere, match=f"no account '{NAME}'"):
        await service.add_key(NAME)
    await service.add_account(NAME, 0, [])
    with pytest.raises(AlreadyThere, match=NAME):
        await service.add_account(NAME, 0, [])
    with pytest.raises(NotThere, match="no key 'k'"):
        await service.revoke_key(NAME, "k")
    with pytest.raises(NotThere, match="no user 'u'"):
        await service.unlock_user(NAME, "u")
    with pytest.raises(AccountNameFormat):
        await service.add_account("fleet", 0, [])
    with pytest.raises(InvalidField, match="password"):
        await service.add_user(NAME, "ops", "short")


async def test_secrets_are_in_no_repr_and_no_store(service: AccountService, store: CountingStore) -> None:
    await service.add_account(NAME, 0, [])
    user = await service.add_user(NAME, "ops", PASSWORD)
    key = await service.add_key(NAME)
    issued = await service.issue_token(key.key, key.secret, "")
    session = await service.log_in("ops", PASSWORD)
    shown = repr([user, key, issued, session]) + repr(vars(store))
    secrets = [PASSWORD, user.password_hash, key.secret, issued.token, session.token]
    assert [secret for secret in secrets if secret in shown] == []


async def test_a_call_costs_one_read_and_a_write_every_thirty_seconds(
    service: AccountService, store: CountingStore, clock: VirtualClock
) -> None:
    bearer, session = await tokens(service)
    for _ in range(61):
        assert isinstance(await service.authorize(bearer, session, NAME), Access)
        clock.advance(1)
    assert (store.reads, store.writes) == (61, 1)


async def test_an_hour_of_use_is_remembered_in_between_writes(
    service: AccountService, clock: VirtualClock
) -> None:
    bearer, session = await tokens(service)
    for _ in range(2):
        clock.advance(29)
        await service.authorize(bearer, session, NAME)
    clock.advance(1200)
    await service.authorize(bearer, session, NAME)
    clock.advance(1200.001)
    with pytest.raises(ExpiredSession):
        await service.authorize(bearer, session, NAME)


async def test_the_secret_of_a_key_opens_nothing_but_its_own_tokens(service: AccountService) -> None:
    await service.add_account(NAME, 0, [])
    first, second = await service.add_key(NAME), await service.add_key(NAME)
    for key, secret in ((first.key, second.secret), (first.key, ""), ("", first.secret)):
        with pytest.raises(InvalidClient):
            await service.issue_token(key, secret, "")
        with pytest.raises(InvalidClient):
            await service.revoke_token(key, secret, "")
    issued = await service.issue_token(first.key, first.secret, "")
    assert not await service.revoke_token(second.key, second.secret, issued.token)
    await service.check_bearer(issued.token)
    assert await service.revoke_token(first.key, first.secret, issued.token)
    with pytest.raises(InvalidBearer):
        await service.check_bearer(issued.token)


async def test_what_is_stored_of_a_token_opens_nothing(service: AccountService, store: CountingStore) -> None:
    await tokens(service)
    kept: list[AccessToken] = list(store._tokens.values())
    for text in (kept[0].digest.hex(), kept[0].nonce.hex()):
        with pytest.raises(InvalidBearer):
            await service.check_bearer(text)


async def test_of_two_resets_at_the_same_time_one_counts(service: AccountService) -> None:
    bearer, session = await tokens(service)
    signed_in = await service.check_session(bearer, session)
    results = await asyncio.gather(
        *(service.reset_password(signed_in, PASSWORD) for _ in range(2)), return_exceptions=True
    )
    (changed,) = [result for result in results if isinstance(result, str)]
    assert [type(result) for result in results if result != changed] == [WrongPassword]
    await service.log_in("ops", changed)


async def test_of_two_logouts_one_ends_the_session(service: AccountService) -> None:
    signed_in: SignedIn = await service.check_session(*await tokens(service))
    await service.log_out(signed_in)
    with pytest.raises(ExpiredSession):
        await service.log_out(signed_in)


async def test_an_unknown_user_is_hashed_for_too(
    store: CountingStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            hashed.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    hasher = Watched(time_cost=1, memory_cost=8, parallelism=1)
    service = AccountService(store, clock, Limits(), passwords=Passwords(hasher))
    await tokens(service)
    for name in ("ops", "nobody"):
        with pytest.raises(LoginFailed):
            await service.log_in(name, "wrong-one")
    _, known, unknown = hashed
    assert known == unknown


async def test_purge_keeps_for_a_month_what_it_takes_to_say_expired(
    service: AccountService, clock: VirtualClock
) -> None:
    bearer, session = await tokens(service)
    clock.advance(30 * 86_400)
    assert await service.purge() == 0
    key = await service.add_key(NAME)
    fresh = (await service.issue_token(key.key, key.secret, "")).token
    with pytest.raises(ExpiredSession):
        await service.check_session(fresh, session)
    clock.advance(3601)
    assert await service.purge() == 2
    fresh = (await service.issue_token(key.key, key.secret, "")).token
    with pytest.raises(UnknownSession):
        await service.check_session(fresh, session)
    with pytest.raises(InvalidBearer):
        await service.check_bearer(bearer)


async def test_limits_are_those_given(store: CountingStore, clock: VirtualClock) -> None:
    limits = replace(Limits(), access_token_seconds=10, session_idle_seconds=5)
    service = AccountService(store, clock, limits, passwords=Passwords(CHEAP))
    bearer, session = await tokens(service)
    clock.advance(5.001)
    with pytest.raises(ExpiredSession):
        await service.check_session(bearer, session)
    clock.advance(5)
    with pytest.raises(InvalidBearer):
        await service.check_session(bearer, session)


async def test_a_password_is_hashed_with_salt_and_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(CHEAP)
    first, second = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)
    assert first.startswith("$argon2id$")
    assert first != second
    assert await passwords.matches(PASSWORD, first)
    assert not await passwords.matches("wrong-one", first)
    assert not await passwords.matches(PASSWORD, None)
