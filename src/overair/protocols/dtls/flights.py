"""Flights: messages of one side that follow each other, sent together and again (RFC 6347 section 4.2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from overair.protocols.dtls import codes, wire
from overair.protocols.dtls.association import Association

if TYPE_CHECKING:
    from overair.protocols.dtls.handshake import Context

Part = tuple[bool, int, bytes]
"""Whether a content is sent under our keys, its content type, and the content: a whole message."""

CHANGE_CIPHER_SPEC: Final[Part] = (False, codes.CHANGE_CIPHER_SPEC, b"\x01")


def transmit(context: Context, association: Association, flight: Sequence[Part], number: int) -> int:
    """Put a flight into as few datagrams as it fits, each record with a new number.

    `number` is that of our next record in the clear; returns the one after the flight.
    """
    most, room = context.parameters.datagram_bytes, association.content_bytes
    datagram = b""
    for sealed, kind, whole in flight:
        overhead = association.overhead_bytes() if sealed else wire.RECORD_BYTES
        for piece in wire.cut_message(whole, min(most - overhead, room)):
            if sealed:
                record = association.seal(kind, piece)
            else:
                record = wire.plain_record(kind, number, piece)
                number += 1
            if len(datagram) + len(record) > most and datagram:
                context.send(datagram, association.address)
                datagram = b""
            datagram += record
    context.send(datagram, association.address)
    return number


class LastFlight:
    """All that is left of a handshake that is done while the peer may have to hear our last flight again.

    There is one for each association of the last minutes, so it is small: the messages and no ciphers, and
    only the numbers by which the peer's own last flight, or a copy of its hello, is known.
    """

    __slots__ = ("_finished", "_number", "_repeats", "_ticket", "_trigger", "client_random")

    def __init__(self, flight: Sequence[Part], number: int, trigger: int, client_random: bytes) -> None:
        """`trigger` is the sequence number of the peer's Finished; `flight` ends with ours."""
        *before, _, (_, _, self._finished) = flight
        self._ticket = before[0][2] if before else b""
        self._number = number
        self._trigger = trigger
        self._repeats = 0
        self.client_random = client_random

    def receive(
        self, context: Context, association: Association, fragment: wire.Fragment, epoch: int
    ) -> None:
        """Send the flight again if the peer repeated its Finished; bounded, as all that others cause."""
        if (fragment.sequence, epoch) != (self._trigger, 1) or not fragment.is_last:
            return
        if self._repeats < context.limits.flight_repeats and association.can_seal():
            self._repeats += 1
            context.counters.repeated_flights += 1
            self._number = transmit(context, association, self._parts(), self._number)

    def _parts(self) -> list[Part]:
        ticket = [(False, codes.HANDSHAKE, self._ticket)] if self._ticket else []
        return [*ticket, CHANGE_CIPHER_SPEC, (True, codes.HANDSHAKE, self._finished)]
