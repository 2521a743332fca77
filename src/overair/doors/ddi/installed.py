"""What a device says it has, without a campaign that would say so (spec ddi.md, sections 2.6 and 10.3)."""

from sqlalchemy import Connection

from overair.campaigns.rules import version_of
from overair.devices.changes import Upgraded
from overair.devices.group import apply_changes
from overair.devices.sql import load_state
from overair.doors.ddi.model import Stored
from overair.packages import sql as packages
from overair.packages.model import Package
from overair.platform.limits import DEFAULT_LIMITS
from overair.protocols.ddi.records import Installed


def find_package(connection: Connection, account_id: int, said: Installed) -> Package | None:
    """Return the account's package of that name and version."""
    package = packages.named(connection, account_id, said.name[: DEFAULT_LIMITS.text_bytes + 1])
    return package if package is not None and package.version_to == said.version else None


def take_installed(connection: Connection, imei: int, package: Package, now_ms: int) -> bool:
    """Take into the record that a device has a package; returns whether that is new."""
    device = load_state(connection, imei)
    if device is None or version_of(device, package.kind.value, package.name) == package.version_to:
        return False
    change = Upgraded(
        package.account_id,
        imei,
        package.kind.value,
        package.name,
        package.version_to,
        confirmed=False,
        now_ms=now_ms,
    )
    apply_changes(connection, [change])
    return True


def take_finished(connection: Connection, stored: Stored) -> None:
    """Take over what a device brought to its end for a campaign that had let go of it."""
    artifact, now_ms = stored.action.artifact, stored.action.closed_ms or stored.action.opened_ms
    change = Upgraded(
        stored.account_id,
        stored.imei,
        stored.kind,
        artifact.name,
        artifact.version,
        confirmed=False,
        now_ms=now_ms,
    )
    apply_changes(connection, [change])
