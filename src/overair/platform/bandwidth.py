"""A cap on bytes a second, shared by all that take from it: the HTTP door and the CoAP door alike."""

BURST_SECONDS = 1.0  # what was not used for longer than that is lost


class Bandwidth:
    """A promise of when the next bytes may go. Belongs to one thread; time is passed in, in seconds."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def claim(self, size_bytes: int, now: float) -> float:
        """Take *size_bytes* and return the seconds until they may be sent; 0.0 for at once.

        What is claimed counts, sent or not: callers queue up in the order in which they claim.
        """
        start = max(self._free_at, now - BURST_SECONDS)
        self._free_at = start + size_bytes / self._bytes_per_second
        return max(0.0, self._free_at - now)
