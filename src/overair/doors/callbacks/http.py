"""One callback request: resolve, check, connect, post, look at the status (spec callbacks.md, section 2).

Each attempt has a connection of its own, to the address that was checked; the name from the URL stands in
the Host header and is what the certificate is checked for. Nothing is followed, nothing is kept, and of the
answer hardly more than its status is read.
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from overair.callbacks.model import Answer
from overair.doors.callbacks.targets import ADDRESSES_MAX, Resolve, TargetRefused, checked_address
from overair.platform.limits import Limits

ERROR_CHARACTERS = 255
DRAIN_SECONDS = 1.0
_PORTS = {"http": 80, "https": 443}


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return what receivers are verified with: the machine's CAs, and those of *ca_file*; blocks on files.

    Raises :class:`OSError` if the file can't be read or holds no certificate.
    """
    context = httpx2.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class HttpSender:
    """Posts callback requests; whatever happens is an :class:`Answer`."""

    def __init__(
        self, resolve: Resolve, context: ssl.SSLContext, limits: Limits, *, allow_private: bool
    ) -> None:
        self._resolve = resolve
        self._context = context
        self._limits = limits
        self._allow_private = allow_private

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post *body* to *url*, once, within the time for an attempt."""
        seconds = self._limits.callback_timeout_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            return Answer(await self._post(url, headers, body, deadline))
        except TimeoutError:
            return _failed(f"no answer in {seconds:g} s")
        except TargetRefused as refused:
            return _failed(str(refused))
        except (httpx2.TransportError, httpx2.InvalidURL, OSError) as error:
            return _failed(_reason(error))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, deadline: float) -> int:
        async with asyncio.timeout_at(deadline):
            addresses = await self._addresses(url)
        *others, last = addresses
        share = self._limits.callback_timeout_seconds / len(addresses)
        for address in others:
            try:
                return await self._post_to(_request(url, address, headers, body, share), deadline)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue  # nothing was sent yet
        return await self._post_to(_request(url, last, headers, body, share), deadline)

    async def _addresses(self, url: str) -> list[str]:
        """Return the addresses that may be connected to; :class:`TargetRefused` if none may."""
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        found = (await self._resolve(parts.hostname or "", port))[:ADDRESSES_MAX]
        if not found:
            raise OSError("no such name")
        # One that may not be called says enough of a name that has others, too.
        return found if self._allow_private else [checked_address(address) for address in found]

    async def _post_to(self, request: httpx2.Request, deadline: float) -> int:
        connections: list[Any] = []
        request.extensions["trace"] = partial(_keep_connection, connections)
        try:
            async with httpx2.AsyncHTTPTransport(verify=self._context, trust_env=False) as transport:
                async with asyncio.timeout_at(deadline):
                    response = await transport.handle_async_request(request)
                await self._drain(response, deadline)
                await response.aclose()
                return response.status_code
        finally:
            # The transport loses sight of a connection that is cut off in its TLS handshake.
            for connection in connections:
                await connection.aclose()

    async def _drain(self, response: httpx2.Response, deadline: float) -> None:
        """Read a little, so that receivers see their answer taken; the status counts, whatever follows."""
        until = min(deadline, asyncio.get_running_loop().time() + DRAIN_SECONDS)
        size_bytes = 0
        try:
            async with asyncio.timeout_at(until):
                async for chunk in response.aiter_raw():
                    size_bytes += len(chunk)
                    if size_bytes >= self._limits.callback_answer_bytes:
                        return
        except (TimeoutError, httpx2.TransportError):
            return


async def _keep_connection(connections: list[Any], event: str, info: Mapping[str, Any]) -> None:
    if event == "connection.connect_tcp.complete":
        connections.append(info["return_value"])


def _request(
    url: str, address: str, headers: Mapping[str, str], body: bytes, connect_seconds: float
) -> httpx2.Request:
    """Return a request to *address* in the name of the URL's host."""
    parts = urlsplit(url)
    extensions: dict[str, Any] = {"timeout": {"connect": connect_seconds}}
    if parts.hostname != address:
        extensions["sni_hostname"] = parts.hostname
    return httpx2.Request(
        "POST",
        httpx2.URL(url).copy_with(host=address),
        headers={"Host": parts.netloc, **headers},
        content=body,
        extensions=extensions,
    )


def _reason(error: BaseException) -> str:
    """Return what was at the bottom of it, in few words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _failed(error: str) -> Answer:
    return Answer(None, error[:ERROR_CHARACTERS])
