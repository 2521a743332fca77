"""Both roles over a link that loses, repeats, delays and reorders, on virtual time.

A handshake ends in exactly one way on each side, within its timers; data comes at most once; and what the
two sides disagree about for a while is settled by their timers or by the next handshake.
"""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from overair.protocols.dtls import (
    Association,
    Client,
    Closed,
    Data,
    DtlsParameters,
    Established,
    Event,
    HandshakeFailed,
    Server,
)

from .world import HOME, IDENTITY, KEY, KeyRing

PARAMETERS = DtlsParameters(retransmit_seconds=1, handshake_seconds=60, datagram_bytes=300)


def make_ends(seed: int, parameters: DtlsParameters = PARAMETERS) -> tuple[Server, Client]:
    server = Server(
        keys=KeyRing({IDENTITY: (KEY,)}), random=random.Random(seed).randbytes, parameters=parameters
    )
    client = Client(
        identity=IDENTITY, key=KEY, random=random.Random(seed + 1).randbytes, parameters=parameters
    )
    return server, client


class Link:
    """Carries datagrams with up to `delay` seconds of delay."""

    def __init__(
        self, seed: int, *, loss: float, repeats: float, delay: float, cid_bytes: int | None
    ) -> None:
        self.random = random.Random(seed)
        self.loss, self.repeats, self.delay = loss, repeats, delay
        parameters = DtlsParameters(
            retransmit_seconds=1, handshake_seconds=60, datagram_bytes=300, connection_id_bytes=cid_bytes
        )
        self.server, self.client = make_ends(seed, parameters)
        self.now = 0.0
        self.flying: list[tuple[float, int, bool, bytes]] = []
        self.count = 0
        self.at_server: list[Event] = []
        self.at_client: list[Event] = []

    def collect(self) -> None:
        to_server, self.client.outbox[:] = list(self.client.outbox), []
        to_client, self.server.outbox[:] = [datagram for datagram, _ in self.server.outbox], []
        for up, datagrams in ((True, to_server), (False, to_client)):
            for datagram in datagrams:
                arrives = self.random.random() >= self.loss
                copies = 1 + (self.random.random() < self.repeats) if arrives else 0
                for _ in range(copies):
                    self.count += 1
                    arrival = self.now + self.random.random() * self.delay
                    heapq.heappush(self.flying, (arrival, self.count, up, datagram))

    def run(self, until: float) -> None:
        self.collect()
        while True:
            dues = [due for end in (self.server, self.client) if (due := end.next_due()) is not None]
            dues += [self.flying[0][0]] if self.flying else []
            if not dues or min(dues) > until:
                self.now = until
                return
            self.now = max(self.now, min(dues))
            while self.flying and self.flying[0][0] <= self.now:
                _, _, up, datagram = heapq.heappop(self.flying)
                if up:
                    self.at_server += self.server.receive(datagram, HOME, self.now)
                else:
                    self.at_client += self.client.receive(datagram, self.now)
            self.at_server += self.server.advance(self.now)
            self.at_client += self.client.advance(self.now)
            self.collect()

    def attempt(self, *, resume: bool) -> tuple[list[Event], list[Event]]:
        """One handshake, with all the time that it may take; what both sides say of it."""
        self.at_server, self.at_client = [], []
        (self.client.resume if resume else self.client.start)(self.now)
        self.run(self.now + 62)
        return self.at_server, self.at_client

    def heal(self) -> None:
        self.loss = self.repeats = 0.0


def outcomes(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Established | HandshakeFailed)]


@pytest.mark.parametrize("cid_bytes", [None, 0, 8])
@pytest.mark.parametrize("loss", [0.0, 0.3, 0.6, 0.9])
def test_handshakes_end_in_one_way(loss: float, cid_bytes: int | None) -> None:
    established = 0
    for seed in range(12):
        link = Link(seed, loss=loss, repeats=0.3, delay=1.5, cid_bytes=cid_bytes)
        for resume in (False, True):
            _, at_client = link.attempt(resume=resume)
            assert len(outcomes(at_client)) == 1
            assert not link.client.association.established or isinstance(outcomes(at_client)[0], Established)
            established += link.client.association.established
            # The server may see several attempts: a hello that was late counts as one more.
            assert len(link.server._peers) <= 2
        link.heal()
        link.run(link.now + 62)
        settle(link)
    assert established in {0.0: [24], 0.3: range(18, 25), 0.6: range(2, 18), 0.9: [0]}[loss]


def settle(link: Link) -> None:
    """However it ended: on a good link, the client soon has an association that carries data."""
    if link.client.association.established:
        link.at_server = []
        link.client.send(b"are you there?")
        link.run(link.now + 3)
        if any(isinstance(event, Data) for event in link.at_server):
            return
    _, at_client = link.attempt(resume=True)
    assert isinstance(outcomes(at_client)[0], Established)
    link.client.send(b"now?")
    link.run(link.now + 3)
    assert [event.data for event in link.at_server if isinstance(event, Data)] == [b"now?"]


@pytest.mark.parametrize("cid_bytes", [None, 8])
def test_data_comes_at_most_once(cid_bytes: int | None) -> None:
    link = Link(5, loss=0.0, repeats=0.5, delay=1.5, cid_bytes=cid_bytes)
    link.attempt(resume=False)
    (association,) = link.server._peers
    link.at_server, link.at_client = [], []
    for number in range(200):
        link.client.send(b"%d" % number)
        link.server.send(association, b"%d" % number)
        link.run(link.now + 0.1)
    link.run(link.now + 5)
    for events in (link.at_server, link.at_client):
        got = [event.data for event in events if isinstance(event, Data)]
        assert sorted(got, key=int) == [b"%d" % number for number in range(200)]


class Conversation(RuleBasedStateMachine):
    """The link is hypothesis: it picks what is delivered, repeated and lost, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.client = make_ends(11)
        self.now = 0.0
        self.flying: list[tuple[bool, bytes]] = []
        self.said: set[bytes] = set()
        self.heard: list[bytes] = []
        self.open: list[Association] = []
        self.client_begun = self.client_ended = 0

    def collect(self) -> None:
        self.flying += [(True, datagram) for datagram in self.client.outbox]
        self.flying += [(False, datagram) for datagram, _ in self.server.outbox]
        self.client.outbox.clear()
        self.server.outbox.clear()

    def note(self, events: list[Event], *, at_server: bool) -> None:
        for event in events:
            if isinstance(event, Data):
                assert event.association.established or not at_server
                self.heard.append(event.data)
            elif isinstance(event, Established):
                assert event.association.identity == IDENTITY
                if at_server:
                    assert event.association not in self.open
                    self.open.append(event.association)
                else:
                    self.client_ended += 1
            elif isinstance(event, HandshakeFailed) and not at_server:
                self.client_ended += 1
            elif isinstance(event, Closed) and at_server:
                self.open.remove(event.association)

    def carry(self, item: tuple[bool, bytes]) -> None:
        up, datagram = item
        if up:
            self.note(self.server.receive(datagram, HOME, self.now), at_server=True)
        else:
            self.note(self.client.receive(datagram, self.now), at_server=False)
        self.collect()

    @rule(resume=st.booleans())
    def begin(self, resume: bool) -> None:
        if self.client.association is not None and self.client.association.handshake is not None:
            # What is in progress ends here without an outcome; an outcome was counted if it lingers.
            self.client_ended += not self.client.association.established
        (self.client.resume if resume else self.client.start)(self.now)
        self.client_begun += 1
        self.collect()

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        at = data.draw(st.integers(0, len(self.flying) - 1))
        self.carry(self.flying[at] if keep else self.flying.pop(at))

    @precondition(lambda self: self.flying)
    @rule()
    def deliver_all(self) -> None:
        flying, self.flying = self.flying, []
        for item in flying:
            self.carry(item)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.flying[data.draw(st.integers(0, len(self.flying) - 1))]

    @rule()
    def wait(self) -> None:
        dues = [due for end in (self.server, self.client) if (due := end.next_due()) is not None]
        if dues and min(dues) < self.now + 100:
            self.now = max(self.now, min(dues))
            self.note(self.server.advance(self.now), at_server=True)
            self.note(self.client.advance(self.now), at_server=False)
            self.collect()

    @rule(up=st.booleans())
    def say(self, up: bool) -> None:
        data = b"%d" % len(self.said)
        if up and self.client.association is not None and self.client.association.established:
            self.client.send(data)
        elif not up and self.open:
            self.server.send(self.open[-1], data)
        else:
            return
        self.said.add(data)
        self.collect()

    @invariant()
    def data_is_genuine_and_comes_once(self) -> None:
        assert len(self.heard) == len(set(self.heard))
        assert set(self.heard) <= self.said

    @invariant()
    def one_outcome_each(self) -> None:
        association = self.client.association
        in_progress = association is not None and not association.established and association.handshake
        assert self.client_begun == self.client_ended + bool(in_progress)
        assert all(one.established for one in self.open)
        assert len(self.open) == len(self.server) <= 2

    def teardown(self) -> None:
        """On a good link the next handshake ends well, whatever happened before."""
        self.flying.clear()
        self.begin(resume=True)
        for _ in range(10):
            self.deliver_all() if self.flying else self.wait()
        assert self.client.association.established
        self.say(up=True)
        self.deliver_all()
        assert b"%d" % (len(self.said) - 1) in self.heard


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
