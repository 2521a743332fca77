"""What a device proves itself by: identities and their pre-shared keys (spec lwm2m.md 10.2).

A device has a few identities; an identity belongs to one device and has, while its key changes, several
keys. Times are UTC epoch milliseconds. Only :class:`NewPsk` holds a key as the device has it: it goes to
the person who adds it, and keeps the key out of its ``repr``. No error of this module holds one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NewPsk:
    """A key that is to be added, or was just added; nothing shows it later."""

    imei: int
    identity: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredPsk:
    """A key as it lies in the database."""

    identity: bytes
    imei: int
    account_id: int
    sealed: bytes = field(repr=False)
    created_ms: int
    expires_ms: int | None = None
    """None for the current key of its identity; a time for those that it took the place of."""


@dataclass(frozen=True, slots=True)
class PskTimes:
    """What an owner may see of a stored key."""

    identity: bytes
    created_ms: int
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the store has, when a key is to be added."""

    keys: tuple[StoredPsk, ...]
    """All keys of the identity, newest first."""
    identities: frozenset[bytes]
    """All identities of the device."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose an identity is, and since when it has had the oldest of its valid keys."""

    imei: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class KeysState:
    """What tells that the keys changed: any two different contents of the table differ in it."""

    keys: int
    ids: int
    times: int


Decide = Callable[[StoredPsk, Known], tuple[StoredPsk, ...]]
"""Return the keys that the identity has, newest first, once the first one is added."""


def identity_text(identity: bytes) -> str:
    """Return an identity to print; what is no printable UTF-8 is escaped."""
    text = identity.decode(errors="backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class CredentialError(Exception):
    """A request about keys of devices can't be met; the message says why, and holds no key."""


# The owner, who adds keys.


class InvalidPsk(CredentialError):
    """A value breaks a rule: ``field`` names it, ``rule`` says what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class IdentityTaken(CredentialError):
    """The identity belongs to another device; which one is not told, it may be another account's."""

    def __init__(self, identity: bytes) -> None:
        super().__init__(f"PSK identity '{identity_text(identity)}' belongs to another device")


class TooManyIdentities(CredentialError):
    """The device has as many identities as it may have."""

    def __init__(self, imei: int, limit: int) -> None:
        super().__init__(f"device {imei:015d} has {limit} PSK identities already: remove one first")


class TooManyKeys(CredentialError):
    """The identity's key changed too often for all the old ones to stay valid."""

    def __init__(self, identity: bytes, limit: int) -> None:
        super().__init__(
            f"PSK identity '{identity_text(identity)}' has {limit} valid keys already: "
            "wait until one expires, or remove the identity first"
        )


class UnknownIdentity(CredentialError):
    """The device has no such identity."""

    def __init__(self, imei: int, identity: bytes) -> None:
        super().__init__(f"device {imei:015d} has no PSK identity '{identity_text(identity)}'")


class KeysRefused(CredentialError):
    """None of the keys was added; ``errors`` says why: (position, reason)."""

    def __init__(self, errors: list[tuple[int, CredentialError]]) -> None:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{errors[0][1]}{more}")
        self.errors = errors
