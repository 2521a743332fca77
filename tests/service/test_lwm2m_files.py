"""Images over CoAP: who gets a block, and which (spec lwm2m.md, sections 10.2 and 13.3)."""

import asyncio
import hashlib
import random
from collections.abc import Sequence

import pytest

from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.updates.files import ETAG_BYTES, OWNER_SECONDS, Files
from overair.packages.model import ImageGrant
from overair.platform.bandwidth import Bandwidth
from overair.protocols import dtls
from overair.protocols.coap import Endpoint, Message, OptionPair, Peer, Request, codes, decode
from overair.protocols.coap.message import encode_fields
from overair.protocols.coap.options import Block

from ..virtual import virtual

IMAGE = random.Random(3).randbytes(5000)
GRANT = ImageGrant("image", len(IMAGE), hashlib.sha256(IMAGE).digest())
IMEI, OTHER = 490154203237518, 867723030209919
IDENTITY, OTHER_IDENTITY = b"urn:imei:490154203237518", b"urn:imei:867723030209919"
HOME = ("192.0.2.1", 5683)
SECRET = bytes(range(16))


class Held:
    """An image, in memory once it was read."""

    def __init__(self) -> None:
        self.in_memory = True

    def cached(self, image_id: str, offset: int, length: int) -> bytes | None:
        return IMAGE[offset : offset + length] if self.in_memory else None

    async def read(self, image_id: str, offset: int, length: int) -> bytes:
        await asyncio.sleep(0.1)
        return IMAGE[offset : offset + length]


class Table:
    """One device, its token, and what was said of its download."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def grant(self, token: str) -> tuple[int, ImageGrant] | None:
        return (IMEI, GRANT) if token == "token" else None

    def expects(self, token: str) -> bool:
        return False

    def fetched(self, token: str, *, refused: bool = False) -> None:
        self.said.append("refused" if refused else "fetched")

    def host_of(self, imei: int) -> str | None:
        return HOME[0]


class World:
    """Files behind an endpoint, asked without a socket."""

    def __init__(self, bytes_per_second: float = float("inf")) -> None:
        self.endpoint = Endpoint(random=random.Random(1))
        self.images, self.table = Held(), Table()
        self.owners = {IDENTITY: IMEI, OTHER_IDENTITY: OTHER}
        self.looks = 0
        self.flushed = 0
        self.files = Files(
            self.endpoint, self.images, self.table, self._owner, Bandwidth(bytes_per_second),  # type: ignore[arg-type]
            Answers(self.endpoint, self._flush), self._flush, SECRET,
        )  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._message_id = 0

    def ask(
        self,
        block: Block | None = None,
        peer: Peer = HOME,
        options: Sequence[OptionPair] = (),
        token: str = "token",
    ) -> None:
        self._message_id += 1
        path = ((codes.URI_PATH, b"f"), (codes.URI_PATH, token.encode()))
        wanted = () if block is None else ((codes.BLOCK2, block.encode()),)
        datagram = encode_fields(codes.CON, codes.GET, self._message_id, b"t", (*path, *wanted, *options))
        request = self.endpoint.receive(datagram, peer, self._loop.time())
        assert isinstance(request, Request)
        self.files.serve(request, token)

    def answer(self) -> Message | None:
        """Return what was said since, if anything."""
        sent = [decode(datagram) for datagram, _ in self.endpoint.outbox]
        self.endpoint.outbox.clear()
        return sent[0] if sent else None

    def answered(self, *asked: object, **more: object) -> Message:
        """Ask, and return what is said in the same turn."""
        self.ask(*asked, **more)  # type: ignore[arg-type]
        answer = self.answer()
        assert answer is not None
        return answer

    def _owner(self, identity: bytes) -> int | None:
        self.looks += 1
        return self.owners.get(identity)

    def _flush(self) -> None:
        self.flushed += 1


def association(identity: bytes) -> dtls.Association:
    peer = dtls.Association(("198.51.100.9", 40000))
    peer.identity = identity
    return peer


@virtual
async def test_an_image_comes_block_by_block() -> None:
    world = World()
    wanted: Block | None = None
    got = bytearray()
    while True:
        answer = world.answered(wanted)
        assert answer.code == codes.CONTENT
        assert (answer.content_format, answer.etag) == (42, GRANT.sha256[:ETAG_BYTES])
        assert answer.uint_option(codes.SIZE2) == (None if got else len(IMAGE))
        got += answer.payload
        block = answer.block2
        assert block is not None
        if not block.more:
            break
        wanted = Block(len(got) >> 9, False, 5)
    assert bytes(got) == IMAGE
    assert set(world.table.said) == {"fetched"}
    assert not world.files._reading  # what is in memory takes no task


@virtual
async def test_later_blocks_are_as_large_as_they_are_asked_for() -> None:
    world = World()
    world.answered(Block(0, False, 6))
    assert world.answered(Block(3, False, 6)).payload == IMAGE[3072:4096]
    last = world.answered(Block(4, False, 6))
    assert (last.payload, last.block2) == (IMAGE[4096:], Block(4, False, 6))
    assert world.answered(Block(5, False, 6)).code == codes.BAD_REQUEST


@virtual
async def test_an_unknown_token_is_not_found() -> None:
    world = World()
    assert world.answered(token="nothing").code == codes.NOT_FOUND
    assert world.table.said == []


@virtual
async def test_what_is_not_in_memory_is_answered_once_it_was_read() -> None:
    world = World()
    world.images.in_memory = False
    world.ask()
    assert world.answer() is None
    await asyncio.sleep(0.2)
    answer = world.answer()
    assert answer is not None
    assert answer.payload == IMAGE[:512]
    world.ask()
    await world.files.close()
    assert world.answer() is None


@virtual
async def test_the_cap_on_bytes_holds_for_what_is_in_memory_too() -> None:
    world = World(bytes_per_second=512)
    await asyncio.sleep(2)
    world.answered()
    world.ask()
    world.ask()
    assert world.answer() is None
    await asyncio.sleep(1.2)
    assert world.answer() is not None
    assert world.answer() is None
    await asyncio.sleep(1)
    assert world.answer() is not None


@virtual
async def test_over_dtls_only_the_device_itself_gets_its_image() -> None:
    world = World()
    assert world.answered(peer=association(IDENTITY)).code == codes.CONTENT
    assert world.answered(peer=association(OTHER_IDENTITY)).code == codes.FORBIDDEN
    assert world.answered(peer=association(b"stranger")).code == codes.FORBIDDEN
    assert world.table.said == ["fetched", "refused", "refused"]


@virtual
async def test_whose_an_identity_is_counts_for_a_second() -> None:
    world, peer = World(), association(IDENTITY)
    for number in range(3):
        assert world.answered(Block(number, False, 5), peer).code == codes.CONTENT
    assert world.looks == 1
    del world.owners[IDENTITY]
    await asyncio.sleep(OWNER_SECONDS)
    assert world.answered(Block(3, False, 5), peer).code == codes.FORBIDDEN
    world.owners[IDENTITY] = OTHER
    await asyncio.sleep(OWNER_SECONDS)
    assert world.answered(Block(3, False, 5), peer).code == codes.FORBIDDEN
    assert world.looks == 3


@virtual
async def test_identities_of_others_are_not_kept() -> None:
    world = World()
    for number in range(50):
        world.answered(peer=association(b"stranger %d" % number))
    await asyncio.sleep(OWNER_SECONDS)
    world.answered(peer=association(IDENTITY))
    assert len(world.files._owners) == 1


@pytest.mark.parametrize("peer", [("192.0.2.77", 5683), ("192.0.2.77", 61616)])
def test_without_security_another_address_shows_first_that_it_receives(peer: tuple[str, int]) -> None:
    @virtual
    async def checked() -> None:
        world = World()
        assert world.answered(peer=(HOME[0], 61616)).code == codes.CONTENT  # the device's own, another port
        refused = world.answered(peer=peer)
        assert (refused.code, refused.payload) == (codes.UNAUTHORIZED, b"")
        echo = refused.option(codes.ECHO)
        assert echo is not None
        shown = ((codes.ECHO, echo),)
        assert world.answered(peer=("203.0.113.5", 1), options=shown).code == codes.UNAUTHORIZED
        assert world.answered(peer=peer, options=shown).code == codes.CONTENT
        assert world.answered(Block(1, False, 5), peer).code == codes.CONTENT

    checked()
