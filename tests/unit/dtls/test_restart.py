"""A server that is stopped, and another that goes on with what it saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.dtls import Data, Moved, SavedStateError, Server, codes, suites
from overair.protocols.dtls.saving import LEAP, load

from .test_handshake import without_extensions
from .world import AWAY, HOME, World


def restarted(world: World, make_world, later: float = 50.0, **parameters: object) -> World:
    """The same keys and time, another process with another clock."""
    saved = world.server.save_sessions(world.now)
    new = make_world(seed=77, **parameters)
    new.now = 5.0
    new.keys.update(world.keys)
    new.server.restore(saved, new.now)
    new.now += later
    return new


@pytest.mark.parametrize("suite", suites.SUITES)
@pytest.mark.parametrize("cid_bytes", [None, 0])
def test_associations_go_on(world, make_world, suite: int, cid_bytes: int | None) -> None:
    client = world.client(suites=(suite,), connection_id_bytes=cid_bytes)
    world.connect(client)
    world.say(client, b"before")
    new = restarted(world, make_world)
    assert len(new.server) == 1
    (data,) = new.say(client, b"after")
    assert data.data == b"after"
    association = data.association
    assert (association.address, association.suite.number) == (HOME, suite)
    new.server.send(association, b"down")
    new.carry(client)
    assert new.at_client == [Data(client.association, b"down")]
    if cid_bytes is not None:
        assert new.say(client, b"moved", AWAY)[0] == Moved(association, HOME)


def test_no_number_is_used_twice_even_if_the_save_was_old(world, make_world) -> None:
    client = world.client()
    association = world.connect(client)
    world.say(client)
    saved = world.server.save_sessions(world.now)
    for _ in range(100):
        world.server.send(association, b"after the save")
    used = association.counts()[0]
    new = make_world(seed=5)
    (again,) = new.server.restore(saved, 0.0)
    assert again.counts()[0] >= used
    assert again.counts()[0] - used == LEAP - 100


def test_replays_from_before_the_save_are_still_known(world, make_world) -> None:
    client = world.client()
    world.connect(client)
    client.send(b"once")
    datagram = client.outbox[0]
    world.carry(client)
    new = restarted(world, make_world)
    assert new.server.receive(datagram, HOME, new.now) == []
    assert new.server.counters.replayed == 1


@pytest.mark.parametrize("left_out", [(), (codes.SESSION_TICKET,)], ids=["ticket", "session id"])
def test_sessions_can_be_resumed(world, make_world, left_out: tuple[int, ...], monkeypatch) -> None:
    without_extensions(monkeypatch, *left_out)
    client = world.client()
    world.connect(client)
    new = restarted(world, make_world)
    new.connect(client, resume=True)
    assert new.server.counters.resumed == 1


def test_a_new_association_replaces_a_restored_one(world, make_world) -> None:
    client = world.client()
    world.connect(client)
    world.say(client)
    new = restarted(world, make_world)
    again = world.client(seed=50)
    new.connect(again)
    new.say(again)
    assert len(new.server) == 1
    assert new.say(client, b"gone") == []


def test_ages_go_on(make_world) -> None:
    world = make_world(idle_seconds=1000)
    client = world.client()
    world.connect(client)
    world.say(client)
    world.now += 800
    new = restarted(world, make_world, later=0.0, idle_seconds=1000)
    assert new.server.next_due() == pytest.approx(new.now + 200)


def test_connection_ids_of_another_length_are_left_out(world, make_world) -> None:
    world.connect(world.client())
    assert len(restarted(world, make_world, connection_id_bytes=4).server) == 0


def test_addresses_of_all_sorts(world, make_world) -> None:
    for seed, address in enumerate(["text", 5, b"bytes", ("host", 1), ("fe80::1", 5, 0, 2), (("a",), 1)]):
        world.keys[b"%d" % seed] = world.keys[b"urn:imei:490154203237518"]
        client = world.client(b"%d" % seed, seed=seed)
        world.connect(client, address)
    saved = world.server.save_sessions(world.now)
    restored = make_world(seed=5).server.restore(saved, 0.0)
    assert {association.address for association in restored} == {a.address for a in world.server._peers}


@given(st.binary(max_size=60), st.integers(0, 400))
def test_other_bytes_are_refused(junk: bytes, at: int) -> None:
    for saved in (junk, b"\x95\x01" + junk):
        try:
            state = load(saved)
        except SavedStateError:
            continue
        assert state.version == 1


def test_cut_and_other_versions_are_refused(world) -> None:
    world.connect(world.client())
    saved = world.server.save_sessions(world.now)
    server: Server = world.server
    for broken in (saved[:-1], saved[:1] + b"\x02" + saved[2:], saved + b"\0"):
        with pytest.raises(SavedStateError):
            server.restore(broken, world.now)
    with pytest.raises(SavedStateError, match="suite"):
        server.restore(saved.replace(b"\xcd\xc0\xa8", b"\xcd\xc0\xa9"), world.now)
