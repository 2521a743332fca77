"""How long a registration lives (spec lwm2m.md 3.6)."""

import math

LIFETIME_SECONDS_DEFAULT = 86400
LIFETIME_SECONDS_MAX = 2**31 - 1
GRACE_SECONDS_MIN = 247.0  # EXCHANGE_LIFETIME, RFC 7252 section 4.8.2
_GRACE_SHARE = 0.1
_UPDATE_MARGIN_SECONDS = 93


def grace_seconds(lifetime_seconds: int) -> float:
    """How long after its lifetime a registration is still kept: devices on NB-IoT update late."""
    return max(GRACE_SECONDS_MIN, lifetime_seconds * _GRACE_SHARE)


def expires_at(last_seconds: float, lifetime_seconds: int) -> float:
    """Time at which a registration expires; infinity for lifetime 0.

    `last_seconds` is the time of the last Register or Update; nothing else extends a registration.
    """
    if lifetime_seconds == 0:
        return math.inf
    return last_seconds + lifetime_seconds + grace_seconds(lifetime_seconds)


def update_after_seconds(lifetime_seconds: int) -> float:
    """When a client sends its Update, in seconds after the last one; infinity for lifetime 0."""
    if lifetime_seconds == 0:
        return math.inf
    if lifetime_seconds < 2 * _UPDATE_MARGIN_SECONDS:
        return lifetime_seconds / 2
    return lifetime_seconds - _UPDATE_MARGIN_SECONDS
