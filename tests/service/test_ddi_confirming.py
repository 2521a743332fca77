"""Accounts that want their devices to agree (spec ddi.md, section 2.7)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from overair.campaigns.model import CampaignStatus, RowStatus
from overair.doors.ddi.settings import changed

from ..virtual import virtual
from .ddi_world import Target, World, open_world, watched


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def asked(world: World) -> tuple[Target, int]:
    """Return a device that is asked whether it agrees, and the number of the action."""
    await changed(
        world.database, world.account.id, seconds=None, jitter_percent=None, confirmation=True, issuers=None
    )
    target = await world.target()
    await world.schedule()
    return target, await target.offered()


@virtual
async def test_an_action_waits_until_the_device_agrees(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await asked(world)
        links = await target.poll()
        assert f"/confirmationBase/{action}?c=" in links["confirmationBase"]
        assert "deploymentBase" not in links
        shown = (await target.ask("GET", links["confirmationBase"])).json()
        assert shown["confirmation"]["chunks"][0]["version"] == "2.0"
        for path in ("deploymentBase/{}", "cancelAction/{}", "softwaremodules/{}/artifacts"):
            assert (await target.ask("GET", f"/{path.format(action)}")).status_code == 404
        assert (await target.feed(action, "closed", "success")).status_code == 404
        url = f"/confirmationBase/{action}/feedback"
        denied = {"confirmation": "denied", "code": 200, "details": ["not while driving"]}
        assert (await target.ask("POST", url, json=denied)).status_code == 200
        assert "confirmationBase" in await target.poll()
        assert (await target.ask("POST", url, json={"confirmation": "perhaps"})).status_code == 400
        assert (await target.ask("POST", url, json={"confirmation": "confirmed"})).status_code == 200
        assert "deploymentBase" in await target.poll()
        assert (await target.ask("POST", url, json={"confirmation": "confirmed"})).status_code == 404
        history = (await target.ask("GET", f"/deploymentBase/{action}?actionHistory=9")).json()
        assert "not while driving" in history["actionHistory"]["messages"]
        await target.feed(action, "closed", "failure")
        assert (await target.ask("POST", url, json={"confirmation": "confirmed"})).status_code == 410


@virtual
async def test_a_device_that_always_agrees_is_not_asked(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, action = await asked(world)
        base = (await target.ask("GET", "/confirmationBase")).json()
        assert base["autoConfirm"] == {"active": False}
        assert set(base["_links"]) == {"activateAutoConfirm", "confirmationBase"}
        said = {"initiator": "me", "remark": "always"}
        activate = base["_links"]["activateAutoConfirm"]["href"]
        assert (await target.ask("POST", activate, json=said)).status_code == 200
        assert (await target.ask("POST", activate, json=said)).status_code == 409
        base = (await target.ask("GET", "/confirmationBase")).json()
        assert base["autoConfirm"] == {"active": True, "activatedAt": world.clock.now_ms(), **said}
        assert set(base["_links"]) == {"deactivateAutoConfirm"}
        assert f"/deploymentBase/{action}?" in (await target.poll())["deploymentBase"]
        assert (await target.ask("POST", "/confirmationBase/deactivateAutoConfirm")).status_code == 200
        assert (await target.ask("GET", "/confirmationBase")).json()["autoConfirm"] == {"active": False}
        assert (await target.ask("POST", "/confirmationBase/activateAutoConfirm")).status_code == 200


@virtual
async def test_a_campaign_that_is_aborted_takes_its_question_back(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target, _ = await asked(world)
        page = await world.campaigns.by_status(world.account.id, "v2", CampaignStatus.SCHEDULED, "")
        (campaign,) = page.campaigns
        await world.campaigns.abort(world.account.id, campaign.uuid)
        await world.until(campaign, RowStatus.ABORTED)
        assert "confirmationBase" not in await target.poll()
