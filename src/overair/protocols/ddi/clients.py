"""Which program speaks: they differ in what they bear (spec ddi.md, sections 4 and 9)."""

from enum import StrEnum


class Client(StrEnum):
    """The kinds that are treated differently; *unknown* gets what all of them bear."""

    SWUPDATE = "swupdate"
    RAUC = "rauc-hawkbit-updater"
    UNKNOWN = "unknown"

    @property
    def waits(self) -> bool:
        """Whether it understands "download, but do not install yet"; others take that for done."""
        return self is Client.RAUC

    @property
    def is_tight(self) -> bool:
        """Whether its memory may be small: Zephyr has about 1100 bytes for an answer."""
        return self is Client.UNKNOWN

    @property
    def follows(self) -> bool:
        """Whether it goes where a redirect points."""
        return self is Client.SWUPDATE


_AGENTS = (
    (b"rauc-hawkbit", Client.RAUC),
    (b"libcurl-agent", Client.SWUPDATE),
    (b"swupdate", Client.SWUPDATE),
)


def client_of(user_agent: bytes) -> Client:
    """Return the kind of client that says so of itself."""
    said = user_agent.lower()
    return next((client for word, client in _AGENTS if word in said), Client.UNKNOWN)
