"""The operator's door, the owner's and the image host on one catalogue, with clients in front."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from starlette.routing import Mount, Router

from overair.doors.images.host import ImageHost, image_routes
from overair.doors.operator.packages import PREFIX, operator_app
from overair.doors.thingspace.services import Services
from overair.packages.model import ImageGrant, Package
from overair.platform.bandwidth import Bandwidth
from overair.platform.database import Database, upgrade
from overair.platform.database.database import engine_for
from overair.platform.limits import Limits

from ..unit.packages.world import World, open_world
from .fake_devices import FakeDevices

TOKEN = "an-operator-token-of-the-tests"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
PACKAGES = "/operator/v1/packages"


@dataclass
class FakeGrants:
    """Grants by token; ``asked`` is which tokens were looked up."""

    grants: dict[str, ImageGrant] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)

    async def resolve(self, token: str) -> ImageGrant | None:
        self.asked.append(token)
        return self.grants.get(token)

    def fetched(self, token: str) -> None:
        self.progress.append(token)

    def give(self, package: Package, token: str = "Abcdefghijklmnop") -> str:
        assert package.sha256 is not None
        self.grants[token] = ImageGrant(package.id, package.size_bytes, package.sha256)
        return f"/f/{token}"


@dataclass
class Doors:
    """Use :func:`open_doors`."""

    world: World
    grants: FakeGrants
    app: Router
    client: httpx2.AsyncClient


def app_of(world: World, grants: FakeGrants, limits: Limits) -> Router:
    services = Services(world.accounts, FakeDevices(), limits)
    bandwidth = Bandwidth(limits.download_bytes_per_second)
    host = ImageHost(world.packages.images, grants, bandwidth, limits)
    return Router([*image_routes(host), Mount(PREFIX, operator_app(world.packages, services, TOKEN))])


@asynccontextmanager
async def open_doors(folder: Path, limits: Limits | None = None) -> AsyncIterator[Doors]:
    """Open the doors on a database of its own in *folder*."""
    path = folder / "overair.db"
    await asyncio.to_thread(_migrated, path)
    async with Database(f"sqlite:///{path}") as database:
        world = await open_world(database, folder, limits)
        grants = FakeGrants()
        app = app_of(world, grants, world.limits)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://overair.test") as client:
            yield Doors(world, grants, app, client)


_TEMPLATE: list[Path] = []


def _migrated(path: Path) -> None:
    """Make a database by copying the first one that was made: migrating takes longer than most tests."""
    if not _TEMPLATE or not _TEMPLATE[0].exists():
        engine = engine_for(f"sqlite:///{path}")
        upgrade(engine)
        engine.dispose()
        _TEMPLATE[:] = [Path(shutil.copy(path, path.with_suffix(".template")))]
    else:
        shutil.copy(_TEMPLATE[0], path)
