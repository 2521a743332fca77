"""Who may call the service: accounts, their API keys and users, access tokens and sessions (spec auth.md).

Times are UTC epoch milliseconds. Nothing here holds a secret that opens a door, except the three
types at the end, which carry one to the person who asked for it and keep it out of their ``repr``.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Subscription(StrEnum):
    """How an account pays: by the month and device, or by the upgrade."""

    MRC = "mrc"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Account:
    """A billing account: it owns devices, keys and users."""

    id: int
    name: str
    active: bool
    licenses: int
    subscriptions: tuple[Subscription, ...]
    created_ms: int
    subscription_ms: int | None = None
    """When the number of licences last changed; None: not since the account was made."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API client of an account; its secret is kept as a digest only."""

    id: int
    account_id: int
    key: str
    secret_digest: bytes = field(repr=False)
    created_ms: int
    revoked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token, without the token: who knows the key's secret can work it out again from this."""

    key_id: int
    scope: str
    nonce: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    issued_ms: int
    expires_ms: int
    revoked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person or program that logs in with a password; belongs to one account."""

    id: int
    account_id: int
    name: str
    password_hash: str = field(repr=False)
    failed_logins: int
    """Failed logins since the last that succeeded."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """A login of a user."""

    id: int
    user_id: int
    created_ms: int
    last_used_ms: int
    """As stored; the service may know of a later use (:mod:`overair.accounts.uses`)."""
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the store found of the things that a call presented; None where there is no such thing."""

    token: AccessToken | None = None
    session: Session | None = None
    user: User | None = None
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A call with a living token and an active session."""

    user: User
    session: Session


@dataclass(frozen=True, slots=True)
class Access:
    """A call that may act on an account."""

    account: Account
    user: User


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key as its owner gets to see it, once."""

    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The answer to a token request; *expires_in* in seconds."""

    token: str = field(repr=False)
    scope: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """The answer to a login."""

    token: str = field(repr=False)
