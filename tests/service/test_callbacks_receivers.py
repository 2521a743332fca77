"""What a receiver knows of a campaign in the end, however badly it took what it was told.

A real campaign, real requests over loopback, and days of virtual time. Receivers do as
spec callbacks.md, section 2 has them do: check the signature, and count each Overair-Id once.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from overair.callbacks.rules import signature
from overair.doors.callbacks.http import HttpSender, tls_context
from overair.platform.limits import DEFAULT_LIMITS
from overair.simulator import MISBEHAVIOURS
from overair.simulator.misbehaviour import NONE

from ..virtual import run
from .campaign_world import DAY, Loop, open_world

HOUR = 3600.0
FAULTS = [
    NONE,
    *(MISBEHAVIOURS[name] for name in ("download-result-2", "silent-reboot", "internal-error", "power-cut")),
    NONE,
]
"""Devices that come to an end at once, after 80 minutes, after 6 hours: one after the other."""
FAILING = 1
_SUCCESS = ("UpgradeSuccess", "Upgrade completed successfully")
ENDS = [
    _SUCCESS,
    ("UpgradeFailed", "Upgrade failed, insufficient storage"),
    _SUCCESS,
    ("UpgradeFailed", "Upgrade failed, connection lost"),
    _SUCCESS,
    _SUCCESS,
]
CAMPAIGN = [
    "CampaignRequestPending", "CampaignRequestQueued", "CampaignPreScheduled", "CampaignScheduled",
    "CampaignEnded",
]  # fmt: skip
TRUSTED = tls_context()

Behaviour = Callable[[int, float], Awaitable[int | None]]
"""What a receiver does with the request of that number at that time: answers a status, or hangs up."""


async def well(_number: int, _time: float) -> int | None:
    return 200


async def refuses_for_hours(_number: int, time: float) -> int | None:
    return 500 if time < 10 * HOUR else 204


async def hangs_for_hours(_number: int, time: float) -> int | None:
    if time < 10 * HOUR:
        await asyncio.sleep(120)
    return 200


async def takes_it_and_says_nothing(number: int, _time: float) -> int | None:
    """Every message is taken, and every other answer lost: each comes again."""
    return None if number % 2 else 200


async def does_anything(number: int, _time: float) -> int | None:
    kind = Random(number).randrange(6)
    if kind == 0:
        await asyncio.sleep(60)
    return (200, 500, 302, None, 429, 200)[kind]


@dataclass
class Receiver:
    """A server on loopback and what it made of its requests."""

    behaviour: Behaviour
    port: int = 0
    number: int = 0
    ids: list[str] = field(default_factory=list)
    """Of all requests, the repeated ones too."""
    effects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each message once, by its id, in the order in which it was seen first."""
    forged: list[str] = field(default_factory=list)
    secret: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, body = await _request(reader)
            self._take(head, body)
            self.number += 1
            status = await self.behaviour(self.number, asyncio.get_running_loop().time())
            if status is not None:
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _take(self, head: dict[str, str], body: bytes) -> None:
        uid = head["overair-id"]
        expected = signature(self.secret, head["overair-timestamp"], uid, body)
        if head["overair-signature"] != expected:
            self.forged.append(uid)
        self.ids.append(uid)
        self.effects.setdefault(uid, json.loads(body))

    def statuses(self, campaign_id: str) -> list[str]:
        """What it knows of a campaign, without the messages that are about devices."""
        told = [effect["upgradeScheduled"] or effect["upgradeProgress"] for effect in self.effects.values()]
        mine = [each for each in told if each["campaignId"] == campaign_id]
        return [each["status"] for each in mine if not each["deviceList"]]

    @property
    def devices(self) -> dict[str, list[tuple[str, str, str]]]:
        """What it knows of each device, in the order of the messages: campaign, status and reason."""
        found: dict[str, list[tuple[str, str, str]]] = {}
        for effect in self.effects.values():
            told = effect["upgradeProgress"]
            for row in told.get("deviceList", []):
                of_device = found.setdefault(row["deviceId"], [])
                of_device.append((told["campaignId"], row["status"], row["resultReason"]))
        return found


async def _request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
    head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return head, await reader.readexactly(int(head["content-length"]))


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[None]:
    """Listen, on the port that it had before if it had one."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()


async def _resolve(host: str, _port: int) -> list[str]:
    return [host]


async def play(folder: Path, receiver: Receiver, *, down: bool = False) -> list[str]:
    """Have two campaigns, the second one for a device that failed in the first; returns their ids.

    The receiver is there for a day, or comes when it was *down* for the first ten hours.
    """
    loop = asyncio.get_running_loop()
    send = HttpSender(_resolve, TRUSTED, DEFAULT_LIMITS, allow_private=True)
    async with receiving(receiver):
        url = f"http://127.0.0.1:{receiver.port}/hook"
    async with open_world(folder) as world, world.delivering(url, send), world.fleet(FAULTS) as fleet:
        receiver.secret = (await world.callbacks.show(world.account.id, "v3")).secret
        imeis = [each.identity.imei for each in fleet.devices]
        async with contextlib.AsyncExitStack() as reception:
            if not down:
                await reception.enter_async_context(receiving(receiver))
            first = await world.campaign(imeis, 1)
            await asyncio.sleep(HOUR)
            second = await world.campaign(imeis[FAILING : FAILING + 1], 1)
            await asyncio.sleep(10 * HOUR - loop.time())
            if down:
                await reception.enter_async_context(receiving(receiver))
            await asyncio.sleep(DAY - loop.time())
        stored = await world.database.read(
            lambda connection: connection.exec_driver_sql("SELECT uid, state FROM callback_messages").all()
        )
    assert {uid for uid, _ in stored} == set(receiver.effects)
    assert {state for _, state in stored} == {"delivered"}
    return [first, second]


def check(receiver: Receiver, campaigns: list[str]) -> None:
    """What every receiver knows in the end."""
    first, second = campaigns
    assert receiver.forged == []
    assert receiver.statuses(first) == receiver.statuses(second) == CAMPAIGN
    expected = [[(first, *end)] for end in ENDS]
    expected[FAILING].append((second, *ENDS[FAILING]))
    assert [told for _, told in sorted(receiver.devices.items())] == expected


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Let SQLite run on the loop's own thread: virtual time does not wait for others."""


@pytest.mark.parametrize(
    ("behaviour", "repeats"),
    [
        (well, False),
        (refuses_for_hours, True),
        (hangs_for_hours, True),
        (takes_it_and_says_nothing, True),
        (does_anything, True),
    ],
)
def test_it_knows_all_in_the_end(tmp_path: Path, behaviour: Behaviour, repeats: bool) -> None:
    receiver = Receiver(behaviour)
    check(receiver, run(play(tmp_path, receiver), Loop))
    assert (len(receiver.ids) > len(receiver.effects)) is repeats


def test_one_that_was_down_knows_all_in_the_end(tmp_path: Path) -> None:
    receiver = Receiver(well)
    check(receiver, run(play(tmp_path, receiver, down=True), Loop))
    assert len(receiver.ids) == len(receiver.effects)
