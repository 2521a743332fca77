"""The baseline of registrations: what the same Python does when it understands a request and keeps nothing.

A raw non-blocking socket, drained up to 64 datagrams a wake-up; each is parsed as the service parses it
(CoAP message, path, queries, object list) and answered: 2.01 with a fixed location, 2.04 for an Update. No
event loop, no peers, no duplicates, no rate, no memory, no database.

``python -m bench.bare``; ends by SIGTERM.
"""

import select
import socket

from bench.load import BUFFER_BYTES, DATAGRAM_BYTES
from overair.protocols.coap import Message, codes, decode
from overair.protocols.coap.message import encode_fields
from overair.protocols.lwm2m import parse_register, parse_update

DRAIN = 64
_CREATED = ((codes.LOCATION_PATH, b"rd"), (codes.LOCATION_PATH, b"00000000"))


def answer(message: Message) -> bytes:
    """Return the datagram that answers a Register or an Update."""
    if message.uri_path == ("rd",):
        parse_register(message.uri_queries, message.payload, message.content_format)
        return encode_fields(codes.ACK, codes.CREATED, message.message_id, message.token, _CREATED)
    parse_update(message.uri_queries, message.payload, message.content_format)
    return encode_fields(codes.ACK, codes.CHANGED, message.message_id, message.token)


def serve(sock: socket.socket) -> None:
    """Answer for ever."""
    receive, send = sock.recvfrom, sock.sendto
    while True:
        select.select([sock], [], [])
        for _ in range(DRAIN):
            try:
                datagram, peer = receive(DATAGRAM_BYTES)
            except BlockingIOError:
                break
            send(answer(decode(datagram)), peer)


def main() -> None:
    """Open a port and say which."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    sock.bind(("127.0.0.1", 0))
    print(f"coap  coap://127.0.0.1:{sock.getsockname()[1]}\nready", flush=True)
    serve(sock)


if __name__ == "__main__":
    main()
