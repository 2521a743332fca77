"""A server and its clients on virtual time, and the wire between them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from overair.protocols.dtls import Association, Client, DtlsLimits, DtlsParameters, Established, Event, Server
from overair.protocols.dtls.association import Address

KEY = b"sixteen byte key"
IDENTITY = b"urn:imei:490154203237518"
HOME = ("192.0.2.1", 5683)
AWAY = ("198.51.100.7", 40_000)


class KeyRing(dict[bytes, Sequence[bytes]]):
    """Identities and their keys."""

    def find(self, identity: bytes) -> Sequence[bytes]:
        return self.get(identity, ())


@dataclass
class World:
    """One server, and whatever clients; `carry` takes all datagrams of one client where they belong."""

    server: Server
    keys: KeyRing
    now: float = 1000.0
    at_server: list[Event] = field(default_factory=list)
    at_client: list[Event] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """What clients sent."""
    answered: list[bytes] = field(default_factory=list)
    """What the server sent."""

    def client(
        self,
        identity: bytes = IDENTITY,
        key: bytes = KEY,
        *,
        seed: int = 7,
        session: bytes | None = None,
        limits: DtlsLimits | None = None,
        **parameters: object,
    ) -> Client:
        return Client(
            identity=identity,
            key=key,
            random=random.Random(seed).randbytes,
            parameters=DtlsParameters(**parameters),
            limits=limits,
            session=session,
        )

    def step(self, client: Client, address: Address = HOME) -> None:
        """Carry what both sides hold, once."""
        to_server, client.outbox[:] = list(client.outbox), []
        to_client, self.server.outbox[:] = list(self.server.outbox), []
        for datagram in to_server:
            self.sent.append(datagram)
            self.at_server += self.server.receive(datagram, address, self.now)
        for datagram, target in to_client:
            self.answered.append(datagram)
            if target == address:
                self.at_client += client.receive(datagram, self.now)

    def carry(self, client: Client, address: Address = HOME) -> None:
        """Carry until nothing is left."""
        while client.outbox or self.server.outbox:
            self.step(client, address)

    def connect(self, client: Client, address: Address = HOME, *, resume: bool = False) -> Association:
        """A whole handshake; returns the server's association."""
        before = len(self.at_server)
        (client.resume if resume else client.start)(self.now)
        self.carry(client, address)
        established = [event for event in self.at_server[before:] if isinstance(event, Established)]
        assert len(established) == 1, self.at_server[before:]
        assert client.association is not None
        assert client.association.established
        return established[0].association

    def say(self, client: Client, data: bytes = b"data", address: Address = HOME) -> list[Event]:
        """Data to the server; returns what the server makes of it."""
        client.send(data)
        before = len(self.at_server)
        self.carry(client, address)
        return self.at_server[before:]
