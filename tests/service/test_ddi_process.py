"""The whole program on a real socket: slow clients, clients that wait, and bytes that are tricks."""

import asyncio
import contextlib
import json
from pathlib import Path

import httpx2

from ..running import ACCOUNT, Service, add_device, overair_json, serving

IMEI = "490154203237518"
BASE = f"/DEFAULT/controller/v1/{IMEI}"
SLOW_CLIENTS = 200
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TRICKS = ("/../../healthz", "/%2e%2e/x", "//", "/a%2Fb", "/a%00b", "/softwaremodules/1/artifacts/..%2fx")


def written(token: str, method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    head = [f"{method} {BASE}{path} HTTP/1.1", "Host: fota.test", f"Authorization: TargetToken {token}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


async def exchange(service: Service, request: bytes) -> bytes:
    """Send bytes and return the head of the answer, with what may come before it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.ports["http"])
    writer.write(request)
    async with asyncio.timeout(10):
        said = await reader.readuntil(b"\r\n\r\n")
        if said == CONTINUE:
            said += await reader.readuntil(b"\r\n\r\n")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return said


async def test_on_a_real_socket(tmp_path: Path) -> None:
    await overair_json("account", "add", ACCOUNT, data=tmp_path)
    token = (await add_device(tmp_path, IMEI, "--protocol", "http", "--token"))["token"]
    async with serving(tmp_path) as service:
        await waits_for_continue(service, token)
        await tries_tricks(service, token)
        await is_slow(service, token)


async def waits_for_continue(service: Service, token: str) -> None:
    body = json.dumps({"data": {"make": "ACME"}}).encode()
    put = ("PUT", "/configData", "Expect: 100-continue")
    said = await exchange(service, written(token, *put, f"Content-Length: {len(body)}", body=body))
    assert said.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-length: 0\r\n" in said
    # What would be refused is not asked for.
    said = await exchange(service, written(token, *put, "Content-Length: 99999999"))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in said


async def tries_tricks(service: Service, token: str) -> None:
    for path in TRICKS:
        said = await exchange(service, written(token, "GET", path))
        assert said.startswith(b"HTTP/1.1 404 "), path


async def is_slow(service: Service, token: str) -> None:
    """Half of them send half a request, the others half a body; polls are answered all the same."""
    halves = (
        written(token, "PUT", "/configData", "Content-Length: 100", body=b'{"data":'),
        b"GET /DEFAULT/controller/v1/x HTTP/1.1\r\nHost: x\r\nX: ",
    )
    port = service.ports["http"]
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW_CLIENTS)]
    for place, (_, writer) in enumerate(opened):
        writer.write(halves[place % 2])
    async with httpx2.AsyncClient(base_url=service.http, timeout=10) as client:
        headers = {"Authorization": f"TargetToken {token}"}
        answers = [await client.get(BASE, headers=headers) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    for _, writer in opened:
        writer.close()
