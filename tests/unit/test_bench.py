"""The benchmarks run, and print a figure beside its target; how large it is, is no test."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HELD_TO_TARGET = re.compile(r"(>=|<=) [\d.]+( x| kB| bytes| done)  +(reached|MISSED)$", re.MULTILINE)
DTLS_LINES = 8 if shutil.which("coap-server-openssl") else 5  # three are ratios of libcoap's


@pytest.mark.parametrize(
    ("name", "lines"),
    [("registrations", 5), ("dtls", DTLS_LINES), ("memory", 2), ("codec", 1), ("pages", 2), ("campaigns", 3)],
)
async def test_prints_figures_beside_targets(name: str, lines: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "--quick", name,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert len(HELD_TO_TARGET.findall(output.decode())) == lines, output.decode()


async def test_downloads_come_whole_and_are_counted_beside_libcoap() -> None:
    """Each block is compared with the image, by the benchmark itself. There is no target but the baseline."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "--quick", "downloads",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    rows = re.findall(
        r"^(blocks over \w+) +[\d.]+ k/s +(?:libcoap|no) .*?(\d x)?$", output.decode(), re.MULTILINE
    )
    has_libcoap = shutil.which("coap-server-openssl") is not None
    assert [(name, bool(ratio)) for name, ratio in rows] == [
        ("blocks over coap", has_libcoap),
        ("blocks over coaps", has_libcoap),
    ], output.decode()


async def test_an_unknown_name_is_refused() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "nothing", cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"nothing: no such benchmark" in errors
