"""A device behind DTLS: handshake, data both ways, associations that end, servers that fall silent."""

from __future__ import annotations

import random

import pytest

from overair.protocols import dtls
from overair.protocols.coap import codes, encode_uint
from overair.simulator import Faults, Network, Psk, SecureDevice, State, identities
from overair.simulator.device import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from overair.simulator.secure import HANDSHAKE_SECONDS

SERVER = "server"
GIVE_UP_SECONDS = 93.0  # MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2
NO_CID = dtls.DtlsParameters(connection_id_bytes=None, handshake_seconds=HANDSHAKE_SECONDS)


def close_from_server(bench) -> None:
    bench.server.dtls.close(bench.server.associations[bench.peer])
    bench.network.touched(SERVER)
    bench.network.run_until(bench.now)


def wait_for(bench, state: State) -> None:
    assert bench.network.run_until(bench.now + 1000, done=lambda: bench.device.state is state)


def tallies(bench) -> tuple[int, int, int]:
    tally = bench.device.tally
    return tally.handshakes, tally.resumed, tally.registrations


# -- handshake and data ----------------------------------------------------------------------------


def test_it_shakes_hands_and_registers(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    assert bench.device.state is State.REGISTERED
    assert [asked.endpoint for asked in bench.server.registers] == [bench.device.identity.endpoint]
    assert bench.server.locations == {"L1": bench.device.identity.endpoint.encode()}
    association = bench.server.associations[bench.peer]
    assert association.suite.number == dtls.suites.PSK_AES_128_CCM_8
    assert len(association.own_cid) == len(association.peer_cid) == 8
    assert tallies(bench) == (1, 0, 1)


def test_data_goes_both_ways_and_nothing_in_the_clear(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    assert bench.ask(codes.GET, "/3/0/0", accept=0).payload == b"Acme"
    seen = bench.ask(codes.GET, "/3/0/9", accept=0, observe=True)
    assert seen.code == codes.CONTENT
    bench.device.set_value((3, 0, 9), 12, bench.now)
    (record, target), *rest = bench.device.outbox
    assert (record[:3], target, rest) == (b"\x19\xfe\xfd", SERVER, [])
    bench.network.touched(bench.address)
    bench.wait(0)
    assert [each.message.payload for each in bench.notifications()] == [b"12"]
    bench.wait(1000)
    assert len(bench.updates()) == 20
    assert tallies(bench) == (1, 0, 1)


def test_the_register_waits_for_the_handshake(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.server.silent = True
    bench.start()
    bench.wait(GIVE_UP_SECONDS - 1)
    assert bench.device.state is State.REGISTERING
    assert bench.server.heard == []
    bench.server.silent = False
    bench.wait(FIRST_WAIT_SECONDS + 2)
    assert bench.device.state is State.REGISTERED
    assert tallies(bench) == (1, 0, 1)


def test_a_silent_server_is_asked_again_for_ever(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.server.silent = True
    bench.start()
    bench.wait(HANDSHAKE_SECONDS)
    assert bench.device.state is State.WAITING
    assert bench.device.refusal == "no answer (DTLS handshake)"
    bench.wait(10_000)
    assert bench.device.tally.timeouts > 10
    bench.server.silent = False
    bench.wait(400)
    assert bench.device.state is State.REGISTERED
    assert bench.device.refusal is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_network_stops_nobody(secure_server, seed: int) -> None:
    chance = random.Random(seed)
    faults = Faults(loss=0.2, duplication=0.1, reordering=0.1, latency_seconds=0.2, late_seconds=3)
    network, server = Network(random=chance, faults=faults), secure_server(seed)
    network.add_server(SERVER, server)
    devices = []
    for each in identities(15):
        device = SecureDevice(each, SERVER, Psk(each.endpoint.encode(), server.KEY), random=chance)
        devices.append(device)
        network.add_device(each.imei, device)
        device.start(network.now)
        network.touched(each.imei)
    assert network.run_until(3600, done=lambda: all(device.state is State.REGISTERED for device in devices))
    assert network.lost > 10
    assert set(server.locations.values()) == {device.identity.endpoint.encode() for device in devices}


# -- keys ------------------------------------------------------------------------------------------


def test_a_wrong_key_is_tried_twice_and_then_believed(make_secure_bench) -> None:
    bench = make_secure_bench(key=b"wrong")
    bench.start()
    assert bench.device.state is State.REFUSED
    assert bench.device.refusal == "DTLS handshake: alert decrypt_error"
    assert bench.server.dtls.counters.failed == 2
    bench.wait(10_000)
    assert bench.server.dtls.counters.handshakes == 2
    assert bench.device.next_due() is None
    bench.tell(bench.device.start)
    assert bench.server.dtls.counters.handshakes == 4
    bench.server.KEY = b"wrong"
    bench.tell(bench.device.start)
    assert bench.device.state is State.REGISTERED


def test_one_refusal_alone_means_nothing(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.server.wrong_keys = 1
    bench.start()
    assert bench.device.state is State.REGISTERED
    assert bench.server.dtls.counters.failed == 1


def test_a_key_that_ended_meanwhile_ends_in_refusal(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.server.restart(9)
    bench.server.KEY = b"new key"
    bench.wait(50 + GIVE_UP_SECONDS + FIRST_WAIT_SECONDS)
    assert bench.device.state is State.REFUSED
    assert bench.device.observed == ()


# -- ends of associations --------------------------------------------------------------------------


def test_a_restarted_server_is_noticed_by_its_silence(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.server.restart(9)
    wait_for(bench, State.WAITING)
    assert 50 < bench.now <= 50 + GIVE_UP_SECONDS
    assert tallies(bench) == (1, 0, 1)
    bench.wait(FIRST_WAIT_SECONDS)
    assert bench.device.state is State.REGISTERED
    # It offered its session, of which the new server knows nothing.
    assert tallies(bench) == (2, 0, 2)
    assert bench.ask(codes.GET, "/3/0/0", accept=0).payload == b"Acme"


def test_a_server_that_was_away_finds_the_session_again(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.server.silent = True
    wait_for(bench, State.WAITING)
    bench.server.silent = False
    bench.wait(FIRST_WAIT_SECONDS)
    assert tallies(bench) == (2, 1, 2)


def test_after_a_close_it_comes_back_soon_with_an_update(make_secure_bench) -> None:
    bench = make_secure_bench(lifetime_seconds=86_400)
    bench.start()
    close_from_server(bench)
    assert bench.device.state is State.REGISTERED
    assert not bench.device.outbox
    bench.wait(FIRST_WAIT_SECONDS)
    assert tallies(bench) == (2, 1, 1)
    assert [queries for _, queries in bench.updates()] == [()]
    assert 2.5 <= bench.updates()[0][0] <= 5
    assert bench.ask(codes.GET, "/3/0/0", accept=0).payload == b"Acme"


def test_a_close_instead_of_an_answer_is_a_failure(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.network.faults = Faults(latency_seconds=1)
    bench.wait(50.5)
    bench.server.dtls.close(bench.server.associations[bench.peer])
    bench.network.touched(SERVER)
    bench.wait(1)
    assert bench.device.state is State.WAITING
    assert bench.device.refusal == "DTLS association ended (close_notify)"
    bench.network.faults = Faults(latency_seconds=0)
    bench.wait(FIRST_WAIT_SECONDS + 1)
    assert bench.device.state is State.REGISTERED
    assert bench.device.tally.resumed == 1


def test_a_request_that_a_close_cut_short_is_forgotten(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.wait(49)
    bench.network.faults = Faults(loss=1)
    bench.server.silent = True
    bench.wait(2)
    bench.network.faults = Faults(latency_seconds=0)
    close_from_server(bench)
    wait_for(bench, State.REGISTERING)
    begin = bench.now
    wait_for(bench, State.WAITING)
    assert bench.now - begin == pytest.approx(HANDSHAKE_SECONDS)
    assert bench.device.tally.timeouts == 1


def test_what_the_server_said_of_its_return_holds_once(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.server.script = [(codes.SERVICE_UNAVAILABLE, ((codes.MAX_AGE, encode_uint(4000)),))]
    bench.start()
    close_from_server(bench)
    bench.server.silent = True
    bench.wait(3999)
    assert bench.device.state is State.WAITING
    bench.wait(1 + HANDSHAKE_SECONDS)
    assert bench.device.state is State.WAITING
    bench.wait(LONGEST_WAIT_SECONDS)
    assert bench.device.state is State.REGISTERING


def test_stopping_says_goodbye_after_deregistration(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.tell(bench.device.stop)
    assert bench.device.state is State.OFF
    assert bench.server.locations == {}
    (closed,) = [event for event in bench.server.dtls_events if isinstance(event, dtls.Closed)]
    assert closed.reason == dtls.CloseReason.CLOSE_NOTIFY
    assert len(bench.server.dtls) == 0
    assert bench.device.next_due() is None
    bench.tell(bench.device.start)
    assert tallies(bench) == (2, 1, 2)


def test_stopping_in_the_middle_of_a_handshake_ends_it(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.server.silent = True
    bench.start()
    bench.tell(bench.device.stop)
    assert bench.device.state is State.OFF
    bench.server.silent = False
    bench.wait(1000)
    assert bench.server.dtls.counters.received == 0
    bench.tell(bench.device.start)
    assert bench.device.state is State.REGISTERED


def test_stopping_while_an_update_waits_for_the_handshake_begins_no_other(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    close_from_server(bench)
    bench.network.faults = Faults(latency_seconds=1)
    wait_for(bench, State.UPDATING)
    bench.wait(3.5)
    bench.tell(bench.device.stop)
    assert bench.device.state is State.LEAVING
    bench.wait(10)
    assert bench.device.state is State.OFF
    assert bench.server.locations == {}
    assert bench.server.dtls.counters.handshakes == 2
    assert bench.updates() == []


def test_stopping_a_device_whose_association_ended_shakes_hands_once_more(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    close_from_server(bench)
    bench.tell(bench.device.stop)
    assert bench.device.state is State.OFF
    assert bench.server.locations == {}


def test_a_reboot_answers_first_and_then_begins_anew_without_a_word(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    assert bench.ask(codes.POST, "/3/0/4").code == codes.CHANGED
    assert bench.device.state is State.REBOOTING
    assert not any(isinstance(event, dtls.Closed) for event in bench.server.dtls_events)
    bench.wait(10)
    assert bench.device.state is State.REGISTERED
    assert tallies(bench) == (2, 1, 2)


def test_a_sleeper_hears_nothing_and_wakes_in_the_same_association(make_secure_bench) -> None:
    bench = make_secure_bench(queue_mode=True, awake_seconds=10, lifetime_seconds=300)
    bench.start()
    bench.wait(60)
    bench.send(codes.GET, "/3/0/0", accept=0)
    assert bench.device.tally.slept_through == 1
    bench.wait(200)
    assert bench.device.tally.updates == 1
    assert tallies(bench) == (1, 0, 1)


# -- moving ----------------------------------------------------------------------------------------


def test_with_a_connection_id_it_moves_unnoticed(make_secure_bench) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.move("elsewhere")
    bench.wait(50)
    (moved,) = [event for event in bench.server.dtls_events if isinstance(event, dtls.Moved)]
    assert (moved.old_address, moved.association.address) == ("device", "elsewhere")
    assert bench.ask(codes.GET, "/3/0/0", accept=0).payload == b"Acme"
    assert tallies(bench) == (1, 0, 1)
    assert bench.device.tally.updates == 1


def test_without_one_it_must_shake_hands_again(make_secure_bench) -> None:
    bench = make_secure_bench(parameters=NO_CID)
    bench.start()
    assert bench.server.associations[bench.peer].peer_cid == b""
    bench.move("elsewhere")
    bench.wait(50 + GIVE_UP_SECONDS + FIRST_WAIT_SECONDS)
    assert bench.device.state is State.REGISTERED
    assert tallies(bench) == (2, 1, 2)
    assert bench.server.associations[bench.peer].address == "elsewhere"


# -- strangers -------------------------------------------------------------------------------------


def test_a_plain_datagram_says_nothing_to_it(make_secure_bench, make_bench) -> None:
    plain = make_bench(start=False)
    plain.device.start(0)
    ((register, _),) = plain.device.outbox
    bench = make_secure_bench()
    bench.start()
    for datagram in (register, b"", b"\x16\xfe\xfd", b"\xff" * 3000):
        bench.tell(bench.device.receive, datagram)
    assert bench.device.state is State.REGISTERED
    assert bench.device.tally.answered == 0
    assert not bench.device.outbox
