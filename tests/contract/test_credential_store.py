"""One suite for the credential store and its in-memory twin, under the service that uses them."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from overair.credentials.memory import MemoryCredentialStore
from overair.credentials.model import (
    CredentialError,
    IdentityTaken,
    InvalidPsk,
    KeysRefused,
    NewPsk,
    Owned,
    PskTimes,
    TooManyIdentities,
    TooManyKeys,
    UnknownIdentity,
)
from overair.credentials.ring import KeyRing
from overair.credentials.service import CredentialService
from overair.credentials.store import PURGE_ROWS, CredentialStore, SqlCredentialStore
from overair.credentials.watch import CHANGE_SECONDS
from overair.platform.clock import DAY_MS, VirtualClock
from overair.platform.database import Database
from overair.platform.limits import DEFAULT_LIMITS
from overair.platform.sealing import VARIABLE, MasterKeyError, Sealer

MINE = 7
IMEI, OTHER = 490154203237518, 867723030209919
USUAL = b"urn:imei:490154203237518"
DAY = DAY_MS / 1000
K1, K2, K3 = b"first-key-------", b"second-key------", b"third-key-------"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> CredentialStore:
    if request.param == "memory":
        return MemoryCredentialStore()
    return SqlCredentialStore(request.getfixturevalue("database"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def service_on(store: CredentialStore, clock: VirtualClock, master: str = "0f" * 32) -> CredentialService:
    return CredentialService(store, Sealer(Path("/nowhere"), {VARIABLE: master}), clock, DEFAULT_LIMITS)


@pytest.fixture
def service(store: CredentialStore, clock: VirtualClock) -> CredentialService:
    return service_on(store, clock)


@pytest.fixture
async def ring(service: CredentialService) -> AsyncIterator[KeyRing]:
    await service.start()
    ring = service.key_ring()
    yield ring
    ring.close()


async def test_a_key_is_made_and_found(service: CredentialService, ring: KeyRing) -> None:
    assert (ring.find(USUAL), ring.owner(USUAL)) == ([], None)
    made = await service.add_psk(MINE, IMEI)
    assert (made.imei, made.identity, len(made.key)) == (IMEI, USUAL, 16)
    assert (ring.find(USUAL), ring.owner(USUAL)) == ([made.key], IMEI)
    other = await service.add_psk(MINE, OTHER)
    assert other.key != made.key
    assert (ring.find(other.identity), ring.owner(other.identity)) == ([other.key], OTHER)


async def test_identities_are_bytes(service: CredentialService, ring: KeyRing) -> None:
    for identity in (b"\x00\xff", b"a" * 128, b"URN:IMEI:490154203237518"):
        await service.add_psk(MINE, IMEI, identity=identity, key=K1)
        assert ring.find(identity) == [K1]
    for identity in (b"", b"\x00", b"\x00\xff\x00", b"a" * 127, b"a" * 129, USUAL):
        assert (ring.find(identity), ring.owner(identity)) == ([], None)


async def test_what_breaks_a_rule_is_refused(service: CredentialService) -> None:
    for wrong in ({"identity": b""}, {"identity": b"a" * 129}, {"key": b"1234567"}, {"key": b"k" * 65}):
        with pytest.raises(InvalidPsk):
            await service.add_psk(MINE, IMEI, **wrong)  # type: ignore[arg-type]
    assert await service.identities(IMEI) == []


async def test_the_old_key_stays_valid_for_a_week(
    service: CredentialService, ring: KeyRing, clock: VirtualClock
) -> None:
    start_ms = clock.now_ms()
    await service.add_psk(MINE, IMEI, key=K1)
    clock.advance(3 * DAY)
    await service.add_psk(MINE, IMEI, key=K2)
    assert ring.find(USUAL) == [K2, K1]
    assert await service.identities(IMEI) == [
        PskTimes(USUAL, start_ms + 3 * DAY_MS, None),
        PskTimes(USUAL, start_ms, start_ms + 10 * DAY_MS),
    ]
    assert await service.purge() == 0
    clock.advance(7 * DAY - 0.001)
    assert ring.find(USUAL) == [K2, K1]
    clock.advance(0.001)
    assert (ring.find(USUAL), ring.owner(USUAL)) == ([K2], IMEI)
    assert [known.expires_ms for known in await service.identities(IMEI)] == [None]
    assert (await service.purge(), await service.purge()) == (1, 0)
    assert ring.find(USUAL) == [K2]


async def test_the_same_key_again_changes_nothing(
    service: CredentialService, ring: KeyRing, clock: VirtualClock
) -> None:
    await service.add_psk(MINE, IMEI, key=K1)
    before = await service.identities(IMEI)
    clock.advance(60)
    assert (await service.add_psk(MINE, IMEI, key=K1)).key == K1
    assert await service.identities(IMEI) == before


async def test_a_key_taken_back_is_the_current_one_again(
    service: CredentialService, ring: KeyRing, clock: VirtualClock
) -> None:
    for key in (K1, K2, K1):
        await service.add_psk(MINE, IMEI, key=key)
        clock.advance(1)
    assert ring.find(USUAL) == [K1, K2]
    clock.advance(8 * DAY)
    assert ring.find(USUAL) == [K1]


async def test_several_changes_in_one_millisecond_keep_their_order(
    service: CredentialService, ring: KeyRing
) -> None:
    for key in (K1, K2, K3):
        await service.add_psk(MINE, IMEI, key=key)
    assert ring.find(USUAL) == [K3, K2, K1]


async def test_keys_of_an_identity_are_bounded(service: CredentialService, ring: KeyRing) -> None:
    for number in range(DEFAULT_LIMITS.keys_per_identity):
        await service.add_psk(MINE, IMEI, key=K1 + bytes([number]))
    before = ring.find(USUAL)
    with pytest.raises(TooManyKeys):
        await service.add_psk(MINE, IMEI, key=K2)
    assert ring.find(USUAL) == before
    await service.remove(IMEI, USUAL)
    await service.add_psk(MINE, IMEI, key=K2)
    assert ring.find(USUAL) == [K2]


async def test_identities_of_a_device_are_bounded(service: CredentialService) -> None:
    for number in range(DEFAULT_LIMITS.identities_per_device):
        await service.add_psk(MINE, IMEI, identity=b"name-%d" % number)
    with pytest.raises(TooManyIdentities):
        await service.add_psk(MINE, IMEI, identity=b"one more")
    await service.add_psk(MINE, IMEI, identity=b"name-0")  # a new key is no new identity
    await service.add_psk(MINE, OTHER, identity=b"one more")
    await service.remove(IMEI, b"name-3")
    await service.add_psk(MINE, IMEI, identity=b"at last")
    names = {known.identity for known in await service.identities(IMEI)}
    assert names == {b"name-0", b"name-1", b"name-2", b"at last"}


async def test_an_identity_belongs_to_one_device(service: CredentialService, ring: KeyRing) -> None:
    await service.add_psk(MINE, IMEI, identity=b"meter", key=K1)
    for key in (K1, K2):
        with pytest.raises(IdentityTaken):
            await service.add_psk(MINE, OTHER, identity=b"meter", key=key)
    with pytest.raises(IdentityTaken):
        await service.add_psk(MINE + 1, OTHER, identity=b"meter")
    assert (ring.find(b"meter"), ring.owner(b"meter")) == ([K1], IMEI)
    assert await service.identities(OTHER) == []
    await service.remove(IMEI, b"meter")
    await service.add_psk(MINE, OTHER, identity=b"meter", key=K2)
    assert (ring.find(b"meter"), ring.owner(b"meter")) == ([K2], OTHER)


async def test_an_identity_is_removed_from_its_device_only(service: CredentialService, ring: KeyRing) -> None:
    await service.add_psk(MINE, IMEI, key=K1)
    await service.add_psk(MINE, IMEI, key=K2)
    await service.add_psk(MINE, IMEI, identity=b"second", key=K3)
    for imei, identity in ((OTHER, USUAL), (IMEI, b"third"), (IMEI, USUAL.upper())):
        with pytest.raises(UnknownIdentity):
            await service.remove(imei, identity)
    assert ring.find(USUAL) == [K2, K1]
    await service.remove(IMEI, USUAL)
    assert (ring.find(USUAL), ring.owner(USUAL), ring.find(b"second")) == ([], None, [K3])


async def test_many_are_added_all_or_none(service: CredentialService, ring: KeyRing) -> None:
    await service.add_psk(MINE, IMEI, identity=b"taken", key=K1)
    good, taken = NewPsk(OTHER, b"good", K2), NewPsk(OTHER, b"taken", K2)
    twice = NewPsk(IMEI, b"good", K3)
    with pytest.raises(KeysRefused, match=r"'taken'.*and 1 more") as refused:
        await service.add(MINE, [good, taken, twice])
    assert [(place, type(reason)) for place, reason in refused.value.errors] == [
        (1, IdentityTaken),
        (2, IdentityTaken),
    ]
    assert ring.find(b"good") == []
    await service.add(MINE, [good, NewPsk(IMEI, b"taken", K3)])
    assert (ring.find(b"good"), ring.find(b"taken")) == ([K2], [K3, K1])
    await service.add(MINE, [])


async def test_a_check_says_what_would_be_refused_and_adds_nothing(
    service: CredentialService, ring: KeyRing
) -> None:
    await service.add_psk(MINE, IMEI, identity=b"taken", key=K1)
    good = NewPsk(OTHER, b"good", K2)
    await service.check(MINE, [])
    await service.check(MINE, [good])
    with pytest.raises(KeysRefused) as refused:
        await service.check(MINE, [good, NewPsk(OTHER, b"taken", K2)])
    assert [(place, type(reason)) for place, reason in refused.value.errors] == [(1, IdentityTaken)]
    assert ring.find(b"good") == []


async def test_the_wrong_master_key_adds_and_starts_nothing(
    service: CredentialService, store: CredentialStore, clock: VirtualClock
) -> None:
    await service.add_psk(MINE, IMEI, key=K1)
    stranger = service_on(store, clock, "f0" * 32)
    with pytest.raises(MasterKeyError, match="another installation"):
        await stranger.start()
    with pytest.raises(MasterKeyError, match="another installation"):
        await stranger.add_psk(MINE, OTHER)
    # What needs no key still works: it is the way out of a lost master key.
    assert len(await stranger.identities(IMEI)) == 1
    await stranger.remove(IMEI, USUAL)
    await stranger.start()


async def test_a_key_that_does_not_open_is_left_out(
    service: CredentialService, store: CredentialStore, ring: KeyRing, clock: VirtualClock
) -> None:
    """As one that was added with another master key in the environment, while there were none."""
    stranger = service_on(store, clock, "f0" * 32)
    await stranger.start()
    await service.add_psk(MINE, OTHER, key=K1)
    await stranger.add_psk(MINE, IMEI, key=K2)
    with capture_logs() as logs:
        assert ring.find(USUAL) == []
    assert [entry["event"] for entry in logs] == ["psk_does_not_open"]
    assert "second-key" not in repr(logs)
    assert ring.find(b"urn:imei:%d" % OTHER) == [K1]


async def test_no_error_and_no_repr_shows_a_key(service: CredentialService) -> None:
    secret = b"hush-hush-hush-hush"
    shown = [repr(await service.add_psk(MINE, IMEI, identity=b"x", key=secret)), repr(service.key_ring())]
    wrongs: list[tuple[int, bytes, bytes]] = [
        (IMEI, b"", secret),
        (OTHER, b"x", secret),
        (IMEI, b"y", secret * 9),
    ]
    for imei, identity, key in wrongs:
        with pytest.raises(CredentialError) as refused:
            await service.add_psk(MINE, imei, identity=identity, key=key)
        shown += [str(refused.value), repr(refused.value)]
    shown.append(repr(await service.identities(IMEI)))
    assert not [text for text in shown if "hush" in text or secret.hex() in text]


async def test_who_has_a_key(service: CredentialService, ring: KeyRing, clock: VirtualClock) -> None:
    assert not ring.has_key(IMEI)
    await service.add_psk(MINE, IMEI, identity=b"one", key=K1)
    await service.add_psk(MINE, IMEI, identity=b"two", key=K1)
    assert (ring.has_key(IMEI), ring.has_key(OTHER)) == (True, False)
    await service.remove(IMEI, b"one")
    assert ring.has_key(IMEI)
    await service.remove(IMEI, b"two")
    assert not ring.has_key(IMEI)


async def test_identities_are_owned_since_their_oldest_valid_key(
    store: CredentialStore, service: CredentialService, clock: VirtualClock
) -> None:
    assert await store.owned(clock.now_ms()) == {}
    first_ms = clock.now_ms()
    await service.add_psk(MINE, IMEI, key=K1)
    clock.advance(DAY)
    second_ms = clock.now_ms()
    await service.add_psk(MINE, IMEI, key=K2)
    await service.add_psk(MINE, OTHER, identity=b"meter")
    assert await store.owned(clock.now_ms()) == {
        USUAL: Owned(IMEI, first_ms),
        b"meter": Owned(OTHER, second_ms),
    }
    clock.advance(7 * DAY)
    assert (await store.owned(clock.now_ms()))[USUAL] == Owned(IMEI, second_ms)


async def test_every_change_shows_in_the_state(
    store: CredentialStore, service: CredentialService, clock: VirtualClock
) -> None:
    seen = [await store.state()]
    assert seen[0].keys == 0

    async def changed() -> bool:
        seen.append(await store.state())
        clock.advance(1)
        return seen[-1] != seen[-2]

    await service.add_psk(MINE, IMEI, identity=b"one", key=K1)
    assert await changed()
    assert not await changed()
    await service.add_psk(MINE, IMEI, identity=b"one", key=K1)
    assert not await changed()
    await service.add_psk(MINE, IMEI, identity=b"one", key=K2)
    assert await changed()
    # The row goes, and one of the same device takes its place, under the same id.
    await service.remove(IMEI, b"one")
    await service.add_psk(MINE, IMEI, identity=b"two", key=K1)
    assert await changed()
    await service.remove(IMEI, b"two")
    await service.add_psk(MINE, IMEI, identity=b"two", key=K1)
    assert await changed()
    await service.remove(IMEI, b"two")
    assert await changed()
    assert seen[-1] == seen[0]


async def test_a_watch_tells_of_changes(
    service: CredentialService, ring: KeyRing, clock: VirtualClock
) -> None:
    told: list[set[bytes]] = []

    async def listen(owned: Mapping[bytes, Owned]) -> None:
        told.append(set(owned))
        if len(told) == 2:
            raise ValueError("not now")

    watch = service.key_watch(ring)
    watch.on_change(listen)
    assert not ring.is_empty
    await watch.look()
    await watch.look()
    assert (told, ring.is_empty) == ([set()], True)
    # While there are no keys each look looks.
    await service.add_psk(MINE, IMEI, identity=b"one")
    assert not ring.has_key(IMEI)
    with pytest.raises(ValueError, match="not now"):
        await watch.look()
    assert ring.has_key(IMEI)
    await watch.look()
    assert told == [set(), {b"one"}, {b"one"}]
    # From then on, those that follow soon do not.
    await service.remove(IMEI, b"one")
    await watch.look()
    assert len(told) == 3
    clock.advance(CHANGE_SECONDS)
    await watch.look()
    assert (told[3:], ring.is_empty) == ([set()], True)


# What only the database does.


@pytest.fixture
def on_disk(database: Database, clock: VirtualClock) -> CredentialService:
    return service_on(SqlCredentialStore(database), clock)


async def test_no_key_stands_in_the_database(on_disk: CredentialService, database_path: Path) -> None:
    for key in (K1, K2):
        await on_disk.add_psk(MINE, IMEI, key=key)
    stored = b"".join(file.read_bytes() for file in database_path.parent.glob("overair.db*"))
    assert USUAL in stored
    for key in (K1, K2):
        assert key not in stored
        assert key.hex().encode() not in stored
    assert bytes([0x0F] * 32) not in stored


async def test_what_another_process_commits_counts_at_once(
    on_disk: CredentialService, database_path: Path, clock: VirtualClock
) -> None:
    await on_disk.start()
    ring = on_disk.key_ring()
    assert ring.find(USUAL) == []
    async with Database(f"sqlite:///{database_path}") as elsewhere:
        other = service_on(SqlCredentialStore(elsewhere), clock)
        await other.add_psk(MINE, IMEI, key=K1)
        assert (ring.find(USUAL), ring.has_key(IMEI)) == ([K1], True)
        await other.remove(IMEI, USUAL)
        assert (ring.find(USUAL), ring.has_key(IMEI)) == ([], False)
    ring.close()


async def test_what_find_read_holds_for_the_turn_of_the_loop(
    on_disk: CredentialService, database: Database
) -> None:
    """A handshake asks whose its identity is right after its key; whoever asks in a later turn reads anew."""
    await on_disk.add_psk(MINE, IMEI, key=K1)
    ring = on_disk.key_ring()
    assert ring.find(USUAL) == [K1]
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM psk_keys")
    assert ring.owner(USUAL) == IMEI
    assert not ring.has_key(IMEI)
    await asyncio.sleep(0)
    assert ring.owner(USUAL) is None
    await on_disk.add_psk(MINE, IMEI, key=K1)
    assert ring.find(USUAL) == [K1]
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM psk_keys")
    assert (ring.find(USUAL), ring.owner(USUAL)) == ([], None)
    ring.close()


async def test_a_handshake_reads_its_key_once(
    on_disk: CredentialService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_disk.add_psk(MINE, IMEI, key=K1)
    ring, asked = on_disk.key_ring(), list[bytes]()
    keys_of = ring._reader.keys_of
    monkeypatch.setattr(ring._reader, "keys_of", lambda identity: asked.append(identity) or keys_of(identity))
    assert (ring.find(USUAL), ring.owner(USUAL), ring.owner(USUAL)) == ([K1], IMEI, IMEI)
    assert ring.owner(b"stranger") is None
    assert asked == [USUAL, b"stranger"]
    ring.close()


async def test_the_ring_waits_for_no_writer(on_disk: CredentialService, database: Database) -> None:
    await on_disk.add_psk(MINE, IMEI, key=K1)
    ring = on_disk.key_ring()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM psk_keys")  # in a transaction that is still open
        assert ring.find(USUAL) == [K1]
        connection.rollback()
    ring.close()


async def test_the_ring_writes_nothing(on_disk: CredentialService, database: Database) -> None:
    reader = SqlCredentialStore(database).reader()
    assert reader.keys_of(USUAL) == []
    _, cursor = reader._open()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        cursor.execute("DELETE FROM psk_keys")
    reader.close()


async def test_a_database_that_can_not_be_read_is_logged_and_finds_nobody(
    on_disk: CredentialService, database: Database
) -> None:
    await on_disk.add_psk(MINE, IMEI, key=K1)
    ring = on_disk.key_ring()
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE psk_keys RENAME TO gone")
    with capture_logs() as logs:
        assert (ring.find(USUAL), ring.owner(USUAL)) == ([], None)
        assert ring.has_key(OTHER)  # nobody is let in without one
    assert {entry["event"] for entry in logs} == {"psk_not_read"}
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO psk_keys")
    assert ring.find(USUAL) == [K1]
    ring.close()


async def test_two_current_keys_of_an_identity_are_impossible(
    on_disk: CredentialService, database: Database
) -> None:
    await on_disk.add_psk(MINE, IMEI, key=K1)
    with pytest.raises(IntegrityError, match="UNIQUE"), database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO psk_keys (identity, imei, account_id, sealed, created_ms)"
            " SELECT identity, imei + 1, account_id, sealed, created_ms FROM psk_keys"
        )


async def test_more_than_one_portion_is_purged(
    on_disk: CredentialService, database: Database, clock: VirtualClock
) -> None:
    await on_disk.add_psk(MINE, IMEI)
    expired = [
        (b"%d" % number, IMEI, MINE, b"", 0, clock.now_ms() - number) for number in range(PURGE_ROWS + 1)
    ]
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO psk_keys (identity, imei, account_id, sealed, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            expired,
        )
    assert await on_disk.purge() == PURGE_ROWS + 1
    assert len(await on_disk.identities(IMEI)) == 1


async def test_the_ring_reads_on_the_thread_that_asks(on_disk: CredentialService, database: Database) -> None:
    """And by an index: a search, not a scan, whatever the number of keys."""
    from overair.credentials.sql import RING

    with database.engine.connect() as connection:
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + RING.sql(connection), (USUAL,)).all()
        assert ["psk_keys USING INDEX ix_psk_keys_identity" in str(step) for step in plan] == [True]
    threads = threading.active_count()
    ring = on_disk.key_ring()
    ring.find(USUAL)
    assert threading.active_count() == threads
    ring.close()
