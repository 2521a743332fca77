"""What devices want to know of an image besides its SHA-256: SHA-1, MD5, and a file name that says its kind.

Worked out once a package, from what is verified as it is read, and kept.
"""

import hashlib

from overair.doors.ddi import store
from overair.packages.model import Package, State
from overair.packages.service import PackageService
from overair.platform.database import Database
from overair.platform.images import CHUNK_BYTES
from overair.protocols.ddi.action import Artifact
from overair.protocols.ddi.naming import PREFIX_BYTES, filename

PARTS = {"firmware": "bApp", "software": "bApp", "file": "file"}
"""Zephyr takes nothing but ``bApp`` (spec ddi.md, section 9.3); files: device-record.md, section 3.5."""


class PackageGone(Exception):
    """The package can't be brought to devices any more."""


class Facts:
    """Artifacts of packages."""

    def __init__(self, database: Database, packages: PackageService) -> None:
        self._database = database
        self._packages = packages

    async def artifact(self, package_id: str) -> Artifact:
        """Return what an action brings; raises PackageGone, or an ImageError."""
        package = await self._packages.get_by_id(package_id)
        if package.state is not State.READY or package.sha256 is None:
            raise PackageGone(package.name)
        name, sha1, md5 = await self._known(package)
        return Artifact(
            part=PARTS[package.kind],
            name=package.name,
            version=package.version_to,
            filename=name,
            size_bytes=package.size_bytes,
            sha1=sha1.hex(),
            md5=md5.hex(),
            sha256=package.sha256.hex(),
        )

    async def _known(self, package: Package) -> tuple[str, bytes, bytes]:
        known = await self._database.read(lambda connection: store.image_of(connection, package.id))
        if known is None:
            known = name, sha1, md5 = await self._worked_out(package)
            await self._database.write(
                lambda connection: store.put_image(connection, package.id, name, sha1, md5)
            )
        return known

    async def _worked_out(self, package: Package) -> tuple[str, bytes, bytes]:
        read = self._packages.images.read
        beginning = await read(package.id, 0, PREFIX_BYTES)
        # The protocol wants these two; what an image must be is held by SHA-256.
        sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
        for offset in range(0, package.size_bytes, CHUNK_BYTES):
            piece = await read(package.id, offset, CHUNK_BYTES)
            sha1.update(piece)
            md5.update(piece)
        return filename(package.name, beginning), sha1.digest(), md5.digest()
