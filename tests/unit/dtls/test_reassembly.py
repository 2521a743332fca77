"""Fragments in any order, overlapping and repeated, become the messages they were cut from."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.dtls import DtlsLimits
from overair.protocols.dtls.reassembly import Inbox, Message
from overair.protocols.dtls.wire import Fragment

LIMITS = DtlsLimits(handshake_message_bytes=64, handshake_bytes=100, messages_ahead=3)


def drain(inbox: Inbox) -> list[Message]:
    messages = []
    while (message := inbox.pop()) is not None:
        messages.append(message)
    return messages


@given(st.data(), st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_any_order_with_overlaps(data: st.DataObject, bodies: list[bytes]) -> None:
    limits = DtlsLimits(handshake_message_bytes=64, handshake_bytes=200, messages_ahead=3)
    fragments = []
    for sequence, body in enumerate(bodies):
        cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)) | {0, len(body)})
        for start, end in itertools.pairwise(cuts):
            longer = min(len(body), end + data.draw(st.integers(0, 5)))
            fragments.append(Fragment(1, len(body), sequence, start, body[start:longer]))
        if not body:
            fragments.append(Fragment(1, 0, sequence, 0, b""))
    shuffled = data.draw(st.permutations(fragments + fragments[:2]))
    inbox, out = Inbox(limits), []
    for fragment in shuffled:
        inbox.add(fragment, 0)
        out += drain(inbox)
    assert [message.body for message in out] == bodies
    assert [message.sequence for message in out] == list(range(len(bodies)))
    assert inbox._held_bytes == 0
    assert not inbox._partials


def test_bounds() -> None:
    inbox = Inbox(LIMITS, 5)
    assert not inbox.add(Fragment(1, 1, 4, 0, b"x"), 0)
    assert not inbox.add(Fragment(1, 1, 8, 0, b"x"), 0)
    assert not inbox.add(Fragment(1, 65, 5, 0, b"x"), 0)
    assert inbox.add(Fragment(1, 60, 6, 0, b"x"), 0)
    assert not inbox.add(Fragment(1, 41, 7, 0, b"x"), 0)
    assert inbox.add(Fragment(1, 40, 7, 0, b"x"), 0)
    assert drain(inbox) == []


def test_what_does_not_fit_the_first_fragment_is_left_out() -> None:
    inbox = Inbox(LIMITS)
    assert inbox.add(Fragment(1, 4, 0, 0, b"ab"), 0)
    assert not inbox.add(Fragment(2, 4, 0, 2, b"cd"), 0)
    assert not inbox.add(Fragment(1, 5, 0, 2, b"cd"), 0)
    assert not inbox.add(Fragment(1, 4, 0, 2, b"cd"), 1)
    assert drain(inbox) == []
    assert inbox.add(Fragment(1, 4, 0, 2, b"cd"), 0)
    assert drain(inbox) == [Message(1, 0, 0, b"abcd")]


def test_a_message_ahead_waits_for_its_turn() -> None:
    inbox = Inbox(LIMITS)
    assert inbox.add(Fragment(2, 1, 1, 0, b"b"), 0)
    assert drain(inbox) == []
    assert inbox.add(Fragment(1, 1, 0, 0, b"a"), 0)
    assert [message.body for message in drain(inbox)] == [b"a", b"b"]
    assert inbox.next_sequence == 2
