"""What the handshakes of both roles share: order of messages, keys, repeats of flights, Finished.

The course of a handshake is in `states`; a role adds the actions that its table names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple

from cryptography.hazmat.primitives.constant_time import bytes_eq

from overair.protocols.dtls import codes, schedule, wire
from overair.protocols.dtls.association import Address, Association
from overair.protocols.dtls.codes import Alert
from overair.protocols.dtls.errors import FailureReason, HandshakeError, WireError
from overair.protocols.dtls.flights import CHANGE_CIPHER_SPEC, LastFlight, Part, transmit
from overair.protocols.dtls.parameters import Counters, DtlsLimits, DtlsParameters
from overair.protocols.dtls.protection import Protection, new_protection
from overair.protocols.dtls.reassembly import Inbox, Message
from overair.protocols.dtls.schedule import Prf, Transcript
from overair.protocols.dtls.sessions import Session
from overair.protocols.dtls.states import DONE, INPUTS, Input, State, Step, Table
from overair.protocols.dtls.suites import Suite
from overair.protocols.dtls.wire import Record

_PROVING: Final = (codes.HANDSHAKE, codes.TLS12_CID)
"""Records that tell whether the peer has the key; others can be strays of an older association."""

Random = Callable[[int], bytes]
"""Gives as many unpredictable bytes as asked for."""


class Context:
    """What an engine lends to its handshakes."""

    __slots__ = ("counters", "forget", "limits", "parameters", "random", "send")

    def __init__(
        self,
        *,
        parameters: DtlsParameters,
        limits: DtlsLimits,
        random: Random,
        send: Callable[[bytes, Address], None],
        forget: Callable[[Session], None],
    ) -> None:
        self.parameters = parameters
        self.limits = limits
        self.counters = Counters()
        self.random = random
        self.send = send
        self.forget = forget
        """Makes a session unresumable."""


class Traffic(NamedTuple):
    """What follows from a master secret: the PRF under it, the key block, the ciphers."""

    master: bytes
    prf: Prf
    material: bytes
    protection: Protection

    def __repr__(self) -> str:
        return "<Traffic>"


class Handshake:
    """One handshake, from its first flight until it is done."""

    __slots__ = (
        "_context",
        "_deadline",
        "_ecdh_secret",
        "_flight",
        "_inbox",
        "_next_sequence",
        "_prf",
        "_psks",
        "_repeats",
        "_resend_at",
        "_sealing",
        "_taking",
        "_transcript",
        "_trials",
        "_trigger",
        "_wait_seconds",
        "_wrong_key",
        "association",
        "client_random",
        "early",
        "encrypt_then_mac",
        "extended",
        "identity",
        "plain_number",
        "resumed",
        "server_random",
        "session",
        "state",
        "suite",
    )

    is_server: ClassVar[bool]
    table: ClassVar[Table]

    suite: Suite

    def __init__(self, context: Context, association: Association, now: float) -> None:
        self._context = context
        self.association = association
        self.state = State.START
        self.identity = b""
        """The PSK identity, not proved before the handshake is done."""
        self.client_random = self.server_random = b""
        self.session: Session | None = None
        """The session that is resumed, or that can be."""
        self.extended = self.encrypt_then_mac = self.resumed = False
        self.early: list[Record] = []
        """Records of epoch 1 that came before their time."""
        self.plain_number = 0
        """The number of our next record in the clear."""
        self._inbox = Inbox(context.limits)
        self._transcript: Transcript = schedule.new_transcript()
        self._prf: Prf | None = None
        self._psks: Sequence[bytes] = ()
        """The keys that the peer may have, until one is proved; a client knows its own."""
        self._trials: list[Traffic] = []
        """What follows from each of them; from the proved one alone once it is."""
        self._wrong_key = FailureReason.WRONG_KEY
        self._ecdh_secret: bytes | None = None
        self._next_sequence = 0
        self._sealing = False
        self._flight: list[Part] = []
        self._taking: tuple[int, int] | None = None
        """Sequence number and epoch of the message that is acted on."""
        self._trigger: tuple[int, int] | None = None
        """Those of the message that our flight answers: who repeats it did not get the answer."""
        self._repeats = 0
        self._wait_seconds = context.parameters.retransmit_seconds
        self._resend_at: float | None = None
        self._deadline = now + context.parameters.handshake_seconds

    # --- in

    def receive(self, fragment: wire.Fragment, epoch: int, now: float) -> None:
        """Take a fragment, and do what its message and those behind it ask for; HandshakeError ends it."""
        inbox = self._inbox
        if fragment.sequence < inbox.next_sequence:
            if (fragment.sequence, epoch) == self._trigger and fragment.is_last:
                self.repeat_flight()
            return
        message = inbox.pass_on(fragment, epoch)
        if message is None:
            if not inbox.add(fragment, epoch):
                self._context.counters.malformed += 1
            message = inbox.pop()
        while message is not None and self.state is not DONE:
            self._take(message, now)
            message = inbox.pop()

    def keep_early(self, record: Record) -> None:
        """Keep a record of epoch 1 until the handshake got as far."""
        if len(self.early) >= self._context.limits.early_records:
            self._context.counters.early_dropped += 1
            return
        self.early.append(record)

    def _take(self, message: Message, now: float, found: Input | None = None) -> None:
        """Take a message in its turn; `found` is the input that it is, if that is known already."""
        self._taking = (message.sequence, message.epoch)
        try:
            step = self._step(found or self._input(message))
            if message.kind == codes.FINISHED:
                self._check_finished(message.body)
            if message.kind != codes.HELLO_VERIFY_REQUEST:
                self._transcript.update(message.whole)
            self._act(step, message.body, now)
        except WireError as error:
            raise HandshakeError(Alert.DECODE_ERROR, rule=str(error)) from None

    def _input(self, message: Message) -> Input:
        found = INPUTS.get((message.epoch, message.kind))
        if found is None:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE)
        return found

    def _step(self, found: Input) -> Step:
        step = self.table.get((self.state, found))
        if step is None:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, rule=f"{found} while waiting for {self.state}")
        return step

    def _act(self, step: Step, body: bytes, now: float) -> None:
        getattr(self, step.action)(body, now)
        self.state = step.next

    # --- keys

    @property
    def can_open(self) -> bool:
        """Whether records of epoch 1 are worth a look."""
        return self.association.protection is not None or bool(self._psks)

    def unlock(self, record: Record) -> tuple[int, bytes] | None:
        """Find the key that opens the record: the peer's Finished, unless that was overtaken.

        Returns what the record holds, None if it is too early to tell; HandshakeError if no key does.
        """
        if not self._psks or record.kind not in _PROVING:
            return None
        if not self._trials:
            self._trials = [self._derive(self._master_secret(psk)) for psk in self._psks]
        for psk, traffic in zip(self._psks, self._trials, strict=True):
            self._use(traffic)
            opened = self.association.open(record)
            if opened is not None:
                self._psks, self._trials = (psk,), [traffic]
                return opened
        self.association.protection = None
        raise HandshakeError(Alert.DECRYPT_ERROR, self._wrong_key)

    def _master_secret(self, psk: bytes) -> bytes:
        premaster = schedule.psk_premaster(psk, self._ecdh_secret)
        if self.extended:
            return schedule.extended_master_secret(premaster, self._transcript.digest())
        return schedule.master_secret(premaster, self.client_random, self.server_random)

    def _derive(self, master: bytes) -> Traffic:
        prf, suite = Prf(master), self.suite
        material = schedule.key_block(prf, self.client_random, self.server_random, suite.key_block_bytes)
        protection = new_protection(
            suite, encrypt_then_mac=self.encrypt_then_mac, material=material, is_server=self.is_server
        )
        return Traffic(master, prf, material, protection)

    def _use(self, traffic: Traffic) -> None:
        association = self.association
        association.suite, association.encrypt_then_mac = self.suite, self.encrypt_then_mac
        _, self._prf, association.material, association.protection = traffic

    def _verify_data(self, *, of_server: bool) -> bytes:
        if self._prf is None:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE)
        verify_data = schedule.server_verify_data if of_server else schedule.client_verify_data
        return verify_data(self._prf, self._transcript)

    def _check_finished(self, body: bytes) -> None:
        if not bytes_eq(body, self._verify_data(of_server=not self.is_server)):
            raise HandshakeError(Alert.DECRYPT_ERROR, FailureReason.WRONG_KEY)

    # --- out

    def _queue(self, kind: int, body: bytes) -> None:
        """Add a message to the flight and to what is hashed."""
        whole = wire.message(kind, self._next_sequence, body)
        self._next_sequence += 1
        self._transcript.update(whole)
        self._flight.append((self._sealing, codes.HANDSHAKE, whole))

    def _queue_finished(self) -> None:
        self._flight.append(CHANGE_CIPHER_SPEC)
        self._sealing = True
        self._queue(codes.FINISHED, self._verify_data(of_server=self.is_server))

    def _begin_flight(self) -> None:
        self._flight = []

    def _end_flight(self) -> None:
        """What we said was heard, and there is nothing to answer."""
        self._flight = []
        self._resend_at = None

    def _send_flight(self, now: float, *, last: bool = False) -> None:
        """Send what is queued; unless it is the last flight, send it again until an answer comes."""
        self._trigger = self._taking
        self._repeats = 0
        self._wait_seconds = self._context.parameters.retransmit_seconds
        self._resend_at = None if last else now + self._wait_seconds
        self._transmit()

    def _transmit(self) -> None:
        self.plain_number = transmit(self._context, self.association, self._flight, self.plain_number)

    def send_alert(self, alert: Alert) -> None:
        """Say why the handshake ends, under the keys if ours are in use."""
        content = bytes((codes.FATAL, alert))
        alert_flight = [(self._sealing, codes.ALERT, content)]
        self.plain_number = transmit(self._context, self.association, alert_flight, self.plain_number)

    # --- again

    def repeat_flight(self) -> None:
        """The peer repeated its flight, so ours may be lost; bounded, because anybody can repeat one."""
        if self._flight and self._repeats < self._context.limits.flight_repeats:
            self._repeats += 1
            self._context.counters.repeated_flights += 1
            self._transmit()

    def due(self) -> float:
        """When `timeout` must be called."""
        return self._deadline if self._resend_at is None else min(self._resend_at, self._deadline)

    def timeout(self, now: float) -> bool:
        """Send the flight again with twice the patience; False when all of it is used up."""
        if now >= self._deadline:
            return False
        if self._resend_at is not None and now >= self._resend_at:
            self._wait_seconds = min(self._wait_seconds * 2, self._context.parameters.retransmit_max_seconds)
            self._resend_at = now + self._wait_seconds
            self._context.counters.repeated_flights += 1
            self._transmit()
        return True

    def last_flight(self) -> LastFlight | None:
        """What the peer may need again, if the last flight of this handshake is ours."""
        if not self._flight or self._trigger is None:
            return None
        return LastFlight(self._flight, self.plain_number, self._trigger[0], self.client_random)
