"""How fast devices without security may register from one address (spec lwm2m.md, section 12.3).

The endpoint holds the rate of a peer, an address and port; ports cost a stranger nothing, and every Register
costs a write to the database.
"""

from collections import OrderedDict

INTERVAL_SECONDS = 1.0
HOSTS_MAX = 65_536  # 10 MB; beyond it the earliest are forgotten, which only lets them register sooner


class RegisterRate:
    """One Register a second and host; loopback, where simulated fleets share an address, is free."""

    def __init__(self) -> None:
        # Host → when it may register again (seconds), earliest first: what is past is dropped from the front.
        # An OrderedDict, since a plain one looks at all it has dropped before it finds its first.
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Hosts remembered."""
        return len(self._free_at)

    def wait_seconds(self, host: str, now: float) -> float:
        """Count one Register at *now* (seconds) and return 0.0, or return how long the host has to wait."""
        if host == "::1" or host.startswith(("127.", "::ffff:127.")):
            return 0.0
        free_at = self._free_at
        while free_at and (len(free_at) >= HOSTS_MAX or next(iter(free_at.values())) <= now):
            free_at.popitem(last=False)
        if host in free_at:
            return free_at[host] - now
        free_at[host] = now + INTERVAL_SECONDS
        return 0.0
