"""Where a package is pulled from: the Package URI, as a device reads it (spec lwm2m.md 8.5, 13.3, 13.4)."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from overair.simulator.profile import COAP, COAPS, HTTP, HTTPS

URI_BYTES_MAX: Final = 255
"""What resource 5/0/1 holds."""
SCHEMES: Final[dict[str, tuple[int, int]]] = {
    "coap": (COAP, 5683),
    "coaps": (COAPS, 5684),
    "http": (HTTP, 80),
    "https": (HTTPS, 443),
}
"""Number in resource 5/0/8, and usual port."""


class UriError(ValueError):
    """Text that is no URI of a package."""


class SchemeError(UriError):
    """A URI by whose scheme this device fetches nothing."""


class Source(NamedTuple):
    """A URI, taken apart. `queries` are those of CoAP; `target` is what a request line of HTTP names."""

    uri: str
    scheme: str
    host: str
    port: int
    path: tuple[str, ...]
    queries: tuple[str, ...]
    target: str

    @property
    def is_coap(self) -> bool:
        """Whether it is fetched block by block, with or without DTLS."""
        return self.scheme in ("coap", "coaps")

    @property
    def is_secure(self) -> bool:
        """Whether it is fetched over DTLS or TLS."""
        return self.scheme in ("coaps", "https")


def parse_source(uri: str, protocols: tuple[int, ...]) -> Source:
    """Read a URI. UriError if it is none with a host and a path; SchemeError if `protocols` lacks its own."""
    if len(uri.encode()) > URI_BYTES_MAX or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise UriError(f"uri: at most {URI_BYTES_MAX} printable characters of ASCII")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UriError(f"uri: {error}") from error
    if not parts.scheme or not host or len(parts.path) < 2 or parts.username is not None or parts.fragment:
        raise UriError("uri: takes a scheme, a host and a path")
    known = SCHEMES.get(parts.scheme)
    if known is None or known[0] not in protocols:
        raise SchemeError(f"uri: {parts.scheme} is not spoken here")
    return Source(
        uri,
        parts.scheme,
        host,
        port or known[1],
        tuple([unquote(segment) for segment in parts.path[1:].split("/")]),
        tuple([unquote(query) for query in parts.query.split("&") if query]),
        f"{parts.path}?{parts.query}" if parts.query else parts.path,
    )
