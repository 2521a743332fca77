"""What a URL may be, which messages may go, when they go again, and how they are signed; no I/O.

Order. A message is held back while an earlier one about the same campaign, or about one of the same devices,
is undelivered. What is held back holds back in turn: otherwise the third of three messages could pass the
second by a device that it does not share with the first.

Retries. Each waits a random part of a time that doubles from 5 s to 1 h, so that receivers that come back
are not met by everything at once. They end 24 hours after the event. A message that was held back till then
is tried nevertheless, once; but after 48 hours nothing waits any longer, or the messages for a receiver that
is gone would grow without end.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

from overair.callbacks.model import InvalidUrl, MessageState, Parcel, Version, Waiting
from overair.platform.limits import Limits

HOUR_MS = 3_600_000
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 3600.0
LEAST_DELAY_SECONDS = 1.0  # whatever chance says, a receiver gets a moment

SIGNATURE_VERSION = "v1"

_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_HOST_CHARACTERS = 253
_LABEL_CHARACTERS = 63


# URLs (spec callbacks.md, section 1).


def checked_url(url: str | None, limits: Limits) -> str:
    """Return *url* as it is; :class:`InvalidUrl` unless it is an http or https URL that can be called."""
    if not url:
        raise InvalidUrl("is required")
    if len(url) > limits.callback_url_characters:
        raise InvalidUrl(f"must have at most {limits.callback_url_characters} characters")
    if not _VISIBLE.fullmatch(url):
        raise InvalidUrl("must be ASCII without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrl("must have a host, and a port of 1 to 65535 if any") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidUrl("must begin with https:// or http://")
    if not _is_host(parts) or port == 0:
        raise InvalidUrl("must have a host, and a port of 1 to 65535 if any")
    if "@" in parts.netloc:
        raise InvalidUrl("must not hold a user or a password")
    if parts.fragment:
        raise InvalidUrl("must not have a fragment")
    return url


def _is_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return _is_ipv6(host)
    short = all(len(label) <= _LABEL_CHARACTERS for label in host.split("."))
    return short and len(host) <= _HOST_CHARACTERS and _HOST.fullmatch(host) is not None


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


# Which messages may go.


def unhindered(waiting: Iterable[Waiting]) -> Iterator[Waiting]:
    """Yield those of a listener's messages that no earlier one holds back; *waiting* by id, oldest first."""
    spoken_of: set[int | str] = set()
    for message in waiting:
        about = _about(message)
        if spoken_of.isdisjoint(about):
            yield message
        spoken_of |= about


def deliverable(waiting: Iterable[Waiting], now_ms: int) -> Iterator[Waiting]:
    """Yield those that may be sent at *now_ms*, all at once if need be; *waiting* by id, oldest first."""
    return (message for message in unhindered(waiting) if message.due_ms <= now_ms)


def _about(message: Waiting) -> frozenset[int | str]:
    # A report's subject is an IMEI, too, and must meet the same device in a campaign's message.
    subject = int(message.subject) if message.subject.isdecimal() else message.subject
    return frozenset((subject, *message.imeis))


# When they go again.


def delay_ms(failures: int, fraction: float) -> int:
    """Return how long to wait after that many failures in a row; *fraction* is chance's part, 0 to 1."""
    longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 32))
    return round(max(LEAST_DELAY_SECONDS, longest * fraction) * 1000)


def after_failure(
    parcel: Parcel, now_ms: int, fraction: float, limits: Limits
) -> tuple[MessageState, int | None]:
    """Return what becomes of a message that an attempt failed for, and when it is due again, if at all."""
    last_ms = parcel.created_ms + limits.callback_retry_hours * HOUR_MS
    if now_ms >= last_ms:
        return MessageState.EXPIRED, None
    # The last attempt is made when time is up, not some time before.
    return MessageState.WAITING, min(now_ms + delay_ms(parcel.attempts + 1, fraction), last_ms)


# Signatures.


def signature(secret: str, timestamp: str, uid: str, body: bytes) -> str:
    """Return the value of ``Overair-Signature``; docs/callbacks.md says how receivers check it."""
    signed = b"%b.%b.%b" % (timestamp.encode(), uid.encode(), body)
    return f"{SIGNATURE_VERSION}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def secret_owner(account_id: int, version: Version) -> bytes:
    """Return what a listener's sealed secret is bound to."""
    return b"overair:callback:%d:%b" % (account_id, version.encode())
