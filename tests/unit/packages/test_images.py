"""Images: every read is checked, and what is damaged is never served again."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError
from obstore.store import MemoryStore
from structlog.testing import capture_logs

from overair.packages.model import State
from overair.platform import images as module
from overair.platform.bandwidth import Bandwidth
from overair.platform.images import (
    CHUNK_BYTES,
    DamagedImage,
    Images,
    ImagesUnavailable,
    Manifest,
    UnknownImage,
    open_store,
)

from .world import World, firmware, image_bytes, sha256

IMAGE = image_bytes()
ID = "00000000-0000-4000-8000-0000000000ab"


class Ledger:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.reasons: list[tuple[str, str]] = []

    async def manifest(self, image_id: str) -> Manifest | None:
        return self.manifests.get(image_id)

    async def damaged(self, image_id: str, reason: str) -> None:
        self.reasons.append((image_id, reason))
        self.manifests.pop(image_id, None)


async def taken_in(
    image: bytes, tmp_path: Path, memory_bytes: int = 1 << 20, store: Any = None
) -> tuple[Images, Ledger]:
    ledger = Ledger()
    images = Images(store or MemoryStore(), ledger, memory_bytes=memory_bytes)
    source = tmp_path / "source"
    source.write_bytes(image)
    ledger.manifests[ID] = await images.ingest(ID, source)
    return images, ledger


async def test_what_comes_in_is_what_is_read(tmp_path: Path) -> None:
    images, ledger = await taken_in(IMAGE, tmp_path)
    manifest = ledger.manifests[ID]
    assert (manifest.size_bytes, manifest.sha256) == (len(IMAGE), sha256(IMAGE))
    assert manifest.digests[-32:] == sha256(IMAGE[3 * CHUNK_BYTES :])
    assert await images.read(ID, 0, len(IMAGE)) == IMAGE
    assert await images.read(ID, 0, 10 * len(IMAGE)) == IMAGE
    assert await images.read(ID, len(IMAGE), 1) == b""


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
async def test_sizes_about_the_bounds_of_chunks(tmp_path: Path, size: int) -> None:
    image = image_bytes(size)
    images, ledger = await taken_in(image, tmp_path)
    assert len(ledger.manifests[ID].digests) == 32 * -(-size // CHUNK_BYTES)
    assert await images.read(ID, 0, size) == image
    assert await images.read(ID, size - 1, 2) == image[-1:]


@given(st.integers(0, len(IMAGE) + 10), st.integers(0, 3 * CHUNK_BYTES))
def test_any_part(tmp_path_factory: pytest.TempPathFactory, offset: int, length: int) -> None:
    images = _shared(tmp_path_factory)
    assert asyncio.run(images().read(ID, offset, length)) == IMAGE[offset : offset + length]


_KEPT: list[Callable[[], Images]] = []


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Images]:
    """Return what makes Images on one store: a loop of its own for each example."""
    if not _KEPT:
        store, folder = MemoryStore(), tmp_path_factory.mktemp("images")
        _, ledger = asyncio.run(taken_in(IMAGE, folder, store=store))
        _KEPT.append(lambda: Images(store, ledger, memory_bytes=2 * CHUNK_BYTES))
    return _KEPT[0]


async def test_cached_answers_only_what_was_read_before(tmp_path: Path) -> None:
    images, _ = await taken_in(IMAGE, tmp_path)
    assert images.cached(ID, 0, 10) is None
    await images.read(ID, 0, 1)
    assert images.cached(ID, 0, 10) == IMAGE[:10]
    assert images.cached(ID, CHUNK_BYTES - 5, 10) is None
    await images.read(ID, CHUNK_BYTES, 1)
    assert images.cached(ID, CHUNK_BYTES - 5, 10) == IMAGE[CHUNK_BYTES - 5 : CHUNK_BYTES + 5]
    await images.read(ID, 0, len(IMAGE))
    assert images.cached(ID, len(IMAGE) - 3, 10) == IMAGE[-3:]
    assert images.cached("unknown", 0, 10) is None


async def test_memory_is_bounded(tmp_path: Path) -> None:
    images, _ = await taken_in(IMAGE, tmp_path, memory_bytes=2 * CHUNK_BYTES)
    await images.read(ID, 0, len(IMAGE))
    kept = [images.cached(ID, chunk * CHUNK_BYTES, 1) is not None for chunk in range(4)]
    assert kept == [False, False, True, True]
    await images.read(ID, 0, 1)
    assert images.cached(ID, 0, 1) is not None
    assert images.cached(ID, 2 * CHUNK_BYTES, 1) is None


async def test_readers_of_one_chunk_share_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = await taken_in(IMAGE, tmp_path)
    reads: list[int] = []
    get_range = obstore.get_range_async

    async def counted(store: Any, path: str, *, start: int, end: int) -> Any:
        reads.append(start)
        return await get_range(store, path, start=start, end=end)

    monkeypatch.setattr(module.obstore, "get_range_async", counted)
    answers = await asyncio.gather(*(images.read(ID, n, 100) for n in range(50)))
    assert answers == [IMAGE[n : n + 100] for n in range(50)]
    assert reads == [0]


# Damage.


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[CHUNK_BYTES + 17] ^= 1
    file.write_bytes(content)


def swap(file: Path) -> None:
    file.write_bytes(image_bytes(len(IMAGE), seed=8))


def become_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def dangle(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere")


def lead_elsewhere(file: Path) -> None:
    other = Path(shutil.copy(file, file.with_name("x")))
    swap(other)
    file.unlink()
    file.symlink_to(other)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "one bit": flip,
    "another image": swap,
    "empty": lambda file: file.write_bytes(b""),
    "cut within the chunk": lambda file: os.truncate(file, CHUNK_BYTES + 100),
    "cut before the chunk": lambda file: os.truncate(file, 100),
    "missing": Path.unlink,
    "a folder": become_a_folder,
    "a dangling link": dangle,
    "a link to another file": lead_elsewhere,
}


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_image_is_never_served_and_marked(world: World, how: str) -> None:
    await world.add_device()
    package = await world.add(IMAGE)
    images = world.packages.images
    before = await images.read(package.id, 0, 100)
    assert before == IMAGE[:100]
    DAMAGES[how](world.stored(package))
    with capture_logs() as logs, pytest.raises(DamagedImage):
        await images.read(package.id, CHUNK_BYTES, 100)
    assert [entry["event"] for entry in logs] == ["image_damaged"]
    assert (logs[0]["package"], logs[0]["log_level"]) == (package.name, "error")
    # Not even what was verified before, nor what would still be whole.
    assert images.cached(package.id, 0, 100) is None
    for service in (world.packages, world.restarted()):
        with pytest.raises(UnknownImage):
            await service.images.read(package.id, 0, 100)
        assert await service.offered(world.account.id, None) == []
        assert (await service.get_by_id(package.id)).state is State.DAMAGED
    found = await world.database.read(
        lambda connection: world.packages.find(connection, world.account.id, package.name)
    )
    assert found is None


async def test_mending_the_file_does_not_bring_it_back_but_adding_it_anew_does(world: World) -> None:
    package = await world.add(IMAGE)
    flip(world.stored(package))
    with pytest.raises(DamagedImage):
        await world.packages.images.read(package.id, 0, len(IMAGE))
    world.stored(package).write_bytes(IMAGE)
    with pytest.raises(UnknownImage):
        await world.packages.images.read(package.id, 0, len(IMAGE))
    again = await world.add(IMAGE)
    assert await world.packages.images.read(again.id, 0, len(IMAGE)) == IMAGE
    assert [each.state for each in await world.packages.listed(None)] == [State.DAMAGED, State.READY]
    await world.packages.withdraw(package.id)
    with pytest.raises(UnknownImage):
        await world.restarted().images.read(package.id, 0, 1)


async def test_a_withdrawn_image_that_is_damaged_stays_withdrawn(world: World) -> None:
    package = await world.add(IMAGE)
    await world.packages.withdraw(package.id)
    flip(world.stored(package))
    with pytest.raises(DamagedImage):
        await world.packages.images.read(package.id, 0, len(IMAGE))
    assert (await world.packages.get_by_id(package.id)).state is State.WITHDRAWN
    with pytest.raises(UnknownImage):
        await world.restarted().images.read(package.id, 0, 1)


async def test_everybody_who_reads_at_the_moment_is_told(tmp_path: Path) -> None:
    images, ledger = await taken_in(IMAGE, tmp_path, store=open_store(None, tmp_path))
    flip(tmp_path / "images" / ID)
    answers = await asyncio.gather(
        *(images.read(ID, CHUNK_BYTES, 10) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [DamagedImage] * 5
    assert len(ledger.reasons) == 1


async def test_a_store_that_does_not_answer_damages_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, ledger = await taken_in(IMAGE, tmp_path)

    async def broken(*_: object, **__: object) -> None:
        raise GenericError("the network is down\nDebug source: …")

    with monkeypatch.context() as patched:
        patched.setattr(module.obstore, "get_range_async", broken)
        with pytest.raises(ImagesUnavailable, match=r"the network is down$"):
            await images.read(ID, 0, 10)
    assert ledger.reasons == []
    assert await images.read(ID, 0, 10) == IMAGE[:10]


# Names.


@pytest.mark.parametrize(
    "name", ["../overair.db", "..", "", ID.upper(), f"{ID}\n", f"{ID}/..", f"/etc/{ID}", "a" * 36]
)
async def test_only_our_own_ids_become_paths(tmp_path: Path, name: str) -> None:
    images, ledger = await taken_in(IMAGE, tmp_path, store=open_store(None, tmp_path))
    ledger.manifests[name] = ledger.manifests[ID]
    with pytest.raises(UnknownImage):
        await images.read(name, 0, 1)
    with pytest.raises(UnknownImage):
        await images.ingest(name, tmp_path / "source")
    with pytest.raises(UnknownImage):
        await images.delete(name)


async def test_a_package_with_the_name_of_a_path_is_stored_under_its_id(world: World) -> None:
    package = await world.add(IMAGE, name="../../../etc/passwd")
    assert [file.name for file in (world.data / "images").iterdir()] == [package.id]


async def test_deleting_twice_is_deleting_once(tmp_path: Path) -> None:
    images, _ = await taken_in(IMAGE, tmp_path, store=open_store(None, tmp_path))
    await images.delete(ID)
    await images.delete(ID)
    assert list((tmp_path / "images").iterdir()) == []


def test_a_url_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImagesUnavailable, match="nonsense"):
        open_store("nonsense", tmp_path)


async def test_images_elsewhere(world: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    packages = world.restarted(images_url=elsewhere.as_uri())
    (tmp_path / "image").write_bytes(IMAGE)
    package = await packages.add(world.account.id, firmware(IMAGE), tmp_path / "image")
    assert (elsewhere / package.id).read_bytes() == IMAGE
    assert await packages.images.read(package.id, 5, 5) == IMAGE[5:10]


# The cap on bandwidth.


def test_bandwidth_without_a_cap_never_waits() -> None:
    cap = Bandwidth(float("inf"))
    assert [cap.claim(1 << 30, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_bandwidth_is_shared_in_the_order_of_claims() -> None:
    cap = Bandwidth(1000)
    assert cap.claim(1000, now=100.0) == 0.0  # what a second of silence has earned
    assert cap.claim(500, now=100.0) == 0.5
    assert cap.claim(500, now=100.0) == 1.0
    assert cap.claim(1000, now=101.0) == 1.0
    assert cap.claim(1000, now=110.0) == 0.0


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 5)), min_size=1, max_size=50))
def test_bandwidth_is_never_more_than_its_cap_and_a_burst(claims: list[tuple[int, float]]) -> None:
    cap, now, begin, sent = Bandwidth(1000), 1000.0, 1000.0, 0
    for size, pause in claims:
        now += pause
        ready = now + cap.claim(size, now)
        sent += size
        assert sent <= (ready - begin + 1.0) * 1000 + 1e-3
