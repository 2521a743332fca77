"""What two clients do that can't be run here, played back as they do it (spec ddi.md, 9.2 and 9.3).

SWUpdate itself is in tests/real_clients.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from overair.campaigns.model import RowStatus

from ..virtual import virtual
from .ddi_world import ATTRIBUTES, IMAGE, IMEI, RAUC, open_world, watched

ZEPHYR_BUFFER_BYTES = 1100
TENANT_LITERAL = "/default/controller/v1"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


@virtual
async def test_zephyr(tmp_path: Path) -> None:
    """It takes apart links as text, knows one name of the download, and reports after its restart only."""
    board = "nrf9160dk-8a1b2c3d"
    async with open_world(tmp_path) as world:
        target = (await world.target()).like(imei=board, tenant="default", agent="")
        await world.tokens.bind(world.account.id, board, int(IMEI))
        campaign = await world.schedule()
        assert (await target.configure("merge", VIN=board, hwRevision="3")).status_code == 200
        await target.offered()
        poll = await target.ask("GET")
        assert int(poll.headers["content-length"]) < ZEPHYR_BUFFER_BYTES
        body = poll.json()
        assert len(body["config"]["polling"]["sleep"]) == 8
        href = body["_links"]["deploymentBase"]["href"]
        rest = href[href.index("deploymentBase/") + len("deploymentBase/") :]
        assert len(rest) < 50
        stored_id = int(re.match(r"\d+", rest)[0])  # type: ignore[index]
        deployment = await target.ask("GET", f"/deploymentBase/{rest}")
        assert int(deployment.headers["content-length"]) <= 1000
        (chunk,) = deployment.json()["deployment"]["chunks"]
        assert chunk["part"] == "bApp"
        (artifact,) = chunk["artifacts"]
        url = artifact["_links"]["download-http"]["href"]
        below = url[url.index(TENANT_LITERAL) + len(TENANT_LITERAL) :]
        assert len(TENANT_LITERAL + below) <= 200
        image = await target.ask("GET", f"http://fota.test{TENANT_LITERAL}{below}")
        assert hashlib.sha256(image.content).hexdigest() == artifact["hashes"]["sha256"]
        assert (await world.row(campaign)).status is RowStatus.RUNNING
        # It restarts, is offered the same action, and takes that for its cue.
        assert await target.offered() == stored_id
        assert (await target.feed(stored_id, "closed", "success")).status_code == 200
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED


@virtual
async def test_rauc(tmp_path: Path) -> None:
    """One chunk, text as ids, a message a step, the bundle read in ranges, and only 200 will do."""
    async with open_world(tmp_path) as world:
        target = (await world.target()).like(agent=RAUC)
        campaign = await world.schedule()
        said = {"id": "", "status": {"result": {"finished": "success"}, "execution": "closed"}}
        configured = await target.ask("PUT", "/configData", json={**said, "data": ATTRIBUTES})
        assert configured.status_code == 200
        action = await target.offered()
        (chunk,) = (await target.read(action))["deployment"]["chunks"]
        assert chunk["name"]
        assert chunk["version"] == "2.0"
        (artifact,) = chunk["artifacts"]
        url = urlsplit(artifact["_links"]["download"]["href"]).path
        bundle = b""
        while len(bundle) < artifact["size"]:
            piece = f"bytes={len(bundle)}-{len(bundle) + 49_999}"
            answer = await target.ask("GET", f"http://fota.test{url}", headers={"Range": piece})
            assert answer.status_code == 206
            bundle += answer.content
        assert bundle == IMAGE
        past = {"Range": f"bytes={len(bundle)}-"}
        assert (await target.ask("GET", f"http://fota.test{url}", headers=past)).status_code == 416
        for step in ("File checksum OK.", "Installing", "Copying image"):
            assert (await target.feed(action, "proceeding", "none", step)).status_code == 200
        done = await target.feed(action, "closed", "success", "Software bundle installed successfully.")
        assert (done.status_code, done.content) == (200, b"")
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED
