"""The three forms of time on the wire, to and from milliseconds since 1970 (spec api-v3.md 1).

T1 is the text of a Go time, ``2021-06-03 00:03:56.079 +0000 UTC``; T2 is RFC 3339 in UTC,
``2012-04-23T18:25:43.511Z``; D is a date, ``2021-06-03``. All are UTC. A fraction may have up to nine
digits when read, is cut to milliseconds, and is written without trailing zeros, or not at all when zero.
"""

import re
from datetime import date
from functools import cache, lru_cache
from re import Match

from overair.records.errors import DATE_RULE, T1_RULE, T2_RULE, TIME_RANGE_RULE, RecordError

_DATE = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.([0-9]{1,9}))?"
T1_PATTERN = rf"^{_DATE} {_CLOCK} \+0000 UTC$"
T2_PATTERN = f"^{_DATE}T{_CLOCK}Z$"
D_PATTERN = f"^{_DATE}$"

_DAY_MS = 86_400_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_OVERFLOW_MS = (date(9999, 12, 31).toordinal() - _EPOCH_ORDINAL + 1) * _DAY_MS
_UNDERFLOW_MS = (1 - _EPOCH_ORDINAL) * _DAY_MS


def format_t1(epoch_ms: int) -> str:
    """The T1 text of an instant; years 0001 to 9999, else RecordError."""
    days, ms = divmod(epoch_ms, _DAY_MS)
    minute, ms = divmod(ms, 60_000)
    return f"{_date(days)} {_minute(minute)}{ms // 1000:02}{_fraction(ms % 1000)} +0000 UTC"


def format_t2(epoch_ms: int) -> str:
    """The T2 text of an instant; years 0001 to 9999, else RecordError."""
    days, ms = divmod(epoch_ms, _DAY_MS)
    minute, ms = divmod(ms, 60_000)
    return f"{_date(days)}T{_minute(minute)}{ms // 1000:02}{_fraction(ms % 1000)}Z"


def format_d(epoch_ms: int) -> str:
    """The UTC date of an instant; years 0001 to 9999, else RecordError."""
    return _date(epoch_ms // _DAY_MS)


def parse_t1(text: str) -> int:
    """Milliseconds since 1970 of a T1 text, negative before; RecordError for anything else."""
    return _instant(text, T1_PATTERN, T1_RULE)


def parse_t2(text: str) -> int:
    """Milliseconds since 1970 of a T2 text, negative before; RecordError for anything else."""
    return _instant(text, T2_PATTERN, T2_RULE)


def parse_d(text: str) -> int:
    """Milliseconds since 1970 of the start of a date; of a T2 text, its UTC date counts (quirks.md Q6)."""
    if re.fullmatch(T2_PATTERN, text):
        return _instant(text, T2_PATTERN, DATE_RULE) // _DAY_MS * _DAY_MS
    return _days(_match(text, D_PATTERN, DATE_RULE)[0], DATE_RULE) * _DAY_MS


# Parts of a time repeat, and a page of devices holds seven thousand times: cached, a part costs a look-up.


@cache
def _minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}:"


@cache
def _fraction(ms: int) -> str:
    return f".{ms:03}".rstrip("0") if ms else ""


@lru_cache(maxsize=4096)
def _date(days: int) -> str:
    if not _UNDERFLOW_MS <= days * _DAY_MS < _OVERFLOW_MS:
        raise RecordError("time", TIME_RANGE_RULE)
    return date.fromordinal(_EPOCH_ORDINAL + days).isoformat()


def _days(text: str, rule: str) -> int:
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL
    except ValueError:  # a day that the month does not have
        raise RecordError("time", rule) from None


def _instant(text: str, pattern: str, rule: str) -> int:
    found = _match(text, pattern, rule)
    seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    ms = int((found[1] or "").ljust(3, "0")[:3])
    return _days(text[:10], rule) * _DAY_MS + seconds * 1000 + ms


def _match(text: str, pattern: str, rule: str) -> Match[str]:
    if found := re.fullmatch(pattern, text):
        return found
    raise RecordError("time", rule)
