"""Names and URLs by which others reach the service."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import click

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
NAME_CHARACTERS = 253  # RFC 1035, section 2.3.4
URL_CHARACTERS = 200
"""Package URI takes 255 (spec lwm2m.md, section 8), of which the way to an image is 19."""


class HostType(click.ParamType[str]):
    """A name or an address, without a port; IPv6 with or without brackets."""

    name = "HOST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        host = str(value).removeprefix("[").removesuffix("]")
        if not is_host(host):
            self.fail(f"{value!r} is no name or address, as in fota.example.com; without a port", param, ctx)
        return host


class UrlType(click.ParamType[str]):
    """An ``http`` or ``https`` URL, perhaps with a path, and with nothing else."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        url = str(value).rstrip("/")
        if not _is_plain_url(url):
            self.fail(
                f"{value!r} is no URL like https://fota.example.com: http or https, a host, perhaps port "
                f"and path, no user, no query, {URL_CHARACTERS} characters at most",
                param,
                ctx,
            )
        return url


class NetworkType(click.ParamType[Network]):
    """An address, or a network as in 10.0.0.0/8."""

    name = "NETWORK"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        if isinstance(value, Network):
            return value
        try:
            return ipaddress.ip_network(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def is_host(text: str) -> bool:
    """Whether it is a name as DNS has them, or an address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # What has only digits and dots was meant as an address.
        is_number = text.replace(".", "").isdigit()
        return len(text) <= NAME_CHARACTERS and not is_number and _NAME.fullmatch(text) is not None
    return True


def _is_plain_url(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > URL_CHARACTERS:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = "@" not in parts.netloc and "?" not in text and "#" not in text
    return plain and parts.scheme in ("http", "https") and port != 0 and is_host(parts.hostname or "")
