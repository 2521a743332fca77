"""Who may do what, decided without I/O: names, scopes, tokens, lockout, sessions (spec auth.md).

A session is *active* from login until it has been idle too long (*expired*) or is logged out (*ended*).
Neither comes back: the user logs in again and gets another session. Idleness is not an event that
anybody sends; it is found when the session is next looked at, from the time of its last use.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from enum import StrEnum

from overair.accounts.errors import (
    AccountNameFormat,
    ExpiredSession,
    InvalidField,
    UnknownScope,
)
from overair.accounts.model import AccessToken, Session, Subscription

ACCOUNT_NAME = re.compile(r"[0-9]{1,32}-[0-9]{1,32}")
SESSION_TOKEN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

USER_NAME_CHARACTERS = 255
PASSWORD_CHARACTERS = range(8, 257)
LICENSES = range(1_000_000_001)  # fits the API's 32-bit integers
SCOPE_CHARACTERS = 1024  # all known scopes together take 330

DEFAULT_SCOPE = "default"
SCOPES = frozenset(
    {
        DEFAULT_SCOPE,
        "discovery:read",
        "serviceprofile:read",
        "serviceprofile:write",
        "serviceregistry:read",
        "serviceregistry:write",
        "ts.mec.fullaccess",
        "ts.mec.limitaccess",
        "ts.application.ro",
        "edge:discovery:read",
        "edge:serviceprofile:read",
        "edge:serviceprofile:write",
        "edge:serviceregistry:read",
        "edge:serviceregistry:write",
        "read",
        "write",
    }
)


# Names and numbers that an operator gives.


def checked_account_name(name: str) -> str:
    """Return *name*; :class:`AccountNameFormat` unless it is digits, hyphen, digits (Q31)."""
    if not ACCOUNT_NAME.fullmatch(name):
        raise AccountNameFormat("account name: must be digits, a hyphen and digits, such as 0742000123-00001")
    return name


def checked_user_name(name: str) -> str:
    """Return *name*; :class:`InvalidField` unless it can be typed and stored."""
    if not 0 < len(name) <= USER_NAME_CHARACTERS or not name.isprintable():
        raise InvalidField("user name", f"must be 1 to {USER_NAME_CHARACTERS} printable characters")
    return name


def checked_password(password: str) -> str:
    """Return *password*; :class:`InvalidField`, without the password in it, if it is too short or long."""
    if len(password) not in PASSWORD_CHARACTERS or not password.isprintable():
        raise InvalidField("password", "must be 8 to 256 printable characters")
    return password


def checked_licenses(licenses: int) -> int:
    """Return *licenses*; :class:`InvalidField` when out of range."""
    if licenses not in LICENSES:
        raise InvalidField("licenses", "must be 0 to 1000000000")
    return licenses


def checked_subscriptions(names: Iterable[str]) -> tuple[Subscription, ...]:
    """Return the subscriptions of these names, in a fixed order; :class:`InvalidField` for another name."""
    wanted = set(names)
    if not wanted <= set(Subscription):
        raise InvalidField("subscription", "must be mrc, event or mrc,event")
    return tuple(subscription for subscription in Subscription if subscription in wanted)


# Access tokens (spec auth.md, section 1; docs/decisions/0003-access-tokens.md).


def granted_scope(requested: str) -> str:
    """Return the scope to grant: what was requested, sorted, so that one set of scopes has one token."""
    scopes = set(requested[: SCOPE_CHARACTERS + 1].split())
    if len(requested) > SCOPE_CHARACTERS or not scopes <= SCOPES:
        raise UnknownScope("scope: not a known scope")
    return " ".join(sorted(scopes)) or DEFAULT_SCOPE


def derived_token(secret: str, *, key_id: int, issued_ms: int, nonce: bytes, scope: str) -> str:
    """Return the token, 32 hex digits, that only who has the key's secret can work out."""
    said = b"%d|%d|%b|%b" % (key_id, issued_ms, nonce, scope.encode())
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()[:32]


def is_alive(token: AccessToken, now_ms: int) -> bool:
    """Tell whether a call may still use the token; its use does not lengthen its life."""
    return token.revoked_ms is None and now_ms < token.expires_ms


def seconds_left(token: AccessToken, now_ms: int) -> int:
    """Return the full seconds that the token still lives."""
    return max(0, token.expires_ms - now_ms) // 1000


def is_reusable(token: AccessToken, now_ms: int) -> bool:
    """Tell whether a repeated request gets this token again; in its last second nobody could use it."""
    return is_alive(token, now_ms) and seconds_left(token, now_ms) > 0


# Lockout (spec auth.md, section 3).


class LoginOutcome(StrEnum):
    """What comes of a password that was given."""

    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"


def after_login(failed_logins: int, *, right: bool, limit: int) -> tuple[LoginOutcome, int]:
    """Return the outcome and the new count. Once locked, the right password is of no use either."""
    if failed_logins >= limit:
        return LoginOutcome.LOCKED, failed_logins
    return (LoginOutcome.RIGHT, 0) if right else (LoginOutcome.WRONG, failed_logins + 1)


# Sessions (spec auth.md, section 3).


class SessionState(StrEnum):
    """Where a session is in its life."""

    ACTIVE = "Active"
    EXPIRED = "Expired"
    ENDED = "Ended"


class SessionEvent(StrEnum):
    """What can happen to a session."""

    CALL = "call"
    IDLE = "idle"
    LOGOUT = "logout"


SESSION_TABLE: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (SessionState.ACTIVE, SessionEvent.CALL): SessionState.ACTIVE,
    (SessionState.ACTIVE, SessionEvent.IDLE): SessionState.EXPIRED,
    (SessionState.ACTIVE, SessionEvent.LOGOUT): SessionState.ENDED,
}


def next_state(state: SessionState, event: SessionEvent) -> SessionState:
    """Return the state after *event*; :class:`ExpiredSession` for a session that is over."""
    if (state, event) not in SESSION_TABLE:
        raise ExpiredSession(f"session: {event} in state {state}")
    return SESSION_TABLE[state, event]


def session_state(session: Session, last_used_ms: int, now_ms: int, idle_seconds: int) -> SessionState:
    """Return the state of a session that was last used at *last_used_ms*."""
    if session.ended_ms is not None:
        return SessionState.ENDED
    if now_ms - last_used_ms > idle_seconds * 1000:
        return next_state(SessionState.ACTIVE, SessionEvent.IDLE)
    return SessionState.ACTIVE
