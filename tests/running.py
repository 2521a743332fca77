"""The whole service as a process of its own, on ports of its own, driven as a user would."""

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNT = "0742000123-00001"
USER = "fleet-ops"
PASSWORD = "c0rrect-horse"

DEADLINE_SECONDS = 30
_DOOR = re.compile(r"(http|coaps?) +\w+://(.+):(\d+)$")


async def overair(*arguments: str, data: Path, stdin: str = "") -> tuple[int, str, str]:
    """Run one command on a data directory; returns exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "overair", *arguments,
        env={"OVERAIR_DATA": str(data), "PATH": "/usr/bin:/bin"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), DEADLINE_SECONDS)
    return process.returncode or 0, output.decode(), errors.decode()


async def overair_json(*arguments: str, data: Path, stdin: str = "") -> Any:
    """Run one command that must succeed, with ``--json``."""
    code, output, errors = await overair(*arguments, "--json", data=data, stdin=stdin)
    assert code == 0, errors
    return json.loads(output)


@dataclass
class Service:
    """A running ``overair serve``."""

    data: Path
    process: asyncio.subprocess.Process
    ports: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def coap(self) -> str:
        return f"coap://127.0.0.1:{self.ports['coap']}"

    @property
    def coaps(self) -> str:
        return f"coaps://127.0.0.1:{self.ports['coaps']}"

    async def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), DEADLINE_SECONDS)


@contextlib.asynccontextmanager
async def serving(
    data: Path, *arguments: str, coap_port: int = 0, coaps_port: int = 0
) -> AsyncIterator[Service]:
    """Run ``overair serve`` on free ports of the loopback address until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "overair", "serve", "--data", str(data),
        "--http", "127.0.0.1:0", "--coap", f"127.0.0.1:{coap_port}",
        "--coaps", f"127.0.0.1:{coaps_port}", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    service = Service(data, process)
    reading = asyncio.create_task(_keep(process, service.log))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await _until_ready(process, service)
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _until_ready(process: asyncio.subprocess.Process, service: Service) -> None:
    assert process.stdout is not None
    async for raw in process.stdout:
        line = raw.decode().strip()
        if line == "ready":
            return
        if door := _DOOR.match(line):
            service.ports[door[1]] = int(door[3])
    raise AssertionError("the service ended before it was ready:\n" + "\n".join(service.log))


async def _keep(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    async for raw in process.stderr:
        log.append(raw.decode().rstrip())


@dataclass(frozen=True)
class Owner:
    """An account with a key and a user."""

    account: str
    key: str
    secret: str
    user: str = USER
    password: str = PASSWORD


async def add_owner(data: Path, account: str = ACCOUNT, user: str = USER) -> Owner:
    """Add an account with a key and a user, by the command line."""
    await overair_json(
        "account", "add", account, "--licenses", "10", "--subscription", "mrc,event", data=data
    )
    key = await overair_json("key", "add", "--account", account, data=data)
    await overair_json(
        "user", "add", "--account", account, "--name", user, "--password-stdin", data=data, stdin=PASSWORD
    )
    return Owner(account, key["key"], key["secret"], user)


async def add_device(data: Path, imei: str, *arguments: str, account: str = ACCOUNT) -> Any:
    """Add a device; returns its V3Device."""
    return await overair_json("device", "add", imei, "--account", account, *arguments, data=data)
