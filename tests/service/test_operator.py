"""The operator's door: status, page, campaigns, deliveries, and who may come in."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, update
from starlette.routing import Mount, Router

from overair.callbacks.model import Answer
from overair.campaigns.model import Assignment, NewCampaign
from overair.core import Core, CoreSettings
from overair.devices.model import Provisioning, Report
from overair.devices.tables import devices
from overair.doors.operator.callbacks import OperatorCallbacks
from overair.doors.operator.campaigns import OperatorCampaigns
from overair.doors.operator.clock import OperatorClock
from overair.doors.operator.packages import PREFIX, operator_app
from overair.doors.operator.page import page_routes
from overair.doors.operator.status import Status, Vitals, status_routes
from overair.doors.thingspace.services import Services
from overair.packages.sql import packages
from overair.platform.clock import DAY_MS, VirtualClock
from overair.platform.database import Database, metadata
from overair.platform.limits import Limits

ACCOUNT = "0742000123-00001"
OTHER_ACCOUNT = "0742000123-00002"
IMEI = 990012340000006
TOKEN = "an-operator-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STATUS, CAMPAIGNS, CALLBACKS = "/operator/v1/status", "/operator/v1/campaigns", "/operator/v1/callbacks"
PATIENCE_SECONDS = 10


class Idle:
    """A driver whose attempts never end."""

    def ready(self, imei: int) -> bool:
        return True

    def begin(self, assignment: Assignment) -> None:
        pass

    def stop(self, imei: int) -> None:
        pass


async def refuse(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    return Answer(503)


@dataclass
class Desk:
    """The service's domain with its jobs running, and an operator's client."""

    core: Core
    client: httpx2.AsyncClient

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if found := await condition():
                    return found
                await asyncio.sleep(0.01)

    async def schedule(self, name: str = "spring", *, days: int = 0) -> str:
        """Schedule a campaign for one device; returns its id."""
        core, today = self.core, self.core.clock.now_ms() // DAY_MS
        account = await core.accounts.account(ACCOUNT)
        asked = NewCampaign(
            version="v3", name=name, package_name="firmware", version_from="1.0", version_to="2.0",
            start_day=today + days, end_day=today + days + 6, windows=(), device_ids=(f"{IMEI:015d}",),
            auto_assign=True,
        )  # fmt: skip
        return (await core.campaigns.schedule(account, asked)).uuid

    async def hear(self) -> None:
        """The device was heard just now."""
        heard = update(devices).values(last_uplink_ms=self.core.clock.now_ms())
        await self.core.database.write(lambda connection: connection.execute(heard))

    async def get(self, path: str, **params: str) -> Any:
        answer = await self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def campaign(self, uuid: str, status: str) -> Any:
        """Return a campaign once it has a status."""

        async def there() -> Any:
            shown = await self.get(f"{CAMPAIGNS}/{uuid}")
            return shown if shown["status"] == status else None

        return await self.until(there)

    async def under_way(self, uuid: str) -> Any:
        """Return a campaign once its device is."""

        async def there() -> Any:
            shown = await self.get(f"{CAMPAIGNS}/{uuid}")
            return shown if "UpgradeScheduled" in shown["counts"] else None

        return await self.until(there)


def app_of(core: Core) -> Router:
    status = Status(core, lambda: Vitals(registrations=3, updates=2, transfers=1))
    more = [
        *status_routes(status, TOKEN), *OperatorCampaigns(core, TOKEN).routes(),
        *OperatorCallbacks(core, TOKEN).routes(), *OperatorClock(None, lambda: None, TOKEN).routes(),
    ]  # fmt: skip
    services = Services(core.accounts, core.devices, core.limits)
    return Router(
        [*page_routes(status, TOKEN), Mount(PREFIX, operator_app(core.packages, services, TOKEN, more))]
    )


async def prepare(core: Core) -> None:
    """Add accounts, one with a device and firmware for it, and a URL for its callbacks."""
    account = await core.accounts.add_account(ACCOUNT, 5, ["mrc"])
    await core.accounts.add_account(OTHER_ACCOUNT, 5, ["mrc"])
    await core.devices.add(account.id, [Provisioning(IMEI, protocol="LWM2M")])
    report = Report("LWM2M", make="ACME", model="T1", firmware="1.0", firmware_capable=True)
    await core.devices.report(IMEI, report)
    values = {
        "id": "0" * 36, "account_id": account.id, "kind": "firmware", "name": "firmware", "make": "ACME",
        "model": "T1", "make_key": "acme", "model_key": "t1", "version_from": "1.0", "version_to": "2.0",
        "protocol": "LWM2M", "launch_ms": 0, "release_note": "", "size_bytes": 1, "sha256": bytes(32),
        "state": "ready", "created_ms": 0, "changed_ms": 0,
    }  # fmt: skip
    await core.database.write(lambda connection: connection.execute(insert(packages).values(values)))
    await core.callbacks.register(account.id, "v3", "https://fleet.example.com/hook")


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    async with Database(f"sqlite:///{folder}/overair.db") as database:
        await asyncio.to_thread(metadata.create_all, database.engine)
        core = Core(database, VirtualClock(), CoreSettings(folder, Limits()), enrol_account_id=None)
        core.make_jobs({"LWM2M": Idle()}, refuse)
        await prepare(core)
        running = asyncio.create_task(core.run())
        transport = httpx2.ASGITransport(app=app_of(core))
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://overair.test", headers=BEARER
        ) as client:
            yield Desk(core, client)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


async def test_a_campaign_as_the_api_has_it_and_how_far_it_is(desk: Desk) -> None:
    uuid = await desk.schedule(days=2)
    shown = await desk.campaign(uuid, "CampaignRequestQueued")
    assert shown == {
        "id": uuid,
        "accountName": ACCOUNT,
        "campaignName": "spring",
        "firmwareName": "firmware",
        "firmwareFrom": "1.0",
        "firmwareTo": "2.0",
        "protocol": "LWM2M",
        "make": "ACME",
        "model": "T1",
        "startDate": "2026-01-03",
        "endDate": "2026-01-09",
        "status": "CampaignRequestQueued",
        "autoAssignLicenseFlag": True,
        "autoAddDevicesFlag": False,
        "createTime": "2026-01-01T00:00:00Z",
        "changeTime": "2026-01-01T00:00:00Z",
        "counts": {"NoDeviceDataFromNetwork": 1},
        "done": 0,
        "total": 1,
        "perMinute": 0,
    }
    listed = {
        name: value for name, value in shown.items() if name not in ("counts", "done", "total", "perMinute")
    }
    assert await desk.get(CAMPAIGNS) == {"campaigns": [listed]}
    assert await desk.get(CAMPAIGNS, account=ACCOUNT) == {"campaigns": [listed]}
    assert await desk.get(CAMPAIGNS, account=OTHER_ACCOUNT) == {"campaigns": []}
    assert await desk.get(f"{CAMPAIGNS}/{uuid.upper()}") == shown


async def test_what_came_to_an_end_in_the_last_minute_is_counted(desk: Desk) -> None:
    await desk.hear()
    uuid = await desk.schedule()
    await desk.under_way(uuid)
    campaign = await desk.core.overview.find(uuid)
    assert await desk.core.attempts.succeeded(campaign.id, IMEI, 1, "2.0")
    shown = await desk.campaign(uuid, "CampaignEnded")
    assert (shown["counts"], shown["done"], shown["perMinute"]) == ({"UpgradeSuccess": 1}, 1, 1)
    desk.core.clock.advance(61)  # type: ignore[attr-defined]
    shown = await desk.get(f"{CAMPAIGNS}/{uuid}")
    assert (shown["done"], shown["perMinute"]) == (1, 0)


async def test_only_a_campaign_that_runs_is_aborted(desk: Desk) -> None:
    later = await desk.schedule(days=2)
    await desk.campaign(later, "CampaignRequestQueued")
    refused = await desk.client.post(f"{CAMPAIGNS}/{later}/abort")
    assert (refused.status_code, refused.json()["errorCode"]) == (409, "CAMPAIGN_NOT_STARTED")
    desk.core.clock.advance(2 * 86_400)  # type: ignore[attr-defined]
    desk.core.wake()
    await desk.campaign(later, "CampaignScheduled")
    aborted = await desk.client.post(f"{CAMPAIGNS}/{later}/abort")
    assert (aborted.status_code, aborted.json()["status"]) == (200, "CampaignAborted")

    async def let_go() -> bool:
        return (await desk.get(f"{CAMPAIGNS}/{later}"))["counts"] == {"CampaignAborted": 1}

    await desk.until(let_go)
    refused = await desk.client.post(f"{CAMPAIGNS}/{later}/abort")
    assert (refused.status_code, refused.json()["errorCode"]) == (409, "CAMPAIGN_ENDED")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{CAMPAIGNS}/nonsense", 404, "CAMPAIGN_NOT_FOUND"),
        ("GET", f"{CAMPAIGNS}/{'0' * 8}-0000-0000-0000-{'0' * 12}", 404, "CAMPAIGN_NOT_FOUND"),
        ("POST", f"{CAMPAIGNS}/{'0' * 8}-0000-0000-0000-{'0' * 12}/abort", 404, "CAMPAIGN_NOT_FOUND"),
        ("GET", f"{CAMPAIGNS}?account=1-1", 404, "ACCOUNT_NOT_FOUND"),
        ("GET", f"{CAMPAIGNS}?account=nonsense", 400, "INVALID_PARAMETER"),
        ("GET", CALLBACKS, 400, "INVALID_PARAMETER"),
        ("GET", f"{CALLBACKS}?account=1-1", 404, "ACCOUNT_NOT_FOUND"),
    ],
)
async def test_what_is_not_there(desk: Desk, method: str, path: str, status: int, code: str) -> None:
    answer = await desk.client.request(method, path)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code), answer.text


async def test_the_status_of_everything(desk: Desk) -> None:
    uuid = await desk.schedule()
    await desk.campaign(uuid, "CampaignScheduled")
    status = await desk.get(STATUS)
    assert {job["name"] for job in status["jobs"]} == {
        "campaigns", "attempts", "deadlines", "news", "callbacks", "purge",
    }  # fmt: skip
    assert all(job["failures"] == 0 for job in status["jobs"])
    assert (status["registrations"], status["updates"], status["transfers"]) == (3, 2, 1)
    assert (status["campaignCount"], [each["id"] for each in status["campaigns"]]) == (1, [uuid])
    assert status["campaigns"][0]["counts"] == {"NoDeviceDataFromNetwork": 1}
    assert "sandboxAheadSeconds" not in status
    (listener,) = status["listeners"]
    assert (listener["accountName"], listener["version"]) == (ACCOUNT, "v3")
    assert listener["waiting"] >= 1


async def test_a_job_that_fails_is_seen(desk: Desk) -> None:
    async def broken() -> None:
        raise OSError("the disk is full")

    desk.core.accounts.purge = broken  # type: ignore[method-assign,assignment]
    desk.core.wake()

    async def failed() -> Any:
        jobs = (await desk.get(STATUS))["jobs"]
        return next((job for job in jobs if job["name"] == "purge" and job["failures"]), None)

    job = await desk.until(failed)
    assert (job["lastError"], job["lastErrorTime"]) == ("OSError: the disk is full", "2026-01-01T00:00:00Z")
    assert "OSError: the disk is full" in (await desk.client.get("/operator/")).text


async def test_the_log_of_deliveries(desk: Desk) -> None:
    uuid = await desk.schedule()

    async def tried() -> Any:
        return (await desk.get(CALLBACKS, account=ACCOUNT))["deliveries"]

    found = await desk.until(tried)
    assert found[-1] == {
        "time": "2026-01-01T00:00:00Z", "id": found[-1]["id"], "version": "v3", "type": "upgradeProgress",
        "subject": uuid, "state": "waiting", "attempt": 1, "durationMs": 0, "status": 503,
    }  # fmt: skip
    assert await desk.get(CALLBACKS, account=OTHER_ACCOUNT) == {"deliveries": []}


async def test_a_service_that_is_no_sandbox_keeps_its_clock(desk: Desk) -> None:
    before = desk.core.clock.now_ms()
    answer = await desk.client.post("/operator/v1/clock", json={"advanceSeconds": 60})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "NO_SANDBOX")
    assert "--sandbox" in answer.json()["errorMessage"]
    assert desk.core.clock.now_ms() == before


# Who may come in.

CALLS = [
    ("GET", STATUS), ("GET", CAMPAIGNS), ("GET", f"{CAMPAIGNS}/x"), ("POST", f"{CAMPAIGNS}/x/abort"),
    ("GET", CALLBACKS), ("POST", "/operator/v1/clock"), ("GET", "/operator/"),
]  # fmt: skip


def basic(password: str) -> str:
    return "Basic " + b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong", basic("wrong"), "Basic !", f"Digest {TOKEN}"]
)
async def test_nothing_without_the_token(desk: Desk, shown: str) -> None:
    for method, path in CALLS:
        answer = await desk.client.request(method, path, headers={"Authorization": shown})
        assert (path, answer.status_code) == (path, 401)
        assert "WWW-Authenticate" in answer.headers


async def test_a_browser_may_look_and_change_nothing(desk: Desk) -> None:
    """What a browser sends by itself must not be enough for what another site makes it send."""
    browser = {"Authorization": basic(TOKEN)}
    asked = await desk.client.get("/operator/", headers={"Authorization": ""})
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    assert (await desk.client.get("/operator/", headers=browser)).status_code == 200
    assert (await desk.client.get("/operator", headers=browser)).status_code == 200
    for method, path in CALLS[:-1]:
        assert (await desk.client.request(method, path, headers=browser)).status_code == 401


# The page.


class Balanced(HTMLParser):
    """Checks that tags close as they opened, and keeps what is shown."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


async def test_the_page_shows_what_the_status_says(desk: Desk) -> None:
    uuid = await desk.schedule('<script>alert(1)</script> & "more"')
    await desk.campaign(uuid, "CampaignScheduled")
    answer = await desk.client.get("/operator/")
    parsed = Balanced()
    parsed.feed(answer.text)
    parsed.close()
    assert parsed.open == []
    assert "script" not in parsed.tags
    for said in (
        uuid, "<script>alert(1)</script> & \"more\"", ACCOUNT, "CampaignScheduled", "0 of 1",
        "1 NoDeviceDataFromNetwork", "purge", "https://fleet.example.com/hook",
    ):  # fmt: skip
        assert said in parsed.shown
    assert '<meta http-equiv="refresh" content="5">' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
