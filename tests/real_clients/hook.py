"""An owner's receiver of callbacks: it checks each message as docs/callbacks.md says, and keeps it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

DEADLINE_SECONDS = 30.0
MESSAGE_FIELDS = {"accountName", "type", "firmwareList", "upgradeScheduled", "upgradeProgress"}
"""Every message has these (spec callbacks.md, section 4)."""


@dataclass
class Hook:
    """What was received: each message once, by its id, in the order in which it came."""

    secret: str = ""
    url: str = ""
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """What should not have come."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return all messages of a type."""
        return [message for message in self.messages.values() if message["type"] == kind]

    async def expect(self, kind: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message of a type for which it holds, as soon as it is there."""

        def found() -> list[dict[str, Any]]:
            return [message for message in self.told(kind) if holds(message)]

        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
                await self._changed.wait_for(found)
        except TimeoutError:
            raise AssertionError(f"no such {kind} in:\n{self._transcript()}") from None
        return found()[0]

    def _transcript(self) -> str:
        return "\n".join(json.dumps(message) for message in self.messages.values())

    def statuses(self, campaign_id: str) -> list[str]:
        """Return the statuses of a campaign, as they were told."""
        told = [each["upgradeScheduled"] or each["upgradeProgress"] for each in self.messages.values()]
        mine = [each for each in told if each and each["campaignId"] == campaign_id]
        return [each["status"] for each in mine if not each["deviceList"]]

    def devices(self, campaign_id: str) -> dict[str, list[str]]:
        """Return the statuses of each device of a campaign, as they were told."""
        found: dict[str, list[str]] = {}
        for message in self.told("upgradeProgress"):
            told = message["upgradeProgress"]
            for row in told["deviceList"] if told["campaignId"] == campaign_id else ():
                found.setdefault(row["deviceId"], []).append(row["status"])
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
            body = await reader.readexactly(int(head["content-length"]))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()
        self._take(lines[0], head, body)
        async with self._changed:
            self._changed.notify_all()

    def _take(self, request: str, head: dict[str, str], body: bytes) -> None:
        uid, timestamp = head["overair-id"], head["overair-timestamp"]
        signed = f"{timestamp}.{uid}.".encode() + body
        expected = "v1=" + hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        message = json.loads(body)
        right = (
            request.startswith("POST /")
            and head["content-type"] == "application/json"
            and head["overair-signature"] == expected
            and message.keys() >= MESSAGE_FIELDS
        )
        if not right:
            self.wrong.append(f"{request} {head} {message}")
        self.messages.setdefault(uid, message)


@asynccontextmanager
async def hooked() -> AsyncIterator[Hook]:
    """Have a receiver on loopback; its secret is to be filled in once its URL is registered."""
    hook = Hook()
    server = await asyncio.start_server(hook._serve, "127.0.0.1", 0)
    hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hook
    finally:
        server.close()
