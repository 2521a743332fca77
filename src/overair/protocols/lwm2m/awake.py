"""When a queue-mode device may be spoken to (spec lwm2m.md 4.1).

A device that signals queue mode listens for a window after each completed exchange, and sleeps after it.
One that does not signal it is taken to be awake always, until two requests in a row time out: many modules
sleep without saying so. What is learned that way holds until the next Register makes a new window.
"""

from msgspec import Struct

AWAKE_WINDOW_SECONDS = 93.0  # MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2
TIMEOUTS_UNTIL_ASLEEP = 2


class AwakeWindow(Struct, gc=False):
    """Reachability of one registration. Times are seconds on the caller's clock."""

    queue_mode: bool
    window_seconds: float = AWAKE_WINDOW_SECONDS
    awake_until: float = 0.0
    timeouts: int = 0

    def is_awake(self, now: float) -> bool:
        """Whether the server may send at `now`."""
        return not self.queue_mode or now < self.awake_until

    def touched(self, now: float) -> None:
        """Note a message, in either direction, that completed an exchange: the window starts again."""
        self.awake_until = now + self.window_seconds
        self.timeouts = 0

    def asleep_after_timeout(self) -> None:
        """Note a request that got no answer: a queue-mode device is asleep at once, another after two."""
        self.awake_until = 0.0
        self.timeouts += 1
        if self.timeouts >= TIMEOUTS_UNTIL_ASLEEP:
            self.queue_mode = True
