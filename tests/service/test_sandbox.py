"""A sandbox whose clock an operator moves, and the walk of docs/operating.md, with its own commands."""

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import msgspec
import pytest
from click.testing import CliRunner

from overair.cli import main
from overair.platform.clock import (
    DAY_MS,
    SANDBOX_DAYS,
    SANDBOX_FILE,
    ClockError,
    SandboxClock,
    SystemClock,
    clock_of,
    was_moved,
)
from overair.records.times import parse_t2

from ..running import ACCOUNT, Service, overair, serving

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
CLOCK, STATUS = "/operator/v1/clock", "/operator/v1/status"
DEVICES = 12
PATIENCE_SECONDS = 60


# The clock by itself.


def test_it_goes_with_the_machines_until_it_is_moved(tmp_path: Path) -> None:
    clock, machine = SandboxClock(tmp_path), SystemClock()
    assert abs(clock.now_ms() - machine.now_ms()) < DAY_MS
    assert not was_moved(tmp_path)
    assert isinstance(clock_of(tmp_path), SystemClock)
    clock.advance(3 * 86_400)
    clock.advance(86_400)
    assert clock.ahead_ms == 4 * DAY_MS
    assert 3 * DAY_MS < clock.now_ms() - machine.now_ms() < 5 * DAY_MS


def test_a_restart_does_not_bring_back_the_past(tmp_path: Path) -> None:
    SandboxClock(tmp_path).advance(3600)
    assert was_moved(tmp_path)
    for again in (SandboxClock(tmp_path), clock_of(tmp_path)):
        assert isinstance(again, SandboxClock)
        assert again.ahead_ms == 3_600_000
    assert [file.name for file in tmp_path.iterdir()] == [SANDBOX_FILE]


@pytest.mark.parametrize("seconds", [0, -1, SANDBOX_DAYS * 86_400 + 1])
def test_where_it_cannot_be_moved(tmp_path: Path, seconds: int) -> None:
    clock = SandboxClock(tmp_path)
    clock.advance(60)
    with pytest.raises(ClockError):
        clock.advance(seconds)
    assert (clock.ahead_ms, SandboxClock(tmp_path).ahead_ms) == (60_000, 60_000)


@pytest.mark.parametrize("content", ["", "-5", "1.5", "soon", "9" * 16, "9" * 15, "٣"])
def test_a_file_that_says_no_time(tmp_path: Path, content: str) -> None:
    (tmp_path / SANDBOX_FILE).write_text(content)
    with pytest.raises(ClockError, match=SANDBOX_FILE):
        SandboxClock(tmp_path)


# A service.


async def typed(*arguments: str, data: Path, url: str = "") -> tuple[int, str, str]:
    """Run a command in this process, as :func:`tests.running.overair` does in one of its own."""
    environment = {"OVERAIR_DATA": str(data), "OVERAIR_URL": url or None}
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    return result.exit_code, result.stdout, result.stderr


@asynccontextmanager
async def operator(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    token = (await asyncio.to_thread((service.data / "operator.token").read_text)).strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=service.http, headers=headers, trust_env=False) as client:
        yield client


async def test_moving_it_wakes_the_jobs_and_outlives_a_restart(tmp_path: Path) -> None:
    await typed("account", "add", ACCOUNT, data=tmp_path)
    async with serving(tmp_path, "--sandbox") as service, operator(service) as client:
        before = (await client.get(STATUS)).json()
        assert before["sandboxAheadSeconds"] == 0
        moved = await client.post(CLOCK, json={"advanceSeconds": 86_400 * 2})
        assert moved.json()["aheadSeconds"] == 86_400 * 2
        assert parse_t2(moved.json()["time"]) - parse_t2(before["time"]) >= 2 * DAY_MS
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _until_all_ran(client, since_ms=parse_t2(moved.json()["time"]) - 60_000)
        for wrong in (0, -60, "60", 1.5, 10**12):
            refused = await client.post(CLOCK, json={"advanceSeconds": wrong})
            assert (refused.status_code, refused.json()["errorCode"]) == (400, "INVALID_PARAMETER")
        code, output, _ = await typed("clock", "advance", "1h", data=tmp_path, url=service.http)
        assert (code, output[:6]) == (0, "It is ")
        code, output, _ = await typed("status", data=tmp_path, url=service.http)
        assert (code, "176400 s ahead" in output, "purge" in output) == (0, True, True)
        assert await service.stop() == 0
    code, _, errors = await overair("serve", "--http", "127.0.0.1:0", "--no-coaps", data=tmp_path)
    assert (code, "start it with --sandbox" in errors) == (1, True)
    async with serving(tmp_path, "--sandbox") as service, operator(service) as client:
        assert (await client.get(STATUS)).json()["sandboxAheadSeconds"] == 176_400


async def _until_all_ran(client: httpx2.AsyncClient, since_ms: int) -> None:
    while True:
        jobs = (await client.get(STATUS)).json()["jobs"]
        if all(parse_t2(job["lastRunTime"]) >= since_ms for job in jobs):
            return
        await asyncio.sleep(0.05)


async def test_what_asks_the_service_explains_what_is_wrong(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    await typed("account", "add", ACCOUNT, data=data)
    async with serving(data) as service:
        code, _, errors = await typed("clock", "advance", "1d", data=data, url=service.http)
        assert (code, "--sandbox" in errors) == (1, True)
        await asyncio.to_thread(_give_other_token, other)
        code, _, errors = await typed("status", data=other, url=service.http)
        assert (code, "does not take the operator's token" in errors) == (1, True)
        await service.kill()
    code, _, errors = await typed("status", data=data, url=service.http)
    assert (code, "no service answers" in errors, "Traceback" in errors) == (1, True, False)


def _give_other_token(data: Path) -> None:
    data.mkdir()
    file = data / "operator.token"
    file.write_text("x" * 40)
    file.chmod(0o600)


# The walk.


def commands() -> list[str]:
    """Return the commands of the walk, in their order."""
    walk = DOCUMENT.read_text().split("\n## ")[1]
    assert walk.startswith("A walk")
    return [line for block in re.findall(r"```\n(.*?)```", walk, re.DOTALL) for line in block.splitlines()]


class Walker:
    """Types commands of the document, in a folder and on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "overair-data"
        self.url = ""
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        self.words = {"TOMORROW": tomorrow.date().isoformat(), "new.bin": str(folder / "new.bin")}

    def arguments(self, line: str) -> list[str]:
        program, *arguments = shlex.split(line)
        assert program == "overair"
        return [self.words.get(word, word) for word in arguments]

    async def type(self, line: str) -> str:
        """Run a command to its end, which must be a good one; returns what it printed."""
        code, output, errors = await typed(*self.arguments(line), data=self.data, url=self.url)
        assert code == 0, f"{line}\n{errors}"
        return output


async def test_the_walk(tmp_path: Path) -> None:
    account, serve, simulate, *rest = commands()
    walker = Walker(tmp_path)
    await walker.type(account)
    said = walker.arguments(serve)
    assert said[:2] == ["serve", "--sandbox"]
    del said[said.index("--coap") : said.index("--coap") + 2]
    async with serving(walker.data, *said[1:]) as service:
        walker.url = service.http
        server = ["--server", f"127.0.0.1:{service.ports['coap']}"]
        devices = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "overair", *walker.arguments(simulate), *server,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _arrival(service)
            output: dict[str, str] = {}
            for line in rest:
                output[line] = said_now = await walker.type(line)
                if line.startswith("overair campaign add"):
                    walker.words["ID"] = said_now.split()[1]
                    await _checked(walker)
        finally:
            devices.terminate()
            await devices.wait()
    assert "CampaignRequestQueued" in output["overair campaign show ID"]
    watched = output["overair campaign watch ID"]
    assert "CampaignEnded · 2 of 2 done · 2 UpgradeSuccess" in watched
    assert output["overair campaign devices ID"].count("UpgradeSuccess") == 2
    assert "BG96MAR06" in next(
        text for line, text in output.items() if line.startswith("overair device show")
    )
    assert "86400 s ahead" in output["overair status"]


async def _arrival(service: Service) -> None:
    """Wait until all devices have been read."""
    async with operator(service) as client, asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if (await client.get(STATUS)).json()["registrations"] == DEVICES:
                break
            await asyncio.sleep(0.1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            _, output, _ = await typed("device", "list", "--account", ACCOUNT, "--json", data=service.data)
            if all("refreshTime" in device for device in msgspec.json.decode(output)):
                return
            await asyncio.sleep(0.1)


async def _checked(walker: Walker) -> None:
    """Wait until the service has taken the campaign up, as somebody who reads on would."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if "CampaignRequestQueued" in await walker.type("overair campaign show ID"):
                return
            await asyncio.sleep(0.1)
