"""The life of one device: registration, Updates, sleep, reboot, notifications."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import codes, encode_uint
from overair.protocols.lwm2m.content import encode
from overair.simulator import PROFILES, SimulatedDevice, State, UnexpectedEventError, identities
from overair.simulator.device import LONGEST_WAIT_SECONDS, REBOOT_SECONDS
from overair.simulator.observing import OBSERVATIONS_MAX
from overair.simulator.profile import Profile

GIVE_UP_SECONDS = 93.0  # MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2
MAX_AGE_40 = ((codes.MAX_AGE, encode_uint(40)),)


# -- registration ----------------------------------------------------------------------------------


def test_a_device_registers_with_what_its_profile_says(make_bench) -> None:
    bench = make_bench(version="1.1", queue_mode=True)
    assert bench.device.state is State.REGISTERED
    (asked,) = bench.server.registers
    assert asked.endpoint == bench.device.identity.endpoint
    assert (asked.version, asked.binding, asked.queue_mode, asked.sms) == ("1.1", "U", True, None)
    assert asked.lifetime_seconds == 100
    assert asked.objects == bench.device.tree.shared.objects
    assert bench.server.heard[0][3] == (f"ep={asked.endpoint}", "lt=100", "lwm2m=1.1", "b=U", "Q")


def test_in_1_0_queue_mode_is_a_letter_of_the_binding_and_sms_brings_a_number(make_bench) -> None:
    bench = make_bench(version="1.0", queue_mode=True, binding="US")
    queries = bench.server.heard[0][3]
    assert queries[2:] == ("lwm2m=1.0", "b=UQS", f"sms={bench.device.identity.mdn}")
    assert bench.ask(codes.GET, "/1/0/7", accept=0).payload == b"UQS"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.model)
def test_every_model_registers(make_bench, profile: Profile) -> None:
    bench = make_bench(profile)
    assert bench.device.state is State.REGISTERED
    assert bench.server.registers[0].version == profile.version


@pytest.mark.parametrize(
    ("lifetime", "update_at"), [(100, 50), (1000, 907), (186, 93), (86_400, 86_307), (3, 1.5)]
)
def test_updates_come_in_time(make_bench, lifetime: int, update_at: float) -> None:
    bench = make_bench(lifetime_seconds=lifetime)
    bench.wait(update_at * 2.5)
    assert [when for when, _ in bench.updates()] == [update_at, update_at * 2]
    assert all(queries == () for _, queries in bench.updates())
    assert bench.device.tally.updates == 2


def test_a_registration_for_ever_needs_no_update(make_bench) -> None:
    bench = make_bench(lifetime_seconds=0)
    bench.wait(1e9)
    assert bench.updates() == []
    assert bench.device.next_due() is None


def test_an_unknown_location_makes_it_register_at_once(make_bench) -> None:
    bench = make_bench()
    bench.server.locations.clear()
    bench.wait(50)
    assert bench.device.state is State.REGISTERED
    assert [path for _, _, path, _ in bench.server.heard] == [("rd",), ("rd", "L1"), ("rd",)]
    assert bench.server.heard[-1][0] == 50
    bench.wait(50)
    assert bench.server.heard[-1][2] == ("rd", "L2")


def test_without_an_answer_it_tries_again_after_growing_waits(make_bench) -> None:
    bench = make_bench(start=False)
    bench.server.silent = True
    bench.start()
    assert bench.device.state is State.REGISTERING
    bench.wait(GIVE_UP_SECONDS)
    assert bench.device.refusal == "no answer (timeout)"
    bench.wait(3600)
    assert 5 <= bench.device.tally.timeouts <= 20
    bench.server.silent = False
    bench.wait(GIVE_UP_SECONDS + LONGEST_WAIT_SECONDS)
    assert bench.device.state is State.REGISTERED
    assert bench.device.refusal is None


def test_waits_grow_and_have_a_bound(make_bench) -> None:
    bench = make_bench(start=False)
    waits = []
    bench.server.silent = True
    bench.start()
    for _ in range(25):
        while bench.device.state is not State.WAITING:
            bench.wait(1)
        began = bench.now
        while bench.device.state is State.WAITING:
            bench.wait(1)
        waits.append(bench.now - began)
    assert waits[0] <= 6
    assert all(wait <= LONGEST_WAIT_SECONDS + 1 for wait in waits)
    assert min(waits[8:]) >= LONGEST_WAIT_SECONDS / 2 - 1


def test_an_update_without_answer_ends_in_a_new_registration(make_bench) -> None:
    bench = make_bench()
    bench.server.silent = True
    bench.wait(50 + GIVE_UP_SECONDS)
    assert bench.device.state in (State.WAITING, State.REGISTERING)
    bench.server.silent = False
    bench.wait(GIVE_UP_SECONDS)
    assert bench.device.state is State.REGISTERED
    assert bench.device.tally.registrations == 2


@pytest.mark.parametrize("code", [codes.FORBIDDEN, codes.BAD_REQUEST, codes.PRECONDITION_FAILED])
def test_a_refusal_is_final_until_it_is_started_again(make_bench, code: int) -> None:
    bench = make_bench(start=False)
    bench.server.script = [(code, ())]
    bench.start()
    assert bench.device.state is State.REFUSED
    assert bench.device.refusal == codes.code_name(code)
    assert bench.device.next_due() is None
    bench.wait(1e6)
    assert len(bench.server.heard) == 1
    bench.tell(bench.device.start)
    assert bench.device.state is State.REGISTERED


@pytest.mark.parametrize("code", [codes.SERVICE_UNAVAILABLE, codes.TOO_MANY_REQUESTS])
def test_a_busy_server_says_when_to_come_again(make_bench, code: int) -> None:
    bench = make_bench(start=False)
    bench.server.script = [(code, MAX_AGE_40)]
    bench.start()
    assert bench.device.state is State.WAITING
    bench.wait(39.9)
    assert len(bench.server.heard) == 1
    bench.wait(0.1)
    assert bench.device.state is State.REGISTERED


def test_a_registration_without_a_location_is_none(make_bench) -> None:
    bench = make_bench(start=False)
    bench.server.script = [(codes.CREATED, ())]
    bench.start()
    assert bench.device.state is State.WAITING
    assert bench.device.refusal == "2.01 Created without Location-Path"


def test_stop_deregisters(make_bench) -> None:
    bench = make_bench()
    bench.tell(bench.device.stop)
    assert bench.device.state is State.OFF
    assert bench.server.heard[-1][1:3] == (codes.DELETE, ("rd", "L1"))
    assert bench.server.locations == {}
    bench.wait(1e5)
    assert len(bench.server.heard) == 2
    bench.tell(bench.device.start)
    assert bench.device.state is State.REGISTERED


def test_stop_without_an_answer_ends_too_and_a_second_stop_ends_at_once(make_bench) -> None:
    bench = make_bench()
    bench.server.silent = True
    bench.tell(bench.device.stop)
    assert bench.device.state is State.LEAVING
    bench.wait(GIVE_UP_SECONDS)
    assert bench.device.state is State.OFF
    other = make_bench()
    other.server.silent = True
    other.tell(other.device.stop)
    other.tell(other.device.stop)
    assert other.device.state is State.OFF


def test_starting_twice_is_an_error(make_bench) -> None:
    bench = make_bench()
    with pytest.raises(UnexpectedEventError):
        bench.device.start(bench.now)


# -- what the server asks --------------------------------------------------------------------------


def test_reads_are_answered_and_counted(make_bench) -> None:
    bench = make_bench()
    answer = bench.ask(codes.GET, "/3/0/3", accept=0)
    assert (answer.code, answer.payload, answer.content_format) == (codes.CONTENT, b"1.0.0", 0)
    assert bench.ask(codes.GET, "/3/0/77").code == codes.NOT_FOUND
    assert bench.device.tally.answered == 2


def test_an_answer_larger_than_a_block_is_fetched_whole(make_bench) -> None:
    bench = make_bench(make="A" * 700)
    answer = bench.ask(codes.GET, "/3/0", accept=11542)
    assert len(answer.payload) > 700
    assert bench.device.tally.answered == 2


def test_writing_the_lifetime_sends_an_update_that_says_so(make_bench) -> None:
    bench = make_bench()
    assert bench.ask(codes.PUT, "/1/0/1", content_format=0, payload=b"30").code == codes.CHANGED
    assert bench.updates() == [(0, ("lt=30",))]
    bench.wait(15)
    assert bench.updates()[1:] == [(15, ())]


def test_the_update_trigger_sends_an_update(make_bench) -> None:
    bench = make_bench()
    bench.wait(10)
    assert bench.ask(codes.POST, "/1/0/8").code == codes.CHANGED
    assert bench.updates() == [(10, ())]
    bench.wait(50)
    assert [when for when, _ in bench.updates()] == [10, 60]


def test_a_trigger_while_an_update_is_under_way_is_not_lost(make_bench) -> None:
    bench = make_bench()
    bench.server.silent = True
    bench.wait(50)
    assert bench.device.state is State.UPDATING
    bench.server.silent = False
    # The Update was lost; before it is repeated, the server writes another lifetime.
    bench.send(codes.PUT, "/1/0/1", content_format=0, payload=b"500")
    bench.server.events.clear()
    bench.wait(10)
    assert [queries for _, queries in bench.updates()] == [(), ("lt=500",)]


def test_execute_reboot_answers_then_registers_anew(make_bench) -> None:
    bench = make_bench()
    bench.ask(codes.GET, "/3/0/3", observe=True)
    assert bench.device.observed == ((3, 0, 3),)
    assert bench.ask(codes.POST, "/3/0/4").code == codes.CHANGED
    assert bench.device.state is State.REBOOTING
    assert bench.device.observed == ()
    bench.send(codes.GET, "/3/0/3")
    assert bench.device.tally.slept_through == 1
    bench.wait(REBOOT_SECONDS)
    assert bench.device.state is State.REGISTERED
    assert len(bench.server.registers) == 2


def test_a_reboot_keeps_the_object_tree(make_bench) -> None:
    bench = make_bench()
    bench.ask(codes.PUT, "/1/0/1", content_format=0, payload=b"30")
    bench.tell(
        bench.device.reboot,
    )
    bench.wait(REBOOT_SECONDS)
    assert bench.server.registers[-1].lifetime_seconds == 30


# -- queue mode ------------------------------------------------------------------------------------


def test_a_queue_mode_device_sleeps_after_its_window_and_wakes_for_its_update(make_bench) -> None:
    bench = make_bench(queue_mode=True, awake_seconds=10.0, lifetime_seconds=42)
    bench.wait(9)
    assert bench.ask(codes.GET, "/3/0/3").payload == b"1.0.0"
    bench.wait(9)
    assert not bench.device.is_asleep(bench.now)
    bench.wait(1)
    assert bench.device.is_asleep(bench.now)
    lost = bench.send(codes.GET, "/3/0/3")
    assert not lost.done
    assert bench.device.tally.slept_through == 1
    assert bench.device.tally.answered == 1
    # After 21 s it sends its Update, and then hears the server's repetition.
    bench.wait(11)
    assert bench.updates() == [(21, ())]
    assert lost.done
    assert bench.device.tally.answered == 2


def test_a_device_without_queue_mode_never_sleeps(make_bench) -> None:
    bench = make_bench(awake_seconds=10.0, lifetime_seconds=86_400)
    bench.wait(80_000)
    assert bench.ask(codes.GET, "/3/0/3").payload == b"1.0.0"


def test_a_sleeping_device_stays_awake_for_the_acknowledgement_of_its_notification(make_bench) -> None:
    bench = make_bench(queue_mode=True, awake_seconds=1.0, lifetime_seconds=86_400)
    bench.ask(codes.GET, "/3/0/3", observe=True, accept=0)
    bench.wait(10)
    assert bench.device.is_asleep(bench.now)
    bench.server.silent = True
    bench.tell(bench.device.set_value, (3, 0, 3), "2.0.0")
    bench.wait(1.5)
    assert not bench.device.is_asleep(bench.now)
    bench.server.silent = False
    bench.wait(10)
    assert [event.message.payload for event in bench.notifications()] == [b"2.0.0"]
    assert bench.device.is_asleep(bench.now)


# -- observations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "accept"), [("/3/0/3", 0), ("/3/0", 112), ("/3", 11542), ("/3/0/3", 110)])
def test_a_change_is_notified_in_the_format_that_was_asked_for(make_bench, path: str, accept: int) -> None:
    bench = make_bench()
    first = bench.ask(codes.GET, path, observe=True, accept=accept)
    assert (first.code, first.observe, first.content_format) == (codes.CONTENT, 0, accept)
    bench.tell(bench.device.set_value, (3, 0, 3), "2.0.0")
    bench.tell(bench.device.set_value, (3, 0, 3), "2.0.0")
    bench.tell(bench.device.set_value, (3, 0, 9), 50)
    bench.tell(bench.device.set_value, (3, 0, 3), "3.0.0")
    notified = [event.message for event in bench.notifications()]
    assert [message.observe for message in notified] == ([1, 2] if len(path) > 4 else [1, 2, 3])
    assert notified[-1].content_format == accept
    assert b"3.0.0" in notified[-1].payload


def test_a_write_is_notified_too(make_bench) -> None:
    bench = make_bench()
    bench.ask(codes.GET, "/1/0/6", observe=True, accept=0)
    bench.ask(codes.PUT, "/1/0/6", content_format=0, payload=b"0")
    assert [event.message.payload for event in bench.notifications()] == [b"0"]


def test_cancelling_an_observation_by_request_and_by_reset(make_bench) -> None:
    bench = make_bench()
    exchange = bench.send(codes.GET, "/3/0/3", observe=True)
    bench.server.endpoint.cancel_observation(exchange.observation, now=bench.now)
    bench.network.touched("server")
    bench.wait(0)
    assert bench.device.observed == ()
    exchange = bench.send(codes.GET, "/3/0/9", observe=True)
    bench.server.endpoint.forget_observation(exchange.observation)
    assert bench.device.observed == ((3, 0, 9),)
    bench.tell(bench.device.set_value, (3, 0, 9), 50)
    assert bench.device.observed == ()


def test_observations_have_a_bound_and_end_with_the_registration(make_bench) -> None:
    bench = make_bench()
    answers = [bench.ask(codes.GET, "/3/0/3", observe=True) for _ in range(OBSERVATIONS_MAX + 1)]
    assert [answer.observe for answer in answers] == [0] * OBSERVATIONS_MAX + [None]
    bench.tell(bench.device.set_value, (3, 0, 3), "2.0.0")
    assert len(bench.notifications()) == OBSERVATIONS_MAX
    bench.tell(bench.device.stop)
    assert bench.device.observed == ()


def test_what_cannot_be_read_is_not_observed(make_bench) -> None:
    bench = make_bench()
    assert bench.ask(codes.GET, "/3/0/4", observe=True).code == codes.METHOD_NOT_ALLOWED
    assert bench.ask(codes.GET, "/3/0", observe=True, accept=40).observe is None
    assert bench.device.observed == ()


# -- whatever comes --------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_bytes_make_a_device_fail(datagrams: list[bytes]) -> None:
    device = SimulatedDevice(next(identities(1)), "server", random=random.Random(1))
    device.start(0.0)
    for number, datagram in enumerate(datagrams):
        device.receive(datagram, number)
        device.advance(number)
    assert device.state is not State.OFF


@given(
    st.lists(
        st.tuples(
            st.sampled_from([codes.GET, codes.PUT, codes.POST]),
            st.sampled_from(["/1/0/1", "/1/0/8", "/3/0/4", "/3/0/3", "/3", "/5/0/1", "/1/0", "/9"]),
            st.sampled_from([None, 0, 40, 112]),
            st.booleans(),
            st.floats(0, 60),
        ),
        max_size=12,
    )
)
def test_after_whatever_was_asked_it_ends_registered(
    make_bench, asked: list[tuple[int, str, int | None, bool, float]]
) -> None:
    bench = make_bench()
    for code, path, number, observe, pause in asked:
        payload = encode(112, {(1, 0, 1): 20}, (1, 0)) if number == 112 else b"20"
        if code == codes.GET:
            bench.send(code, path, accept=number, observe=observe)
        else:
            bench.send(code, path, content_format=number, payload=payload if code == codes.PUT else b"")
        bench.wait(pause)
    bench.wait(GIVE_UP_SECONDS)
    assert bench.device.state is State.REGISTERED
    assert bench.device.tally.answered + bench.device.tally.slept_through >= len(asked)
