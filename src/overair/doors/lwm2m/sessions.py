"""DTLS sessions over a restart of the service: without them a fleet would owe it as many handshakes.

They hold keys, so they lie sealed under the master key, in a file that only the service's user can read. They
are good for one restart: taken up, the file is gone.
"""

import asyncio
import os
from pathlib import Path

import structlog

from overair.platform.sealing import MasterKeyError, Sealer
from overair.protocols import dtls

_log = structlog.get_logger()

FILE_NAME = "dtls-sessions"
_PURPOSE = b"overair:dtls-sessions"  # no identity begins so: identities are a device's


class SavedSessions:
    """The file of sessions in a data directory."""

    def __init__(self, data: Path, sealer: Sealer) -> None:
        self._file = data / FILE_NAME
        self._sealer = sealer

    def take_up(self, engine: dtls.Server, now: float) -> list[dtls.Association]:
        """Give the engine what the last stop saved, and delete it; blocks on the file.

        Sessions that can't be read cost handshakes, nothing else: that is logged.
        """
        try:
            sealed = self._file.read_bytes()
            self._file.unlink()
            return engine.restore(self._sealer.open(_PURPOSE, sealed), now)
        except FileNotFoundError:
            return []
        except (MasterKeyError, dtls.SavedStateError) as error:
            _log.warning("dtls_sessions_lost", reason=str(error))
            return []

    async def keep(self, engine: dtls.Server) -> None:
        """Save the engine's sessions for the next start."""
        saved = engine.save_sessions(asyncio.get_running_loop().time())
        await asyncio.to_thread(self._write, self._sealer.seal(_PURPOSE, saved))

    def _write(self, sealed: bytes) -> None:
        new = self._file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
