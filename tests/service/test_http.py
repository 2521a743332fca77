"""The layer under all calls: paths, methods, bodies and their bounds, errors that nobody foresaw."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.services import Services
from overair.platform.limits import Limits

from .fake_devices import FakeDevices
from .harness import ACCOUNT, DEVICES, FIRMWARE, IMEI, Door, door_to, open_door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = await open_door()
    async with door.client:
        yield door


@pytest.mark.parametrize(
    "path",
    [
        f"/api/fota/v3/devices/{ACCOUNT}/",
        f"//api/fota//v3/devices///{ACCOUNT}//",
        f"/api/fota/v3/%64evices/{ACCOUNT.replace('-', '%2D')}",
    ],
)
async def test_published_spellings_of_a_path_are_served_without_redirect(door: Door, path: str) -> None:
    url = f"http://overair.test{path}"
    answer = await door.client.post(url, headers=await door.signed_in(), json={"deviceList": [IMEI]})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/api/fota/v3", "/api/fota/v3/devices", f"/api/fota/v4/devices/{ACCOUNT}", f"/api{DEVICES}/x"],
)
async def test_what_is_not_served_is_a_fault(door: Door, path: str) -> None:
    answer = await door.client.get(path)
    assert (answer.status_code, answer.json()["fault"]["code"]) == (404, "900906")


async def test_a_wrong_method_is_a_fault_that_says_what_is_allowed(door: Door) -> None:
    answer = await door.client.delete(DEVICES)
    assert (answer.status_code, answer.json()["fault"]["code"]) == (405, "900906")
    assert answer.headers["allow"] == "GET, POST"


async def test_head_is_served_as_get(door: Door) -> None:
    assert (await door.client.head(DEVICES, headers=await door.signed_in())).status_code == 200


@pytest.mark.parametrize("content_type", ["*/*", "text/plain", "application/json; charset=utf-8", ""])
async def test_a_body_is_json_whatever_its_header_says(door: Door, content_type: str) -> None:
    headers = {**await door.signed_in(), "Content-Type": content_type}
    answer = await door.client.post(
        DEVICES, headers=headers, content=b'{"deviceList":["%s"]}' % IMEI.encode()
    )
    assert answer.status_code == 200


async def test_a_path_or_query_that_is_too_long_is_a_fault(door: Door) -> None:
    assert (await door.client.get("/" + "a" * 9000)).status_code == 414
    assert (await door.client.get(DEVICES, params={"protocol": "x" * 9000})).status_code == 414


class Trickle:
    """A body in chunks; counts how many of them were asked for."""

    def __init__(self, chunks: int, size: int) -> None:
        self.chunks, self.size, self.read = chunks, size, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.chunks):
            self.read += 1
            yield b" " * self.size


async def test_a_body_that_says_it_is_too_large_is_not_read(door: Door) -> None:
    headers = {**await door.signed_in(), "Content-Length": str((1 << 20) + 1)}
    body = Trickle(1, 10)
    answer = await door.client.post(DEVICES, headers=headers, content=body)
    assert (answer.status_code, answer.json()["fault"]["code"]) == (413, "413")
    assert answer.headers["connection"] == "close"
    assert body.read == 0


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(door: Door) -> None:
    body = Trickle(100, 100_000)
    answer = await door.client.post(DEVICES, headers=await door.signed_in(), content=body)
    assert answer.status_code == 413
    assert body.read == 11


async def test_a_body_as_large_as_the_limit_is_read(door: Door) -> None:
    body = b'{"deviceList":["%s"]}' % IMEI.encode()
    answer = await door.client.post(
        DEVICES, headers=await door.signed_in(), content=body.ljust(1 << 20, b" ")
    )
    assert answer.status_code == 200


async def test_a_stranger_makes_nobody_read_a_body(door: Door) -> None:
    body = Trickle(100, 100_000)
    assert (await door.client.post(DEVICES, content=body)).status_code == 401
    assert body.read == 0


def scope(headers: dict[str, str], **more: object) -> Scope:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": "POST",
        "path": DEVICES,
        "query_string": b"",
        "headers": raw,
        **more,
    }


async def status_of(door: Door, limits: Limits, scope_: Scope, receive: Callable[[], object]) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def received() -> Message:
        message = receive()
        if message is None:
            await asyncio.Event().wait()
        return message  # type: ignore[return-value]

    app = thingspace_app(Services(door.accounts, FakeDevices(), limits))
    await app(scope_, received, send)
    return int(sent[0]["status"])


async def test_a_body_that_never_ends_times_out(door: Door) -> None:
    limits = replace(Limits(), request_timeout_seconds=0.0)
    assert await status_of(door, limits, scope(await door.signed_in()), lambda: None) == 408


async def test_a_client_that_goes_away_ends_its_call_quietly(door: Door) -> None:
    messages: Iterator[object] = iter([{"type": "http.disconnect"}])
    with capture_logs() as logs:
        status = await status_of(door, Limits(), scope(await door.signed_in()), lambda: next(messages))
    assert (status, logs) == (408, [])


async def test_a_content_length_of_any_size_is_a_number(door: Door) -> None:
    for length, status in (("9" * 5000, 413), ("many", 400), ("-1", 400)):
        headers = {**await door.signed_in(), "content-length": length}
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
        assert await status_of(door, Limits(), scope(headers), lambda m=messages: next(m)) == status  # type: ignore[misc]


async def test_what_nobody_foresaw_is_a_500_and_is_logged(door: Door) -> None:
    door.devices.broken = ZeroDivisionError("seven by nought")
    with capture_logs() as logs:
        answer = await door.client.get(DEVICES, headers=await door.signed_in())
    assert answer.status_code == 500
    assert answer.json() == {
        "errorCode": "INTERNAL_SYSTEM_ERROR",
        "errorMessage": "The system encountered an internal error.",
    }
    (entry,) = logs
    assert (entry["event"], entry["path"], entry["exc_info"]) == (
        "call failed",
        "/api/fota/v3/devices/{acc}",
        True,
    )


async def test_a_websocket_is_turned_away(door: Door) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    app = thingspace_app(Services(door.accounts, FakeDevices(), Limits()))
    await app({"type": "websocket", "path": DEVICES, "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_literal_segments_come_before_parameters(door: Door) -> None:
    headers = await door.signed_in()
    answer = await door.client.put(f"{FIRMWARE}/devices", headers=headers, json={"deviceList": [IMEI]})
    assert "deviceFirmwarVersionList" in answer.json()


async def test_two_doors_share_a_store_and_nothing_else(door: Door) -> None:
    headers = await door.signed_in()
    other = door_to(door.store, door.clock, Limits())
    async with other.client:
        assert (await other.client.get(DEVICES, headers=headers)).status_code == 200
