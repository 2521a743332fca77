"""Devices that sleep, reboot and move, and a service that restarts (spec lwm2m.md, 4.1, 8.6, 10.2)."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from overair.campaigns.engine import Engine
from overair.campaigns.model import RowStatus, Window
from overair.doors.lwm2m.conversation import Conversation, Silent
from overair.platform.limits import Limits
from overair.protocols.coap.codes import GET, PUT
from overair.protocols.lwm2m import Path as Path_
from overair.protocols.lwm2m import Value
from overair.protocols.lwm2m.updating import Means, Phase
from overair.simulator import MISBEHAVIOURS, Faults, SecureDevice
from overair.simulator.misbehaviour import NONE
from overair.simulator.profile import PUSH_ONLY

from ..simulation.devices import Member
from ..virtual import START_MS, virtual
from .lwm2m_updates import HOUR, IMAGE_BYTES, NEW, World, watched, world

SLOW = 100.0
"""Bytes a second: an image takes a minute."""
BLOCK = 512


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def ends_well(here: World, uuid: str, member: Member, *, attempts: int = 1) -> None:
    """Wait for the end, which is that of the first attempt; the device felt everything once."""
    (row,) = await here.until_ended(uuid, member)
    assert (row.status, row.attempts, row.detail) == (RowStatus.SUCCEEDED, attempts, None)
    assert member.device.firmware == NEW
    assert member.device.update_tally.flashed == member.device.update_tally.booted == 1


def blocks_fetched(here: World, member: Member) -> list[int]:
    """Return the numbers of the blocks that a device without security asked for."""
    asked = [each for each in here.messages(member, to_device=False) if each.code == GET]
    return [each.block2.number for each in asked if each.block2 is not None]


def blocks_pushed(here: World, member: Member) -> list[int]:
    """Return where each block that a device without security was sent began, in bytes."""
    sent = [each for each in here.messages(member) if each.code == PUT and each.block1 is not None]
    return [each.block1.offset for each in sent if each.block1]


async def half_there(here: World, member: Member) -> None:
    """Wait until half of the image is on the device."""

    def is_half_pushed() -> bool:
        update = here.update(member)
        exchange = update and update._push and update._push._exchange
        return bool(exchange) and exchange.bytes_sent >= IMAGE_BYTES // 2

    if member.device.profile.delivery == PUSH_ONLY:
        await here.until(is_half_pushed)
    else:
        await here.until_phase(member, Phase.DOWNLOADING)
        await asyncio.sleep(IMAGE_BYTES / SLOW / 2)


# Devices that sleep.


@pytest.mark.parametrize("kind", ["none", "defers", "sleeps", "reboot-while-downloading"])
def test_a_device_that_sleeps_is_left_alone(tmp_path: Path, kind: str) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            fault = MISBEHAVIOURS.get(kind, NONE)
            member = await here.add(
                misbehaviour=fault, queue_mode=True, lifetime_seconds=900, download_bytes_per_second=SLOW
            )
            await asyncio.sleep(200)
            assert member.device.is_asleep(here.loop.time())
            lost = member.device.tally.slept_through
            uuid = await here.campaign([member])
            await ends_well(here, uuid, member)
            if kind != "reboot-while-downloading":  # what is on its way to a device without power is lost
                assert member.device.tally.slept_through == lost

    run()


@virtual
async def test_a_push_waits_for_a_device_that_fell_asleep(tmp_path: Path) -> None:
    """A block is lost for so long that the radio is off; it comes again when the device is heard."""
    async with world(tmp_path, limits=Limits(awake_seconds=20)) as here:
        member = await here.add(
            delivery=PUSH_ONLY, queue_mode=True, awake_seconds=20.0, lifetime_seconds=86_400
        )
        here.ether.down = Faults(latency_seconds=1.0)
        uuid = await here.campaign([member])
        await here.until(lambda: len(blocks_pushed(here, member)) >= 5)
        host = member.address[0]
        here.ether.cut_off.add(host)
        await asyncio.sleep(25)
        here.ether.cut_off.discard(host)
        heard = len(here.messages(member))
        await asyncio.sleep(150)  # shorter than it remembers its blocks
        assert len(here.messages(member)) == heard
        member.device._want_update(here.loop.time())
        member.settle()
        await ends_well(here, uuid, member)
        offsets = blocks_pushed(here, member)
        assert offsets == sorted(offsets)
        assert offsets.count(0) == 1


@virtual
async def test_who_fetches_its_image_is_awake(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(queue_mode=True, download_bytes_per_second=20.0)
        uuid = await here.campaign([member])
        await here.until_phase(member, Phase.DOWNLOADING)
        await asyncio.sleep(200)
        live = here.gateway.registry.by_imei(member.imei)
        assert live is not None
        assert live.is_awake(here.loop.time())
        await ends_well(here, uuid, member)


# Devices that reboot and move.


@virtual
async def test_what_was_read_before_a_register_counts_no_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add()
        read, answers = Conversation.read_composite, 0

        async def read_while_it_registers(talk: Conversation, paths: Sequence[Path_]) -> dict[Path_, Value]:
            nonlocal answers
            values = await read(talk, paths)
            answers += 1
            if answers == 1:
                here.updates.device_registered(member.imei)
            return values

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Conversation, "read_composite", read_while_it_registers)
            await ends_well(here, await here.campaign([member]), member)
        assert answers == 4  # what it has, again, just before the command, after the reboot


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("delivery", [0, PUSH_ONLY])
@pytest.mark.parametrize(
    "kind", ["reboot-before-download", "reboot-while-downloading", "reboot-after-download"]
)
def test_a_reboot_is_no_end(tmp_path: Path, kind: str, delivery: int, secure: bool) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            fault = MISBEHAVIOURS[kind]
            member = await here.add(
                misbehaviour=fault, secure=secure, delivery=delivery, download_bytes_per_second=SLOW
            )
            # What was pushed is lost with the power: the device says so, and is tried again after 5 minutes.
            lost = delivery == PUSH_ONLY and kind != "reboot-after-download"
            await ends_well(here, await here.campaign([member]), member, attempts=2 if lost else 1)
            assert member.device.tally.registrations >= 3  # switched on, rebooted, updated

    run()


@pytest.mark.parametrize("delivery", [0, PUSH_ONLY])
def test_with_a_connection_id_a_move_is_not_even_noticed(tmp_path: Path, delivery: int) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.5)
            member = await here.add(secure=True, delivery=delivery, download_bytes_per_second=SLOW)
            uuid = await here.campaign([member])
            await half_there(here, member)
            begun = here.loop.time()
            handshakes = member.device.tally.handshakes
            member.move(("10.77.0.1", 999))
            if delivery == PUSH_ONLY:  # it only answers: nothing tells where it is
                member.device._want_update(here.loop.time())
                member.settle()
            await ends_well(here, uuid, member)
            assert here.loop.time() - begun < 150
            assert member.device.tally.handshakes == handshakes + 1  # after its reboot
            registration = here.gateway.registry.by_imei(member.imei)
            assert registration is not None
            assert registration.registration.host == "10.77.0.1"

    run()


@pytest.mark.parametrize("delivery", [0, PUSH_ONLY])
def test_a_session_that_is_resumed_takes_the_transfer_along(tmp_path: Path, delivery: int) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.5)
            member = await here.add(secure=True, delivery=delivery, download_bytes_per_second=SLOW)
            device = member.device
            assert isinstance(device, SecureDevice)
            uuid = await here.campaign([member])
            await half_there(here, member)
            begun = here.loop.time()
            member.move(("10.77.0.1", 999))
            device._distrusted = True
            device._want_update(here.loop.time())
            member.settle()
            await here.until(lambda: device.tally.resumed == 1)
            await ends_well(here, uuid, member)
            assert here.loop.time() - begun < 200

    run()


@virtual
async def test_behind_a_nat_the_next_block_comes_from_elsewhere(tmp_path: Path) -> None:
    """Without security nobody knows where the device is until it sends an Update; its download goes on."""
    async with world(tmp_path) as here:
        member = await here.add(lifetime_seconds=7200, download_bytes_per_second=SLOW)
        uuid = await here.campaign([member])
        await half_there(here, member)
        member.move((member.address[0], 999))
        await ends_well(here, uuid, member)
        fetched = blocks_fetched(here, member)
        assert fetched == list(range(-(-IMAGE_BYTES // BLOCK)))
        assert here.loop.time() < 2 * HOUR


@virtual
async def test_a_push_goes_on_at_the_address_that_an_update_came_from(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.ether.down = Faults(latency_seconds=0.5)
        member = await here.add(delivery=PUSH_ONLY)
        uuid = await here.campaign([member])
        await half_there(here, member)
        member.move((member.address[0], 999))
        await asyncio.sleep(20)
        member.device._want_update(here.loop.time())
        member.settle()
        await ends_well(here, uuid, member)
        offsets = blocks_pushed(here, member)
        assert offsets == sorted(offsets)


# A service that restarts.


@virtual
async def test_nothing_is_sent_to_a_device_of_which_nobody_knows_where_it_is(tmp_path: Path) -> None:
    """Its association did not outlive the restart; it has to come by itself."""
    async with world(tmp_path) as here:
        member = await here.add(secure=True, lifetime_seconds=3600, download_bytes_per_second=SLOW)
        uuid = await here.campaign([member])
        await half_there(here, member)
        host = member.address[0]
        here.ether.cut_off.add(host)
        await here.restart(keep_sessions=False)
        await asyncio.sleep(60)
        assert here.endpoint.counters.retransmissions == here.endpoint.counters.timeouts == 0
        here.ether.cut_off.discard(host)
        await ends_well(here, uuid, member)


PHASES = [
    Phase.PREPARE,
    Phase.OBSERVE,
    Phase.DELIVER,
    Phase.DOWNLOADING,
    Phase.EXECUTE,
    Phase.INSTALLING,
    Phase.VERIFY,
]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("secure", "keep_sessions", "pause"), [(False, True, 0), (True, False, 30)])
def test_a_restart_in_any_phase(
    tmp_path: Path, phase: Phase, secure: bool, keep_sessions: bool, pause: float
) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.4)
            member = await here.add(secure=secure, lifetime_seconds=3600, download_bytes_per_second=SLOW)
            uuid = await here.campaign([member])
            if phase is Phase.DOWNLOADING:
                await half_there(here, member)
            await here.until_phase(member, phase)
            await here.restart(keep_sessions=keep_sessions, pause_seconds=pause)
            await ends_well(here, uuid, member)

    run()


@virtual
async def test_a_door_that_is_closed_after_a_restart_is_offered_no_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add()

        async def lose(_talk: Conversation, _path: Path_, _value: Value) -> None:
            raise Silent("the URL is lost on its way")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Conversation, "write", lose)
            uuid = await here.campaign([member])
            await here.until_phase(member, Phase.DELIVER)
            del here.means[Means.COAP]
            await here.restart()
        await ends_well(here, uuid, member)
        assert blocks_pushed(here, member)


@virtual
async def test_a_restart_while_the_image_waits_for_its_window(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(download_bytes_per_second=1.0)  # until the window is closed
        await asyncio.sleep(2.5 * HOUR)
        uuid = await here.campaign([member], windows=(Window(2, 3),))
        await asyncio.sleep(2 * HOUR)
        flashed = member.device.update_tally.flashed
        await here.restart()
        await asyncio.sleep(10 * HOUR)
        assert (here.phase(member), member.device.update_tally.flashed) == (Phase.DOWNLOADED, flashed)
        await ends_well(here, uuid, member)
        ended_ms = (await here.row(uuid, member)).updated_ms - START_MS
        assert 26 * HOUR <= ended_ms / 1000 < 26 * HOUR + 30  # the moment in which it opens
        assert sorted(set(blocks_fetched(here, member))) == blocks_fetched(here, member)


@pytest.mark.parametrize("keep_sessions", [True, False])
def test_a_restart_in_mid_push_begins_it_anew(tmp_path: Path, keep_sessions: bool) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.5)
            member = await here.add(delivery=PUSH_ONLY, secure=True, lifetime_seconds=3600)
            uuid = await here.campaign([member])
            await half_there(here, member)
            await here.restart(keep_sessions=keep_sessions)
            # Until it finds out that its association is gone, a device has given up to wait for blocks.
            await ends_well(here, uuid, member, attempts=1 if keep_sessions else 2)

    run()


@virtual
async def test_a_block_that_is_asked_for_before_the_attempts_are_taken_up_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add(download_bytes_per_second=SLOW)
        uuid = await here.campaign([member])
        await half_there(here, member)
        await here.stop()
        resume = Engine._resume

        async def late(engine: Engine) -> None:
            await asyncio.sleep(1.5)
            await resume(engine)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "_resume", late)
            await here.start()
            await asyncio.sleep(3)
        await ends_well(here, uuid, member)
        fetched = blocks_fetched(here, member)
        assert sorted(set(fetched)) == list(range(-(-IMAGE_BYTES // BLOCK)))
        assert fetched == sorted(fetched)  # none from the beginning


# Faults of ours.


@pytest.mark.parametrize(
    "phase", [Phase.PREPARE, Phase.OBSERVE, Phase.DELIVER, Phase.DOWNLOADING, Phase.INSTALLING]
)
def test_a_database_that_is_away_for_minutes_costs_no_attempt(tmp_path: Path, phase: Phase) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.4)
            member = await here.add(download_bytes_per_second=SLOW)
            uuid = await here.campaign([member])
            await here.until_phase(member, phase)
            here.database.is_away = True
            await asyncio.sleep(300)
            here.database.is_away = False
            await ends_well(here, uuid, member)
            assert len(here.updates) == 0

    run()


@virtual
async def test_an_end_that_could_not_be_stored_is_said_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add()
        uuid = await here.campaign([member])
        await here.until_phase(member, Phase.INSTALLING)
        store = here.updates._attempts.succeeded
        said: list[float] = []

        async def fail_once(*args: object) -> bool:
            said.append(here.loop.time())
            if len(said) == 1:
                raise OSError("away")
            return await store(*args)  # type: ignore[arg-type]

        here.updates._attempts.succeeded = fail_once  # type: ignore[method-assign]
        await ends_well(here, uuid, member)
        assert len(said) == 2
        assert said[1] - said[0] <= here.updates.retry_seconds + 1
