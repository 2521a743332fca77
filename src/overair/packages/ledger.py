"""What the catalogue tells the images: what each must be; and what it hears from them."""

import structlog

from overair.packages import sql
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.images import Manifest

_log = structlog.get_logger()


class SqlLedger:
    """The :class:`overair.platform.images.Ledger` in the tables of packages."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def manifest(self, image_id: str) -> Manifest | None:
        return await self._database.read(lambda connection: sql.manifest(connection, image_id))

    async def damaged(self, image_id: str, reason: str) -> None:
        """Take the package out of what is offered, and its image out of what is served, for good."""
        now_ms = self._clock.now_ms()
        package = await self._database.write(lambda connection: sql.damage(connection, image_id, now_ms))
        if package is not None:
            _log.error("image_damaged", package=package.name, id=package.id, reason=reason)
