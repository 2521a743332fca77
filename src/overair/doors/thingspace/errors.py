"""The one table of errors of the ThingSpace API (spec api-v3.md, section 1; auth.md, sections 1, 3 and 4).

Three shapes. A *business error* is a 400 with ``errorCode`` and ``errorMessage``: the one that clients read.
A *fault* is the gateway speaking (no route, no credentials, too large). A *token error* is OAuth2's.
Codes are stable, messages are not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from overair.accounts import errors as accounts
from overair.callbacks.model import InvalidUrl
from overair.campaigns import model as campaigns
from overair.devices.model import UnknownDevice
from overair.records import ErrorBody, Fault, FaultBody, RecordError, TokenError
from overair.records.errors import DEVICE_ID_RULE


@dataclass(frozen=True, slots=True)
class Problem:
    """One way for a call to fail: HTTP status, body and headers."""

    status: int
    body: Struct
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """Ends a call with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {type(problem.body).__name__}")
        self.problem = problem


# Business errors.


def business(code: str, message: str, status: int = 400) -> Problem:
    """Return a business error."""
    return Problem(status, ErrorBody(error_code=code, error_message=message))


def invalid_parameter(message: str) -> Problem:
    """Return the commonest of them."""
    return business("INVALID_PARAMETER", message)


def device_list_exceeds(limit: int) -> Problem:
    """Return the refusal of a list of more than *limit* devices."""
    return invalid_parameter(f"Device list exceeds limit of {limit}")


CAMPAIGN_ENDED = invalid_parameter("Campaign already ended")
CAMPAIGN_STARTED = invalid_parameter("Campaign already started")
DEVICE_LIST_EMPTY = invalid_parameter("Device list is empty")
DEVICE_NOT_FOUND = invalid_parameter("Device not found")
FIRMWARE_NOT_FOUND = invalid_parameter("Firmware not found")
INACTIVE_ACCOUNT = invalid_parameter("Inactive account")
INPUT_BINDING = invalid_parameter("Input binding error")
INVALID_ACCOUNT_NAME = invalid_parameter("Invalid account name format")
INVALID_CAMPAIGN_ID = invalid_parameter("Invalid campaignId")
INVALID_CAMPAIGN_STATUS = invalid_parameter("Invalid campaign status")
INVALID_CURSOR = invalid_parameter("LastSeenDeviceId Not Valid")
INVALID_DEVICE_ID = invalid_parameter("Invalid device id format")
INVALID_END_DATE = invalid_parameter("Invalid end date")
INVALID_PROTOCOL = invalid_parameter("Invalid protocol")
INVALID_START_DATE = invalid_parameter("Invalid start date")
INVALID_TIME_WINDOW = invalid_parameter("Invalid time window")
INVALID_TYPE = invalid_parameter("Invalid type")
INVALID_URL = invalid_parameter("Invalid url")
INVALID_UUID = invalid_parameter("Invalid uuid")
NOT_ENOUGH_LICENSES = invalid_parameter("Not enough licenses")

_FAILED = "UnifiedWebService.REQUEST_FAILED"
_INVALID = "UnifiedWebService.INPUT_INVALID"

ACCOUNT_NOT_FOUND = business(f"{_FAILED}.AccountNotFound", "The account does not exist.")
ACCOUNT_NOT_YOURS = business(f"{_FAILED}.AccountName", "User is not associated with the account.")
SESSION_MISSING = business(f"{_FAILED}.SessionToken.Format", "The VZ-M2M-Token header is missing.")
SESSION_INVALID = business(f"{_INVALID}.SessionToken.Invalid", "The session token is not valid.")
SESSION_EXPIRED = business(f"{_FAILED}.SessionToken.Expired", "The session has expired.")
LOGIN_FAILED = business(f"{_FAILED}.LoginFailed", "The user name or the password is wrong.")
LOGIN_LOCKED = business(
    f"{_FAILED}.LoginLocked", "The user is locked after failed logins; an administrator has to unlock it."
)
OLD_PASSWORD = business(f"{_INVALID}.OldPassword", "The current password is wrong.")
INTERNAL = business("INTERNAL_SYSTEM_ERROR", "The system encountered an internal error.", 500)


def request_undefined(message: str) -> Problem:
    """Return the refusal of a session call whose body is missing or can't be read."""
    return business(f"{_INVALID}.RequestUndefined", message)


REQUEST_UNDEFINED = request_undefined("The request body is empty.")


def unreadable_device_list(error: RecordError) -> Problem:
    """Return the refusal of a body that holds a ``deviceList``."""
    if error.path == "deviceList" and "at most" in error.rule:
        return device_list_exceeds(int("".join(filter(str.isdigit, error.rule))))
    if error.path == "deviceList":
        return DEVICE_LIST_EMPTY
    return INVALID_DEVICE_ID if error.rule == DEVICE_ID_RULE else INPUT_BINDING


# Faults. Codes 9009xx are the published gateway's; the others repeat the HTTP status.


def fault(status: int, code: str, message: str, description: str, **headers: str) -> Problem:
    """Return a fault; header names are given with ``_`` for ``-``."""
    body = FaultBody(Fault(code, message, description))
    return Problem(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


NO_ROUTE = fault(
    404,
    "900906",
    "No matching resource found in the API for the given request",
    "Check the path of the request against the API's documentation",
)
BEARER_MISSING = fault(
    401,
    "900902",
    "Missing Credentials",
    "Required OAuth credentials not provided. Make sure your API invocation call has a header: "
    '"Authorization: Bearer ACCESS_TOKEN"',
    WWW_Authenticate="Bearer",
)
BODY_TOO_SLOW = fault(
    408, "408", "Request Timeout", "The request body did not arrive in time", Connection="close"
)
BODY_TOO_LARGE = fault(
    413, "413", "Request Entity Too Large", "The request body exceeds the limit", Connection="close"
)
ADDRESS_TOO_LONG = fault(414, "414", "Request-URI Too Long", "The path or the query exceeds the limit")


def bearer_invalid(path: str) -> Problem:
    """Return the fault for a wrong, expired or revoked token; it names the API that *path* is of."""
    context = "/".join(path.split("/")[:4])
    version = context.rpartition("/")[2]
    description = (
        f"Access failure for API: {context}, version: {version}. "
        "Make sure you have given the correct access token"
    )
    return fault(401, "900901", "Invalid Credentials", description, WWW_Authenticate="Bearer")


def wrong_method(allowed: str) -> Problem:
    """Return the fault for a path that is served, with another method: as for no route, but 405."""
    description = f"This path is served with {allowed} only"
    return fault(
        405,
        "900906",
        "No matching resource found in the API for the given request",
        description,
        Allow=allowed,
    )


# Token errors (RFC 6749, section 5.2).


def token_error(error: str, description: str) -> Problem:
    """Return an OAuth2 error."""
    return Problem(400, TokenError(error=error, error_description=description), NOT_STORED)


NOT_STORED = {"Cache-Control": "no-store"}
"""For answers that hold a secret (RFC 6749, section 5.1)."""

GRANT_MISSING = token_error("invalid_request", "Missing grant_type parameter value")
GRANT_UNSUPPORTED = token_error("unsupported_grant_type", "The only grant type is client_credentials")
SCOPE_INVALID = token_error("invalid_scope", "The requested scope is not known")
TOKEN_MISSING = token_error("invalid_request", "Missing token parameter value")
FORM_MALFORMED = token_error("invalid_request", "The form is malformed or repeats a parameter")
CLIENT_INVALID = Problem(
    401,
    # Both shapes in one: the SDK reads the first two fields, the gateway's own clients the third (Q23).
    TokenError(
        error="invalid_client",
        error_description="Client authentication failed.",
        fault=Fault(
            "900902",
            "Missing Credentials",
            "Required OAuth credentials not provided. Make sure your API invocation call has a header: "
            '"Authorization: Basic ACCESS_TOKEN"',
        ),
    ),
    # RFC 6749 wants the scheme that the client used, auth.md wants Bearer on every 401.
    {"WWW-Authenticate": 'Basic realm="oauth2", Bearer', **NOT_STORED},
)


# What the domain raises.

_PROBLEMS: dict[type[Exception], Problem | Callable[[str], Problem]] = {
    accounts.InvalidClient: CLIENT_INVALID,
    accounts.UnknownScope: SCOPE_INVALID,
    accounts.LoginFailed: LOGIN_FAILED,
    accounts.LoginLocked: LOGIN_LOCKED,
    accounts.WrongPassword: OLD_PASSWORD,
    accounts.MissingBearer: BEARER_MISSING,
    accounts.InvalidBearer: bearer_invalid,
    accounts.MissingSession: SESSION_MISSING,
    accounts.UnknownSession: SESSION_INVALID,
    accounts.ExpiredSession: SESSION_EXPIRED,
    accounts.AccountNameFormat: INVALID_ACCOUNT_NAME,
    accounts.UnknownAccount: ACCOUNT_NOT_FOUND,
    accounts.NotEntitled: ACCOUNT_NOT_YOURS,
    accounts.InactiveAccount: INACTIVE_ACCOUNT,
    UnknownDevice: DEVICE_NOT_FOUND,
    InvalidUrl: INVALID_URL,
    campaigns.UnknownCampaign: INVALID_CAMPAIGN_ID,
    campaigns.UnknownPackage: FIRMWARE_NOT_FOUND,
    campaigns.AlreadyStarted: CAMPAIGN_STARTED,
    campaigns.AlreadyEnded: CAMPAIGN_ENDED,
    campaigns.NotEnoughLicenses: NOT_ENOUGH_LICENSES,
}
_REFUSED_DATES = {
    "start": INVALID_START_DATE,
    "end": INVALID_END_DATE,
    "windows": INVALID_TIME_WINDOW,
}


def problem_of(error: Exception, path: str) -> Problem | None:
    """Return how a caller of *path* is told of *error*; None for what nobody should have to be told of."""
    if isinstance(error, Refusal):
        return error.problem
    if isinstance(error, campaigns.DateRefused):
        return _REFUSED_DATES[error.field]
    if isinstance(error, campaigns.TooManyDevices):
        return device_list_exceeds(error.limit)
    known = _PROBLEMS.get(type(error))
    return known(path) if callable(known) else known
