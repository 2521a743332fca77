"""Why a request about accounts is refused, grouped by who is wrong. No message ever holds a secret."""


class AccountError(Exception):
    """A request about accounts, keys, users or sessions can't be met; the message says why."""


# The operator, at the command line.


class InvalidField(AccountError):
    """A value breaks a rule: ``field`` names it, ``rule`` says what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class AlreadyThere(AccountError):
    """The name is taken."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} exists already")


class NotThere(AccountError):
    """There is nothing of that name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name!r}")


# The API client, when it asks for a token (spec auth.md, section 1).


class InvalidClient(AccountError):
    """Unknown or revoked key, or wrong secret; which of them is not told."""


class UnknownScope(AccountError):
    """A scope that no published client knows."""


# The user, when it logs in or changes its password (spec auth.md, section 3).


class LoginFailed(AccountError):
    """Unknown user or wrong password; which of them is not told."""


class LoginLocked(AccountError):
    """Too many failed logins in a row: an administrator has to unlock the user."""


class WrongPassword(AccountError):
    """The current password given for a reset is not the current one."""


# The caller, on every other call: in the order in which they are checked (spec auth.md, section 4).


class MissingBearer(AccountError):
    """No access token."""


class InvalidBearer(AccountError):
    """An access token that never was, has expired or is revoked."""


class MissingSession(AccountError):
    """No session token."""


class UnknownSession(AccountError):
    """A session token that is no GUID, or was never issued."""


class ExpiredSession(AccountError):
    """A session that was idle too long, or has been ended."""


class AccountNameFormat(AccountError):
    """An account name that is not digits, hyphen, digits."""


class UnknownAccount(AccountError):
    """An account that is not there."""


class NotEntitled(AccountError):
    """The user has no rights on this account."""


class InactiveAccount(AccountError):
    """The account is switched off."""
