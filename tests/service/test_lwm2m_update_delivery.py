"""How images come to devices, and the whole way of an update (spec lwm2m.md, 8.5, 8.6, 9, 13)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overair.campaigns.model import RowStatus
from overair.platform.limits import Limits
from overair.protocols.coap import Message
from overair.protocols.coap.codes import PUT
from overair.protocols.lwm2m.content import OPAQUE, TEXT, TLV
from overair.protocols.lwm2m.updating import Means, Policy
from overair.simulator import TWO_COMPONENTS
from overair.simulator.profile import COAP, COAPS, HTTP, HTTPS, PULL_ONLY, PUSH_ONLY, Software

from ..simulation.devices import Member
from ..virtual import virtual
from .lwm2m_updates import IMAGE_BYTES, NEW, PROFILE, World, watched, world


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def bring(here: World, member: Member, package: str | None = None) -> None:
    """Have a device updated; it takes one attempt."""
    (row,) = await here.until_ended(await here.campaign([member], package), member)
    assert (row.status, row.attempts, row.detail) == (RowStatus.SUCCEEDED, 1, None)
    assert len(here.updates) == here.updates.transfers == 0


def pushed(here: World, member: Member) -> list[Message]:
    """Return the blocks that a device was sent, in order."""
    return [each for each in here.messages(member) if each.code == PUT and each.block1 is not None]


@virtual
async def test_an_update_takes_no_more_messages_than_it_must(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add()
        before = len(here.asked(member))
        uuid = await here.campaign([member])
        await here.until_ended(uuid, member)
        assert member.device.firmware == NEW
        assert here.asked(member)[before:] == [
            "0.05 FETCH /",  # version, state, result, package, protocols, delivery, automatic
            "0.01 GET /5/0/3",  # both observed
            "0.01 GET /5/0/5",
            "0.03 PUT /5/0/1",
            "0.01 GET /5/0/5",  # downloading: a result belongs to its state
            "0.01 GET /5/0/5",  # downloaded
            "0.05 FETCH /",  # just before the command
            "0.02 POST /5/0/2",
            "0.01 GET /5/0/5",  # updating
            "0.05 FETCH /",  # after the reboot
            "0.01 GET /3/0/3",  # the verdict; and the inventory's look at the firmware
            "0.01 GET /3/0/3",
        ]


@virtual
async def test_what_can_not_be_read_together_is_read_one_by_one(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(formats=(TEXT, OPAQUE, TLV))
        before = len(here.asked(member))
        await bring(here, member)
        asked = here.asked(member)[before:]
        assert asked[:4] == ["0.05 FETCH /", "0.01 GET /3/0/3", "0.01 GET /5/0/3", "0.01 GET /5/0/5"]
        assert asked.count("0.05 FETCH /") == 2  # the second after its reboot


@pytest.mark.parametrize(
    ("secure", "signed", "http", "protocols", "delivery", "means"),
    [
        (False, False, False, (COAP, COAPS), PULL_ONLY, Means.COAP),
        (True, False, False, (COAP, COAPS), PULL_ONLY, Means.COAPS),
        (True, False, True, (COAP, COAPS, HTTP), PULL_ONLY, Means.COAPS),  # what is not, may not
        (True, True, True, (COAP, COAPS, HTTP), PULL_ONLY, Means.HTTP),
        (False, False, True, (HTTP, HTTPS), 2, Means.HTTP),  # there is no door for HTTPS
        (False, False, False, (HTTP,), 2, Means.PUSH),
        (False, False, False, (COAP, COAPS), PUSH_ONLY, Means.PUSH),
        (True, False, False, (COAP, COAPS), PUSH_ONLY, Means.PUSH),
    ],
)
def test_the_means_are_what_device_and_service_have(
    tmp_path: Path, secure: bool, signed: bool, http: bool, protocols: Any, delivery: int, means: Means
) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path, signed=signed, http=http) as here:
            member = await here.add(secure=secure, protocols=protocols, delivery=delivery, flash_seconds=60.0)
            uuid = await here.campaign([member])
            await here.until(lambda: (update := here.update(member)) is not None and bool(update.job.means))
            update = here.update(member)
            assert update is not None
            assert update.job.means is means
            (row,) = await here.until_ended(uuid, member)
            assert (row.status, row.attempts) == (RowStatus.SUCCEEDED, 1)
            assert member.device.firmware == NEW

    run()


@virtual
async def test_a_device_without_means_in_common_is_not_asked_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(protocols=(HTTP,), delivery=PULL_ONLY)
        (row,) = await here.until_ended(await here.campaign([member]), member)
        assert (row.status, row.attempts, row.detail) == (RowStatus.FAILED, 1, "unsupported protocol")


@virtual
async def test_pull_over_http_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    async with world(tmp_path, http=True, signed=True) as here:
        here.cut_http_after = 2500
        member = await here.add(protocols=(HTTP,), delivery=PULL_ONLY)
        await bring(here, member)
        assert here.fetched == [("", "200"), ("bytes=2500-", "206")]
        assert member.device.firmware == NEW


@pytest.mark.parametrize(
    ("ours", "theirs", "blocks"),
    [
        (512, 512, {512}),
        (1024, 1024, {1024}),
        (512, 128, {512, 128}),  # its 4.13 says so
        (256, 1024, {256}),
        (64, 64, {64}),
        (512, 16, {512, 16}),
    ],
)
def test_push_in_blocks_of_the_size_that_both_can(
    tmp_path: Path, ours: int, theirs: int, blocks: set[int]
) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path, policy=Policy(block_size=ours)) as here:
            member = await here.add(delivery=PUSH_ONLY, block_bytes=theirs)
            await bring(here, member)
            sent = pushed(here, member)
            assert {each.block1.size_bytes for each in sent if each.block1} == blocks
            assert len(sent) == -(-IMAGE_BYTES // min(blocks)) + len(blocks) - 1
            assert {each.content_format for each in sent} == {OPAQUE}
            assert member.device.firmware == NEW

    run()


@virtual
async def test_a_push_that_is_refused_as_opaque_goes_in_tlv(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(delivery=PUSH_ONLY, formats=(TLV,), version="1.0")
        await bring(here, member)
        formats = [each.content_format for each in pushed(here, member)]
        assert formats == [OPAQUE, *[TLV] * (len(formats) - 1)]
        assert member.device.firmware == NEW


@virtual
async def test_a_device_with_components_gets_the_image_of_the_main_one(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(TWO_COMPONENTS)
        package = here.add_package(TWO_COMPONENTS, image_name="application")
        await bring(here, member, package)
        asked = here.asked(member)
        assert "0.03 PUT /33629/0/1" in asked
        assert not [each for each in asked if "/33629/1/" in each or " /5" in each]
        assert member.device.tree.value((33629, 0, 15)) == NEW
        assert member.device.tree.value((33629, 1, 15)) == "mfw_nrf91x1_2.0.1"


@virtual
async def test_software_is_taken_off_brought_installed_and_activated(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(software=(Software("tracker", "1.9.2"), Software("meter", "3.1.0")))
        package = here.add_package(
            version_from="1.9.2", name="tracker", kind="software", image_name="tracker"
        )
        before = len(here.asked(member))
        await bring(here, member, package)
        felt = [each for each in here.asked(member)[before:] if "GET" not in each and "FETCH" not in each]
        assert felt[:4] == ["0.02 POST /9/0/6", "0.03 PUT /9/0/3", "0.02 POST /9/0/4", "0.02 POST /9/0/10"]
        assert member.device.tree.value((9, 0, 1)) == NEW
        assert member.device.tree.value((9, 0, 12)) is True
        assert member.device.tree.value((9, 1, 1)) == "3.1.0"


@virtual
async def test_two_pushes_hold_their_image_once(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        members = [await here.add(delivery=PUSH_ONLY) for _ in range(3)]
        here.ether.down = type(here.ether.down)(latency_seconds=1.0)
        uuid = await here.campaign(members)
        await here.until(lambda: here.updates.transfers == 3)
        await here.until(lambda: all(pushed(here, member) for member in members))
        bodies = {
            id(update._push._body) for member in members if (update := here.update(member)) and update._push
        }
        assert len(bodies) == len(here.updates._images) == 1
        rows = await here.until_ended(uuid, *members)
        assert {row.status for row in rows} == {RowStatus.SUCCEEDED}
        assert len(here.updates._images) == 0


@virtual
async def test_an_image_that_is_too_large_to_be_held_is_not_pushed(tmp_path: Path) -> None:
    async with world(tmp_path, limits=Limits(image_memory_bytes=IMAGE_BYTES - 1)) as here:
        member = await here.add(delivery=PUSH_ONLY)
        (row,) = await here.until_ended(await here.campaign([member]), member)
        assert (row.status, row.detail) == (RowStatus.FAILED, "unsupported protocol")
        assert here.images.reads == []
        assert pushed(here, member) == []
        assert member.device.firmware == PROFILE.firmware
