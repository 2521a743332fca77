"""Tokens by which devices speak HTTP, and the names that they call themselves (spec ddi.md, 3 and 10.1).

A device has a token of its own (target token); a gateway's is good for every device of its account. Of both
only a digest is kept. Times are UTC epoch milliseconds.
"""

from dataclasses import dataclass, field

from overair.credentials.model import CredentialError


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as the person who asked for it gets to see it, once; *imei* is None for a gateway's."""

    account_id: int
    imei: int | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is stored."""

    id: int
    account_id: int
    imei: int | None
    digest: bytes = field(repr=False)
    created_ms: int
    expires_ms: int | None
    """None for the current one; a time for those that it took the place of."""


class InvalidToken(CredentialError):
    """A value breaks a rule: ``field`` names it, ``rule`` says what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class TooManyTokens(CredentialError):
    """Tokens changed too often for all the old ones to stay valid."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} tokens are valid already: wait until one expires, or remove one first")


class UnknownToken(CredentialError):
    """There is no such token."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no token {number}")


class TokenTaken(CredentialError):
    """Another account has the same gateway token."""

    def __init__(self) -> None:
        super().__init__("token: choose another one")


class ControllerTaken(CredentialError):
    """The name belongs to another device, or the device has another name."""

    def __init__(self, controller_id: str, imei: int) -> None:
        super().__init__(
            f"controller id {controller_id!r} and device {imei:015d}: one of them is bound to another already"
        )
