"""What an update needs of the service around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from overair.doors.lwm2m.conversation import Conversation
from overair.doors.lwm2m.registry import Live
from overair.doors.lwm2m.updates.body import Whole
from overair.doors.lwm2m.updates.places import Places
from overair.packages.model import Package
from overair.platform.clock import Clock
from overair.protocols.coap import Endpoint, Observation
from overair.protocols.lwm2m import Path
from overair.protocols.lwm2m.updating import Means, Policy

if TYPE_CHECKING:
    from overair.doors.lwm2m.updates.update import Update


class Surroundings(Protocol):
    """The driver, as one update sees it."""

    endpoint: Endpoint
    clock: Clock
    policy: Policy
    flush: Callable[[], None]
    places: Places
    """For images on their way."""
    push_bytes: int
    """The largest image that is pushed."""
    retry_seconds: float
    """When an update is taken up again that failed by a fault of ours."""
    longest_seconds: float
    """After that an update is looked at in any case: the clock may have been moved."""

    def is_over(self, update: "Update") -> bool: ...

    def registered(self, imei: int) -> Live | None: ...

    def listening(self, imei: int) -> Live | None:
        """Return the registration of a device that listens right now."""
        ...

    def conversation(self, live: Live) -> Conversation: ...

    def means(self, live: Live | None) -> frozenset[Means]: ...

    def image_url(self, update: "Update", means: Means, live: Live, *, short: bool) -> str: ...

    async def package(self, package_id: str) -> Package | None:
        """Return a package that may be brought to devices."""
        ...

    async def whole(self, update: "Update") -> Whole:
        """Return the whole image, verified; raises an ImageError."""
        ...

    async def observed(self, live: Live, path: Path, observation: Observation) -> None: ...

    async def keep(self, update: "Update", progress: bytes) -> None: ...

    async def succeeded(self, update: "Update", version: str | None) -> None: ...

    async def failed(self, update: "Update", detail: str) -> None: ...

    async def retry(self, update: "Update", detail: str, at_ms: int) -> None: ...

    async def refused(self, update: "Update") -> None: ...
