"""Devices that do not as they should in a campaign, and what their owner reads of it in the end.

One device of each kind that the simulator has, over loopback sockets, through days of virtual time; the
service is the real one from the database to the sockets.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overair.campaigns.model import CampaignStatus, Row
from overair.campaigns.texts import V3_STATUS, v3_reason
from overair.simulator import MISBEHAVIOURS, Misbehaviour, SimulatedDevice, UpdateState

from ..virtual import run
from .campaign_world import DAY, HOUR_MS, NEW, PROFILE, Loop, World, open_world

DAYS = 4
"""Enough for five retries of a lost connection, which take 17 hours, and for two attempts of a day."""

SLOW = Misbehaviour(name="slow", changes=(("download_bytes_per_second", 200.0),))


@dataclass
class Outcome:
    """What became of a device: its row, its record, and what itself knows of it."""

    row: Row
    record: dict[str, Any]
    device: SimulatedDevice
    seen: list[tuple[float, str]]
    """Statuses that the row had on the way, with the time in seconds."""
    begun_ms: int
    """When the campaign was asked for."""


async def play(folder: Path, faults: Mapping[str, Misbehaviour], days: int = DAYS) -> dict[str, Outcome]:
    """Have a campaign with a device of each kind; returns by the kind's name what became of it."""
    async with open_world(folder) as world, world.fleet(list(faults.values())) as fleet:
        devices = {each.identity.imei: each for each in fleet.devices}
        begun_ms = world.clock.now_ms()
        campaign_id = await world.campaign(list(devices), days)
        seen = await _watch(world, campaign_id, days)
        rows = await world.rows(campaign_id)
        assert await world.status(campaign_id) is CampaignStatus.ENDED
        records = {imei: json.loads(await world.devices.show(world.account.id, imei)) for imei in devices}
    return {
        name: Outcome(rows[imei], records[imei], device, seen[imei], begun_ms)
        for name, (imei, device) in zip(faults, devices.items(), strict=True)
    }


async def _watch(world: World, campaign_id: str, days: int) -> dict[str, list[tuple[float, str]]]:
    """Let the days pass; returns the statuses that each row had."""
    loop = asyncio.get_running_loop()
    seen: dict[str, list[tuple[float, str]]] = {}
    while loop.time() < (days * DAY) + 2 * 3600:
        await asyncio.sleep(600)
        for imei, row in (await world.rows(campaign_id)).items():
            status = V3_STATUS[row.status]
            of_device = seen.setdefault(imei, [])
            if not of_device or of_device[-1][1] != status:
                of_device.append((loop.time(), status))
    return seen


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Let SQLite run on the loop's own thread: virtual time does not wait for others."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of one device of each kind."""
    return run(play(tmp_path_factory.mktemp("faults"), MISBEHAVIOURS), Loop)


OK = "Upgrade completed successfully"
STORAGE, MEMORY = "insufficient storage", "insufficient memory"
LOST, DAMAGED, UNSUPPORTED = "connection lost", "integrity check failed", "unsupported package"
URI, BROKEN, PROTOCOL = "invalid URI", "update failed", "unsupported protocol"
CANCELLED, DEFERRED = "cancelled by device", "deferred"
UNCHANGED, SILENT = "version unchanged", "no response"

# Why it failed, or OK; how many attempts there were; about how many hours that took. The rows of
# spec lwm2m.md 8.4 (results), 8.5 (delivery), 8.6 (limits) and 8.7 (verdicts); the words are those of
# spec device-record.md, section 7.
EXPECTED: dict[str, tuple[str, int, float]] = {
    "download-result-2": (STORAGE, 1, 0),  # 8.4, 2: no retry
    "download-result-3": (MEMORY, 2, 0),  # 3: once more, with smaller blocks
    "download-result-4": (LOST, 6, 17.3),  # 4: after 5, 15, 60, 240, 720 minutes
    "download-result-5": (DAMAGED, 2, 0),  # 5: once more
    "download-result-6": (UNSUPPORTED, 1, 0),
    "download-result-7": (URI, 2, 0),  # 7: once more, by another form of the URI
    "download-result-8": (BROKEN, 2, 0),
    "download-result-9": (PROTOCOL, 2, 0),  # 9: once more, by the next protocol
    "download-result-10": (CANCELLED, 1, 0),
    "download-result-11": (DEFERRED, 1, 0),  # before there is anything to defer
    "install-result-2": (STORAGE, 1, 0),
    "install-result-3": (MEMORY, 2, 0),
    "install-result-4": (LOST, 6, 17.3),
    "install-result-5": (DAMAGED, 2, 0),
    "install-result-6": (UNSUPPORTED, 1, 0),
    "install-result-7": (URI, 2, 0),
    "install-result-8": (BROKEN, 2, 0),
    "install-result-9": (PROTOCOL, 2, 0),
    "install-result-10": (CANCELLED, 1, 0),
    "install-result-11": (DEFERRED, 1, 1),  # 11: its period, which is none, and an hour
    "never-downloads": (LOST, 1, 24),  # 8.6: a device that says it downloads has the whole time for it
    "download-hangs": (LOST, 6, 20.3),  # 8.6: 30 minutes without progress each time
    "downloaded-deaf": (LOST, 1, 24),
    "install-hangs": (SILENT, 1, 1),  # 8.6: 60 minutes
    "never-returns": (SILENT, 1, 24),
    "silent-reboot": (OK, 1, 6),
    "reboot-before-download": (OK, 1, 0),
    "reboot-while-downloading": (OK, 1, 0),
    "reboot-after-download": (OK, 1, 0),
    "power-cut": (OK, 2, 0),  # 8: Execute only, for the package is still there
    "connection-lost": (OK, 2, 0.1),  # 4: after 5 minutes
    "claims-success": (UNCHANGED, 1, 0.5),  # 8.7: previous, 1; after 30 minutes
    "rolls-back": (UNCHANGED, 1, 0),  # 8.7: previous, 0
    "result-lost": (OK, 1, 0),  # 8.7: target, 0
    "defers": (OK, 1, 0.2),
    "cancels": (CANCELLED, 1, 0),
    "moves": (OK, 1, 24),  # without DTLS nobody knows where it is until its next Update
    "sleeps": (OK, 1, 0.2),
    "push-too-large": (STORAGE, 1, 0),  # 4.13, and no other way to deliver
    "push-incomplete": (LOST, 6, 17.3),  # 4.08, each time
    "not-allowed": (PROTOCOL, 1, 0),  # no way to deliver is left
    "internal-error": (LOST, 4, 1.3),  # 5.00: after 5, 15, 60 minutes
    "ignores-uri": (SILENT, 1, 0.25),  # 8.6: first activity after 15 minutes
    "auto-install": (OK, 1, 0),
    "zephyr-like": (OK, 1, 0),
    "anjay-like": (OK, 1, 0),
    "push-only": (OK, 1, 0),
    "pull-only": (OK, 1, 0),
    "http-only": (PROTOCOL, 1, 0),  # this service has no HTTP door
}


def test_every_misbehaviour_is_expected_somehow() -> None:
    assert set(EXPECTED) == set(MISBEHAVIOURS)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_owner_reads(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    why, attempts, hours = EXPECTED[name]
    status, reason = ("UpgradeSuccess", OK) if why == OK else ("UpgradeFailed", f"Upgrade failed, {why}")
    row = outcome.row
    assert (V3_STATUS[row.status], v3_reason(row, 42)) == (status, reason)
    assert row.attempts == attempts
    assert (row.updated_ms - outcome.begun_ms) / HOUR_MS == pytest.approx(hours, abs=0.1 + hours / 50)
    assert row.next_ms is None


@pytest.mark.parametrize("name", EXPECTED)
def test_the_record_says_what_the_device_has(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    succeeded = EXPECTED[name][0] == OK
    record, device = outcome.record, outcome.device
    # One that never came back had flashed the new one, and nobody knows.
    assert record["firmware"] == device.firmware == (NEW if succeeded else PROFILE.firmware)
    assert ("statusTime" in record) is succeeded
    assert record["licenseAssigned"] is True
    assert device.update_tally.booted == int(succeeded)
    assert device.update_tally.flashed == int(succeeded or name == "never-returns")


@pytest.mark.parametrize("name", EXPECTED)
def test_the_statuses_on_the_way(outcomes: dict[str, Outcome], name: str) -> None:
    statuses = [status for _, status in outcomes[name].seen]
    assert set(statuses[:-1]) <= {"UpgradeScheduled", "UpgradePending"}
    assert statuses[-1] == ("UpgradeSuccess" if EXPECTED[name][0] == OK else "UpgradeFailed")


async def _interrupted(folder: Path) -> None:
    """Have the service end in the middle of a download, and a device that stops to report by itself."""
    async with contextlib.AsyncExitStack() as stack:
        async with open_world(folder) as world:
            fleet = await stack.enter_async_context(world.fleet([SLOW]))
            (device,) = fleet.devices
            campaign_id = await world.campaign([device.identity.imei], 1)
            await asyncio.sleep(30)
            assert device.update_state is UpdateState.DOWNLOADING
        # A notification that nobody confirms is the last one (RFC 7641, section 4.5).
        device._observations.clear()
        async with open_world(folder, world.address[1]) as again:
            await asyncio.sleep(300)
            row = (await again.rows(campaign_id))[device.identity.imei]
    assert V3_STATUS[row.status] == "UpgradeSuccess"
    assert (device.update_tally.downloads, device.update_tally.booted) == (1, 1)


def test_after_a_restart_devices_are_asked_to_report_again(tmp_path: Path) -> None:
    run(_interrupted(tmp_path), Loop)
