"""The operator's token: who shows it may do what the command line may.

Made when the service starts for the first time, and kept in a file of the data directory that only the
service's user can read; or given by the environment, which wins.
"""

import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Refusal
from overair.doors.thingspace.guards import basic_credentials, bearer_token
from overair.doors.thingspace.http import Call, Guard
from overair.platform.secrets import digest, random_text, same

FILE_NAME = "operator.token"
VARIABLE = "OVERAIR_OPERATOR_TOKEN"
SCHEME = "operator"

TOKEN_CHARACTERS = 40  # 238 bits
_TOKEN = re.compile("[!-~]{20,200}")

UNAUTHORIZED = errors.fault(
    401,
    "900901",
    "Invalid Credentials",
    "The operator's token is missing or wrong: Authorization: Bearer TOKEN",
    WWW_Authenticate="Bearer",
)


class OperatorTokenError(Exception):
    """The token can't be used; the message says what to do, without the token."""


def operator_token(data: Path, environ: Mapping[str, str]) -> str:
    """Return the token, made if there is none; blocks on the file. Raises :class:`OperatorTokenError`."""
    given = environ.get(VARIABLE)
    if given is not None:
        return _checked(given, VARIABLE)
    file = data / FILE_NAME
    return _read(file) or _make(file)


def kept_token(data: Path, environ: Mapping[str, str]) -> str:
    """Return the token of a service that has run; blocks on the file.

    Raises :class:`OperatorTokenError` if there is none, or it can't be used.
    """
    given = environ.get(VARIABLE)
    if given is not None:
        return _checked(given, VARIABLE)
    token = _read(data / FILE_NAME)
    if token is None:
        raise OperatorTokenError(f"no {FILE_NAME} in {data}: the service makes it when it first runs there")
    return token


def operator_guard(token: str) -> Guard[None]:
    """Return the guard that lets in who shows *token*, compared in constant time."""
    right = digest(token)

    async def check(call: Call) -> None:
        shown = bearer_token(call.header("authorization"))
        if not same(digest(shown or ""), right):
            raise Refusal(UNAUTHORIZED)

    return Guard(check, (SCHEME,), (UNAUTHORIZED,))


def looker(token: str) -> Callable[[str | None], bool]:
    """Return what tells from an ``Authorization`` header whether somebody may look, and change nothing.

    The token counts as the password of any user, too: a browser can ask for that. It is not taken for calls
    that change something, since a browser that knows a password also sends it for other people's forms.
    """
    right = digest(token)

    def may_look(header: str | None) -> bool:
        _, password = basic_credentials(header) or ("", "")
        shown = bearer_token(header) or password
        return same(digest(shown), right)

    return may_look


def _checked(token: str, source: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise OperatorTokenError(f"{source}: must be 20 to 200 printable ASCII characters without spaces")
    return token


def _read(file: Path) -> str | None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        token = opened.read(1024)
    if mode & 0o077:
        raise OperatorTokenError(f"{file} is open to other users (mode {mode:04o}): run 'chmod 600 {file}'")
    return _checked(token.decode(errors="replace").strip(), str(file))


def _make(file: Path) -> str:
    """Write the file under another name first: nobody ever reads half of it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    token = random_text(TOKEN_CHARACTERS)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(f"{token}\n")
            opened.flush()
            os.fsync(descriptor)
        os.link(draft, file)
    except FileExistsError:  # another process was faster
        return _read(file) or _make(file)
    finally:
        draft.unlink()
    return token
