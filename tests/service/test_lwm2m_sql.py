"""The door on a real database and real time: what is answered is in the file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import event

from overair.accounts.store import SqlAccountStore
from overair.devices.store import SqlDeviceStore
from overair.platform.clock import Clock, SystemClock, VirtualClock
from overair.platform.database import Database, upgrade
from overair.protocols.coap import codes

from .lwm2m_device import ACCOUNT_ID, IMEI, Door, devices, imeis, open_door


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """An empty database with one account."""
    path = tmp_path / "overair.db"
    async with Database(f"sqlite:///{path}") as database:
        await asyncio.to_thread(upgrade, database.engine)
        account = await SqlAccountStore(database).add_account("0742000123-00001", 10, [], 0)
    assert account.id == ACCOUNT_ID
    return path


@asynccontextmanager
async def door_on(path: Path, clock: Clock | None = None) -> AsyncIterator[tuple[Door, Database]]:
    async with (
        Database(f"sqlite:///{path}") as database,
        open_door(SqlDeviceStore(database), clock=clock or SystemClock()) as door,
    ):
        yield door, database


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Read the file as another process would: what is not committed is not there."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def test_an_answer_means_that_it_is_stored(path: Path) -> None:
    clock = VirtualClock()
    async with door_on(path, clock) as (door, _):
        await door.add()
        with devices(door) as (device,):
            assert (await device.register(lifetime=300)).code == codes.CREATED
            kept = rows(path, "SELECT imei, location, port, lifetime_seconds FROM registrations")
            assert kept == [(int(IMEI), device.location, device.address[1], 300)]
            clock.advance(5)
            assert (await device.update()).code == codes.CHANGED
            assert rows(path, "SELECT updated_ms FROM registrations") == [(clock.now_ms(),)]
            assert (await device.update("lt=600")).code == codes.CHANGED
            assert rows(path, "SELECT lifetime_seconds FROM registrations") == [(600,)]
            assert (await device.deregister()).code == codes.DELETED
            assert rows(path, "SELECT imei FROM registrations") == []


async def test_many_registers_share_commits(path: Path) -> None:
    async with door_on(path) as (door, database):
        for imei in imeis(60):
            await door.add(imei)
        commits: list[object] = []
        event.listen(database.engine, "commit", commits.append)
        with devices(door, 60) as fleet:
            answers = await asyncio.gather(*(device.register() for device in fleet))
            assert {answer.code for answer in answers} == {codes.CREATED}
            assert len({device.location for device in fleet}) == 60
            assert len(rows(path, "SELECT imei FROM registrations")) == 60
            assert len(commits) < 30


async def test_a_repetition_before_the_commit_is_stored_once(path: Path) -> None:
    async with door_on(path) as (door, _):
        await door.add()
        with devices(door) as (device,):
            message = device.register_message()
            for _ in range(3):
                device.send(message)
            first = await device.answer_to(message)
            again = await device.ask(message)
            assert first == again
            assert rows(path, "SELECT location FROM registrations") == [(first.location_path[1],)]


async def test_what_was_read_and_observed_outlives_the_process(path: Path) -> None:
    async with door_on(path) as (door, _):
        port = door.address[1]
        await door.add()
        with devices(door) as (device,):
            await device.register()
            await asyncio.wait_for(device.unmuted.wait(), 20)
            record = await door.record()
            assert (record["make"], record["firmware"], record["fotaEligible"]) == ("ACME", "1.4.2", True)
            door.face.close()
            await door.gateway.close()
            async with Database(f"sqlite:///{path}") as database:
                store = SqlDeviceStore(database)
                async with open_door(store, clock=SystemClock(), port=port) as again:
                    message = device.notify(device.tokens[3, 0, 3], b"1.5.0")
                    acknowledged = await device.next()
                    assert (acknowledged.type, acknowledged.message_id) == (codes.ACK, message.message_id)
                    send = device.message(codes.POST, ["dp"], (), b'[{"n":"/3/0/9","v":50}]', 110)
                    assert (await device.ask(send)).code == codes.CHANGED  # so the notification is stored too
                    assert (await again.record())["firmware"] == "1.5.0"
                    assert (await device.update()).code == codes.CHANGED


async def test_a_database_that_fails(path: Path) -> None:
    async with door_on(path) as (door, _):
        await door.add()
        with devices(door) as (device,):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("ALTER TABLE registrations RENAME TO hidden")
            assert (await device.register()).code == codes.INTERNAL_SERVER_ERROR
            assert len(door.gateway.registry) == 0
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("ALTER TABLE hidden RENAME TO registrations")
            assert (await device.register()).code == codes.CREATED
            assert len(rows(path, "SELECT imei FROM registrations")) == 1
