"""What a token may be, and what becomes of the old ones; no I/O.

As with keys (:mod:`overair.credentials.rules`): a token that is replaced stays valid for some days, since its
device gets the new one only later. A token that is given again is the current one again.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from overair.credentials.rules import is_valid
from overair.credentials.token_model import InvalidToken, TokenRow, TooManyTokens
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits
from overair.platform.secrets import same

NEW_TOKEN_BYTES = 16
"""Shown as 32 hex digits, as hawkBit does."""
TOKEN_CHARACTERS = range(16, 257)  # shorter ones can be guessed from their digest
CONTROLLER_CHARACTERS = range(1, 257)

_TOKEN = re.compile(r"[!-~]+")  # a header carries it as it is


def checked_token(token: str) -> str:
    """Return *token*; :class:`InvalidToken`, without it, if no header can carry it or it can be guessed."""
    if len(token) not in TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise InvalidToken("token", "must be 16 to 256 printable ASCII characters, no spaces")
    return token


def checked_controller(controller_id: str) -> str:
    """Return *controller_id*; :class:`InvalidToken` if no path can carry it."""
    fits = len(controller_id) in CONTROLLER_CHARACTERS and controller_id.isprintable()
    if not fits or "/" in controller_id or controller_id in (".", ".."):
        raise InvalidToken("controller id", "must be 1 to 256 printable characters, no slash")
    return controller_id


def tokens_after(wanted: TokenRow, known: Sequence[TokenRow], limits: Limits) -> list[TokenRow]:
    """Return the tokens that are valid once *wanted* is added, newest first; :class:`TooManyTokens`."""
    valid = [row for row in known if is_valid(row.expires_ms, wanted.created_ms)]
    others = [row for row in valid if not same(row.digest, wanted.digest)]
    if len(others) >= limits.tokens_per_device:
        raise TooManyTokens(limits.tokens_per_device)
    end_ms = wanted.created_ms + limits.key_overlap_days * DAY_MS
    kept = [row if row.expires_ms is not None else replace(row, expires_ms=end_ms) for row in others]
    return [wanted, *kept]


def accepts(tokens: Sequence[TokenRow], digest: bytes, now_ms: int) -> bool:
    """Tell whether a digest is one of the valid tokens; all are looked at, each in constant time."""
    found = False
    for row in tokens:
        found |= same(row.digest, digest) and is_valid(row.expires_ms, now_ms)
    return found
