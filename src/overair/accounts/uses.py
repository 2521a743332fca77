"""When sessions were last used: known in memory at once, in the database a little later.

Every call restarts its session's clock (spec auth.md, section 3). Were each of them written, a read of
one device would cost a commit. So a use is written only if the stored one is older than
:data:`WRITE_AFTER_MS`; a crash makes a session look idle for at most that much longer than it was.
"""

from overair.accounts.model import Session

WRITE_AFTER_MS = 30_000


class SessionUses:
    """The last uses that this process has seen: (used, written) in ms by session id.

    Not larger than the number of sessions used since :meth:`forget` was last called.
    """

    def __init__(self) -> None:
        self._uses: dict[int, tuple[int, int]] = {}

    def last_used_ms(self, session: Session) -> int:
        """Return the newest use, of the stored one and the one remembered here."""
        used_ms, _ = self._uses.get(session.id, (0, 0))
        return max(used_ms, session.last_used_ms)

    def use(self, session: Session, now_ms: int) -> bool:
        """Remember a use at *now_ms*; tell whether it is to be written."""
        _, written_ms = self._uses.get(session.id, (0, 0))
        written_ms = max(written_ms, session.last_used_ms)
        due = now_ms - written_ms > WRITE_AFTER_MS
        self._uses[session.id] = (now_ms, now_ms if due else written_ms)
        return due

    def forget(self, before_ms: int) -> None:
        """Drop uses older than *before_ms*, which make no difference any more."""
        self._uses = {id_: use for id_, use in self._uses.items() if use[0] >= before_ms}
