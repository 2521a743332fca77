"""Images by blocks, from our own door (spec lwm2m.md, 13.3; RFC 9175)."""

import asyncio
import hashlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from overair.accounts.sql import accounts
from overair.campaigns.model import RowStatus
from overair.campaigns.texts import V3_STATUS
from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.conversation import Conversation
from overair.doors.lwm2m.updates.files import Files
from overair.packages.model import ImageGrant, Kind, NewPackage, State
from overair.packages.service import PackageService
from overair.packages.sql import packages
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import SystemClock
from overair.platform.database import metadata
from overair.platform.limits import Limits
from overair.protocols import coap
from overair.protocols.coap import Block, Message, codes
from overair.protocols.lwm2m.updating import Phase
from overair.simulator.profile import PULL_ONLY, PUSH_ONLY

from ..inline import InlineDatabase
from ..simulation.devices import Member
from ..virtual import virtual
from .lwm2m_updates import IMAGE_BYTES, STRANGER, World, watched, world

SLOW = 100.0
ACCOUNT = "0000123456-00001"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


class Asking:
    """Requests for blocks of one image."""

    _numbers = itertools.count(100)

    def __init__(self, token: str) -> None:
        self._path = ((codes.URI_PATH, b"f"), (codes.URI_PATH, token.encode()))

    def block(
        self,
        number: int | None = None,
        size: int = 512,
        *options: coap.OptionPair,
        code: int = codes.GET,
        name: str = "",
    ) -> Message:
        message_id = next(self._numbers) % 0xFFFF
        given = [*self._path, *options]
        if name:
            given.append((codes.URI_PATH, name.encode()))
        if number is not None:
            given.append((codes.BLOCK2, Block(number, False, size.bit_length() - 5).encode()))
        ordered = tuple(sorted(given, key=lambda pair: pair[0]))
        return Message(codes.CON, code, message_id, b"%d" % message_id, ordered)


async def downloading(here: World, **profile: object) -> tuple[str, Member, Asking, tuple[str, int]]:
    """Return a campaign, a device that fetches its image, and how to ask for it from the same host."""
    member = await here.add(**profile, download_bytes_per_second=SLOW)  # type: ignore[arg-type]
    uuid = await here.campaign([member])
    await here.until_phase(member, Phase.DOWNLOADING)
    found = here.update(member)
    assert found is not None
    return uuid, member, Asking(found.job.token), (member.address[0], 7000)


@virtual
async def test_blocks_in_any_order_and_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        _, _, asking, same_host = await downloading(here)
        image = next(iter(here.images.bodies.values()))
        etags = set()
        for size in (64, 512, 1024):
            last = (IMAGE_BYTES - 1) // size
            for number in (3, 1, 1, last, 0, 2, 0):
                answer = await here.ask(asking.block(number, size), same_host)
                assert answer.code == codes.CONTENT
                block = answer.block2
                assert block is not None
                # A first block that is asked for larger than ours comes smaller; later ones as asked.
                assert block.size_bytes == (512 if size > 512 and not number else size)
                assert block.number == number
                end = block.offset + block.size_bytes
                assert answer.payload == image[block.offset : end]
                assert block.more is (end < IMAGE_BYTES)
                assert answer.content_format == 42
                etags.add(answer.etag)
                shown = answer.uint_option(codes.SIZE2)
                assert shown == (None if number else IMAGE_BYTES)
        assert etags == {hashlib.sha256(image).digest()[:8]}


@virtual
async def test_what_is_asked_for_without_a_block_is_its_first(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        _, _, asking, same_host = await downloading(here)
        for message in (asking.block(), asking.block(name="image.bin")):
            answer = await here.ask(message, same_host)
            assert (answer.code, len(answer.payload)) == (codes.CONTENT, 512)
            assert answer.block2 == Block(0, True, 5)
            assert answer.uint_option(codes.SIZE2) == IMAGE_BYTES
        answer = await here.ask(asking.block(3, 512, (codes.SIZE2, b"")), same_host)
        assert answer.uint_option(codes.SIZE2) == IMAGE_BYTES


@virtual
async def test_an_image_of_whole_blocks_ends_with_a_full_one(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        package = here.add_package(size_bytes=4096)
        member = await here.add(download_bytes_per_second=SLOW)
        await here.campaign([member], package)
        await here.until_phase(member, Phase.DOWNLOADING)
        found = here.update(member)
        assert found is not None
        asking, same_host = Asking(found.job.token), (member.address[0], 7000)
        answer = await here.ask(asking.block(7), same_host)
        assert (answer.block2, len(answer.payload)) == (Block(7, False, 5), 512)
        assert (await here.ask(asking.block(8), same_host)).code == codes.BAD_REQUEST


@virtual
async def test_what_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uuid, member, asking, same_host = await downloading(here)
        assert (await here.ask(asking.block(12), same_host)).code == codes.BAD_REQUEST  # beyond the end
        assert (await here.ask(asking.block(code=codes.POST), same_host)).code == codes.METHOD_NOT_ALLOWED
        assert (await here.ask(Asking("nobodysToken1234").block(0), same_host)).code == codes.NOT_FOUND
        await here.until_ended(uuid, member)
        assert (await here.ask(asking.block(0), same_host)).code == codes.NOT_FOUND
        update = here.update(member)
        assert update is None


@virtual
async def test_a_stranger_has_to_show_that_it_receives_where_it_sends_from(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        _, member, asking, _ = await downloading(here)
        refused = await here.ask(asking.block(0))
        assert (refused.code, refused.payload) == (codes.UNAUTHORIZED, b"")
        echo = (codes.ECHO, refused.option(codes.ECHO) or b"")
        assert (await here.ask(asking.block(0, 512, echo), ("10.9.9.8", 1))).code == codes.UNAUTHORIZED
        assert (await here.ask(asking.block(4))).code == codes.UNAUTHORIZED
        assert (await here.ask(asking.block(0, 512, echo))).code == codes.CONTENT
        assert (await here.ask(asking.block(1), STRANGER)).code == codes.CONTENT  # its download is running
        update = here.update(member)
        assert update is not None
        assert not update.job.forbidden


@virtual
async def test_with_the_key_of_another_device_there_is_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uuid, member, *_ = await downloading(here, secure=True)
        other = await here.add(secure=True, delivery=PULL_ONLY)
        live = here.gateway.registry.by_imei(other.imei)
        update = here.update(member)
        assert live is not None
        assert update is not None
        url = f"coaps://192.0.2.1:5684/f/{update.job.token}"
        await Conversation(here.endpoint, live, here.updates.flush).write((5, 0, 1), url)
        await asyncio.sleep(10)
        assert other.device.tree.value((5, 0, 5)) == 4  # connection lost: it got no block
        assert update.job.forbidden
        (row,) = await here.until_ended(uuid, member)
        assert row.status is RowStatus.SUCCEEDED


def damage(here: World) -> None:
    """Do as the store of images does when a byte of one is another."""
    (image_id,) = here.images.bodies
    here.images.damaged.add(image_id)
    here.execute(update(packages).where(packages.c.id == image_id).values(state=State.DAMAGED))


@pytest.mark.parametrize("delivery", [PULL_ONLY, PUSH_ONLY])
def test_when_the_image_is_damaged_the_attempt_is_refused(tmp_path: Path, delivery: int) -> None:
    """The row says that the service failed, not the device; and it is tried again, if it comes back."""

    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            member = await here.add(delivery=delivery, download_bytes_per_second=SLOW)
            uuid = await here.campaign([member])
            await here.until_phase(member, Phase.OBSERVE if delivery == PUSH_ONLY else Phase.DOWNLOADING)
            damage(here)
            await asyncio.sleep(60)
            row = await here.row(uuid, member)
            assert (row.status, V3_STATUS[row.status]) == (RowStatus.REFUSED, "RequestToFotaServerFailed")
            assert len(here.updates) == here.updates.transfers == 0
            here.images.damaged.clear()
            here.execute(update(packages).values(state=State.READY))
            (row,) = await here.until_ended(uuid, member)
            assert (row.status, row.attempts) == (RowStatus.SUCCEEDED, 2)

    run()


class Granting:
    """One token for one image, and everybody is the device."""

    def __init__(self, grant: ImageGrant) -> None:
        self._grant = grant

    def grant(self, token: str) -> tuple[int, ImageGrant]:
        return 1, self._grant

    def expects(self, token: str) -> bool:
        return False

    def fetched(self, token: str, *, refused: bool = False) -> None:
        return None

    def host_of(self, imei: int) -> str:
        return "10.0.0.1"


def found(database: InlineDatabase) -> None:
    """Make the tables, and an account."""
    metadata.create_all(database.engine)
    with database.engine.begin() as connection:
        values = {
            "id": 1,
            "name": ACCOUNT,
            "active": True,
            "licenses": 1,
            "subscriptions": "mrc",
            "created_ms": 0,
        }
        connection.execute(insert(accounts).values(values))


async def test_a_byte_that_changes_on_the_disk_is_never_sent(tmp_path: Path) -> None:
    database = InlineDatabase(f"sqlite:///{tmp_path}/images.db")
    await asyncio.to_thread(found, database)
    service = PackageService(database, tmp_path, SystemClock(), Limits())
    file = tmp_path / "image.bin"
    body = random.Random(1).randbytes(100_000)
    file.write_bytes(body)
    new = NewPackage(
        kind=Kind.FIRMWARE, name="firmware", make="ACME", model="M1", version_from="1", version_to="2",
        protocol="LWM2M", size_bytes=len(body),
    )  # fmt: skip
    package = await service.add(1, new, file)
    assert package.sha256 is not None
    endpoint = coap.Endpoint(random=random.Random(1))
    granting = Granting(ImageGrant(package.id, package.size_bytes, package.sha256))
    answered = asyncio.Event()
    files = Files(
        endpoint, service.images, granting, lambda _: None, Bandwidth(1e9), Answers(endpoint, answered.set),
        answered.set, bytes(16),
    )  # fmt: skip
    asking = Asking("token")

    async def ask(number: int) -> Message:
        request = endpoint.receive(coap.encode(asking.block(number)), ("10.0.0.1", 1), 0.0)
        assert isinstance(request, coap.Request)
        files.serve(request, "token")
        async with asyncio.timeout(10):
            await answered.wait()
        answered.clear()
        return coap.decode(endpoint.outbox.pop()[0])

    assert (await ask(150)).payload == body[150 * 512 : 151 * 512]
    (stored,) = (tmp_path / "images").iterdir()
    with stored.open("r+b") as image:
        image.seek(10)
        image.write(bytes([body[10] ^ 1]))
    assert (await ask(0)).code == codes.NOT_FOUND
    assert (await ask(150)).code == codes.NOT_FOUND  # none of it is served any more
    assert (await service.get_by_id(package.id)).state is State.DAMAGED
    await files.close()
    database.close()


async def test_a_fault_of_ours_is_an_answer_too(tmp_path: Path) -> None:
    class Broken:
        def cached(self, *_: object) -> None:
            return None

        async def read(self, *_: object) -> bytes:
            raise OSError("no such database")

    endpoint = coap.Endpoint(random=random.Random(1))
    files = Files(
        endpoint, Broken(), Granting(ImageGrant("1", 1000, bytes(32))), lambda _: None, Bandwidth(1e9),  # type: ignore[arg-type]
        Answers(endpoint, lambda: None), lambda: None, bytes(16),
    )  # fmt: skip
    request = endpoint.receive(coap.encode(Asking("token").block(0)), ("10.0.0.1", 1), 0.0)
    assert isinstance(request, coap.Request)
    files.serve(request, "token")
    for _ in range(5):
        await asyncio.sleep(0)
    assert coap.decode(endpoint.outbox.pop()[0]).code == codes.INTERNAL_SERVER_ERROR
