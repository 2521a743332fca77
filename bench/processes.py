"""Servers as processes of their own on a core of their own, and what they cost.

The server has the first core that this process may use, whoever asks it has the last. With one core both
share it: ratios then still hold roughly, absolute figures don't.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30
IDLE_SECONDS, IDLE_SHARE = 0.4, 0.1
_DOOR = re.compile(r"(\w+) +\w+://127\.0\.0\.1:(\d+)$")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]


class ServerEnded(Exception):
    """A server stopped before it was ready; the message ends with what it wrote."""


def pin(core: int) -> None:
    """Bind this process, and the threads it will start, to one core."""
    os.sched_setaffinity(0, {core})


class ServerProcess:
    """``python -m`` *arguments*, which prints a line for each door and then ``ready``."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self.ports: dict[str, int] = {}

    def __enter__(self) -> "ServerProcess":
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        os.sched_setaffinity(self._process.pid, {SERVER_CORE})  # it has no threads yet
        try:
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, by all threads, user and system."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_PER_SECOND

    def await_idle(self) -> float:
        """Wait until it does next to nothing any more; return for how long it was still busy, in seconds."""
        started = busy_until = time.perf_counter()
        used = self.cpu_seconds()
        while time.perf_counter() - busy_until < IDLE_SECONDS:
            time.sleep(IDLE_SECONDS / 2)
            now_used = self.cpu_seconds()
            if now_used - used > IDLE_SHARE * IDLE_SECONDS:
                busy_until = time.perf_counter()
            used = now_used
        return busy_until - started

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode().strip()
            if line == "ready":
                return
            if door := _DOOR.match(line):
                self.ports[door[1]] = int(door[2])
        self._errors.seek(0)
        raise ServerEnded(f"{' '.join(self._arguments)}: {self._errors.read().decode()[-2000:]}")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
