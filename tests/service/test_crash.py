"""kill -9 under registration load: whoever got its 2.01 is there after the restart."""

import asyncio
import socket
from pathlib import Path

import pytest

from overair.protocols.coap import codes, decode
from overair.protocols.coap.message import encode_fields
from overair.protocols.lwm2m.names import luhn_digit
from overair.simulator.fleet import allow_open_files

from ..running import ACCOUNT, add_owner, overair_json, serving

DEVICES = 800
KILLED_AFTER = 250
"""Registrations answered before the service is killed, with the others on their way."""
ANSWER_SECONDS = 10


class Device:
    """A socket of its own, and the location that the service promised it."""

    def __init__(self, number: int, port: int) -> None:
        first14 = f"990012{number:08d}"
        self.imei = first14 + luhn_digit(first14)
        self.location: tuple[bytes, ...] = ()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(("127.0.0.1", port))

    def register(self) -> None:
        options = [(codes.URI_PATH, b"rd"), (codes.URI_QUERY, b"ep=urn:imei:" + self.imei.encode())]
        self._post(1, options, b"</1/0>,</3/0>")

    def update(self) -> None:
        self._post(2, [(codes.URI_PATH, segment) for segment in self.location], b"")

    def _post(self, message_id: int, options: list[tuple[int, bytes]], payload: bytes) -> None:
        self.socket.send(encode_fields(codes.CON, codes.POST, message_id, b"t", options, payload))

    async def answer(self, message_id: int) -> int:
        """Return the code of the answer; what the service asks meanwhile is not answered."""
        loop = asyncio.get_running_loop()
        while True:
            message = decode(await loop.sock_recv(self.socket, 2048))
            if (message.type, message.message_id) == (codes.ACK, message_id):
                self.location = message.option_values(codes.LOCATION_PATH) or self.location
                return message.code


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await add_owner(tmp_path)
    return tmp_path


async def test_kill_under_registration_load(data: Path) -> None:
    allow_open_files(DEVICES + 100)
    async with serving(data, "--enroll", "open", "--enroll-account", ACCOUNT) as service:
        port = service.ports["coap"]
        devices = [Device(number, port) for number in range(DEVICES)]
        answered = 0
        enough = asyncio.Event()

        async def register(device: Device) -> None:
            nonlocal answered
            device.register()
            assert await device.answer(1) == codes.CREATED
            answered += 1
            if answered == KILLED_AFTER:
                enough.set()

        load = [asyncio.create_task(register(device)) for device in devices]
        async with asyncio.timeout(ANSWER_SECONDS):
            await enough.wait()
        await service.kill()
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)

    promised = [device for device in devices if device.location]
    assert len(promised) >= KILLED_AFTER
    async with serving(data, coap_port=port):
        for device in promised:
            device.update()
            async with asyncio.timeout(ANSWER_SECONDS):
                assert await device.answer(2) == codes.CHANGED, device.imei
    records = await overair_json("device", "list", "--account", ACCOUNT, data=data)
    there = {record["deviceId"] for record in records if record["protocol"] == "LWM2M"}
    assert {device.imei for device in promised} <= there
    for device in devices:
        device.socket.close()


async def test_sigterm_ends_cleanly(data: Path) -> None:
    async with serving(data) as service:
        assert await service.stop() == 0
