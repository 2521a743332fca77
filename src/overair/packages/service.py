"""What the doors, the command line and the campaign engine do with packages."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from overair.packages import rules, signatures, sql
from overair.packages.ledger import SqlLedger
from overair.packages.model import (
    BadSignature,
    ImageIncomplete,
    NewPackage,
    Package,
    State,
    UnknownPackage,
    UploadBusy,
    WrongDigest,
    WrongState,
)
from overair.packages.staging import Staging
from overair.packages.trust import TrustFolder
from overair.platform.clock import DAY_MS, Clock
from overair.platform.database import Database
from overair.platform.images import Images, Manifest, open_store
from overair.platform.limits import Limits

OnReady = Callable[[Connection, Package, int], None]
"""Gets the package and the time in ms."""


class PackageService:
    """The use cases. Which accounts there are, and who may ask, is known elsewhere."""

    def __init__(
        self,
        database: Database,
        data: Path,
        clock: Clock,
        limits: Limits,
        *,
        images_url: str | None = None,
        require_signatures: bool = False,
        on_ready: OnReady | None = None,
    ) -> None:
        """Uploads and trusted keys are in *data*; so are images, unless they are at *images_url*.

        *on_ready* is called with each package that becomes ready, in the transaction that makes it so.
        """
        self._on_ready = on_ready
        self._database = database
        self._clock = clock
        self._limits = limits
        self._require_signatures = require_signatures
        self._staging = Staging(data)
        self._busy: set[str] = set()
        self.trust = TrustFolder(data)
        self.images = Images(
            open_store(images_url, data), SqlLedger(database, clock), memory_bytes=limits.image_memory_bytes
        )

    # The catalogue.

    async def listed(self, account_id: int | None) -> list[Package]:
        """Return the packages of an account, or of all, by name; those withdrawn are left out."""
        limit = self._limits.listed_packages
        return await self._database.read(lambda connection: sql.listed(connection, account_id, limit))

    async def get_named(self, account_id: int, name: str) -> Package:
        """Return an account's package by name or id; :class:`UnknownPackage`."""
        package = await self._database.read(lambda connection: sql.named(connection, account_id, name))
        if package is None:
            raise UnknownPackage(name)
        return package

    async def get_by_id(self, package_id: str) -> Package:
        """Return a package, withdrawn or not; :class:`UnknownPackage`."""
        package = await self._database.read(lambda connection: sql.get(connection, package_id))
        if package is None:
            raise UnknownPackage(package_id)
        return package

    async def offered(self, account_id: int, protocol: str | None) -> list[Package]:
        """Return the ready firmware for at least one device of the account, by name (api-v3.md 4.1)."""
        signed = self._require_signatures
        return await self._database.read(
            lambda connection: sql.offered(connection, account_id, protocol, signed=signed)
        )

    def find(self, connection: Connection, account_id: int, name: str) -> Package | None:
        """Return the account's package of that name, if a campaign may begin with it."""
        package = sql.live(connection, account_id, name)
        if package is None or package.state is not State.READY:
            return None
        return package if package.signed_by or not self._require_signatures else None

    def get(self, connection: Connection, package_id: str) -> Package | None:
        """Return a package, whatever its state."""
        return sql.get(connection, package_id)

    async def withdraw(self, package_id: str) -> None:
        """Take a package back: it is offered no more, and its name is free. Of an upload nothing is left.

        Campaigns that have it go on. Raises :class:`UnknownPackage`, also where it was withdrawn before.
        """
        with self._alone(package_id):
            if not await self._discard(package_id):
                now_ms = self._clock.now_ms()
                await self._database.write(lambda connection: _withdraw(connection, package_id, now_ms))

    # Adding.

    async def add(self, account_id: int, new: NewPackage, file: Path) -> Package:
        """Add a package with the image of a file on this machine; what is refused leaves nothing behind."""
        package = await self.begin(account_id, new)
        try:
            return await self._finish(package, file)
        except BaseException:
            await self._discard(package.id)
            raise

    async def begin(self, account_id: int, new: NewPackage) -> Package:
        """Begin an upload.

        Raises :class:`InvalidPackage`, :class:`BadSignature` if there must be one and is none,
        :class:`NameTaken` or :class:`TooManyPackages`.
        """
        package = self._made(account_id, rules.checked(new, self._limits))
        if self._require_signatures and package.signature is None:
            raise BadSignature("this service takes signed packages only: a signature is missing")
        await self._database.write(lambda connection: sql.add(connection, package, self._limits))
        return package

    async def offset(self, package_id: str) -> tuple[int, int]:
        """Return how many bytes of an upload have come, and how many there are to be."""
        package = await self.get_by_id(package_id)
        if package.state is State.UPLOADING:
            return await self._staging.offset(package_id), package.size_bytes
        return package.size_bytes, package.size_bytes

    async def append(self, package_id: str, offset: int, pieces: AsyncIterator[bytes]) -> int:
        """Add bytes to an upload that stands at *offset*; return where it stands, on the disk.

        Raises :class:`WrongOffset`, :class:`ImageTooLong`, :class:`UploadBusy`, :class:`WrongState`.
        """
        if len(self._busy) >= self._limits.uploads_at_once:
            raise UploadBusy(f"{self._limits.uploads_at_once} images are coming in at once")
        with self._alone(package_id):
            package = await self._uploading(package_id)
            try:
                return await self._staging.append(package_id, offset, pieces, package.size_bytes)
            finally:
                now_ms = self._clock.now_ms()
                await self._database.write(lambda connection: sql.touch(connection, package_id, now_ms))

    async def complete(self, package_id: str) -> Package:
        """End an upload: the package is ready, or refused, and then nothing is left of it.

        Raises :class:`ImageIncomplete`, which keeps the upload; :class:`WrongDigest` and
        :class:`BadSignature`, which end it. A package that is ready stays so.
        """
        with self._alone(package_id):
            package = await self.get_by_id(package_id)
            if package.state is State.READY:
                return package
            package = await self._uploading(package_id)
            offset = await self._staging.offset(package_id)
            if offset != package.size_bytes:
                raise ImageIncomplete(offset, package.size_bytes)
            try:
                ready = await self._finish(package, self._staging.path(package_id))
            except (WrongDigest, BadSignature):
                await self._discard(package_id)
                raise
            await self._staging.drop(package_id)
            return ready

    async def purge(self) -> int:
        """Drop uploads on which nothing has happened for days; return how many. Call it now and then."""
        names = await self._staging.names()
        known = await self._database.read(sql.uploading)
        since_ms = self._clock.now_ms() - self._limits.upload_kept_days * DAY_MS
        stale = [package_id for package_id, changed_ms in known if changed_ms < since_ms]
        for package_id in stale:
            if package_id not in self._busy:
                await self._discard(package_id)
        await self._staging.drop_all_but(names, {package_id for package_id, _ in known})
        return len(stale)

    async def _finish(self, package: Package, file: Path) -> Package:
        image = await self.images.ingest(package.id, file)
        if image.size_bytes != package.size_bytes:  # a file that grew meanwhile
            raise ImageIncomplete(image.size_bytes, package.size_bytes)
        if package.sha256 is not None and package.sha256 != image.sha256:
            raise WrongDigest(package.sha256, image.sha256)
        signed_by = await asyncio.to_thread(self._signer, package, image, file)
        now_ms = self._clock.now_ms()

        def make_ready(connection: Connection) -> bool:
            made = sql.make_ready(connection, package.id, image, signed_by, now_ms)
            if made and self._on_ready is not None:
                self._on_ready(connection, package, now_ms)
            return made

        if not await self._database.write(make_ready):
            raise UnknownPackage(package.name)
        return await self.get_by_id(package.id)

    def _signer(self, package: Package, image: Manifest, file: Path) -> str | None:
        if package.signature is None:
            return None
        anchors, now_ms = self.trust.anchors(), self._clock.now_ms()
        return signatures.signer(file, image.sha256, package.signature, package.certificates, anchors, now_ms)

    async def _discard(self, package_id: str) -> bool:
        """Leave nothing of an upload behind; False if it is none, or done."""
        dropped = await self._database.write(lambda connection: sql.drop(connection, package_id))
        if dropped:
            await self.images.delete(package_id)
            await self._staging.drop(package_id)
        return dropped

    async def _uploading(self, package_id: str) -> Package:
        package = await self.get_by_id(package_id)
        if package.state is not State.UPLOADING:
            raise WrongState(package.name, package.state)
        return package

    @contextmanager
    def _alone(self, package_id: str) -> Iterator[None]:
        if package_id in self._busy:
            raise UploadBusy("another request is at work on this package")
        self._busy.add(package_id)
        try:
            yield
        finally:
            self._busy.remove(package_id)

    def _made(self, account_id: int, new: NewPackage) -> Package:
        now_ms = self._clock.now_ms()
        return Package(
            id=str(uuid.uuid4()),
            account_id=account_id,
            kind=new.kind,
            name=new.name,
            make=new.make,
            model=new.model,
            version_from=new.version_from,
            version_to=new.version_to,
            protocol=new.protocol,
            launch_ms=now_ms if new.launch_ms is None else new.launch_ms,
            release_note=new.release_note,
            size_bytes=new.size_bytes,
            sha256=new.sha256,
            signature=new.signature,
            certificates=new.certificates,
            signed_by=None,
            state=State.UPLOADING,
            created_ms=now_ms,
            changed_ms=now_ms,
        )


def _withdraw(connection: Connection, package_id: str, now_ms: int) -> None:
    package = sql.get(connection, package_id)
    if package is None or package.state not in rules.WITHDRAWAL:
        raise UnknownPackage(package_id)
    sql.set_state(connection, package_id, rules.WITHDRAWAL[package.state], now_ms)
