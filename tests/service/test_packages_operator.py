"""The operator's REST calls on packages, and uploads that break, also with the whole service."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from overair.doors.operator.pieces import Pieces
from overair.doors.operator.token import FILE_NAME, OperatorTokenError, operator_token
from overair.platform.limits import Limits

from ..running import ACCOUNT as OWNER
from ..running import add_owner, overair_json, serving
from ..unit.packages.world import ACCOUNT, NAME, image_bytes, public_pem
from ..virtual import virtual
from .packages_world import OPERATOR, PACKAGES, Doors, open_doors

IMAGE = image_bytes()
HALF = len(IMAGE) // 2
REQUEST = {
    "accountName": ACCOUNT,
    "kind": "firmware",
    "make": "Acme Telematics",
    "model": "AT-410",
    "versionFrom": "AT410-1.4.2",
    "versionTo": "AT410-1.5.0",
    "protocol": "LwM2M",
    "sizeBytes": len(IMAGE),
}
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as opened:
        opened.client.headers.update(OPERATOR)
        yield opened


async def announce(doors: Doors, **said: Any) -> str:
    answer = await doors.client.post(PACKAGES, json={**REQUEST, **said})
    assert answer.status_code == 200, answer.text
    return f"{PACKAGES}/{answer.json()['id']}"


def at(offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset)}


async def test_a_package_from_announcement_to_ready(doors: Doors) -> None:
    announced = await doors.client.post(
        PACKAGES, json={**REQUEST, "sha256": SHA256, "launchDate": "2025-05-12", "releaseNote": "Fixes"}
    )
    package = announced.json()
    assert package == {
        "id": package["id"],
        "accountName": ACCOUNT,
        "kind": "firmware",
        "name": NAME,
        "make": "Acme Telematics",
        "model": "AT-410",
        "versionFrom": "AT410-1.4.2",
        "versionTo": "AT410-1.5.0",
        "protocol": "LWM2M",
        "launchDate": "2025-05-12T00:00:00Z",
        "releaseNote": "Fixes",
        "sizeBytes": len(IMAGE),
        "sha256": SHA256,
        "state": "uploading",
        "createTime": package["createTime"],
        "uploadOffset": 0,
    }
    one = f"{PACKAGES}/{package['id']}"
    sent = await doors.client.patch(f"{one}/image", content=IMAGE[:HALF], headers=at(0))
    assert sent.json() == {"id": package["id"], "uploadOffset": HALF, "sizeBytes": len(IMAGE)}
    assert sent.headers["upload-offset"] == str(HALF)
    asked = await doors.client.head(f"{one}/image")
    assert (asked.status_code, asked.headers["upload-offset"]) == (200, str(HALF))
    assert (await doors.client.get(one)).json()["uploadOffset"] == HALF
    content_range = f"bytes {HALF}-{len(IMAGE) - 1}/{len(IMAGE)}"
    sent = await doors.client.put(
        f"{one}/image", content=IMAGE[HALF:], headers={"Content-Range": content_range}
    )
    assert sent.json()["uploadOffset"] == len(IMAGE)
    ready = (await doors.client.post(f"{one}/complete")).json()
    assert ready == {key: package[key] for key in package if key != "uploadOffset"} | {"state": "ready"}
    assert (await doors.client.get(PACKAGES)).json() == {"packages": [ready]}
    assert (await doors.client.get(PACKAGES, params={"account": ACCOUNT})).json() == {"packages": [ready]}
    withdrawn = await doors.client.delete(one)
    assert (withdrawn.status_code, withdrawn.content) == (200, b"")
    assert (await doors.client.get(PACKAGES)).json() == {"packages": []}
    assert (await doors.client.delete(one)).status_code == 404


async def test_a_put_of_the_whole_needs_no_header(doors: Doors) -> None:
    one = await announce(doors)
    assert (await doors.client.put(f"{one}/image", content=IMAGE)).json()["uploadOffset"] == len(IMAGE)
    assert (await doors.client.post(f"{one}/complete")).json()["sha256"] == SHA256


async def test_a_wrong_offset_is_a_conflict_that_says_the_right_one(doors: Doors) -> None:
    one = await announce(doors)
    await doors.client.patch(f"{one}/image", content=IMAGE[:HALF], headers=at(0))
    for offset in (0, HALF - 1, HALF + 1):
        answer = await doors.client.patch(f"{one}/image", content=IMAGE[offset:], headers=at(offset))
        assert (answer.status_code, answer.json()["errorCode"]) == (409, "WRONG_OFFSET")
        assert (answer.headers["upload-offset"], answer.headers["connection"]) == (str(HALF), "close")
    answer = await doors.client.post(f"{one}/complete")
    assert (answer.status_code, answer.json()["errorCode"]) == (409, "IMAGE_INCOMPLETE")
    assert answer.headers["upload-offset"] == str(HALF)


async def test_a_client_that_leaves_in_the_middle_goes_on_later(doors: Doors) -> None:
    one = await announce(doors)
    messages = [
        {"type": "http.request", "body": IMAGE[:1000], "more_body": True},
        {"type": "http.request", "body": IMAGE[1000:3000], "more_body": True},
        {"type": "http.disconnect"},
    ]
    status: list[int] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        status.append(message.get("status", 0))

    headers = [(b"authorization", OPERATOR["Authorization"].encode()), (b"upload-offset", b"0")]
    path = f"{one}/image"
    scope = {"type": "http", "method": "PATCH", "path": path, "query_string": b"", "headers": headers}
    await doors.app(scope, receive, send)
    assert status[0] == 408
    asked = await doors.client.head(path)
    assert asked.headers["upload-offset"] == "3000"
    await doors.client.patch(path, content=IMAGE[3000:], headers=at(3000))
    assert (await doors.client.post(f"{one}/complete")).json()["sha256"] == SHA256


async def test_more_than_announced_is_too_long(doors: Doors) -> None:
    one = await announce(doors)
    answer = await doors.client.put(f"{one}/image", content=IMAGE + b"x")
    assert (answer.status_code, answer.json()["errorCode"]) == (413, "IMAGE_TOO_LONG")


async def test_another_image_than_announced(doors: Doors) -> None:
    one = await announce(doors, sha256=SHA256)
    await doors.client.put(f"{one}/image", content=image_bytes(len(IMAGE), seed=8))
    answer = await doors.client.post(f"{one}/complete")
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "DIGEST_MISMATCH")
    assert (await doors.client.get(one)).status_code == 404


async def test_signatures(doors: Doors) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = doors.world.data / "public.pem"

    def trust() -> None:
        pem.write_bytes(public_pem(key))
        doors.world.packages.trust.add(pem)

    await asyncio.to_thread(trust)
    for signed, status in ((image_bytes(10), 400), (IMAGE, 200)):
        one = await announce(doors, signature=b64encode(key.sign(signed)).decode())
        await doors.client.put(f"{one}/image", content=IMAGE)
        answer = await doors.client.post(f"{one}/complete")
        assert answer.status_code == status
    assert answer.json()["signedBy"].startswith("key ")


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"accountName": "9-9"}, 404, "there is no account '9-9'"),
    ({"accountName": "x"}, 400, "account"),
    ({"kind": "music"}, 400, "kind: must be one of firmware, software, file"),
    ({"make": ""}, 400, "make"),
    ({"protocol": "ALL"}, 400, "protocol"),
    ({"sizeBytes": 0}, 400, "size"),
    ({"sizeBytes": -1}, 400, "size"),
    ({"sizeBytes": 1 << 40}, 400, "size"),
    ({"sizeBytes": "many"}, 400, "sizeBytes"),
    ({"sha256": "xyz"}, 400, "sha256"),
    ({"sha256": "00"}, 400, "sha256"),
    ({"signature": "%%%"}, 400, "signature: must be base64"),
    ({"launchDate": "yesterday"}, 400, "launch_date"),
    ({"name": "n" * 2000}, 400, "name"),
]


@pytest.mark.parametrize(("said", "status", "says"), BAD, ids=str)
async def test_what_is_announced_wrongly_is_said(
    doors: Doors, said: dict[str, Any], status: int, says: str
) -> None:
    answer = await doors.client.post(PACKAGES, json={**REQUEST, **said})
    assert answer.status_code == status
    assert says in answer.json()["errorMessage"]
    assert (await doors.client.get(PACKAGES)).json() == {"packages": []}


@pytest.mark.parametrize(
    "headers",
    [{"Upload-Offset": "-1"}, {"Upload-Offset": "x"}, {"Upload-Offset": "1" * 16}, {"Upload-Offset": "１"},
     {"Content-Range": "bytes */5"}, {"Content-Range": "0-4/5"}],
)  # fmt: skip
async def test_offsets_that_are_none(doors: Doors, headers: dict[str, str]) -> None:
    one = await announce(doors)
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = await doors.client.put(f"{one}/image", content=IMAGE, headers=encoded)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "INVALID_PARAMETER")
    assert (await doors.client.head(f"{one}/image")).headers["upload-offset"] == "0"


async def test_a_name_is_taken(doors: Doors) -> None:
    await announce(doors)
    answer = await doors.client.post(PACKAGES, json=REQUEST)
    assert (answer.status_code, answer.json()["errorCode"]) == (409, "NAME_TAKEN")


@pytest.mark.parametrize("package_id", ["none", "..%2f..%2foverair.db", "0" * 36])
@pytest.mark.parametrize(
    ("method", "end"),
    [("GET", ""), ("DELETE", ""), ("GET", "/image"), ("PUT", "/image"), ("POST", "/complete")],
)
async def test_packages_that_are_not_there(doors: Doors, package_id: str, method: str, end: str) -> None:
    answer = await doors.client.request(method, f"{PACKAGES}/{package_id}{end}")
    assert answer.status_code == 404


# The token.


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer "}],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("GET", "/x"), ("DELETE", "/x"), ("PUT", "/x/image"), ("PATCH", "/x/image"),
     ("HEAD", "/x/image"), ("POST", "/x/complete")],
)  # fmt: skip
async def test_nothing_without_the_token(
    tmp_path: Path, headers: dict[str, str], method: str, path: str
) -> None:
    async with open_doors(tmp_path) as doors:
        answer = await doors.client.request(method, f"{PACKAGES}{path}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    data = tmp_path / "data"
    token = operator_token(data, {})
    assert len(token) == 40
    assert operator_token(data, {}) == token
    assert (data / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in data.iterdir()] == [FILE_NAME]
    assert operator_token(data, {"OVERAIR_OPERATOR_TOKEN": "x" * 20}) == "x" * 20
    (data / FILE_NAME).chmod(0o644)
    with pytest.raises(OperatorTokenError, match="chmod 600"):
        operator_token(data, {})


@pytest.mark.parametrize("token", ["", "short", "x" * 201, "x" * 20 + "\n", "y" * 19 + " "])
def test_a_token_that_is_easily_guessed_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(OperatorTokenError):
        operator_token(tmp_path, {"OVERAIR_OPERATOR_TOKEN": token})


# Slow bodies.


async def trickle(count: int, size: int, pause: float) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause)
        yield b"x" * size


async def taken(pieces: Pieces) -> int:
    return sum([len(piece) async for piece in pieces])


@virtual
async def test_a_body_may_be_slow_but_not_stand_still() -> None:
    limits = Limits()
    steady = Pieces(trickle(100, 20_480, 10), limits)
    assert (await taken(steady), steady.cut) == (100 * 20_480, False)
    stalled = Pieces(trickle(3, 20_480, limits.upload_stall_seconds + 1), limits)
    assert (await taken(stalled), stalled.cut) == (0, True)
    holding = Pieces(trickle(1000, 1, 10), limits)
    assert (await taken(holding), holding.cut) == (3, True)


async def test_a_slow_upload_keeps_what_came(tmp_path: Path) -> None:
    limits = replace(Limits(), upload_stall_seconds=0.05)
    async with open_doors(tmp_path, limits) as doors:
        doors.client.headers.update(OPERATOR)
        one = await announce(doors)
        never = asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield IMAGE[:100]
            await never.wait()

        answer = await doors.client.put(f"{one}/image", content=stuck())
        assert answer.status_code == 408
        assert (await doors.client.head(f"{one}/image")).headers["upload-offset"] == "100"


# The whole service.


async def test_an_upload_survives_a_kill(tmp_path: Path) -> None:
    """Killed between two pieces; its successor goes on, and offers the package to the owner's devices."""
    await add_owner(tmp_path)
    async with serving(tmp_path) as service, httpx2.AsyncClient(base_url=service.http) as client:
        token = await asyncio.to_thread((tmp_path / FILE_NAME).read_text)
        headers = {"Authorization": f"Bearer {token.strip()}"}
        assert (await client.get(PACKAGES)).status_code == 401
        announced = await client.post(
            PACKAGES, headers=headers, json={**REQUEST, "accountName": OWNER, "sha256": SHA256}
        )
        path = f"{PACKAGES}/{announced.json()['id']}"
        sent = await client.patch(f"{path}/image", content=IMAGE[:HALF], headers={**headers, **at(0)})
        assert sent.json()["uploadOffset"] == HALF
        await service.kill()
    async with serving(tmp_path) as service, httpx2.AsyncClient(base_url=service.http) as client:
        offset = int((await client.head(f"{path}/image", headers=headers)).headers["upload-offset"])
        assert offset == HALF
        await client.patch(f"{path}/image", content=IMAGE[offset:], headers={**headers, **at(offset)})
        ready = (await client.post(f"{path}/complete", headers=headers)).json()
        assert (ready["state"], ready["sha256"]) == ("ready", SHA256)
        assert (await client.get("/f/abcdefghijklmnop")).status_code == 404
        assert (await client.get("/healthz")).status_code == 200
        assert await overair_json("package", "list", data=tmp_path) == [ready]
        assert await service.stop() == 0
