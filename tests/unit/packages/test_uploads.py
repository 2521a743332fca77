"""Uploads: in pieces, over breaks and restarts, and what ends them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from overair.packages.model import (
    BadSignature,
    ImageIncomplete,
    ImageTooLong,
    State,
    TrustError,
    UnknownPackage,
    UploadBusy,
    WrongDigest,
    WrongOffset,
    WrongState,
)
from overair.packages.service import PackageService
from overair.platform.clock import DAY_MS
from overair.platform.images import ImagesUnavailable

from .world import World, firmware, image_bytes, pieces, sha256

IMAGE = image_bytes()
HALF = len(IMAGE) // 2


async def upload(world: World, **said: object) -> str:
    package = await world.packages.begin(world.account.id, firmware(IMAGE, **said))
    return package.id


def staged(world: World) -> list[str]:
    folder = world.data / "uploads"
    return [file.name for file in folder.iterdir()] if folder.exists() else []


def stored(world: World) -> list[str]:
    return [file.name for file in (world.data / "images").iterdir()]


async def test_pieces_become_an_image(world: World) -> None:
    upload_id = await upload(world, sha256=sha256(IMAGE))
    assert await world.packages.offset(upload_id) == (0, len(IMAGE))
    assert await world.packages.append(upload_id, 0, pieces(IMAGE[:7], IMAGE[7:HALF])) == HALF
    assert await world.packages.append(upload_id, HALF, pieces(IMAGE[HALF:])) == len(IMAGE)
    ready = await world.packages.complete(upload_id)
    assert (ready.state, ready.sha256) == (State.READY, sha256(IMAGE))
    assert await world.packages.images.read(upload_id, 0, len(IMAGE)) == IMAGE
    assert staged(world) == []
    assert await world.packages.complete(upload_id) == ready
    assert await world.packages.offset(upload_id) == (len(IMAGE), len(IMAGE))


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionError("the cable")


async def test_an_upload_goes_on_where_it_broke_also_after_a_restart(world: World) -> None:
    upload_id = await upload(world)
    with pytest.raises(ConnectionError):
        await world.packages.append(upload_id, 0, broken(IMAGE[:1000], IMAGE[1000:2500]))
    assert await world.packages.offset(upload_id) == (2500, len(IMAGE))
    later = world.restarted()
    offset, _ = await later.offset(upload_id)
    assert offset == 2500
    await later.append(upload_id, offset, pieces(IMAGE[offset:]))
    assert (await later.complete(upload_id)).sha256 == sha256(IMAGE)


@pytest.mark.parametrize("offset", [0, 999, 1001, len(IMAGE)])
async def test_a_piece_that_begins_elsewhere_is_refused_and_not_read(world: World, offset: int) -> None:
    upload_id = await upload(world)
    await world.packages.append(upload_id, 0, pieces(IMAGE[:1000]))
    read: list[bytes] = []

    async def watched() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    with pytest.raises(WrongOffset) as refused:
        await world.packages.append(upload_id, offset, watched())
    assert refused.value.offset == 1000
    assert read == []
    assert await world.packages.offset(upload_id) == (1000, len(IMAGE))


async def test_more_than_was_announced_is_refused(world: World) -> None:
    upload_id = await upload(world)
    with pytest.raises(ImageTooLong):
        await world.packages.append(upload_id, 0, pieces(IMAGE, b"x"))
    offset, _ = await world.packages.offset(upload_id)
    assert offset == len(IMAGE)
    with pytest.raises(ImageTooLong):
        await world.packages.append(upload_id, offset, pieces(b"x"))
    assert (world.data / "uploads" / upload_id).stat().st_size == len(IMAGE)


async def test_an_incomplete_upload_is_not_ended(world: World) -> None:
    upload_id = await upload(world)
    await world.packages.append(upload_id, 0, pieces(IMAGE[:-1]))
    with pytest.raises(ImageIncomplete) as refused:
        await world.packages.complete(upload_id)
    assert refused.value.offset == len(IMAGE) - 1
    await world.packages.append(upload_id, len(IMAGE) - 1, pieces(IMAGE[-1:]))
    assert (await world.packages.complete(upload_id)).state is State.READY


async def test_another_image_than_announced_ends_the_upload(world: World) -> None:
    upload_id = await upload(world, sha256=sha256(IMAGE))
    await world.packages.append(upload_id, 0, pieces(image_bytes(len(IMAGE), seed=8)))
    with pytest.raises(WrongDigest, match=sha256(IMAGE).hex()):
        await world.packages.complete(upload_id)
    assert (staged(world), stored(world)) == ([], [])
    with pytest.raises(UnknownPackage):
        await world.packages.offset(upload_id)


async def test_a_wrong_signature_ends_the_upload(world: World) -> None:
    upload_id = await upload(world, signature=b"x" * 64)
    await world.packages.append(upload_id, 0, pieces(IMAGE))
    with pytest.raises(BadSignature):
        await world.packages.complete(upload_id)
    assert (staged(world), stored(world)) == ([], [])


async def test_what_is_not_the_uploaders_fault_keeps_the_upload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await upload(world, signature=b"x" * 64)
    await world.packages.append(upload_id, 0, pieces(IMAGE))
    (world.data / "trust").mkdir()
    (world.data / "trust" / "broken.pem").write_text("nonsense")
    with pytest.raises(TrustError, match=r"broken\.pem"):
        await world.packages.complete(upload_id)

    async def full(*_: object) -> None:
        raise ImagesUnavailable("no space left")

    monkeypatch.setattr(world.packages.images, "ingest", full)
    with pytest.raises(ImagesUnavailable):
        await world.packages.complete(upload_id)
    assert await world.packages.offset(upload_id) == (len(IMAGE), len(IMAGE))


async def test_a_crash_between_image_and_row_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await upload(world)
    await world.packages.append(upload_id, 0, pieces(IMAGE))

    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("overair.packages.sql.make_ready", crash)
        with pytest.raises(RuntimeError):
            await world.packages.complete(upload_id)
    assert stored(world) == [upload_id]
    assert (await world.restarted().complete(upload_id)).state is State.READY


async def test_one_request_at_a_time_works_on_an_upload(world: World) -> None:
    upload_id = await upload(world)
    going_on, let_go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield IMAGE[:10]
        going_on.set()
        await let_go.wait()
        yield IMAGE[10:20]

    sending = asyncio.create_task(world.packages.append(upload_id, 0, slow()))
    await going_on.wait()
    for attempt in (
        world.packages.append(upload_id, 0, pieces(b"x")),
        world.packages.complete(upload_id),
        world.packages.withdraw(upload_id),
    ):
        with pytest.raises(UploadBusy):
            await attempt
    let_go.set()
    assert await sending == 20


async def test_a_bound_on_requests_at_once_leaves_room_to_withdraw(world: World) -> None:
    few = world.restarted(limits=replace(world.limits, uploads_at_once=1))
    ids = [(await few.begin(world.account.id, firmware(IMAGE, name=name))).id for name in "ab"]
    going_on, let_go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        going_on.set()
        await let_go.wait()
        yield IMAGE[:10]

    sending = asyncio.create_task(few.append(ids[0], 0, slow()))
    await going_on.wait()
    with pytest.raises(UploadBusy, match="1 images"):
        await few.append(ids[1], 0, pieces(b"x"))
    await few.withdraw(ids[1])
    let_go.set()
    await sending


async def test_a_ready_package_takes_no_more(world: World) -> None:
    package = await world.add(IMAGE)
    with pytest.raises(WrongState):
        await world.packages.append(package.id, len(IMAGE), pieces(b"x"))
    assert await world.packages.images.read(package.id, 0, len(IMAGE)) == IMAGE


async def test_uploads_that_nobody_goes_on_with_are_dropped(world: World) -> None:
    old, new = await upload(world, name="old"), await upload(world, name="new")
    await world.packages.append(old, 0, pieces(IMAGE[:10]))
    (world.data / "uploads" / "left-behind").write_bytes(b"x")
    world.clock.advance(world.limits.upload_kept_days * DAY_MS / 1000)
    await world.packages.append(new, 0, pieces(IMAGE[:10]))
    assert await world.packages.purge() == 0
    assert set(staged(world)) == {old, new}
    world.clock.advance(1)
    assert await world.packages.purge() == 1
    assert staged(world) == [new]
    with pytest.raises(UnknownPackage):
        await world.packages.get_by_id(old)


async def test_a_large_image_is_never_whole_in_memory(world: World) -> None:
    """Of 48 MiB, in pieces of one, at no time more than a few are there."""
    import tracemalloc

    piece, count = bytes(1 << 20), 48
    new = replace(firmware(b"x"), size_bytes=count * len(piece))
    package = await world.packages.begin(world.account.id, new)

    async def many() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    tracemalloc.start()
    try:
        await world.packages.append(package.id, 0, many())
        await world.packages.complete(package.id)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    service: PackageService = world.packages
    assert await service.images.read(package.id, 40 << 20, 10) == bytes(10)
