"""Proof that a peer receives where it sends from, before it gets a large answer (RFC 9175 section 2).

Seven bytes from a forged address could otherwise send a kilobyte to somebody else (spec engine.md 2). The
proof is a value that only who receives at the address can know: a MAC over the address and the time, so
nothing is kept for those who never come back. Over DTLS the handshake has proved the same, and clients that
don't know Echo fail here: whether to ask is the door's policy.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from overair.protocols.coap import codes
from overair.protocols.coap.errors import ParameterError
from overair.protocols.coap.events import Request
from overair.protocols.coap.options import Options

ECHO_BYTES: Final = 8
SECRET_BYTES_MIN: Final = 16


class EchoGuard:
    """Makes and checks Echo values; one is good for `window_seconds`, and at most twice as long.

    `secret` is random, 16 bytes or more, and may be new at each start: ParameterError if it is shorter,
    or the window isn't positive.
    """

    __slots__ = ("_secret", "_window")

    def __init__(self, secret: bytes, window_seconds: float) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ParameterError(f"secret must have {SECRET_BYTES_MIN} bytes at least")
        if not window_seconds > 0:
            raise ParameterError("window_seconds must be above 0")
        self._secret = secret
        self._window = window_seconds

    def challenge(self, request: Request, now: float) -> Options | None:
        """None if the request may have a large answer; else the options of the 4.01 to answer with.

        A request proves its address by a value made for it lately. Later blocks of a download that is
        running need no proof of their own: its first block had one.
        """
        wanted = request.wanted_block
        if wanted is not None and wanted.number and request.record.downloading:
            return None
        shown = request.message.option(codes.ECHO)
        window = int(now // self._window)
        # Both are compared whatever the first gave: how long it takes says nothing.
        fresh = [
            hmac.compare_digest(shown or b"", self._value(request, each)) for each in (window, window - 1)
        ]
        return None if any(fresh) else ((codes.ECHO, self._value(request, window)),)

    def _value(self, request: Request, window: int) -> bytes:
        made_for = f"{window} {request.peer!r}".encode()
        return hmac.digest(self._secret, made_for, hashlib.sha256)[:ECHO_BYTES]
