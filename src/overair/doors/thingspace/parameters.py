"""Parameters that several calls share: decoded and normalised (spec api-v3.md, section 1; quirks.md Q4)."""

import re

from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Refusal
from overair.doors.thingspace.http import Parameter

UUID_PATTERN = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
IMEI_PATTERN = re.compile(r"[0-9]{15}")
FIRST_PAGE = "0"

# Every published spelling, in upper case, and the protocol as a device's record has it; None: no filter.
PROTOCOLS: dict[str, str | None] = {
    "ALL": None,
    "HTTP": "HTTP",
    "HTTPS": "HTTP",
    "LWM2M": "LWM2M",
    "OMA": "OMADM",
    "OMA-DM": "OMADM",
    "OMADM": "OMADM",
    "OMD-DM": "OMADM",
    "OMDADM": "OMADM",
}


def read_imei(text: str) -> str:
    """Return 15 digits; their check digit is not looked at (Q30)."""
    if not IMEI_PATTERN.fullmatch(text):
        raise Refusal(errors.INVALID_DEVICE_ID)
    return text


def read_cursor(text: str) -> str | None:
    """Return the IMEI after which a page begins; None for the first page."""
    if text in ("", FIRST_PAGE):
        return None
    if not IMEI_PATTERN.fullmatch(text):
        raise Refusal(errors.INVALID_CURSOR)
    return text


def read_uuid(text: str) -> str:
    """Return a UUID in lower case, as the service writes them."""
    lower = text.lower()
    if not UUID_PATTERN.fullmatch(lower):
        raise Refusal(errors.INVALID_UUID)
    return lower


def read_protocol(text: str) -> str | None:
    """Return the protocol to filter by; missing is LWM2M, which the SDK sends unasked (Q47)."""
    spelt = text.upper() or "LWM2M"
    if spelt not in PROTOCOLS:
        raise Refusal(errors.INVALID_PROTOCOL)
    return PROTOCOLS[spelt]


def read_only_protocol(text: str) -> str | None:
    """Return the protocol to filter by; missing is no filter (spec api-v3.md, section 3.2)."""
    return read_protocol(text) if text else None


ACCOUNT = Parameter(
    "acc", "path", str, "Billing account name", {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}
)
DEVICE_ID = Parameter(
    "deviceId",
    "path",
    read_imei,
    "IMEI",
    {"type": "string", "pattern": "^[0-9]{15}$"},
    (errors.INVALID_DEVICE_ID,),
)
CAMPAIGN_ID = Parameter(
    "campaignId",
    "path",
    read_uuid,
    "UUID of the campaign, in any case",
    {"type": "string", "format": "uuid"},
    (errors.INVALID_UUID,),
)
CURSOR = Parameter(
    "lastSeenDeviceId",
    "query",
    read_cursor,
    "IMEI after which the page begins, as the previous page gave it; 0 or missing for the first page",
    {"type": "string", "pattern": "^(0|[0-9]{15})$"},
    (errors.INVALID_CURSOR,),
)
PROTOCOL = Parameter(
    "protocol",
    "query",
    read_protocol,
    "Protocol of the devices, in any published spelling; `all` for every one of them",
    {"type": "string", "default": "LWM2M"},
    (errors.INVALID_PROTOCOL,),
)
ONLY_PROTOCOL = Parameter(
    "protocol",
    "query",
    read_only_protocol,
    "Look only among devices of this protocol, in any published spelling; missing or `all` for every one",
    {"type": "string"},
    (errors.INVALID_PROTOCOL,),
)
