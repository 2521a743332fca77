"""The service's door for devices, with an image that each of them may fetch: what an update grants, fixed.

Sockets, DTLS, CoAP, gateway, keys, files, bandwidth and images are the service's own, on its database; in the
place of the updates that are going on stands a table. ``python -m bench.download_server DATA``, after
:func:`provision`; ends by SIGTERM.
"""

import asyncio
import gc
import ipaddress
import secrets
import sys
from pathlib import Path

from bench import fleet, inventory
from bench.dtls_load import KEY
from bench.load import _FIRST_ADDRESS
from overair.cli.common import open_services
from overair.doors.lwm2m.door import ECHO_SECRET_BYTES, Lwm2mDoor
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.files import Files
from overair.packages.model import ImageGrant, Kind, NewPackage

TOKEN_CHARACTERS = 16  # as long as the service's own


def token(index: int) -> str:
    """Return what device *index* fetches its image by."""
    return f"{index:0{TOKEN_CHARACTERS}d}"


async def provision(data: Path, image: Path, size_bytes: int, count: int) -> None:
    """Add *count* devices with keys, and a package with the image in a file."""
    account_id = await inventory.provision(data, count)
    async with open_services(data, None) as services:
        keys = services.credentials
        await keys.add(account_id, [keys.prepared(int(fleet.imei(index)), key=KEY) for index in range(count)])
        new = NewPackage(
            kind=Kind.FIRMWARE,
            make="Acme Telematics",
            model="AT-410",
            version_from="AT410-1.4.2",
            version_to="AT410-1.5.0",
            protocol="LWM2M",
            size_bytes=size_bytes,
        )
        await services.packages.add(account_id, new, image)


class Granted:
    """One image for all devices, each at the address that the load gives it."""

    def __init__(self, grant: ImageGrant, count: int) -> None:
        self._grants = {token(index): (int(fleet.imei(index)), grant) for index in range(count)}
        self._hosts = {
            int(fleet.imei(index)): str(ipaddress.ip_address(_FIRST_ADDRESS + index))
            for index in range(count)
        }

    def grant(self, token: str) -> tuple[int, ImageGrant] | None:
        """Return the device of a token, and its image."""
        return self._grants.get(token)

    def expects(self, token: str) -> bool:
        """Return whether an unknown token may become known."""
        return token in self._grants

    def fetched(self, token: str, *, refused: bool = False) -> None:
        """Nobody has to know."""

    def host_of(self, imei: int) -> str | None:
        """Return where a device is."""
        return self._hosts.get(imei)


async def serve(data: Path, count: int) -> None:
    """Answer for ever."""
    async with open_services(data, None) as services:
        door = Lwm2mDoor(
            services.database, services.devices, services.credentials, services.packages, services.attempts,
            Addresses(), services.bandwidth, services.clock, services.limits,
        )  # fmt: skip
        (package,) = await services.packages.listed(None)
        grant = ImageGrant(package.id, package.size_bytes, package.sha256 or b"")
        files = Files(
            door._endpoint, services.packages.images, Granted(grant, count), door._keys.owner,
            services.bandwidth, door._gateway.answers, door._face.flush,
            secrets.token_bytes(ECHO_SECRET_BYTES),
        )  # fmt: skip
        door._gateway.serve(files)
        await door.start()
        secure = await door.open_secure(data, services.sealer, ("127.0.0.1", 0))
        plain = door.open_plain(("127.0.0.1", 0))
        door.watch_keys()
        print(f"coaps coaps://127.0.0.1:{secure[1]}\ncoap  coap://127.0.0.1:{plain[1]}\nready", flush=True)
        # As `overair serve` has it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
