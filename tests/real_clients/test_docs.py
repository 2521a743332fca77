"""The commands of docs/devices.md, copied and pasted."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..running import Service, add_owner, overair, serving

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "devices.md"
ANSWER_SECONDS = 20


def command(beginning: str) -> str:
    """Return the one command of the document that begins so."""
    blocks = re.findall(r"```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (found,) = [line for block in blocks for line in block.splitlines() if line.startswith(beginning)]
    return str(found)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    await add_owner(tmp_path)
    _, *arguments = shlex.split(command("overair device add"))
    code, _, errors = await overair(*arguments, data=tmp_path)
    assert code == 0, errors
    async with serving(tmp_path) as running:
        yield running


async def typed(line: str, service: Service, stdin: bytes = b"") -> str:
    """Run a command of the document against the service's own port; returns all that it printed."""
    line = line.replace("5684", str(service.ports["coaps"]))
    process = await asyncio.create_subprocess_exec(
        *shlex.split(line),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            output, _ = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")


@pytest.mark.real_client("libcoap")
@pytest.mark.parametrize("backend", ["openssl", "gnutls"])
async def test_libcoap(service: Service, backend: str) -> None:
    line = command("coap-client-openssl").replace("coap-client-openssl", f"coap-client-{backend} -v 7")
    assert "c:2.01" in await typed(line, service)


@pytest.mark.real_client("openssl")
async def test_openssl(service: Service) -> None:
    said = await typed(command("openssl s_client"), service)
    assert "Cipher is PSK-AES128-CCM8" in said


@pytest.mark.real_client("gnutls-cli")
async def test_gnutls(service: Service) -> None:
    said = await typed(command("gnutls-cli"), service)
    assert "Handshake was completed" in said
