"""100 devices that fetch an image block by block (RFC 7959), beside libcoap's server with the same bytes.

The service's door (:mod:`bench.download_server`) and ``coap-server-openssl`` (Debian's libcoap3-bin), which
got the image by a PUT, take turns under the same load: all devices ask for their next block of 1024 bytes,
and for the one after it when all have it; each block is compared with the image. The clients are Python too,
so what counts is blocks by second of the server's own processor time.
"""

import asyncio
import random
import socket
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from bench.download_server import provision, token
from bench.dtls import HANDSHAKE_WINDOW, LibcoapServer, Rate, has_libcoap, rate_notes, rate_row
from bench.dtls_load import SecureDevices, answered_with, identity
from bench.load import TOKEN_BYTES, Devices, LoadError, Phase
from bench.processes import CLIENT_CORE, ServerProcess, pin
from bench.registrations import disk
from bench.report import render
from overair.protocols.coap import OptionPair, codes, decode
from overair.protocols.coap.message import encode_fields
from overair.protocols.coap.options import Block

DEVICES = 100
IMAGE_BYTES, ROUNDS = 512 << 10, 3
QUICK_IMAGE_BYTES, QUICK_ROUNDS = 8 << 10, 1
WARM_UP_BLOCKS = 3
SZX, HALF = 6, 5  # blocks of 1024 and of 512 bytes
PUT_SECONDS = 5.0
PLAIN, SECURE = "blocks over coap", "blocks over coaps"

PathOptions = tuple[OptionPair, ...]
Ask = Callable[[Sequence[bytes]], Phase]


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    size, rounds = (QUICK_IMAGE_BYTES, QUICK_ROUNDS) if quick else (IMAGE_BYTES, ROUNDS)
    image = random.Random(1).randbytes(size)
    with tempfile.TemporaryDirectory(prefix="overair-bench-", dir=disk()) as folder:
        data, file = Path(folder) / "data", Path(folder) / "image"
        file.write_bytes(image)
        asyncio.run(provision(data, file, size, DEVICES))
        measured = [_round(data, image) for _ in range(rounds)]
    what = f"{DEVICES} devices, {size >> 10} kB each, {rounds} rounds"
    title = f"Downloads: {what}; rates a CPU second of the server"
    return render(title, [rate_row(measured, PLAIN), rate_row(measured, SECURE)], rate_notes(measured))


def _round(data: Path, image: bytes) -> dict[str, Rate]:
    rates: dict[str, Rate] = {}
    with ServerProcess(["bench.download_server", str(data), str(DEVICES)]) as server:
        paths = [
            ((codes.URI_PATH, b"f"), (codes.URI_PATH, token(index).encode())) for index in range(DEVICES)
        ]
        rates |= _rates(server, "", _Fetch(image, paths, _our_blocks(len(image))))
    if has_libcoap():
        with LibcoapServer() as server:
            _put(server.ports["coap"], image)
            fetch = _Fetch(image, [_LIBCOAP_PATH] * DEVICES, _blocks(0, len(image)))
            rates |= _rates(server, "libcoap ", fetch)
    return rates


def _rates(server: ServerProcess, name: str, fetch: "_Fetch") -> dict[str, Rate]:
    with Devices(("127.0.0.1", server.ports["coap"]), DEVICES, DEVICES) as devices:
        plain = fetch.measured(server, lambda requests: devices.run(requests, codes.CONTENT))
    coaps = "127.0.0.1", server.ports["coaps"]
    with SecureDevices(coaps, DEVICES, HANDSHAKE_WINDOW, identity) as secure_devices:
        secure_devices.run(fetch.requests(fetch.blocks[0]))
        secure_devices.window = DEVICES
        secure = fetch.measured(server, secure_devices.run)
    return {f"{name}{PLAIN}": plain, f"{name}{SECURE}": secure}


class _Fetch:
    """An image that each device has at a path of its own, to be asked for in these *blocks*."""

    def __init__(self, image: bytes, paths: Sequence[PathOptions], blocks: Sequence[Block]) -> None:
        self._image, self._paths, self.blocks = image, paths, blocks
        self._message_ids = count(1)

    def requests(self, block: Block) -> list[bytes]:
        """Return the requests of all devices for a block."""
        message_id, wanted = next(self._message_ids), (codes.BLOCK2, block.encode())
        return [
            encode_fields(
                codes.CON, codes.GET, message_id, index.to_bytes(TOKEN_BYTES, "big"), (*path, wanted)
            )
            for index, path in enumerate(self._paths)
        ]

    def measured(self, server: ServerProcess, ask: Ask) -> Rate:
        """Have all devices fetch the image."""
        for block in self.blocks[:WARM_UP_BLOCKS]:
            self._check(ask(self.requests(block)), block)
        before, phases = server.cpu_seconds(), []
        for block in self.blocks:
            phases.append(ask(self.requests(block)))
            self._check(phases[-1], block)
        used = server.cpu_seconds() - before
        seconds = sum(phase.seconds for phase in phases)
        share = sum(phase.cpu_seconds for phase in phases) / seconds
        return Rate(sum(len(phase.answers) for phase in phases), seconds, used, share)

    def _check(self, phase: Phase, block: Block) -> None:
        answered_with(phase, codes.CONTENT)
        expected = self._image[block.offset : block.offset + block.size_bytes]
        for answer in phase.answers:
            if decode(answer).payload != expected:
                raise LoadError(f"block {block.number} of {block.size_bytes} bytes is not what it should be")


def _blocks(first: int, image_bytes: int) -> list[Block]:
    return [Block(number, False, SZX) for number in range(first, -(-image_bytes >> (SZX + 4)))]


def _our_blocks(image_bytes: int) -> list[Block]:
    """Return the blocks as a device asks that wants 1024 bytes: the service begins with 512."""
    return [Block(0, False, HALF), Block(1, False, HALF), *_blocks(1, image_bytes)]


_LIBCOAP_PATH = ((codes.URI_PATH, b"image"),)


def _put(port: int, image: bytes) -> None:
    """Give libcoap's server the image, by Block1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PUT_SECONDS)
        sock.connect(("127.0.0.1", port))
        blocks = _blocks(0, len(image))
        for block in blocks:
            option = block._replace(more=block is not blocks[-1]).encode()
            payload = image[block.offset : block.offset + block.size_bytes]
            options = (*_LIBCOAP_PATH, (codes.BLOCK1, option))
            sock.send(encode_fields(codes.CON, codes.PUT, block.number, b"put", options, payload))
            answer = decode(sock.recv(2048))
            if answer.code not in (codes.CONTINUE, codes.CREATED):
                raise LoadError(f"libcoap does not take the image: {answer}")
