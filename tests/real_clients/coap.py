"""libcoap's command line client, one request a call."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from .devices import Psk

_RECEIVED = re.compile(r"^v:1 t:\w+ c:([2-5]\.\d\d) i:\w+ \{\w*\} \[(.*?)\](?: ::.*)?$", re.MULTILINE)


class CoapFailedError(AssertionError):
    """The request got no response; the message holds what the client printed."""


class CoapAnswer(NamedTuple):
    """The payload, the response code such as "2.05", and the options as (name, value) in their order."""

    output: bytes
    code: str
    options: tuple[tuple[str, str], ...]

    @property
    def location(self) -> str:
        """The Location-Path as "/rd/…"."""
        return "".join(f"/{value}" for name, value in self.options if name == "Location-Path")


async def coap_client(
    uri: str,
    method: str = "get",
    payload: bytes | None = None,
    *,
    content_format: int | None = None,
    accept: int | None = None,
    psk: Psk | None = None,
    backend: str = "openssl",
    timeout_seconds: int = 5,
) -> CoapAnswer:
    """Sends one confirmable request and returns the answer, the last one if there were several blocks.

    `backend` is the library for a "coaps://…" URI: "openssl" or "gnutls". A key with a zero byte can't be
    passed on a command line: ValueError. Raises CoapFailedError if there is no answer within the time.
    """
    with tempfile.TemporaryDirectory(prefix="overair-coap-") as name:
        folder = Path(name)
        command = [
            f"coap-client-{backend if uri.startswith('coaps') else 'notls'}",
            *("-m", method, "-v", "6", "-B", str(timeout_seconds), "-o", str(folder / "output")),
        ]
        if payload is not None:
            (folder / "payload").write_bytes(payload)
            command += ["-f", str(folder / "payload")]
        if content_format is not None:
            command += ["-t", str(content_format)]
        if accept is not None:
            command += ["-A", str(accept)]
        log = await _run([*command, *_key(psk), uri], timeout_seconds + 5)
        answers = _RECEIVED.findall(log)
        if not answers:
            raise CoapFailedError(f"no answer to {method} {uri}\n{log}")
        code, options = answers[-1]
        output = folder / "output"
        return CoapAnswer(output.read_bytes() if output.exists() else b"", code, _options(options))


def _key(psk: Psk | None) -> list[str | bytes]:
    if psk is None:
        return []
    if 0 in psk.key:
        raise ValueError("psk.key: a key with a zero byte can't be passed on a command line")
    return ["-u", psk.identity, "-k", psk.key]


def _options(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (option.partition(":") for option in text.strip().split(", ") if option)
    return tuple((name, value) for name, _, value in pairs)


async def _run(command: list[str | bytes], limit_seconds: int) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(limit_seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return output.decode(errors="replace")
