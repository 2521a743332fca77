"""Worlds from seeds: a bounded number of them here, as many as one likes by ``make sim``."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import msgspec
import pytest

from overair.campaigns import rules, telling
from overair.campaigns.model import Window
from overair.campaigns.service import Attempts
from overair.devices.service import DeviceService
from overair.platform.limits import Limits
from overair.simulator import MISBEHAVIOURS, PROFILES, Misbehaviour, identities
from overair.simulator.misbehaviour import NONE

from .plan import HOUR, CampaignSpec, DeviceSpec, PackageSpec, Plan, draw
from .run import run_plan, run_seed

ROOT = Path(__file__).parents[2]
DEVICES_MAX = 30
"""The larger worlds are for those who have time."""
SEEDS = [seed for seed in range(1, 32) if len(draw(seed).devices) <= DEVICES_MAX]
PATIENCE_SECONDS = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_what_must_hold_of_every_world(seed: int) -> None:
    outcome = run_seed(seed, patience_seconds=PATIENCE_SECONDS)
    assert not outcome.broken, f"seed {seed}: {outcome.broken}\n{outcome.told}"


# What worlds have found, each as the smallest world that shows it.


def small_world(fault: Misbehaviour, windows: tuple[Window, ...]) -> Plan:
    """Return one campaign of a day with eight devices that are often heard."""
    model = PROFILES[0]
    package = PackageSpec("firmware", model, model.firmware, "new", 5000, fits=True)
    profile = msgspec.structs.replace(model, lifetime_seconds=3600)
    devices = [
        DeviceSpec(msgspec.structs.replace(each, profile=profile), fault, secure=False, on_at=at, added=True)
        for each, at in zip(identities(8), range(0, 3200, 400), strict=True)
    ]
    campaign = CampaignSpec(
        name="campaign", package=package, asked_at=3.3 * HOUR, start_in_days=0, days=0, windows=windows,
        devices=tuple(range(8)), auto_add=False, auto_assign=True,
        cancelled_at=None, withdrawn_at=None, prolonged_at=None,
    )  # fmt: skip
    return Plan(0, Limits(), "mrc", 8, devices, [package], [campaign])


def test_rows_that_fall_due_at_the_end_of_their_campaign_are_left_alone() -> None:
    """They were looked at again and again, until the campaign was closed: found by seed 10."""
    outcome = run_plan(small_world(NONE, (Window(0, 1),)), patience_seconds=20)
    assert not outcome.broken, outcome.broken


def test_an_update_that_is_over_asks_its_rules_no_more() -> None:
    """What the device said of its reset woke it again and again: found by seed 8."""
    outcome = run_plan(small_world(MISBEHAVIOURS["install-result-2"], ()), patience_seconds=20)
    assert not outcome.broken, outcome.broken


def test_the_same_seed_is_the_same_world() -> None:
    first = run_seed(9).digest
    assert run_seed(9).digest == first
    assert run_seed(15).digest != first


def test_nothing_in_a_world_hangs_on_the_order_of_sets() -> None:
    """Not even over processes, whose strings have other hashes."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    shown = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(shown) == 1


# What must hold is seen to be broken where it is.


def complaints(seed: int) -> set[str]:
    """Return which checks complain of a world."""
    return {each.split(": ")[1] for each in run_seed(seed, patience_seconds=PATIENCE_SECONDS).broken}


def test_attempts_outside_of_windows_are_seen() -> None:
    with mock.patch.object(rules, "next_opening_ms", lambda _windows, now_ms: now_ms):
        assert "attempts_begin_in_time" in set().union(*map(complaints, (2, 4, 12)))


def test_ends_that_nobody_is_told_of_are_seen() -> None:
    with mock.patch.object(telling, "ended_portion", return_value=False):
        assert "ends_are_told_once" in complaints(7)


def test_a_success_that_is_none_is_seen() -> None:
    end = Attempts._end

    async def succeed(self: Attempts, campaign_id: int, imei: int, attempt: int, **_: object) -> bool:
        return await end(self, campaign_id, imei, attempt, outcome="succeeded", version=None)

    with mock.patch.object(Attempts, "_end", succeed):
        assert "success_is_the_devices" in set().union(*map(complaints, (7, 12)))


def test_records_that_lag_behind_are_seen() -> None:
    async def lose(*_: object) -> None:
        return None

    with mock.patch.object(DeviceService, "report", lose):
        assert "records_agree" in complaints(7)
