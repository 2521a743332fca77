"""Sessions taken up again, by id and by ticket, and those that are not."""

from __future__ import annotations

import pytest

from overair.protocols.dtls import (
    Data,
    DtlsLimits,
    Established,
    FailureReason,
    HandshakeFailed,
    SavedStateError,
    codes,
    suites,
)

from .test_handshake import without_extensions
from .world import AWAY, HOME, IDENTITY, KEY


@pytest.fixture(params=["ticket", "session id"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "session id":
        without_extensions(monkeypatch, codes.SESSION_TICKET)
    return request.param


@pytest.mark.parametrize("suite", suites.SUITES)
def test_resume(world, kind: str, suite: int) -> None:
    client = world.client(suites=(suite,))
    world.connect(client)
    assert len(world.server._sessions) == (kind == "session id")
    world.say(client)
    sent = len(world.sent)
    association = world.connect(client, AWAY, resume=True)
    assert association.identity == IDENTITY
    assert world.server.counters.resumed == 1
    assert len(world.sent) - sent == 3
    assert world.say(client, b"up", AWAY)[-1] == Data(association, b"up")
    world.server.send(association, b"down")
    world.carry(client, AWAY)
    assert world.at_client[-1] == Data(client.association, b"down")
    world.connect(client, HOME, resume=True)
    assert world.server.counters.resumed == 2


def test_a_device_that_restarts_with_its_session(world, kind: str) -> None:
    client = world.client()
    world.connect(client)
    again = world.client(seed=99, session=client.session())
    world.connect(again, resume=True)
    assert world.server.counters.resumed == 1
    assert KEY not in client.session()


def test_without_a_session_it_is_a_full_handshake(world) -> None:
    client = world.client()
    world.connect(client, resume=True)
    assert world.server.counters.resumed == 0


def test_unknown_sessions_end_in_full_handshakes(make_world, kind: str) -> None:
    here, there = make_world(seed=1), make_world(seed=2)
    client = here.client()
    here.connect(client)
    there.connect(client, resume=True)
    assert there.server.counters.resumed == 0
    assert there.server.counters.established == 1


@pytest.mark.parametrize(("days", "resumed"), [(6, 1), (15, 0)])
def test_sessions_grow_old(world, kind: str, days: int, resumed: int) -> None:
    client = world.client()
    world.connect(client)
    world.now += days * 86_400
    world.connect(client, resume=True)
    assert world.server.counters.resumed == resumed


def test_a_key_that_was_taken_away_resumes_nothing(world, kind: str) -> None:
    client = world.client()
    world.connect(client)
    world.keys[IDENTITY] = (b"another key", KEY)
    world.connect(client, resume=True)
    assert world.server.counters.resumed == 1
    world.keys[IDENTITY] = (b"another key",)
    client.resume(world.now)
    world.carry(client)
    assert world.at_server[-1] == HandshakeFailed(HOME, FailureReason.WRONG_KEY, IDENTITY)
    del world.keys[IDENTITY]
    client = world.client(seed=8, session=client.session())
    client.resume(world.now)
    world.carry(client)
    assert world.at_server[-1] == HandshakeFailed(HOME, FailureReason.UNKNOWN_IDENTITY, IDENTITY)


def test_a_suite_that_is_offered_no_more_resumes_nothing(world, kind: str) -> None:
    client = world.client(suites=(suites.PSK_AES_128_CCM,))
    world.connect(client)
    again = world.client(seed=9, session=client.session(), suites=(suites.PSK_AES_128_CCM_8,))
    world.connect(again, resume=True)
    assert world.server.counters.resumed == 0


def test_a_session_keeps_its_extended_master_secret(
    world, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    world.connect(client)
    without_extensions(monkeypatch, codes.EXTENDED_MASTER_SECRET)
    client.resume(world.now)
    world.carry(client)
    assert world.at_server[-1].reason is FailureReason.PROTOCOL
    assert world.at_client[-1].alert == codes.Alert.HANDSHAKE_FAILURE


def test_someone_who_only_saw_the_ticket_gets_nothing(world, kind: str) -> None:
    client = world.client()
    world.connect(client)
    thief = world.client(seed=5, session=client.session())
    thief._session = type(thief._session)(
        *(
            getattr(thief._session, name) if name != "master" else bytes(48)
            for name in thief._session.__struct_fields__
        )
    )
    thief.resume(world.now)
    world.carry(thief, AWAY)
    assert [event for event in world.at_server if isinstance(event, Established)][1:] == []


def test_the_store_is_bounded(make_world, monkeypatch: pytest.MonkeyPatch) -> None:
    without_extensions(monkeypatch, codes.SESSION_TICKET)
    world = make_world(limits=DtlsLimits(sessions=2))
    clients = [world.client(seed=seed) for seed in range(3)]
    for client in clients:
        world.connect(client)
    assert len(world.server._sessions) == 2
    world.connect(clients[0], resume=True)
    assert world.server.counters.resumed == 0
    world.connect(clients[2], resume=True)
    assert world.server.counters.resumed == 1


def test_saved_sessions_of_others(world) -> None:
    for saved in (b"", b"nonsense", b"\x96\x01\xc4\x00\xc4\x00\xc4\x00\xc4\x00\xc4\x00"):
        with pytest.raises(SavedStateError):
            world.client(session=saved)
