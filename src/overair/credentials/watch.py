"""Notices that keys of devices came or went: the command line writes them while the service runs.

A handshake reads its keys anew, so what is said of them holds for it at once (docs/decisions/0007). What was
let in before is looked at again when they change.
"""

from collections.abc import Awaitable, Callable, Mapping

from overair.credentials.model import KeysState, Owned
from overair.credentials.ring import KeyRing
from overair.credentials.store import CredentialStore
from overair.platform.clock import Clock

LOOK_SECONDS = 1.0  # how long the first key of all may go unnoticed
# How long an association outlives its key. A look takes 15 ms for 100 000 keys, on another thread.
CHANGE_SECONDS = 5

Listener = Callable[[Mapping[bytes, Owned]], Awaitable[None]]
"""Gets all identities that have a valid key."""


class KeyWatch:
    """Looks at the keys, and tells the ring and the listeners; the first look counts as a change."""

    def __init__(self, store: CredentialStore, ring: KeyRing, clock: Clock) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._listeners: list[Listener] = []
        self._told: KeysState | None = None
        self._looked_ms = 0

    def on_change(self, listener: Listener) -> None:
        """Call *listener* after a change; once more if it fails."""
        self._listeners.append(listener)

    async def look(self) -> bool:
        """Look, unless that was just done; call it every LOOK_SECONDS. Nothing is ever left to do: False."""
        now_ms = self._clock.now_ms()
        if self._told is not None and self._told.keys and now_ms - self._looked_ms < CHANGE_SECONDS * 1000:
            return False
        state = await self._store.state()
        self._ring.is_empty = not state.keys
        self._looked_ms = now_ms
        if state != self._told:
            owned = await self._store.owned(now_ms)
            for listener in self._listeners:
                await listener(owned)
            self._told = state
        return False
