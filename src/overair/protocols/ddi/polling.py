"""When a device is to come again (spec ddi.md, section 2.1)."""

from msgspec import Struct

SHORTEST_SECONDS = 30
LONGEST_SECONDS = 86_399
"""23:59:59: the format has no room for more."""
DEFAULT_SECONDS = 300
JITTER_PERCENT = 10
_SPREAD = 2001
_MIX = 0x9E3779B97F4A7C15  # odd, and its bits are all over: neighbours end up far apart
_MASK = (1 << 64) - 1


class Polling(Struct, frozen=True):
    """How often the devices of an account come."""

    seconds: int = DEFAULT_SECONDS
    jitter_percent: int = JITTER_PERCENT


def interval(polling: Polling, now_ms: int, seed: int, *, busy: bool, opens_ms: int | None) -> int:
    """Return after how many seconds to come again.

    *busy*: an action is under way, or could begin right now. *opens_ms*: when one could begin at the
    earliest, None if none waits. *seed* differs from device to device, and with the time spreads their polls.
    """
    if busy:
        return SHORTEST_SECONDS
    seconds = _jittered(polling, now_ms, seed)
    if opens_ms is not None:
        seconds = min(seconds, (opens_ms - now_ms) // 3000)
    return clamped(seconds)


def clamped(seconds: int) -> int:
    """Return an interval within what the protocol can say."""
    return max(SHORTEST_SECONDS, min(LONGEST_SECONDS, seconds))


def text(seconds: int) -> str:
    """Return ``HH:MM:SS``, always eight characters: Zephyr counts them."""
    minutes, second = divmod(clamped(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"


def _jittered(polling: Polling, now_ms: int, seed: int) -> int:
    place = ((seed ^ now_ms) * _MIX & _MASK) >> 40
    share = place % _SPREAD / (_SPREAD - 1) * 2 - 1  # -1 to 1
    return round(polling.seconds * (1 + share * polling.jitter_percent / 100))
