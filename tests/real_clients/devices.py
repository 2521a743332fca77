"""LwM2M devices made of other people's client libraries, each a process of its own.

| client | library | speaks |
|---|---|---|
| `leshan` | Leshan 2.0.0-M18 | LwM2M 1.1: SenML JSON and CBOR, TLV; coap and coaps with PSK |
| `leshan-1` | Leshan 1.5.0 | LwM2M 1.0: TLV; coap and coaps with PSK |
| `lwm2m-node-lib` | lwm2m-node-lib 1.4.0 | LwM2M 1.0: text, single resources only; coap |

| event | fields |
|---|---|
| `registered` | `location`, as "/rd/…" |
| `updated`, `deregistered` | |
| `failed` | `operation`, `reason`, and `code` if the server answered |
| `read`, `observe` | `path`; Leshan repeats both for each notification |
| `write` | `path`, `value`; for opaque values of Leshan `size` and `sha256` instead |
| `execute` | `path`, `arguments` (Leshan) or `value` (lwm2m-node-lib) |
| `downloaded` | Leshan with `firmware`: `uri`, `code`, `size` and `sha256`, or `reason` |
| `firmware` | Leshan with `firmware`: `state` and `result` of object 5, as it changed |
| `set`, `error` | the answers to commands: `path` and `value`, `command` and `reason` |

Commands: `update`, `set PATH VALUE`, `deregister`, `quit`; Leshan has `reboot`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .install import CLIENTS, SOURCES
from .processes import ClientProcess

VALUES: Mapping[str, str] = {
    "/3/0/0": "Acme",
    "/3/0/1": "Tracker 2",
    "/3/0/2": "SN-0001",
    "/3/0/3": "1.4.2",
    "/3/0/11": "0",
    "/3/0/16": "U",
    "/3/0/19": "7.1",
    "/5/0/1": "",
    "/5/0/3": "0",
    "/5/0/5": "0",
    "/5/0/8": "0",
    "/5/0/9": "2",
    "/9/0/0": "agent",
    "/9/0/1": "3.0.1",
    "/9/0/7": "4",
    "/9/0/9": "2",
    "/9/0/12": "1",
}
"""What a device holds unless told otherwise; Leshan 2 wants the mandatory resources of objects 3 and 5."""

LWM2M_FORMATS = (42, 110, 112, 11542, 11543)
"""Content formats of spec lwm2m.md 6 that lwm2m-node-lib does not know by itself."""


class Psk(NamedTuple):
    """A pre-shared key with its identity."""

    identity: str
    key: bytes


def leshan(
    server: str,
    endpoint: str,
    *,
    lifetime_seconds: int = 300,
    values: Mapping[str, str] = VALUES,
    client: str = "leshan",
    psk: Psk | None = None,
    connection_id: bool = False,
    queue: bool = False,
    firmware: str | None = None,
) -> ClientProcess:
    """A device of the Leshan client library, `leshan` or `leshan-1`.

    `server` is "coap://HOST:PORT", or "coaps://…" with a `psk`. Values are text: times in Unix seconds,
    opaque in hexadecimal, booleans "0" or "1", links "object:instance"; a fourth path segment is a resource
    instance. `connection_id` offers RFC 9146 (`leshan` only); `queue` registers in queue mode.

    With `firmware` it can be updated: "sound"; "damaged", every image is; "unchanged", it boots into what it
    had.
    """
    classpath = CLIENTS[client].folder / "lib" / "*"
    # The device is short-lived and small: the fast compiler and one collector thread start it soonest.
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]
    command = [*java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", str(classpath)]
    command += ["overair.clients.Device", *_common(server, endpoint, lifetime_seconds, values)]
    if psk is not None:
        command += ["--psk-identity", psk.identity, "--psk-key", psk.key.hex()]
    if connection_id:
        command += ["--connection-id", "yes"]
    if queue:
        command += ["--queue", "yes"]
    if firmware is not None:
        command += ["--firmware", firmware]
    return ClientProcess(client, command)


def node(
    server: str,
    endpoint: str,
    *,
    lifetime_seconds: int = 300,
    values: Mapping[str, str] = VALUES,
    formats: tuple[int, ...] = LWM2M_FORMATS,
) -> ClientProcess:
    """A device of lwm2m-node-lib.

    It knows text only, answers reads of single resources and 4.04 to all others, and sends no Content-Format.
    A request whose Accept is neither in `formats` nor 0, 40, 41, 42, 47, 50, 60 gets no answer whatever.
    """
    command = ["node", "--no-warnings", str(SOURCES / "node" / "client.js")]
    command += _common(server, endpoint, lifetime_seconds, values)
    command += ["--formats", ",".join(map(str, formats))]
    return ClientProcess(
        "lwm2m-node-lib", command, {"NODE_PATH": str(CLIENTS["lwm2m-node-lib"].folder / "node_modules")}
    )


def _common(server: str, endpoint: str, lifetime_seconds: int, values: Mapping[str, str]) -> list[str]:
    arguments = ["--server", server, "--endpoint", endpoint, "--lifetime", str(lifetime_seconds)]
    for path, value in values.items():
        arguments += ["--set", f"{path}={value}"]
    return arguments
