"""What devices send: attributes, feedback, confirmations (spec ddi.md, sections 2.2, 2.4, 2.6 and 2.7).

Lenient where real clients differ: unknown fields are ignored, numbers may come as text, and ``id`` and
``time``, which each client fills in its own way, are not looked at.
"""

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from overair.protocols.ddi.errors import Malformed
from overair.protocols.lwm2m.cbor import load as load_cbor
from overair.protocols.lwm2m.errors import ContentError

JSON, HAL, CBOR = "application/json", "application/hal+json", "application/cbor"

Mode = Literal["merge", "replace", "remove"]

DETAILS = 50
"""Messages kept of one feedback: the last ones, since the reason of a failure is among them."""
DETAIL_CHARACTERS = 512
CLOCK_MS = 86_400_000
"""A device clock that is further off than a day was never set."""

T = TypeVar("T", bound=Struct)


class ConfigData(Struct, frozen=True):
    """Attributes of a device."""

    data: dict[str, str | int | float | bool | None]
    mode: Mode | None = None


class Progress(Struct, frozen=True):
    """Step ``cnt`` of ``of``."""

    cnt: int | None = None
    of: int | None = None


class Result(Struct, frozen=True):
    """Whether it is over, and how."""

    finished: Literal["success", "failure", "none"]
    progress: Progress | None = None


class Status(Struct, frozen=True):
    """What the device is doing; *execution* is looked up in :mod:`overair.protocols.ddi.feedback`."""

    execution: str
    result: Result
    code: int | None = None
    details: list[str] | None = None


class Feedback(Struct, frozen=True):
    """One feedback, to a deployment or to a cancellation."""

    status: Status
    timestamp: int | None = None

    def at_ms(self, now_ms: int) -> int:
        """Return when it happened: what the device says, if its clock can be believed."""
        said = self.timestamp
        return said if said is not None and abs(said - now_ms) <= CLOCK_MS else now_ms

    @property
    def messages(self) -> tuple[str, ...]:
        """Return the details and the code, bounded."""
        details = [each[:DETAIL_CHARACTERS] for each in (self.status.details or ()) if each]
        code = self.status.code
        return (*details[-DETAILS:], *(() if code is None else (f"code {code}"[:DETAIL_CHARACTERS],)))


class Confirmation(Struct, frozen=True):
    """Whether the device agrees to an action."""

    confirmation: Literal["confirmed", "denied"]
    code: int | None = None
    details: list[str] | None = None

    @property
    def messages(self) -> tuple[str, ...]:
        """Return the details, bounded."""
        return tuple(each[:DETAIL_CHARACTERS] for each in (self.details or ())[-DETAILS:] if each)


class AutoConfirm(Struct, frozen=True):
    """Who wants that actions need no confirmation any more."""

    initiator: str | None = None
    remark: str | None = None


class Installed(Struct, frozen=True):
    """What a device says that it has."""

    name: str
    version: str


def decode(body: bytes, media_type: str, shape: type[T]) -> T:
    """Return what a body of JSON or CBOR says; :class:`Malformed`, also for text that is no Unicode."""
    try:
        if media_type == CBOR:
            return msgspec.convert(load_cbor(body), shape, strict=False)
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `")
        raise Malformed(place.strip("`$.") or "body", said) from error
    except (msgspec.DecodeError, ContentError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("body", f"is no {media_type}") from error


def text_of(value: Any) -> str:
    """Return the text of an attribute; what JSON writes for numbers and booleans."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
