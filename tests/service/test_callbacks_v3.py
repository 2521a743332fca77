"""Callback registration through the API, and messages to a receiver of the running service."""

import asyncio
import json
import random
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from overair.accounts.memory import MemoryAccountStore
from overair.accounts.passwords import Passwords
from overair.accounts.service import AccountService
from overair.callbacks import build, outbox
from overair.callbacks.service import CallbackService
from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.services import Services
from overair.platform.clock import VirtualClock
from overair.platform.database import Database, upgrade
from overair.platform.limits import DEFAULT_LIMITS
from overair.platform.sealing import VARIABLE, Sealer
from overair.server import Server, Settings

from .fake_devices import FakeDevices
from .harness import ACCOUNT, CHEAP, PASSWORD, USER, Door, basic, vector

PATH = f"/api/fota/v3/callbacks/{ACCOUNT}"
URL = "https://fleet.example.com:50559/fota/callback"
INVALID_URL = {"errorCode": "INVALID_PARAMETER", "errorMessage": "Invalid url"}
BINDING = {"errorCode": "INVALID_PARAMETER", "errorMessage": "Input binding error"}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/overair.db") as database:
        await asyncio.to_thread(upgrade, database.engine)
        yield database


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    clock, limits, store = VirtualClock(), DEFAULT_LIMITS, MemoryAccountStore()
    accounts = AccountService(store, clock, limits, passwords=Passwords(CHEAP))
    callbacks = CallbackService(database, Sealer(Path("/nowhere"), {VARIABLE: "0f" * 32}), clock, limits)
    app = thingspace_app(Services(accounts, FakeDevices(), limits, callbacks=callbacks))
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://overair.test")
    await accounts.add_account(ACCOUNT, 5, ["mrc"])
    await accounts.add_user(ACCOUNT, USER, PASSWORD)
    async with client:
        yield Door(clock, accounts, FakeDevices(), client, await accounts.add_key(ACCOUNT), store)


async def call(door: Door, method: str, body: object = None) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body).encode()
    answer = await door.client.request(method, PATH, content=content, headers=await door.signed_in())
    return answer.status_code, answer.json()


async def test_the_calls_answer_as_published(door: Door) -> None:
    asked = vector("v3-post-callbacks.request")
    assert await call(door, "POST", asked) == (200, vector("v3-post-callbacks.response"))
    assert await call(door, "GET") == (200, vector("v3-get-callbacks.response"))
    changed = vector("v3-put-callbacks.request")
    assert await call(door, "PUT", changed) == (200, vector("v3-put-callbacks.response"))
    assert await call(door, "GET") == (200, changed)
    assert await call(door, "DELETE") == (200, vector("v3-delete-callbacks.response"))


async def test_where_nothing_is_registered(door: Door) -> None:
    assert await call(door, "GET") == (200, {})
    assert await call(door, "DELETE") == (200, {"success": True})
    assert await call(door, "PUT", {"url": URL}) == (200, {"url": URL})
    assert await call(door, "DELETE") == (200, {"success": True})
    assert await call(door, "GET") == (200, {})


@pytest.mark.parametrize(
    "body",
    [
        {"callback": URL},
        {"URL": URL},
        [{"Callback": URL}],
        {"url": URL, "callback": "x"},
        {"url": URL, "a": 1},
    ],
)
async def test_every_published_spelling_is_taken(door: Door, body: object) -> None:
    assert await call(door, "POST", body) == (200, {"url": URL})


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, INVALID_URL),
        ({"url": ""}, INVALID_URL),
        ({"url": None}, INVALID_URL),
        ({"url": 5}, INVALID_URL),
        ({"callback": []}, INVALID_URL),
        ({"url": "ftp://fleet.example.com/"}, INVALID_URL),
        ({"url": "https://u:p@fleet.example.com/"}, INVALID_URL),
        ({"url": "https://fleet.example.com/" + "x" * 2048}, INVALID_URL),
        ("x", BINDING),
        (None, BINDING),
    ],
)
async def test_what_is_no_url_is_refused(door: Door, method: str, body: object, refusal: object) -> None:
    assert await call(door, method, body) == (400, refusal)
    assert await call(door, "GET") == (200, {})


async def test_a_caller_without_a_session_is_refused(door: Door) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert (await door.client.request(method, PATH, json={"url": URL})).status_code == 401


# The whole service.


class Hook(BaseHTTPRequestHandler):
    """A receiver that nobody here wrote: Python's own server, down for the first requests."""

    statuses: list[int]
    got: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((dict(self.headers), body))
        self.send_response(type(self).statuses.pop(0) if type(self).statuses else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hook(*statuses: int) -> Iterator[tuple[str, type[Hook]]]:
    kind = type("AHook", (Hook,), {"statuses": list(statuses), "got": []})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/hook", kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def registered(server: Server, url: str) -> None:
    """Register as an owner does."""
    await server.core.accounts.add_account(ACCOUNT, 5, ["mrc"])
    await server.core.accounts.add_user(ACCOUNT, USER, PASSWORD)
    key = await server.core.accounts.add_key(ACCOUNT)
    assert server.http_address is not None
    host, port = server.http_address
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        grant = {"grant_type": "client_credentials"}
        token = await client.post("/api/ts/v1/oauth2/token", data=grant, headers=basic(key.key, key.secret))
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        login = {"username": USER, "password": PASSWORD}
        session = await client.post("/api/m2m/v1/session/login", json=login, headers=headers)
        headers["VZ-M2M-Token"] = session.json()["sessionToken"]
        answer = await client.post(PATH, json={"url": url}, headers=headers)
        assert answer.json() == {"url": url}


async def tell(data: Path, server: Server) -> None:
    """Have a campaign scheduled."""
    (message,) = build.upgrade_scheduled(
        ACCOUNT,
        build.Upgrade(
            campaign_id="5d2f9c1e-8b1a-4f6e-9a57-0f1c2f6b7d10", campaign_name=None,
            firmware_name="A_B_1_2", firmware_from="1", firmware_to="2", protocol="LWM2M",
            start_date="2026-01-01", end_date="2026-01-02", status="CampaignScheduled",
        ),
    )  # fmt: skip
    await server.core.database.write(
        lambda connection: outbox.put(connection, 1, "v3", [message], server._clock.now_ms())
    )
    server.core.deliverer.wake()


def settings(data: Path, *, allow_private: bool) -> Settings:
    return Settings(data, http=("127.0.0.1", 0), coaps=None, callback_allow_private=allow_private)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the receiver is a thread
            await asyncio.sleep(0.02)


def documented_check() -> Any:
    """Return the function that the documentation gives receivers."""
    page = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_genuine"]


async def test_a_receiver_that_fails_at_first_gets_its_message_and_can_check_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random.SystemRandom, "random", lambda _: 0.0)  # else 5 s may pass
    is_genuine = documented_check()
    with hook(500) as (url, receiver):
        async with Server(settings(tmp_path, allow_private=True)) as server:
            await registered(server, url)
            await tell(tmp_path, server)
            await until(lambda: len(receiver.got) == 2)
            secret = (await server.core.callbacks.show(1, "v3")).secret
            await until(lambda: server.core.deliverer.lanes == 0)
            log = await server.core.callbacks.log(1, 10)
    assert [line.attempt.answer.status for line in log] == [200, 500]
    (first, body), (second, same) = receiver.got
    assert json.loads(body)["type"] == "upgradeScheduled"
    assert (body, first["Overair-Id"]) == (same, second["Overair-Id"])
    for headers in (first, second):
        assert is_genuine(headers, body, secret)
        assert not is_genuine(headers, body + b" ", secret)
        assert not is_genuine(headers, body, secret[::-1])
        assert not is_genuine({**headers, "Overair-Id": "x"}, body, secret)
        old = str(int(headers["Overair-Timestamp"]) - 3600)
        assert not is_genuine({**headers, "Overair-Timestamp": old}, body, secret)


async def test_a_service_that_is_not_told_so_calls_nothing_on_its_own_machine(tmp_path: Path) -> None:
    with hook() as (url, receiver):
        async with Server(settings(tmp_path, allow_private=False)) as server:
            await registered(server, url)
            await tell(tmp_path, server)
            await until(lambda: server.core.deliverer.counters.unanswered == 1)
        assert receiver.got == []
    with closing(sqlite3.connect(tmp_path / "overair.db")) as connection:
        ((error,),) = connection.execute("SELECT error FROM callback_attempts").fetchall()
    assert "public addresses only" in error
