"""How the operator is told of what the domain refuses: the same shapes as the ThingSpace API has.

Codes are stable, messages are the domain's own. Statuses are those of HTTP, since no ThingSpace client
reads them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from overair.accounts.errors import InvalidField, NotThere
from overair.campaigns.model import AlreadyEnded, NotStarted, UnknownCampaign
from overair.doors.thingspace.errors import Problem, Refusal, business
from overair.packages.model import (
    BadSignature,
    ImageIncomplete,
    ImageTooLong,
    InvalidPackage,
    NameTaken,
    TooManyPackages,
    TrustError,
    UnknownPackage,
    UploadBusy,
    WrongDigest,
    WrongOffset,
    WrongState,
)
from overair.platform.clock import ClockError
from overair.platform.images import ImagesUnavailable

OFFSET_HEADER = "Upload-Offset"
RETRY_SECONDS = "5"

# What a caller may learn while its body has not been read: the rest of that is not waited for.
_CLOSE = {"Connection": "close"}
_RETRY = {"Retry-After": RETRY_SECONDS, **_CLOSE}

_TABLE: dict[type[Exception], tuple[int, str, dict[str, str]]] = {
    InvalidField: (400, "INVALID_PARAMETER", {}),
    InvalidPackage: (400, "INVALID_PARAMETER", {}),
    BadSignature: (400, "SIGNATURE_REFUSED", {}),
    WrongDigest: (400, "DIGEST_MISMATCH", {}),
    ClockError: (400, "INVALID_PARAMETER", {}),
    NotThere: (404, "ACCOUNT_NOT_FOUND", {}),
    UnknownPackage: (404, "PACKAGE_NOT_FOUND", _CLOSE),
    UnknownCampaign: (404, "CAMPAIGN_NOT_FOUND", {}),
    NotStarted: (409, "CAMPAIGN_NOT_STARTED", {}),
    AlreadyEnded: (409, "CAMPAIGN_ENDED", {}),
    NameTaken: (409, "NAME_TAKEN", {}),
    TooManyPackages: (409, "LIMIT_REACHED", {}),
    WrongState: (409, "WRONG_STATE", _CLOSE),
    WrongOffset: (409, "WRONG_OFFSET", _CLOSE),
    ImageIncomplete: (409, "IMAGE_INCOMPLETE", {}),
    ImageTooLong: (413, "IMAGE_TOO_LONG", _CLOSE),
    TrustError: (500, "TRUST_UNUSABLE", {}),
    UploadBusy: (503, "UPLOAD_BUSY", _RETRY),
    ImagesUnavailable: (503, "IMAGES_UNAVAILABLE", _RETRY),
}


@contextmanager
def telling() -> Iterator[None]:
    """Turn what the domain raises into a :class:`Refusal`."""
    try:
        yield
    except tuple(_TABLE) as error:
        raise Refusal(problem_of(error)) from error


def problem_of(error: Exception) -> Problem:
    """Return how the operator is told of an error of the domain."""
    status, code, headers = _TABLE[type(error)]
    said = business(code, str(error), status)
    if isinstance(error, (WrongOffset, ImageIncomplete)):
        headers = {**headers, OFFSET_HEADER: str(error.offset)}
    return Problem(said.status, said.body, headers)
