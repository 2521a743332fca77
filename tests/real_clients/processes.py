"""A client that runs as a process of its own and talks in lines.

Its standard output holds one JSON object a line, each with the key "event"; anything else it prints is kept
for the transcript only. Its standard input takes one command a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self

LINE_LIMIT_BYTES = 1 << 20
"""An event line; a firmware image is reported by digest, so nothing longer is honest."""

EVENT_LIMIT_SECONDS = 20.0
"""How long an event may take: a JVM start on a busy machine plus one CoAP retransmission."""

Event = dict[str, Any]

_NOTHING: Mapping[str, str] = MappingProxyType({})


class EventMissingError(AssertionError):
    """An awaited event did not come; the message holds everything the process printed."""


class ClientProcess:
    """One run of a client. Use it as an async context manager, or call start and stop."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] = _NOTHING) -> None:
        self.name = name
        self._command = command
        self._environment = os.environ | environment
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._changed = asyncio.Condition()
        self._open_streams = 0
        self._readers: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="overair-client-")

    @property
    def transcript(self) -> str:
        """The command and all that went in and came out, in order."""
        return "\n".join([f"--- {self.name}: {' '.join(self._command)}", *self._lines, "---"])

    async def start(self) -> None:
        """Starts the process in an empty folder of its own."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder.name,
            env=self._environment,
            limit=LINE_LIMIT_BYTES,
        )
        self._open_streams = 2
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, "out")),
            asyncio.create_task(self._read(self._process.stderr, "err")),
        ]

    async def expect(self, event: str, timeout_seconds: float = EVENT_LIMIT_SECONDS, **fields: str) -> Event:
        """Takes the first event of that name, with those fields, that no earlier call has taken.

        Events may be awaited in another order than they come: a server often reads before a client says that
        it is registered. Raises EventMissingError at the deadline, or at once if the process has ended.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                while (found := self._take({"event": event, **fields})) is None:
                    if self._open_streams == 0:
                        break
                    await self._changed.wait()
        except TimeoutError:
            found = None
        if found is None:
            raise EventMissingError(f"no event {event} {fields or ''} from {self.name}\n{self.transcript}")
        return found

    async def send(self, command: str) -> None:
        """Sends a command line."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"{self.name} is not started")
        self._lines.append(f"in:  {command}")
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()

    async def stop(self) -> None:
        """Kills the process if it still runs, and waits for its last output; may be called twice."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await asyncio.gather(*self._readers)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        self._folder.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        if error is not None:
            print(self.transcript)

    def _take(self, wanted: Event) -> Event | None:
        for index, event in enumerate(self._events):
            if wanted.items() <= event.items():
                return self._events.pop(index)
        return None

    async def _read(self, stream: asyncio.StreamReader | None, label: str) -> None:
        if stream is None:
            raise RuntimeError("the process was started without pipes")
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            self._lines.append(f"{label}: {text}")
            if label == "out" and text.startswith('{"event"'):
                self._events.append(json.loads(text))
                await self._wake()
        self._open_streams -= 1
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()
