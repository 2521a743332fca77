"""One update of one device, as the device is told of it."""

from msgspec import Struct

from overair.protocols.ddi.states import CLOSED, State


class Artifact(Struct, frozen=True, kw_only=True):
    """What an action brings: one file, in one chunk (spec ddi.md, section 9.4)."""

    part: str
    """``bApp``, which Zephyr insists on; ``file`` for a file."""
    name: str
    version: str
    filename: str
    size_bytes: int
    sha1: str
    md5: str
    sha256: str


class Action(Struct, frozen=True, kw_only=True):
    """An action as it stands; times in ms. Its module has its number, since it brings one module only."""

    id: int
    artifact: Artifact
    state: State
    opened_ms: int
    progressed_ms: int
    """When the device last gave feedback or fetched a piece."""
    retrieved_ms: int | None = None
    """When the device first read it."""
    begun: bool = False
    """Whether the device has done anything about it but read it."""
    downloaded: bool = False
    """Whether any of the file was fetched."""
    skipped_ms: int | None = None
    """When the device was last told not to install it yet."""
    rejections: int = 0
    statuses: int = 0
    """Entries in its history."""
    cancelled_ms: int | None = None
    """When the device was asked to stop it."""
    closed_ms: int | None = None
    detail: str = ""
    """Why it failed."""
    retry: bool = False
    """Whether what failed is worth another action."""

    @property
    def is_closed(self) -> bool:
        return self.state in CLOSED
