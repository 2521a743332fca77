"""Firmware packages of API v3 (spec api-v3.md, section 4.1)."""

from overair.accounts.model import Access
from overair.doors.thingspace import errors
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Parameter, Route
from overair.doors.thingspace.parameters import ACCOUNT, read_only_protocol
from overair.doors.thingspace.services import Packages
from overair.packages.render import v3_firmware
from overair.records import V3Firmware, encode

# HTTP packages are not of this call (spec api-v3.md, section 4.1).
SHOWN = ("LWM2M", "OMADM")

FIRMWARE_PROTOCOL = Parameter(
    "protocol",
    "query",
    read_only_protocol,
    "Protocol of the packages, in any published spelling; missing or `all` for every one of them",
    {"type": "string", "default": "all"},
    (errors.INVALID_PROTOCOL,),
)


async def firmware(call: Call, access: Access, _: None) -> bytes:
    """Answer the firmware for at least one device of the account."""
    offered = await _packages(call).offered(access.account.id, call.value(FIRMWARE_PROTOCOL))
    return encode([v3_firmware(package) for package in offered if package.protocol in SHOWN])


def _packages(call: Call) -> Packages:
    packages = call.services.packages
    if packages is None:
        raise LookupError("packages: this door was opened without them")
    return packages


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="GET",
        path="/api/fota/v3/firmware/{acc}",
        summary="List the firmware packages for the devices of an account",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=firmware,
        answer=V3Firmware,
        listed=True,
        parameters=(ACCOUNT, FIRMWARE_PROTOCOL),
    ),
)
