"""What callers show: the forms of the headers, and who may pass (spec auth.md, section 4)."""

from base64 import b64decode

from overair.accounts.model import Access, SignedIn
from overair.doors.thingspace import errors
from overair.doors.thingspace.http import Call, Guard
from overair.doors.thingspace.parameters import ACCOUNT

BEARER = "bearer"
SESSION = "session"
BASIC = "basic"
SESSION_HEADER = "VZ-M2M-Token"

SECURITY_SCHEMES = {
    BASIC: {"type": "http", "scheme": "basic", "description": "API key and secret"},
    BEARER: {"type": "http", "scheme": "bearer", "description": "Access token"},
    SESSION: {
        "type": "apiKey",
        "in": "header",
        "name": SESSION_HEADER,
        "description": "Session token from login",
    },
}


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """Return key and secret of an ``Authorization: Basic`` header (RFC 7617); None if it is not one."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        key, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8
        return None
    return (key, secret) if colon else None


def bearer_token(header: str | None) -> str | None:
    """Return the token of an ``Authorization: Bearer`` header (RFC 6750); None if it is not one."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _with_bearer(call: Call) -> None:
    await call.services.accounts.check_bearer(_bearer(call))


async def _with_session(call: Call) -> SignedIn:
    return await call.services.accounts.check_session(_bearer(call), _session(call))


async def _on_account(call: Call) -> Access:
    return await call.services.accounts.authorize(_bearer(call), _session(call), call.value(ACCOUNT))


def _bearer(call: Call) -> str | None:
    return bearer_token(call.header("authorization"))


def _session(call: Call) -> str | None:
    return call.header(SESSION_HEADER)


_BEARER_PROBLEMS = (errors.BEARER_MISSING, errors.bearer_invalid("/api/fota/v3"))
_SESSION_PROBLEMS = (errors.SESSION_MISSING, errors.SESSION_INVALID, errors.SESSION_EXPIRED)
_ACCOUNT_PROBLEMS = (
    errors.INVALID_ACCOUNT_NAME,
    errors.ACCOUNT_NOT_FOUND,
    errors.ACCOUNT_NOT_YOURS,
    errors.INACTIVE_ACCOUNT,
)

WITH_BEARER = Guard(_with_bearer, (BEARER,), _BEARER_PROBLEMS)
WITH_SESSION = Guard(_with_session, (BEARER, SESSION), _BEARER_PROBLEMS + _SESSION_PROBLEMS)
ON_ACCOUNT = Guard(_on_account, (BEARER, SESSION), _BEARER_PROBLEMS + _SESSION_PROBLEMS + _ACCOUNT_PROBLEMS)
"""For every call on an account: its path has ``{acc}``."""
