"""Numbers of CoAP: message types, codes, options, with their names.

Source: RFC 7252 sections 3, 12.1 and 12.2, RFC 7641, RFC 7959, RFC 8132, RFC 8516, RFC 7967, RFC 9175;
spec lwm2m.md 12.1. A code is one byte, class << 5 | detail: 2.05 is 0x45.
"""

from __future__ import annotations

from typing import Final

CON: Final = 0
NON: Final = 1
ACK: Final = 2
RST: Final = 3

EMPTY: Final = 0x00
GET: Final = 0x01
POST: Final = 0x02
PUT: Final = 0x03
DELETE: Final = 0x04
FETCH: Final = 0x05
PATCH: Final = 0x06
IPATCH: Final = 0x07

CREATED: Final = 0x41
DELETED: Final = 0x42
VALID: Final = 0x43
CHANGED: Final = 0x44
CONTENT: Final = 0x45
CONTINUE: Final = 0x5F

BAD_REQUEST: Final = 0x80
UNAUTHORIZED: Final = 0x81
BAD_OPTION: Final = 0x82
FORBIDDEN: Final = 0x83
NOT_FOUND: Final = 0x84
METHOD_NOT_ALLOWED: Final = 0x85
NOT_ACCEPTABLE: Final = 0x86
REQUEST_ENTITY_INCOMPLETE: Final = 0x88
CONFLICT: Final = 0x89
PRECONDITION_FAILED: Final = 0x8C
REQUEST_ENTITY_TOO_LARGE: Final = 0x8D
UNSUPPORTED_CONTENT_FORMAT: Final = 0x8F
UNPROCESSABLE_ENTITY: Final = 0x96
TOO_MANY_REQUESTS: Final = 0x9D

INTERNAL_SERVER_ERROR: Final = 0xA0
NOT_IMPLEMENTED: Final = 0xA1
BAD_GATEWAY: Final = 0xA2
SERVICE_UNAVAILABLE: Final = 0xA3
GATEWAY_TIMEOUT: Final = 0xA4
PROXYING_NOT_SUPPORTED: Final = 0xA5

IF_MATCH: Final = 1
URI_HOST: Final = 3
ETAG: Final = 4
IF_NONE_MATCH: Final = 5
OBSERVE: Final = 6
URI_PORT: Final = 7
LOCATION_PATH: Final = 8
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
MAX_AGE: Final = 14
URI_QUERY: Final = 15
ACCEPT: Final = 17
LOCATION_QUERY: Final = 20
BLOCK2: Final = 23
BLOCK1: Final = 27
SIZE2: Final = 28
PROXY_URI: Final = 35
PROXY_SCHEME: Final = 39
SIZE1: Final = 60
ECHO: Final = 252
NO_RESPONSE: Final = 258
REQUEST_TAG: Final = 292

TYPE_NAMES: Final[tuple[str, ...]] = ("CON", "NON", "ACK", "RST")

CODE_NAMES: Final[dict[int, str]] = {
    EMPTY: "Empty",
    GET: "GET",
    POST: "POST",
    PUT: "PUT",
    DELETE: "DELETE",
    FETCH: "FETCH",
    PATCH: "PATCH",
    IPATCH: "iPATCH",
    CREATED: "Created",
    DELETED: "Deleted",
    VALID: "Valid",
    CHANGED: "Changed",
    CONTENT: "Content",
    CONTINUE: "Continue",
    BAD_REQUEST: "Bad Request",
    UNAUTHORIZED: "Unauthorized",
    BAD_OPTION: "Bad Option",
    FORBIDDEN: "Forbidden",
    NOT_FOUND: "Not Found",
    METHOD_NOT_ALLOWED: "Method Not Allowed",
    NOT_ACCEPTABLE: "Not Acceptable",
    REQUEST_ENTITY_INCOMPLETE: "Request Entity Incomplete",
    CONFLICT: "Conflict",
    PRECONDITION_FAILED: "Precondition Failed",
    REQUEST_ENTITY_TOO_LARGE: "Request Entity Too Large",
    UNSUPPORTED_CONTENT_FORMAT: "Unsupported Content-Format",
    UNPROCESSABLE_ENTITY: "Unprocessable Entity",
    TOO_MANY_REQUESTS: "Too Many Requests",
    INTERNAL_SERVER_ERROR: "Internal Server Error",
    NOT_IMPLEMENTED: "Not Implemented",
    BAD_GATEWAY: "Bad Gateway",
    SERVICE_UNAVAILABLE: "Service Unavailable",
    GATEWAY_TIMEOUT: "Gateway Timeout",
    PROXYING_NOT_SUPPORTED: "Proxying Not Supported",
}


def code_text(code: int) -> str:
    """The dotted form of a code: 0x45 gives "2.05"."""
    return f"{code >> 5}.{code & 31:02d}"


def code_name(code: int) -> str:
    """The dotted form with the name, for logs: "2.05 Content"; the dotted form alone if unassigned."""
    name = CODE_NAMES.get(code)
    return f"{code_text(code)} {name}" if name else code_text(code)


def is_success(code: int) -> bool:
    """Whether a response code is of class 2."""
    return code >> 5 == 2
