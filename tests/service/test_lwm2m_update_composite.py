"""Several paths in one message, where the device can (spec lwm2m.md, 5.1, 6.1 and 8.6)."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from overair.doors.lwm2m.conversation import Conversation, Refused, Silent
from overair.protocols import coap, lwm2m
from overair.protocols.coap import Message, codes, encode_uint
from overair.protocols.lwm2m.content import decode_paths, encode

from ..virtual import virtual
from .lwm2m_device import IMEI, SENML_CBOR, SENML_JSON, TEXT, TLV, VALUES, Device, Door, open_door

PATHS = ((3, 0, 3), (5, 0, 3), (5, 0, 5), (5, 0, 7))
BOTH = b'</>;rt="oma.lwm2m";ct="110 112",</1/0>,</3/0>,</5/0>'
KNOWN = {path: VALUES[path] for path in PATHS if path in VALUES}


@dataclass
class Composing(Device):
    """A device that knows FETCH. `refusal` is how it answers it, `more` what it says unasked."""

    refusal: int | None = None
    more: dict[lwm2m.Path, lwm2m.Value] = field(default_factory=dict)
    garbled: bool = False
    deaf: bool = False

    def _result(self, message: Message) -> tuple[int, coap.Options, bytes]:
        if message.code != codes.FETCH or message.uri_path != self.root:
            return super()._result(message)
        if self.refusal is not None:
            return self.refusal, (), b""
        given = message.content_format
        if given not in self.formats or given is None:
            return codes.UNSUPPORTED_CONTENT_FORMAT, (), b""
        assert message.accept == given
        asked = decode_paths(given, message.payload)
        found = {path: value for path, value in self.values.items() if path in asked} | self.more
        payload = b"\xff{" if self.garbled else encode(given, found, ())
        return codes.CONTENT, ((codes.CONTENT_FORMAT, encode_uint(given)),), payload

    def _answer(self, message: Message) -> None:
        if not (self.deaf and message.code == codes.FETCH):
            super()._answer(message)

    @property
    def fetches(self) -> list[Message]:
        seen = {message.message_id: message for _, message in self.asked if message.code == codes.FETCH}
        return list(seen.values())


@contextlib.asynccontextmanager
async def talking(
    *, objects: bytes = BOTH, version: str = "1.1", **behaviour: Any
) -> AsyncIterator[tuple[Door, Composing]]:
    async with open_door() as door:
        await door.add()
        device = Composing(door.address, **behaviour)
        try:
            await device.register(objects=objects, version=version)
            await device.unmuted.wait() if version != "1.0" else None
            yield door, device
        finally:
            device.close()


def conversation(door: Door) -> Conversation:
    live = door.gateway.registry.by_imei(int(IMEI))
    assert live is not None
    return Conversation(door.endpoint, live, door.face.flush)


@virtual
async def test_all_of_it_comes_in_one_message() -> None:
    async with talking() as (door, device):
        talk = conversation(door)
        assert talk.composes
        before = len(device.paths)
        assert await talk.read_composite(PATHS) == KNOWN
        assert device.paths[before:] == ["/"]
        assert device.fetches[0].content_format == SENML_CBOR
        assert talk.composes


@virtual
async def test_below_the_root_that_the_device_registered() -> None:
    async with talking(
        objects=b'</lwm2m>;rt="oma.lwm2m";ct=112,</lwm2m/1/0>,</lwm2m/3/0>,</lwm2m/5/0>', root=("lwm2m",)
    ) as (door, device):
        assert await conversation(door).read_composite(PATHS) == KNOWN
        assert device.fetches[0].uri_path == ("lwm2m",)


@virtual
async def test_the_other_format_is_tried_and_then_remembered() -> None:
    async with talking(formats=(TEXT, SENML_JSON)) as (door, device):
        for _ in range(2):
            assert await conversation(door).read_composite(PATHS) == KNOWN
        assert [each.content_format for each in device.fetches] == [SENML_CBOR, SENML_JSON, SENML_JSON]


@virtual
async def test_what_was_not_asked_for_does_not_count() -> None:
    async with talking(more={(3, 0, 0): "EVIL", (5, 0, 9): 1}) as (door, _):
        assert await conversation(door).read_composite(PATHS) == KNOWN


@pytest.mark.parametrize(
    "behaviour",
    [
        *({"refusal": code} for code in (codes.METHOD_NOT_ALLOWED, codes.NOT_FOUND, codes.BAD_REQUEST)),
        *({"refusal": code} for code in (codes.NOT_IMPLEMENTED, codes.FORBIDDEN, codes.EMPTY)),
        {"formats": (TEXT, TLV)},
        {"values": {}},
        {"garbled": True},
    ],
    ids=str,
)
def test_a_device_that_can_not_is_asked_once_until_it_registers_again(behaviour: dict[str, Any]) -> None:
    @virtual
    async def run() -> None:
        async with talking(**{"values": dict(VALUES), **behaviour}) as (door, device):
            talk = conversation(door)
            with pytest.raises(Refused):
                await talk.read_composite(PATHS)
            assert not talk.composes
            assert not conversation(door).composes
            await device.update()
            assert not conversation(door).composes
            await device.register(objects=BOTH)
            assert conversation(door).composes

    run()


@virtual
async def test_a_device_that_does_not_answer_is_not_asked_so_again() -> None:
    async with talking(deaf=True) as (door, _):
        talk = conversation(door)
        with pytest.raises(Silent):
            await talk.read_composite(PATHS)
        assert not talk.composes
        assert await talk.read((5, 0, 3)) == {(5, 0, 3): 0}


@virtual
async def test_1_0_has_no_composite_operations() -> None:
    async with talking(version="1.0") as (door, _):
        assert not conversation(door).composes
