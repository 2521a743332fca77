"""``overair callback`` as an operator types it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from overair.callbacks import outbox
from overair.callbacks.model import Answer, Attempt, Message, MessageState, MessageType
from overair.callbacks.service import CallbackService
from overair.cli import main
from overair.platform.clock import VirtualClock
from overair.platform.database import Database, embedded_url
from overair.platform.limits import DEFAULT_LIMITS
from overair.platform.sealing import Sealer

ACCOUNT = "0742000123-00001"
URL = "https://fleet.example.com/hook"


class Terminal:
    """A shell with one data directory and an account."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.json("account", "add", ACCOUNT)

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, list(arguments), env={"OVERAIR_DATA": str(self.data)})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return msgspec.json.decode(result.stdout)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "data")


async def prepare(data: Path) -> str:
    """Register, tell something, and try once; return the secret."""
    clock = VirtualClock()
    async with Database(embedded_url(data)) as database:
        callbacks = CallbackService(database, Sealer(data, {}), clock, DEFAULT_LIMITS)
        listener = await callbacks.register(1, "v3", URL)
        told = [Message(MessageType.UPGRADE_PROGRESS, "c1", (1,), b"{}")] * 2

        def happened(connection: Any) -> None:
            outbox.put(connection, 1, "v3", told, clock.now_ms())
            (parcel,) = outbox.take(connection, listener.id, 9, clock.now_ms(), DEFAULT_LIMITS).parcels
            for number, answer in ((1, Answer(None, "no such name")), (2, Answer(200))):
                attempt = Attempt(number, clock.now_ms() + number, 21, answer)
                after = (MessageState.DELIVERED, None)
                if number == 1:
                    after = (MessageState.WAITING, 0)  # type: ignore[assignment]
                outbox.settle(connection, 1, parcel.id, attempt, after, DEFAULT_LIMITS)

        await database.write(happened)
        return (await callbacks.show(1, "v3")).secret


def test_nothing_is_registered(terminal: Terminal) -> None:
    assert terminal.json("callback", "list", "--account", ACCOUNT) == []
    assert terminal.json("callback", "log", "--account", ACCOUNT) == []
    refused = terminal.run("callback", "show", "--account", ACCOUNT)
    assert (refused.exit_code, "no callback URL is registered for v3" in refused.output) == (1, True)
    refused = terminal.run("callback", "list", "--account", "1-1")
    assert (refused.exit_code, "there is no account" in refused.output) == (1, True)


def test_what_is_registered_and_what_became_of_it(terminal: Terminal) -> None:
    secret = asyncio.run(prepare(terminal.data))
    (listed,) = terminal.json("callback", "list", "--account", ACCOUNT)
    assert listed == {
        "version": "v3", "url": URL, "waiting": 1,
        "createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    shown = terminal.json("callback", "show", "--account", ACCOUNT)
    assert shown == {"version": "v3", "url": URL, "secret": secret}
    assert secret in terminal.run("callback", "show", "--account", ACCOUNT).stdout
    assert secret not in terminal.run("callback", "list", "--account", ACCOUNT).stdout
    last, first = terminal.json("callback", "log", "--account", ACCOUNT)
    assert last["id"] == first["id"]
    assert (last["attempt"], last["status"], last["state"], last["durationMs"]) == (2, 200, "delivered", 21)
    assert (first["attempt"], first["error"]) == (1, "no such name")
    assert first["time"] == "2026-01-01T00:00:00.001Z"
    table = terminal.run("callback", "log", "--account", ACCOUNT, "--limit", "1").stdout
    assert "200" in table
    assert "no such name" not in table
