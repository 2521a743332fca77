"""Register and Update: query parameters and payload, both ways (spec lwm2m.md 3.1-3.4, 4).

Whether a device may register is not decided here, only whether its message can be understood. Unknown
parameters are kept, never refused.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from msgspec import Struct

from overair.protocols.lwm2m.errors import (
    BAD_REQUEST,
    PRECONDITION_FAILED,
    REQUEST_ENTITY_TOO_LARGE,
    ContentError,
    RegistrationError,
)
from overair.protocols.lwm2m.lifetime import LIFETIME_SECONDS_DEFAULT, LIFETIME_SECONDS_MAX
from overair.protocols.lwm2m.links import NO_OBJECTS, ObjectList, parse_links
from overair.protocols.lwm2m.versions import enabler_version

QUERIES_MAX = 32
QUERY_CHARS_MAX = 255  # the longest Uri-Query option, RFC 7252 section 5.10
_LIFETIME_DIGITS_MAX = 20
_BINDING_LETTERS_MAX = 8
_BINDING_DEFAULT = "U"
_LINK_FORMAT = 40
# A payload labelled otherwise is taken as "object list unknown", as if it were absent.
_FORMATS_OF_LINKS = (_LINK_FORMAT, None, 0)
_FALSE_FLAGS = ("false", "0")


class RegisterRequest(Struct, frozen=True, gc=False):
    """A Register as the device meant it.

    `endpoint` is None when it must come from the DTLS identity. `lifetime_seconds` 0 means for ever.
    `version` is "1.0", "1.1" or "1.2". `binding` holds the letters without Q. `attributes` are the parameters
    unknown to LwM2M, in the order sent.
    """

    endpoint: str | None = None
    lifetime_seconds: int = LIFETIME_SECONDS_DEFAULT
    version: str = "1.0"
    binding: str = _BINDING_DEFAULT
    queue_mode: bool = False
    sms: str | None = None
    profile: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    objects: ObjectList = NO_OBJECTS


class UpdateRequest(Struct, frozen=True, gc=False):
    """An Update: a field that is None keeps what was registered."""

    lifetime_seconds: int | None = None
    binding: str | None = None
    queue_mode: bool | None = None
    sms: str | None = None
    objects: ObjectList | None = None

    def queue_mode_after(self, before: bool, version: str) -> bool:
        """Whether the device uses queue mode after this Update.

        LwM2M 1.0 says it inside `b`, so there a binding without Q ends queue mode.
        """
        if self.queue_mode is not None:
            return self.queue_mode
        return before and not (version == "1.0" and self.binding is not None)


_NOTHING_NEW = UpdateRequest()


def parse_register(queries: Sequence[str], payload: bytes, content_format: int | None) -> RegisterRequest:
    """Read the Uri-Query options and the payload of `POST /rd`.

    Raises RegistrationError 4.00 (malformed parameter), 4.12 (unsupported version), 4.13 (list over bounds).
    """
    endpoint = sms = profile = None
    lifetime_seconds = LIFETIME_SECONDS_DEFAULT
    version, binding, queued = "1.0", _BINDING_DEFAULT, False
    attributes: list[tuple[str, str]] = []
    _check_bounds(queries)
    for query in queries:
        name, _, value = query.partition("=")
        if name == "ep":
            endpoint = _text(value)
        elif name == "lt":
            lifetime_seconds = _lifetime(value)
        elif name == "lwm2m":
            version = _version(value)
        elif name == "b":
            binding, in_binding = _binding(value)
            queued = queued or in_binding
        elif name == "Q":
            queued = value not in _FALSE_FLAGS
        elif name == "sms":
            sms = _text(value)
        elif name == "pid":
            profile = _text(value)
        else:
            attributes.append((name, value))
    objects = _objects(payload, content_format) or NO_OBJECTS
    return RegisterRequest(
        endpoint, lifetime_seconds, version, binding, queued, sms, profile, tuple(attributes), objects
    )


def parse_update(queries: Sequence[str], payload: bytes, content_format: int | None) -> UpdateRequest:
    """Read the Uri-Query options and the payload of `POST /rd/{location}`; `ep` and `lwm2m` are ignored.

    Raises RegistrationError 4.00 (malformed parameter) or 4.13 (list over bounds).
    """
    if not queries and not payload:
        return _NOTHING_NEW
    lifetime_seconds = binding = sms = None
    queued: bool | None = None
    _check_bounds(queries)
    for query in queries:
        name, _, value = query.partition("=")
        if name == "lt":
            lifetime_seconds = _lifetime(value)
        elif name == "b":
            binding, in_binding = _binding(value)
            queued = True if in_binding else queued
        elif name == "Q":
            queued = value not in _FALSE_FLAGS
        elif name == "sms":
            sms = _text(value)
    return UpdateRequest(lifetime_seconds, binding, queued, sms, _objects(payload, content_format))


def _check_bounds(queries: Sequence[str]) -> None:
    if len(queries) > QUERIES_MAX:
        raise RegistrationError(BAD_REQUEST, f"query: at most {QUERIES_MAX} parameters")
    for query in queries:
        if len(query) > QUERY_CHARS_MAX:
            raise RegistrationError(BAD_REQUEST, f"query: at most {QUERY_CHARS_MAX} characters a parameter")


def _text(value: str) -> str | None:
    """Undo percent-encoding, which some clients apply to a Uri-Query although CoAP needs none."""
    if "%" in value:
        value = unquote(value, errors="replace")
    return value.strip("\0 ") or None


def _lifetime(value: str) -> int:
    if not (value.isdigit() and value.isascii()) or len(value) > _LIFETIME_DIGITS_MAX:
        raise RegistrationError(BAD_REQUEST, "lt: a number of seconds, 0 or more")
    return min(int(value), LIFETIME_SECONDS_MAX)


def _version(value: str) -> str:
    version = enabler_version(value)
    if version is None:
        raise RegistrationError(PRECONDITION_FAILED, "lwm2m: 1.0, 1.1 and 1.2 are supported")
    return version


def _binding(value: str) -> tuple[str, bool]:
    """Split `UQS` into the transport letters `US` and the queue flag."""
    if value == _BINDING_DEFAULT:
        return value, False
    letters = value.upper()
    if len(letters) > _BINDING_LETTERS_MAX or not (
        letters == "" or (letters.isalpha() and letters.isascii())
    ):
        raise RegistrationError(BAD_REQUEST, f"b: at most {_BINDING_LETTERS_MAX} letters")
    return letters.replace("Q", "") or _BINDING_DEFAULT, "Q" in letters


def _objects(payload: bytes, content_format: int | None) -> ObjectList | None:
    if not payload or content_format not in _FORMATS_OF_LINKS:
        return None
    try:
        return parse_links(payload)
    except ContentError as error:
        raise RegistrationError(REQUEST_ENTITY_TOO_LARGE, f"payload: {error}") from error


def register_queries(
    endpoint: str | None,
    *,
    lifetime_seconds: int | None = None,
    version: str = "1.1",
    binding: str | None = _BINDING_DEFAULT,
    queue_mode: bool = False,
    sms: str | None = None,
    profile: str | None = None,
    attributes: Sequence[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """Uri-Query options of a Register (client side). In 1.0 queue mode is a letter of the binding."""
    pairs = [
        ("ep", endpoint),
        ("lt", lifetime_seconds),
        ("lwm2m", version),
        ("b", _spell_binding(binding, queue_mode, version)),
    ]
    flag = ("Q",) if queue_mode and version != "1.0" else ()
    rest = [("sms", sms), ("pid", profile), *attributes]
    return (*_spell(pairs), *flag, *_spell(rest))


def update_queries(
    *,
    lifetime_seconds: int | None = None,
    binding: str | None = None,
    queue_mode: bool = False,
    sms: str | None = None,
    version: str = "1.1",
) -> tuple[str, ...]:
    """Uri-Query options of an Update (client side); what is not given stays as registered."""
    flag = ("Q",) if queue_mode and version != "1.0" else ()
    pairs = [("lt", lifetime_seconds), ("b", _spell_binding(binding, queue_mode, version))]
    return (*_spell(pairs), *flag, *_spell([("sms", sms)]))


def _spell_binding(binding: str | None, queue_mode: bool, version: str) -> str | None:
    if not queue_mode or version != "1.0":
        return binding
    letters = binding or _BINDING_DEFAULT
    return letters[0] + "Q" + letters[1:]


def _spell(pairs: Sequence[tuple[str, str | int | None]]) -> list[str]:
    return [f"{name}={value}" for name, value in pairs if value is not None]
