"""The catalogue: names, offers, withdrawal, bounds; and what campaigns ask inside their transactions."""

from dataclasses import replace
from typing import Any

import pytest

from overair.packages.model import (
    BadSignature,
    InvalidPackage,
    Kind,
    NameTaken,
    State,
    TooManyPackages,
    UnknownPackage,
)

from .world import NAME, World, firmware, image_bytes, sha256

IMAGE = image_bytes()


async def test_a_file_becomes_a_ready_package(world: World) -> None:
    package = await world.add(IMAGE)
    assert (package.name, package.state, package.sha256) == (NAME, State.READY, sha256(IMAGE))
    assert (package.size_bytes, package.signed_by) == (len(IMAGE), None)
    assert package.launch_ms == package.created_ms == world.clock.now_ms()
    assert world.stored(package).read_bytes() == IMAGE
    assert await world.packages.listed(world.account.id) == [package]
    assert await world.packages.listed(world.other.id) == []
    assert await world.packages.listed(None) == [package]
    assert await world.packages.get_by_id(package.id) == package
    assert await world.packages.get_named(world.account.id, NAME) == package
    assert await world.packages.get_named(world.account.id, package.id) == package


async def test_a_package_belongs_to_its_account(world: World) -> None:
    package = await world.add(IMAGE)
    for name in (NAME, package.id):
        with pytest.raises(UnknownPackage):
            await world.packages.get_named(world.other.id, name)
    read = world.database.read
    assert await read(lambda connection: world.packages.find(connection, world.other.id, NAME)) is None
    found = await read(lambda connection: world.packages.find(connection, world.account.id, NAME))
    assert found == package
    assert await read(lambda connection: world.packages.get(connection, package.id)) == package


async def test_a_name_is_taken_once_an_account(world: World) -> None:
    await world.add(IMAGE)
    with pytest.raises(NameTaken, match="ready"):
        await world.add(IMAGE)
    await world.packages.begin(world.other.id, firmware(IMAGE))
    with pytest.raises(NameTaken, match="uploading"):
        await world.packages.begin(world.other.id, firmware(IMAGE))


async def test_what_is_withdrawn_is_not_offered_and_frees_its_name_but_is_still_served(world: World) -> None:
    await world.add_device()
    package = await world.add(IMAGE)
    await world.packages.withdraw(package.id)
    assert await world.packages.listed(world.account.id) == []
    assert await world.packages.offered(world.account.id, None) == []
    found = await world.database.read(
        lambda connection: world.packages.find(connection, world.account.id, NAME)
    )
    assert found is None
    assert await world.packages.images.read(package.id, 0, 10) == IMAGE[:10]
    with pytest.raises(UnknownPackage):
        await world.packages.withdraw(package.id)
    again = await world.add(IMAGE)
    assert again.id != package.id


async def test_an_upload_that_is_withdrawn_leaves_nothing(world: World) -> None:
    package = await world.packages.begin(world.account.id, firmware(IMAGE))
    await world.packages.withdraw(package.id)
    with pytest.raises(UnknownPackage):
        await world.packages.get_by_id(package.id)


OFFERS: list[tuple[dict[str, Any], str | None, bool]] = [
    ({}, None, True),
    ({}, "LWM2M", True),
    ({}, "OMADM", False),
    ({"protocol": "OMADM"}, "OMADM", True),
    ({"make": "acme TELEMATICS"}, None, True),
    ({"model": "at-410"}, None, True),
    ({"make": "Acme"}, None, False),
    ({"model": "AT-411"}, None, False),
    ({"kind": Kind.SOFTWARE}, None, False),
    ({"kind": Kind.FILE}, None, False),
]


@pytest.mark.parametrize(("said", "protocol", "offered"), OFFERS, ids=str)
async def test_firmware_is_offered_for_devices_that_the_account_has(
    world: World, said: dict[str, Any], protocol: str | None, offered: bool
) -> None:
    package = await world.add(IMAGE, **said)
    assert await world.packages.offered(world.account.id, protocol) == []
    await world.add_device()
    assert await world.packages.offered(world.account.id, protocol) == ([package] if offered else [])
    assert await world.packages.offered(world.other.id, protocol) == []


async def test_make_and_model_must_be_of_one_device(world: World) -> None:
    await world.add(IMAGE)
    await world.add_device(make="Acme Telematics", model="AT-500")
    await world.add_device("490154203237526", make="Other", model="AT-410")
    assert await world.packages.offered(world.account.id, None) == []


async def test_an_upload_is_not_offered_nor_found(world: World) -> None:
    await world.add_device()
    await world.packages.begin(world.account.id, firmware(IMAGE))
    assert await world.packages.offered(world.account.id, None) == []
    found = await world.database.read(
        lambda connection: world.packages.find(connection, world.account.id, NAME)
    )
    assert found is None


async def test_a_service_that_wants_signatures_refuses_and_hides_what_has_none(world: World) -> None:
    await world.add_device()
    package = await world.add(IMAGE)
    strict = world.restarted(require_signatures=True)
    with pytest.raises(BadSignature, match="missing"):
        await strict.begin(world.account.id, firmware(IMAGE, name="other"))
    assert await strict.offered(world.account.id, None) == []
    found = await world.database.read(lambda connection: strict.find(connection, world.account.id, NAME))
    assert found is None
    assert await strict.listed(world.account.id) == [package]


async def test_bounds_on_packages(world: World) -> None:
    few = world.restarted(limits=replace(world.limits, account_packages=2, uploads=3))
    for name in ("a", "b"):
        await few.begin(world.account.id, firmware(IMAGE, name=name))
    with pytest.raises(TooManyPackages, match="2 packages"):
        await few.begin(world.account.id, firmware(IMAGE, name="c"))
    await few.begin(world.other.id, firmware(IMAGE))
    with pytest.raises(TooManyPackages, match="3 uploads"):
        await few.begin(world.other.id, firmware(IMAGE, name="c"))


async def test_what_is_refused_leaves_nothing(world: World) -> None:
    with pytest.raises(InvalidPackage):
        await world.add(b"")
    with pytest.raises(FileNotFoundError):
        await world.packages.add(world.account.id, firmware(IMAGE), world.data / "none")
    assert await world.packages.listed(None) == []
    assert list((world.data / "images").iterdir()) == []
