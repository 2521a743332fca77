"""What devices get for an answer."""

import asyncio
import math
from collections.abc import Callable

import structlog

from overair.devices.model import DeviceError
from overair.protocols.coap import Endpoint, Options, Request, codes, encode_uint
from overair.protocols.lwm2m import RegistrationError

_log = structlog.get_logger()


class Answers:
    """Answers requests; *flush* has the face send what the endpoint put out."""

    def __init__(self, endpoint: Endpoint, flush: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._flush = flush
        self._loop = asyncio.get_running_loop()

    def give(self, request: Request, code: int, options: Options = (), payload: bytes = b"") -> None:
        """Answer with a code."""
        self._endpoint.respond(request, code, options, payload, now=self._loop.time())
        self._flush()

    def refuse(self, request: Request, refusal: RegistrationError) -> None:
        """Say what is wrong with a Register or Update."""
        _log.info("registration_refused", peer=request.peer, reason=str(refusal))
        self.give(request, refusal.code, payload=refusal.reason.encode())

    def postpone(self, request: Request, seconds: float) -> None:
        """Have the device try again later."""
        self.give(request, codes.SERVICE_UNAVAILABLE, ((codes.MAX_AGE, encode_uint(math.ceil(seconds))),))

    def fail(self, request: Request, failure: object) -> None:
        """Say that nothing was stored: the device is none of ours, or the fault is."""
        if isinstance(failure, DeviceError):
            _log.info("device_refused", peer=request.peer, reason=str(failure))
            self.give(request, codes.FORBIDDEN)
        else:
            _log.error("device_request_failed", peer=request.peer, error=repr(failure))
            self.give(request, codes.INTERNAL_SERVER_ERROR)
