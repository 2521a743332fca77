"""A page of 1000 devices and a look-up of 1000, from 100 k, against the bare SQL read of the same rows.

The call is a whole one: uvicorn on loopback with keep-alive, in a process on the other core, with token and
session shown and checked. Beside it the same application called without a socket. The baseline is what
reading the rows as columns costs: sqlite3, 15 columns, tuples, nothing rendered, from a table with a column
for each field, with the same WHERE, the same pragmas and the same devices. They take turns on the same pages.
"""

import asyncio
import json
import random
import socket
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from starlette.types import ASGIApp

from bench import fleet, inventory
from bench.inventory import ACCOUNT, Login
from bench.processes import CLIENT_CORE, ServerProcess, pin
from bench.registrations import disk, serve
from bench.report import Row, Target, render
from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.services import Services
from overair.platform.limits import DEFAULT_LIMITS

DEVICES, PAGE, ROUNDS = 100_000, 1000, 200
QUICK_DEVICES, QUICK_ROUNDS = 1_500, 3
WARM_UP = 3  # rounds that are checked and not counted
PATH = f"/api/fota/v3/devices/{ACCOUNT}"
TARGET = Target("at most", 2)
_FIELDS = (
    "deviceId", "mdn", "model", "make", "firmware", "fotaEligible", "status", "licenseAssigned", "protocol",
    "softwareList", "createTime", "statusTime", "updateTime", "refreshTime", "lastConnectionTime",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One call, and the parameters of the same question in SQL."""

    method: str
    target: str
    body: bytes
    sql: str
    parameters: tuple[Any, ...]

    def head(self, login: Login) -> bytes:
        """Return the request's head."""
        lines = (
            f"{self.method} {self.target} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {login.bearer}",
            f"VZ-M2M-Token: {login.session}",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode()


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    count, rounds = (QUICK_DEVICES, QUICK_ROUNDS) if quick else (DEVICES, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="overair-bench-", dir=disk()) as folder:
        data = Path(folder) / "data"
        account_id = asyncio.run(inventory.provision(data, count))
        asyncio.run(inventory.report(data, count))
        login = asyncio.run(inventory.log_in(data))
        with ServerProcess(serve(data)) as server:
            columns = _columns(data, Path(folder) / "columns.db", account_id)
            rows = asyncio.run(
                _measure(data, server.ports["http"], login, columns, account_id, count, rounds)
            )
            columns.close()
    return render(f"Pages: {PAGE} of {count} devices, {rounds} rounds", rows)


def _columns(data: Path, file: Path, account_id: int) -> sqlite3.Connection:
    """Make the table of columns from the records that the service keeps."""
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        f"CREATE TABLE devices (imei INTEGER PRIMARY KEY, account_id INTEGER, {', '.join(_FIELDS[1:])})"
    )
    connection.execute("CREATE INDEX page ON devices (account_id, imei)")
    places = ", ".join("?" * (len(_FIELDS) + 1))
    source = sqlite3.connect(data / "overair.db")
    connection.execute("BEGIN")
    for (record,) in source.execute("SELECT record FROM devices"):
        said = json.loads(record) | {"lastConnectionTime": "2025-06-21T07:58:03.511Z"}
        cells = [_cell(said.get(field)) for field in _FIELDS[1:]]
        connection.execute(
            f"INSERT INTO devices VALUES ({places})", (int(said["deviceId"]), account_id, *cells)
        )
    connection.execute("COMMIT")
    source.close()
    return connection


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


async def _measure(
    data: Path, port: int, login: Login, columns: sqlite3.Connection, account_id: int, count: int, rounds: int
) -> list[Row]:
    chance = random.Random(1)
    rows: list[Row] = []
    async with inventory.opened(data) as services:
        app = thingspace_app(Services(services.accounts, services.devices, DEFAULT_LIMITS))
        for ask in (_page, _look_up):
            taken: list[tuple[float, float, float]] = []
            with socket.create_connection(("127.0.0.1", port)) as sock:
                for _ in range(WARM_UP + rounds):
                    question = ask(chance, account_id, count)
                    bare, found = _timed(lambda q=question: columns.execute(q.sql, q.parameters).fetchall())
                    over_http, answer = _timed(lambda q=question: _call(sock, q, login))
                    started = time.perf_counter()
                    same = await _call_app(app, question, login)
                    without_socket = time.perf_counter() - started
                    if len(found) != PAGE or (len(taken) < WARM_UP and not _same_devices(answer, same)):
                        raise RuntimeError(f"{question.target}: not the page that was asked for")
                    taken.append((bare, over_http, without_socket))
            rows += _rows(ask is _page, taken[WARM_UP:])
    return rows


def _page(chance: random.Random, account_id: int, count: int) -> Question:
    """Ask for a page from a random place of the list."""
    last = fleet.imei(chance.randrange(count - PAGE - 1))
    chosen = ", ".join(["imei", *_FIELDS[1:]])
    sql = f"SELECT {chosen} FROM devices WHERE account_id = ? AND imei > ? ORDER BY imei LIMIT {PAGE}"
    return Question("GET", f"{PATH}?lastSeenDeviceId={last}", b"", sql, (account_id, int(last)))


def _look_up(chance: random.Random, account_id: int, count: int) -> Question:
    """Ask for devices from anywhere."""
    imeis = [fleet.imei(index) for index in chance.sample(range(count), PAGE)]
    chosen = ", ".join(["imei", *_FIELDS[1:]])
    places = ", ".join("?" * PAGE)
    sql = f"SELECT {chosen} FROM devices WHERE account_id = ? AND imei IN ({places})"
    body = json.dumps({"deviceList": imeis}).encode()
    return Question("POST", PATH, body, sql, (account_id, *map(int, imeis)))


def _timed(work: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made


def _call(sock: socket.socket, question: Question, login: Login) -> bytes:
    """Ask over a connection that stays open; returns the body."""
    sock.sendall(question.head(login) + question.body)
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _some(sock)
    head = bytes(received[:end]).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"{question.target}: {received[:500]!r}")
    size = end + 4 + int(head.rpartition(b"content-length:")[2].split(b"\r\n")[0])
    while len(received) < size:
        received += _some(sock)
    return bytes(received[end + 4 :])


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 20)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data


async def _call_app(app: ASGIApp, question: Question, login: Login) -> bytes:
    """Ask the application itself; returns the body."""
    path, _, query = question.target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": question.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"authorization", f"Bearer {login.bearer}".encode()),
            (b"vz-m2m-token", login.session.encode()),
            (b"content-length", str(len(question.body)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": question.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(sent)


def _same_devices(one: bytes, other: bytes) -> bool:
    listed = [[each["deviceId"] for each in json.loads(text)["deviceList"]] for text in (one, other)]
    return len(listed[0]) == PAGE and listed[0] == listed[1]


def _rows(is_page: bool, taken: Sequence[tuple[float, float, float]]) -> list[Row]:
    name = f"GET page of {PAGE}" if is_page else f"POST of {PAGE}"
    bare = [each[0] for each in taken]
    return [
        _row(f"{name}, HTTP", [each[1] for each in taken], bare, TARGET),
        _row(f"{name}, no socket", [each[2] for each in taken], bare, None),
    ]


def _row(figure: str, ours: Sequence[float], bare: Sequence[float], target: Target | None) -> Row:
    return Row(
        figure=figure,
        measured=f"{median(ours) * 1000:.2f} ms",
        baseline=f"bare SQL {median(bare) * 1000:.2f} ms",
        ratio=median(one / other for one, other in zip(ours, bare, strict=True)),
        target=target,
    )
