"""The ThingSpace door on a virtual clock, with a client in front and a fake devices service behind."""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import argon2
import httpx2

from overair.accounts.memory import MemoryAccountStore
from overair.accounts.model import NewKey
from overair.accounts.passwords import Passwords
from overair.accounts.service import AccountService
from overair.accounts.store import AccountStore, SqlAccountStore
from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.services import Campaigns, Licenses, Services
from overair.licenses.service import LicenseService
from overair.platform.clock import VirtualClock
from overair.platform.database import Database
from overair.platform.limits import Limits

from .fake_devices import FakeDevices

ACCOUNT = "0742000123-00001"
USER = "fleet-ops"
PASSWORD = "c0rrect-horse"
IMEI = "990010991200172"

TOKEN = "/api/ts/v1/oauth2/token"
REVOKE = "/api/ts/v1/oauth2/revoke"
LOGIN = "/api/m2m/v1/session/login"
LOGOUT = "/api/m2m/v1/session/logout"
RESET = "/api/m2m/v1/session/password/actions/reset"
DEVICES = f"/api/fota/v3/devices/{ACCOUNT}"
FIRMWARE = f"/api/fota/v3/firmware/{ACCOUNT}"

VECTORS = Path(__file__).parents[1] / "vectors"

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2 at its least: these tests are about what is done with the answer."""


def vector(name: str) -> Any:
    """Return a published sample body."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def basic(key: str, secret: str) -> dict[str, str]:
    """Return the header of a client that shows key and secret."""
    return {"Authorization": "Basic " + b64encode(f"{key}:{secret}".encode()).decode()}


@dataclass
class Door:
    """Everything that one test needs; use :func:`open_door`."""

    clock: VirtualClock
    accounts: AccountService
    devices: FakeDevices
    client: httpx2.AsyncClient
    key: NewKey
    store: AccountStore
    secrets: list[str] = field(default_factory=list)
    """Whatever must never be logged."""

    async def token(self, **form: str) -> httpx2.Response:
        data = {"grant_type": "client_credentials", **form}
        return await self.client.post(TOKEN, data=data, headers=basic(self.key.key, self.key.secret))

    async def bearer(self) -> dict[str, str]:
        """Return the header of a client with a living access token."""
        token = (await self.token()).json()["access_token"]
        self.secrets.append(token)
        return {"Authorization": f"Bearer {token}"}

    async def login(self, password: str = PASSWORD, user: str = USER) -> httpx2.Response:
        body = {"username": user, "password": password}
        return await self.client.post(LOGIN, json=body, headers=await self.bearer())

    async def signed_in(self) -> dict[str, str]:
        """Return the headers of a client with a token and a session."""
        session = (await self.login()).json()["sessionToken"]
        self.secrets.append(session)
        return {**await self.bearer(), "VZ-M2M-Token": session}


def door_to(
    store: AccountStore,
    clock: VirtualClock,
    limits: Limits,
    *,
    licenses: Licenses | None = None,
    campaigns: Campaigns | None = None,
) -> Door:
    """Return a door to a store as it is."""
    accounts = AccountService(store, clock, limits, passwords=Passwords(CHEAP))
    devices = FakeDevices()
    app = thingspace_app(Services(accounts, devices, limits, licenses=licenses, campaigns=campaigns))
    transport = httpx2.ASGITransport(app=app)
    client = httpx2.AsyncClient(transport=transport, base_url="http://overair.test")
    return Door(clock, accounts, devices, client, NewKey("", ""), store)


async def open_door(
    store: AccountStore | None = None,
    limits: Limits | None = None,
    *,
    database: Database | None = None,
    campaigns: Campaigns | None = None,
) -> Door:
    """Return a door with one account, key and user behind it; with licences if it gets a database."""
    clock, limits, licenses = VirtualClock(), limits or Limits(), None
    if database is not None:
        store, licenses = SqlAccountStore(database), LicenseService(database, clock, limits)
    door = door_to(store or MemoryAccountStore(), clock, limits, licenses=licenses, campaigns=campaigns)
    await door.accounts.add_account(ACCOUNT, 5, ["mrc"])
    await door.accounts.add_user(ACCOUNT, USER, PASSWORD)
    door.key = await door.accounts.add_key(ACCOUNT)
    door.secrets = [door.key.secret, PASSWORD]
    return door
