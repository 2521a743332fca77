"""The other baseline of registrations: aiocoap's server, which parses the query and keeps nothing.

``python -m bench.aiocoap_server``; ends by SIGTERM.
"""

import asyncio
import socket

import aiocoap
from aiocoap import resource


class Directory(resource.Resource):
    """``/rd``: 2.01 with a fixed location."""

    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        """Answer a Register."""
        said = dict(query.partition("=")[::2] for query in request.opt.uri_query)
        if "ep" not in said:
            return aiocoap.Message(code=aiocoap.BAD_REQUEST)
        return aiocoap.Message(code=aiocoap.CREATED, location_path=("rd", "00000000"))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def serve() -> None:
    """Answer for ever."""
    site = resource.Site()
    site.add_resource(["rd"], Directory())
    port = _free_port()  # aiocoap does not tell which port 0 became
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=["udp6"])
    print(f"coap  coap://127.0.0.1:{port}\nready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
