"""The inside of a simulated device: it answers its server, tells of changes, carries what can be updated.

Whether and how it is registered is for `device`, which stands on this. The parts reach the network through
here (`part.Board`). What they change is told to observers after the answer that the change came with.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from overair.protocols.coap import (
    Block,
    CoapLimits,
    Endpoint,
    Event,
    Exchange,
    Message,
    MessageFormatError,
    Options,
    Peer,
    Request,
    codes,
    decode,
    encode,
    encode_uint,
)
from overair.protocols.lwm2m.awake import AwakeWindow
from overair.protocols.lwm2m.content import SENML_CBOR, SENML_JSON, canonical_format
from overair.protocols.lwm2m.content import encode as encode_content
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path, parse_path
from overair.protocols.lwm2m.values import Value
from overair.simulator import operations
from overair.simulator.bank import Happening, What
from overair.simulator.firmware import UpdateState
from overair.simulator.lifecycle import State
from overair.simulator.misbehaviour import Misbehaviour
from overair.simulator.observing import Observations
from overair.simulator.operations import Action
from overair.simulator.part import Base
from overair.simulator.profile import Identity, Profile
from overair.simulator.source import SCHEMES, Source
from overair.simulator.transfer import Fetcher, PushedBlock
from overair.simulator.tree import MUTE_SEND, Tree, tree_of
from overair.simulator.upkeep import UpdateTally, Upkeep

LIMITS: Final = CoapLimits(requests_per_second=10_000, request_burst=10_000)
"""A device trusts its server not to flood it; the blocks of a push come as fast as they can."""
DEAF: Final = (State.OFF, State.REFUSED, State.REBOOTING)
"""Where a device hears nothing and repeats nothing."""
SENT: Final = ((5, 0, 3), (5, 0, 5), (3, 0, 3))
"""What some client libraries send without being asked (spec lwm2m.md 14)."""


class Tally(Struct, gc=False):
    """What a device has done so far; every field only grows."""

    registrations: int = 0
    updates: int = 0
    answered: int = 0
    """Requests of the server."""
    notifications: int = 0
    slept_through: int = 0
    """Datagrams that came while it was asleep, deaf or off."""
    timeouts: int = 0
    handshakes: int = 0
    """DTLS associations, those that took up an older session included."""
    resumed: int = 0


class Mainboard:
    """What a device is besides being registered. Times are seconds of any clock that only goes forward.

    `wants_new_address` is set when its network gives it another address; who drives it does that, and
    resets it.
    """

    __slots__ = (
        "_awake",
        "_changed",
        "_dozes_until",
        "_endpoint",
        "_homes",
        "_observations",
        "_random",
        "_server",
        "_upkeep",
        "fetcher",
        "identity",
        "misbehaviour",
        "state",
        "tally",
        "tree",
        "wants_new_address",
    )

    def __init__(
        self,
        identity: Identity,
        server: Peer,
        *,
        random: random_module.Random,
        misbehaviour: Misbehaviour,
        fetcher: Fetcher | None,
        homes: frozenset[tuple[str, int]],
    ) -> None:
        self.identity: Final = misbehaviour.fit(identity)
        self.misbehaviour: Final = misbehaviour
        self.fetcher: Fetcher | None = fetcher
        self.tree: Final[Tree] = tree_of(self.identity)
        self.tally: Final = Tally()
        self.state = State.OFF
        self.wants_new_address = False
        self._server = server
        self._homes = homes or _usual_homes(server)
        self._random = random
        self._endpoint = Endpoint(random=random, limits=LIMITS)
        self._awake = AwakeWindow(self.profile.queue_mode, self.profile.awake_seconds)
        self._observations = Observations(self.tree, self.profile.formats)
        self._upkeep = Upkeep(self, self.tree)
        self._changed: dict[Path, None] = {}
        """In the order of their change."""
        self._dozes_until = 0.0

    @property
    def profile(self) -> Profile:
        """The model."""
        return self.identity.profile

    def is_server(self, peer: Peer) -> bool:
        """Whether a datagram for a peer goes to the server; whoever else is spoken to has a package."""
        return peer == self._server

    @property
    def observed(self) -> tuple[Path, ...]:
        """Paths that the server observes."""
        return self._observations.paths

    @property
    def firmware(self) -> str:
        """The version that runs."""
        return self._upkeep.firmware

    @property
    def update_state(self) -> UpdateState:
        """How far an update of the firmware is."""
        return self._upkeep.state

    @property
    def history(self) -> tuple[Happening, ...]:
        """What updates have done to it, oldest first; at most the newest HISTORY_MAX."""
        return self._upkeep.history

    @property
    def update_tally(self) -> UpdateTally:
        """How often what has been done to it."""
        return self._upkeep.tally

    # -- for whoever is registered -----------------------------------------------------------------

    def reboot(self, now: float, seconds: float) -> None:
        """Lose power, and be off for so long."""
        raise NotImplementedError

    def _want_update(self, now: float) -> None:
        raise NotImplementedError

    # -- requests ----------------------------------------------------------------------------------

    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> tuple[Event | None, Block | None]:
        """Return what a datagram says, and which block of a package it is.

        The endpoint would keep the blocks of a package until it is whole. A device writes each to its flash
        as it comes, so the block option is taken off, and all that remains is a request.
        """
        message = _package_block(datagram, self._upkeep)
        if message is None:
            return self._endpoint.receive(datagram, peer, now), None
        options = tuple([pair for pair in message.options if pair[0] != codes.BLOCK1])
        bare = Message(
            message.type, message.code, message.message_id, message.token, options, message.payload
        )
        return self._endpoint.receive(encode(bare), peer, now), message.block1

    def _ignores(self, datagram: bytes) -> bool:
        """Whether it is a request, and the device is deaf to those."""
        return self._upkeep.deaf and len(datagram) > 1 and 0 < datagram[1] < 32

    def _answer(self, request: Request, block: Block | None, now: float) -> None:
        self.tally.answered += 1
        if request.peer != self._server:
            self._endpoint.respond(request, codes.UNAUTHORIZED, now=now)
        elif block is not None:
            self._answer_block(request, block, now)
        elif self._upkeep.is_engaged:
            self._endpoint.respond(request, codes.SERVICE_UNAVAILABLE, now=now)
        else:
            self._answer_whole(request, now)

    def _answer_whole(self, request: Request, now: float) -> None:
        message = request.message
        answer = operations.answer(message, self.tree, self.profile.formats, self._upkeep, now)
        options: Options = ()
        if answer.content_format is not None:
            options = ((codes.CONTENT_FORMAT, encode_uint(answer.content_format)),)
        if answer.code == codes.CONTENT and message.code == codes.GET:
            options += self._observations.take(message)
        self._endpoint.respond(request, answer.code, options, answer.payload, now=now)
        self._changed |= dict.fromkeys(answer.changed)
        self._tell(now)
        if answer.action is Action.UPDATE:
            self._want_update(now)
        elif answer.action is Action.REBOOT:
            self.reboot(now, self.profile.reboot_seconds)

    def _answer_block(self, request: Request, block: Block, now: float) -> None:
        message = request.message
        given, formats = message.content_format, self.profile.formats
        if given is not None and canonical_format(given) not in formats:
            self._endpoint.respond(request, codes.UNSUPPORTED_CONTENT_FORMAT, now=now)
            return
        pushed = PushedBlock(block, message.payload, given, message.uint_option(codes.SIZE1))
        path = parse_path("/".join(message.uri_path))
        code, options = self._upkeep.take_block(path, pushed, now)
        self._endpoint.respond(request, code, options, now=now)
        self._tell(now)

    def _tell(self, now: float) -> None:
        """Notify of what has changed since the last time, once there is a registration."""
        if not self._changed or self.state not in (State.REGISTERED, State.UPDATING):
            return
        changed, self._changed = tuple(self._changed), {}
        for notice in self._observations.notices(changed):
            self._awake.touched(now)
            self._endpoint.notify(
                self._server,
                notice.token,
                notice.number,
                options=notice.options,
                payload=notice.payload,
                now=now,
            )
            self.tally.notifications += 1
        if self.profile.manner.sends:
            self._send({path: self.tree.value(path) for path in SENT if path in changed}, now)

    def _send(self, values: Mapping[Path, Value], now: float) -> None:
        """Tell values by Send, if the server lets it (spec lwm2m.md 5.7)."""
        spoken = [number for number in (SENML_CBOR, SENML_JSON) if number in self.profile.formats]
        muted = self.profile.version == "1.0" or self.tree.value(MUTE_SEND) is True
        if not values or not spoken or muted:
            return
        options = ((codes.CONTENT_FORMAT, encode_uint(spoken[0])),)
        payload = encode_content(spoken[0], values, ())
        self._awake.touched(now)
        self._endpoint.request(
            self._server, codes.POST, path=("dp",), options=options, payload=payload, now=now
        )

    # -- what the parts need (part.Board) ----------------------------------------------------------

    @property
    def awake_from(self) -> float:
        """When the radio is on again, in the past if it is on."""
        return self._dozes_until

    def value(self, base: Base, resource: int) -> Value | None:
        """Return what a resource shows; None if there is none."""
        path = (*base, resource)
        return self.tree.value(path) if self.tree.leaves(path) == (path,) else None

    def show(self, base: Base, resource: int, value: Value) -> None:
        """Change what a resource shows, if there is one."""
        path = (*base, resource)
        if self.tree.leaves(path) == (path,) and self.tree.set(path, value):
            self._changed[path] = None

    def record(self, what: What, base: Base, detail: str, now: float) -> None:
        """Put something into the history."""
        self._upkeep.record(what, base, detail, now)

    def reboot_after(self, now: float, seconds: float) -> None:
        """Say what there is to say, and be off for so long."""
        self._tell(now)
        self.reboot(now, seconds)

    def cut_power(self, now: float, seconds: float) -> None:
        """Be off for so long, without a word."""
        self._changed.clear()
        self.reboot(now, seconds)

    def doze(self, now: float, until: float) -> None:
        """Switch the radio off for a while, and look for the server afterwards."""
        self._tell(now)
        self._dozes_until = until

    def change_address(self) -> None:
        """Ask the driver for another address."""
        self.wants_new_address = True

    def go_deaf(self) -> None:
        """Hear no request any more, until the next boot."""
        self._upkeep.deaf = True

    def find(self, source: Source) -> Peer | None:
        """Return who is asked for a package: the server over what there is with it, or a plain peer."""
        at_home = (source.host, source.port) in self._homes
        if source.is_secure != self._is_secure:
            return None if source.is_secure or at_home else (source.host, source.port)
        if at_home:
            return self._server
        return None if source.is_secure else (source.host, source.port)

    @property
    def _is_secure(self) -> bool:
        return False

    def reaches(self, peer: Peer) -> bool:
        """Whether a request may be sent there: to the server, only while it knows the device."""
        return peer != self._server or self.state in (State.REGISTERED, State.UPDATING)

    def ask_for_block(
        self, peer: Peer, source: Source, options: Options, context: object, now: float
    ) -> Exchange:
        """Send a GET."""
        queries = () if self.profile.manner.drops_query else source.queries
        self._awake.touched(now)
        return self._endpoint.request(
            peer, codes.GET, path=source.path, queries=queries, options=options, context=context, now=now
        )

    def drop(self, exchange: Exchange) -> None:
        """Forget a request."""
        self._endpoint.cancel(exchange)

    def look_for_server(self, now: float) -> None:
        """Send an Update: if it is not answered, or with 4.04, the device registers again."""
        self._want_update(now)


def _usual_homes(server: Peer) -> frozenset[tuple[str, int]]:
    """Where a server is by its address; one on a virtual network may have a name for it, and usual ports."""
    if isinstance(server, tuple):
        return frozenset({(str(server[0]), int(server[1]))})
    return frozenset({(str(server), SCHEMES[scheme][1]) for scheme in ("coap", "coaps")})


def _package_block(datagram: bytes, upkeep: Upkeep) -> Message | None:
    """Return the message if it is a block of a package, and None for anything else."""
    if len(datagram) < 2 or datagram[1] != codes.PUT:
        return None
    try:
        message = decode(datagram)
        if message.block1 is None or not upkeep.is_package(parse_path("/".join(message.uri_path))):
            return None
    except (MessageFormatError, ContentError):
        return None
    return message
