"""What a server and a client share: taking datagrams apart, and leading each record to where it belongs.

What becomes of a record (RFC 6347 section 4.1.2, RFC 9146 section 6); nothing that is dropped gets an
answer, because anybody can send it:

    epoch 0, ClientHello             to the server: the cookie exchange, then a new handshake
    epoch 0, handshake or alert      the handshake in progress at the address, else dropped
    epoch 0, anything else           dropped
    epoch 1, no association          dropped
    epoch 1, no keys yet             kept for the handshake, bounded
    epoch 1, replayed or forged      dropped
    epoch 1, authentic               data, alert or handshake
    later epochs                     dropped: there is no renegotiation
"""

from __future__ import annotations

from typing import Final

from overair.protocols.dtls import codes, wire
from overair.protocols.dtls.association import EPOCH_1, EPOCH_2, Address, Association
from overair.protocols.dtls.codes import Alert
from overair.protocols.dtls.errors import (
    AssociationStateError,
    CloseReason,
    DataTooLargeError,
    FailureReason,
    HandshakeError,
    WireError,
)
from overair.protocols.dtls.events import Closed, Data, Established, Event, HandshakeFailed, Moved
from overair.protocols.dtls.handshake import Context, Handshake
from overair.protocols.dtls.parameters import Counters, DtlsLimits, DtlsParameters
from overair.protocols.dtls.peers import Peers
from overair.protocols.dtls.states import DONE
from overair.protocols.dtls.wire import Record
from overair.protocols.timers import Timers

_CLOSE_NOTIFY: Final = bytes((codes.WARNING, Alert.CLOSE_NOTIFY))
_RENEGOTIATING: Final = (codes.CLIENT_HELLO, codes.HELLO_REQUEST)
_NO_RENEGOTIATION: Final = bytes((codes.WARNING, Alert.NO_RENEGOTIATION))


class Engine:
    """Associations over datagrams, of either role; times are seconds of any clock that only goes forward."""

    def __init__(self, context: Context) -> None:
        self.parameters: DtlsParameters = context.parameters
        self.limits: DtlsLimits = context.limits
        self.counters: Counters = context.counters
        self._context = context
        self._cid_bytes = context.parameters.connection_id_bytes or 0
        self._timers = Timers()
        self._peers = Peers()

    # --- records

    def _receive(self, datagram: bytes, address: Address, now: float) -> list[Event]:
        """Take all records of a datagram. No bytes make this raise."""
        events: list[Event] = []
        self.counters.received += 1
        if len(datagram) > self.limits.datagram_bytes:
            self.counters.oversized += 1
            return events
        try:
            for record in wire.read_records(datagram, self._cid_bytes):
                if record.number >= EPOCH_1:
                    self._receive_sealed(record, address, now, events)
                # First flights come with all sorts of versions: 1.0, 1.2, and 0xFE00 (spec engine.md 2).
                elif record.version >> 8 == codes.DTLS_1_2 >> 8:
                    self._receive_plain(record, address, now, events)
        except WireError:
            self.counters.malformed += 1
        return events

    def _receive_plain(self, record: Record, address: Address, now: float, events: list[Event]) -> None:
        association = self._peers.handshakes.get(address)
        if association is None or association.established:
            self.counters.strayed += 1
        elif record.kind == codes.HANDSHAKE:
            self._receive_handshake(association, record.fragment, 0, now, events)
        elif record.kind == codes.ALERT:
            self._receive_alert(association, record.fragment, events)

    def _receive_sealed(self, record: Record, address: Address, now: float, events: list[Event]) -> None:
        association = self._peers.find(record.cid, address)
        if association is None or record.number >= EPOCH_2 or record.version != codes.DTLS_1_2:
            self.counters.strayed += 1
        else:
            self._open(association, record, address, now, events)

    def _open(
        self, association: Association, record: Record, address: Address, now: float, events: list[Event]
    ) -> None:
        if association.protection is None:
            # Without keys nothing was read, so no number can have come before.
            opened = self._unlock(association, record, events)
            if opened is not None:
                self._take(association, record, opened, address, now, events)
            return
        fresh = association.is_new(record.number)
        opened = association.open(record) if fresh else None
        if opened is not None:
            self._take(association, record, opened, address, now, events)
            return
        other = self._peers.find_other(association, address)
        if other is not None:
            self._open(other, record, address, now, events)
        elif fresh:
            self.counters.forged += 1
        else:
            self.counters.replayed += 1

    def _unlock(
        self, association: Association, record: Record, events: list[Event]
    ) -> tuple[int, bytes] | None:
        """What the record holds, if the handshake has keys for it; it is kept if they can still come."""
        handshake = association.handshake
        if handshake is None:
            return None
        try:
            opened = handshake.unlock(record)
        except HandshakeError as error:
            self._fail(association, error, events)
            return None
        if opened is None:
            handshake.keep_early(record)
        return opened

    def _take(
        self,
        association: Association,
        record: Record,
        opened: tuple[int, bytes],
        address: Address,
        now: float,
        events: list[Event],
    ) -> None:
        """Take what an authentic record holds."""
        kind, content = opened
        if kind == codes.APPLICATION_DATA and association.established:
            self._receive_data(association, content, record.number, address, now, events)
        else:
            self._receive_other(association, record, kind, content, now, events)

    def _receive_data(
        self,
        association: Association,
        data: bytes,
        number: int,
        address: Address,
        now: float,
        events: list[Event],
    ) -> None:
        newest = association.mark(number)
        association.last_heard = now
        if not association.confirmed:
            self._confirm(association, events)
        if newest and address != association.address:
            # Only a Connection ID leads a record here from another address.
            old, association.address = association.address, address
            self.counters.moved += 1
            events.append(Moved(association, old))
        events.append(Data(association, data))

    def _receive_other(
        self,
        association: Association,
        record: Record,
        kind: int,
        content: bytes,
        now: float,
        events: list[Event],
    ) -> None:
        if kind == codes.APPLICATION_DATA:
            # It overtook the peer's Finished. Its number is not marked: it comes through here again.
            if association.handshake is not None:
                association.handshake.keep_early(record)
            return
        association.mark(record.number)
        if kind == codes.HANDSHAKE:
            self._receive_handshake(association, content, 1, now, events)
        elif kind == codes.ALERT:
            self._receive_alert(association, content, events)

    # --- handshakes and alerts

    def _receive_handshake(
        self, association: Association, content: bytes, epoch: int, now: float, events: list[Event]
    ) -> None:
        handshake = association.handshake
        # All of them first: a record that is broken at its end must not leave half of it done.
        fragments = wire.read_fragments(content)
        if handshake is None:
            self._receive_late(association, fragments, epoch)
            return
        try:
            for fragment in fragments:
                handshake.receive(fragment, epoch, now)
        except HandshakeError as error:
            self._fail(association, error, events)
            return
        self._go_on(association, handshake, now, events)

    def _receive_late(self, association: Association, fragments: list[wire.Fragment], epoch: int) -> None:
        """The peer wants a new handshake under the old keys, or our last flight again."""
        for fragment in fragments:
            if fragment.kind in _RENEGOTIATING:
                self.counters.renegotiations_refused += 1
                self._send_alert(association, _NO_RENEGOTIATION)
            elif association.last_flight is not None:
                association.last_flight.receive(self._context, association, fragment, epoch)

    def _go_on(self, association: Association, handshake: Handshake, now: float, events: list[Event]) -> None:
        """A handshake got further, or not: see whether it is done, and what came too early for it."""
        if handshake.state is DONE:
            self._establish(association, handshake, now, events)
        elif association.due != (due := handshake.due()):
            self._timers.set(association, due)
        if handshake.early and handshake.can_open:
            early, handshake.early = handshake.early, []
            for record in early:
                self._open(association, record, association.address, now, events)

    def _establish(
        self, association: Association, handshake: Handshake, now: float, events: list[Event]
    ) -> None:
        association.established = True
        association.identity = handshake.identity
        association.session = handshake.session
        association.last_heard = now
        association.handshake = None
        association.last_flight = handshake.last_flight()
        if association.last_flight is not None:
            self._timers.set(association, now + self.parameters.linger_seconds)
        else:
            self._settle(association)
            self._timers.set(association, now + self.parameters.idle_seconds)
        self.counters.established += 1
        self.counters.resumed += handshake.resumed
        events.append(Established(association, handshake.resumed))
        for displaced in self._peers.establish(association):
            self._end(displaced, CloseReason.REPLACED, events)

    def _confirm(self, association: Association, events: list[Event]) -> None:
        """The first data came: the peer has our last flight, and means this association."""
        association.confirmed = True
        # The timer of the last flight stays and finds nothing to do.
        self._settle(association)
        older = self._peers.confirm(association)
        if older is not None:
            self._end(older, CloseReason.REPLACED, events)

    def _settle(self, association: Association) -> None:
        self._peers.settle(association)
        association.last_flight = None

    def _receive_alert(self, association: Association, content: bytes, events: list[Event]) -> None:
        """A fatal alert or a close_notify ends the association; other warnings mean nothing here."""
        if len(content) != 2:
            self.counters.malformed += 1
            return
        level, code = content
        closes = content[1:] == _CLOSE_NOTIFY[1:]
        if not closes and level != codes.FATAL:
            return
        if not association.established:
            self._drop_handshake(association, FailureReason.ALERT, events, alert=code)
        elif closes:
            self._send_alert(association, _CLOSE_NOTIFY)
            self._end(association, CloseReason.CLOSE_NOTIFY, events)
        else:
            if association.session is not None:
                self._context.forget(association.session)
            self._end(association, CloseReason.ALERT, events)

    # --- out

    def _send_data(self, association: Association, data: bytes) -> None:
        if not association.established:
            raise AssociationStateError("association: not established")
        if len(data) > association.content_bytes:
            raise DataTooLargeError(association.content_bytes)
        self._context.send(association.seal(codes.APPLICATION_DATA, data), association.address)

    def _send_alert(self, association: Association, content: bytes) -> None:
        if association.can_seal():
            self._context.send(association.seal(codes.ALERT, content), association.address)

    def _close(self, association: Association) -> None:
        if association.established:
            self._send_alert(association, _CLOSE_NOTIFY)
        self._remove(association)

    # --- ends

    def _end(self, association: Association, reason: CloseReason, events: list[Event]) -> None:
        self._remove(association)
        events.append(Closed(association, reason))

    def _fail(self, association: Association, error: HandshakeError, events: list[Event]) -> None:
        if association.handshake is not None:
            association.handshake.send_alert(error.alert)
        self._drop_handshake(association, error.reason, events)

    def _drop_handshake(
        self,
        association: Association,
        reason: FailureReason,
        events: list[Event],
        alert: int | None = None,
    ) -> None:
        identity = association.handshake.identity if association.handshake is not None else b""
        self.counters.failed += 1
        self._remove(association)
        events.append(HandshakeFailed(association.address, reason, identity, alert))

    def _remove(self, association: Association) -> None:
        self._timers.clear(association)
        self._peers.remove(association)
        association.established = False
        association.protection = None
        association.handshake = association.last_flight = None
        association.material = b""

    # --- time

    def next_due(self) -> float | None:
        """When `advance` must be called next, None if nothing waits."""
        return self._timers.next_due()

    def advance(self, now: float) -> list[Event]:
        """Do what is due: repeat flights, give up handshakes, end idle associations."""
        events: list[Event] = []
        while (timed := self._timers.pop_due(now)) is not None:
            if isinstance(timed, Association):
                self._due(timed, now, events)
        return events

    def _due(self, association: Association, now: float, events: list[Event]) -> None:
        handshake = association.handshake
        if not association.established and handshake is not None:
            if handshake.timeout(now):
                self._timers.set(association, handshake.due())
            else:
                self._drop_handshake(association, FailureReason.TIMEOUT, events)
            return
        self._settle(association)
        idle_at = association.last_heard + self.parameters.idle_seconds
        if idle_at > now:
            self._timers.set(association, idle_at)
        else:
            self._end(association, CloseReason.IDLE, events)
