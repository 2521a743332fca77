"""The bodies that devices read, as plain values for JSON or CBOR (spec ddi.md, sections 2.1 to 2.8).

Links are absolute, begin with the path that the device used itself, and come under both names with the same
URL: Zephyr knows ``download-http`` only, whatever the scheme. What not all need is left out for devices whose
memory may be small.
"""

import zlib
from collections.abc import Sequence
from typing import Any

from overair.protocols.ddi.action import Action, Artifact
from overair.protocols.ddi.clients import Client
from overair.protocols.ddi.offering import Handling, Link
from overair.protocols.ddi.paths import MD5SUM
from overair.protocols.ddi.polling import text as interval_text

Body = dict[str, Any]
_HISTORY_MAX = 100


def poll(seconds: int, links: dict[str, str]) -> Body:
    """Return the answer to a poll."""
    body: Body = {"config": {"polling": {"sleep": interval_text(seconds)}}}
    if links:
        body["_links"] = {name: {"href": url} for name, url in links.items()}
    return body


def action_url(base: str, link: Link, action: Action, update: Handling) -> str:
    """Return the URL of an action; ``c`` changes when what is behind it does."""
    url = f"{base}/{link}/{action.id}"
    if link == "cancelAction":
        return url
    check = zlib.crc32(f"{action.artifact.sha256} {update}".encode()) & 0x7FFFFFFF
    return f"{url}?c={check}"


def deployment(
    base: str, action: Action, client: Client, update: Handling, *, windowed: bool, key: str = "deployment"
) -> Body:
    """Return what is to be installed; *key* is ``confirmation`` where the device is to be asked first."""
    said: Body = {"download": "forced", "update": update}
    if windowed:
        said["maintenanceWindow"] = "available" if update == "forced" else "unavailable"
    artifact = action.artifact
    chunk = {
        "part": artifact.part,
        "version": artifact.version,
        "name": artifact.name,
        "artifacts": artifacts(base, action, client),
    }
    return {"id": str(action.id), key: {**said, "chunks": [chunk]}}


def artifacts(base: str, action: Action, client: Client) -> list[Body]:
    """Return the list of files of an action's module: one."""
    artifact = action.artifact
    url = f"{base}/softwaremodules/{action.id}/artifacts/{artifact.filename}"
    links = {"download": url, "download-http": url}
    if not client.is_tight:
        links |= {"md5sum": url + MD5SUM, "md5sum-http": url + MD5SUM}
    hashes = {"sha1": artifact.sha1, "md5": artifact.md5, "sha256": artifact.sha256}
    return [
        {
            "filename": artifact.filename,
            "hashes": hashes,
            "size": artifact.size_bytes,
            "_links": {name: {"href": href} for name, href in links.items()},
        }
    ]


def with_history(body: Body, status: str, messages: Sequence[str]) -> Body:
    """Return a body with what was said of its action, the newest first."""
    return {**body, "actionHistory": {"status": status, "messages": list(messages)}}


def history_count(asked: str) -> int:
    """Return how many messages ``actionHistory`` asks for; 0 for none, and for nonsense."""
    digits = asked.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        return 0
    return _HISTORY_MAX if asked.startswith("-") else min(int(digits), _HISTORY_MAX)


def cancellation(action: Action) -> Body:
    """Return what is to be cancelled."""
    number = str(action.id)
    return {"id": number, "cancelAction": {"stopId": number}}


def md5sum(artifact: Artifact) -> bytes:
    """Return the file that ``md5sum -c`` reads (section 2.10)."""
    return f"{artifact.md5}  {artifact.filename}".encode()


def problem(kind: str, code: str, message: str) -> Body:
    """Return the body of an error (section 7)."""
    return {
        "exceptionClass": kind,
        "errorCode": f"hawkbit.server.error.{code}",
        "message": message,
        "info": {},
    }
