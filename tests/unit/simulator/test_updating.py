"""New firmware for a device: every way in, every state, every way out (spec lwm2m.md 8)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overair.protocols.coap import Block, codes
from overair.protocols.lwm2m.content import encode
from overair.simulator import TWO_COMPONENTS, Result, UpdateState, make_image
from overair.simulator.delivery import PUSH_PATIENCE_SECONDS, RETRIES, wrapping_bytes
from overair.simulator.firmware import (
    UPDATE_TRANSITIONS,
    UnexpectedCauseError,
    UpdateCause,
    next_update_state,
)

TEXT, OPAQUE, SENML, TLV = 0, 42, 112, 11542
IDLE, DOWNLOADING, DOWNLOADED, UPDATING = UpdateState
GIVE_UP_SECONDS = 93.0


def execute(bench, path: str = "/5/0/2", payload: bytes = b"") -> int:
    return bench.ask(codes.POST, path, payload=payload, content_format=TEXT if payload else None).code


def push(bench, image: bytes, path: str = "/5/0/0", content_format: int = OPAQUE) -> int:
    return bench.put(path, image, content_format)


# -- the table -------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_specification() -> None:
    assert next_update_state(IDLE, UpdateCause.PULL) == (DOWNLOADING, 0)
    assert next_update_state(DOWNLOADING, UpdateCause.BREAK_OFF, 5) == (IDLE, 5)
    assert next_update_state(DOWNLOADED, UpdateCause.DEFER) == (DOWNLOADED, 11)
    assert next_update_state(UPDATING, UpdateCause.SUCCEED) == (IDLE, 1)
    assert next_update_state(UPDATING, UpdateCause.FAIL, 8) == (DOWNLOADED, 8)
    assert next_update_state(UPDATING, UpdateCause.SPOIL, 5) == (IDLE, 5)
    # While it updates, nothing that a server can ask for leads anywhere.
    asked = (UpdateCause.PULL, UpdateCause.PUSH, UpdateCause.RESET, UpdateCause.CANCEL, UpdateCause.EXECUTE)
    for cause in asked:
        with pytest.raises(UnexpectedCauseError):
            next_update_state(UPDATING, cause)
    assert {state for state, _ in UPDATE_TRANSITIONS} == set(UpdateState)
    assert {cause for _, cause in UPDATE_TRANSITIONS} == set(UpdateCause)


# -- pull ------------------------------------------------------------------------------------------


def test_a_pull_from_beginning_to_end(make_bench, image) -> None:
    bench = make_bench()
    bench.ask(codes.GET, "/5/0/3", observe=True, accept=TEXT)
    bench.download(image)
    assert bench.shown == (2, 0)
    assert (bench.read("/5/0/6"), bench.read("/5/0/7")) == ("firmware", "2.0.0")
    assert bench.read("/3/0/3") == "1.0.0"
    assert execute(bench) == codes.CHANGED
    assert bench.read("/5/0/3") == "3"
    assert bench.until(IDLE)
    assert bench.shown == (0, 1)
    bench.wait(1)
    assert bench.read("/3/0/3") == bench.device.firmware == "2.0.0"
    assert len(bench.server.registers) == 2
    # The last state is not told: with the reboot the observation is gone.
    assert [event.message.payload for event in bench.notifications()] == [b"1", b"2", b"3"]
    assert [what for _, what, _, _ in bench.device.history] == [
        "download",
        "downloaded",
        "execute",
        "flashed",
        "booted",
    ]
    # 20 000 bytes at 32 000 a second, 4 s to flash, 2 s to boot.
    assert bench.happened("booted") == [(pytest.approx(6.62, abs=0.02), "2.0.0")]
    tally = bench.device.update_tally
    assert (tally.downloads, tally.executes, tally.flashed, tally.booted, tally.failed) == (1, 1, 1, 1, 0)


def test_blocks_are_asked_for_one_by_one_and_not_too_fast(make_bench, image) -> None:
    bench = make_bench(block_bytes=1024, download_bytes_per_second=1024.0)
    bench.download(image)
    # The server has blocks of 512, which the device takes over.
    assert [number for _, _, number, _ in bench.server.asked] == list(range(40))
    assert [size for _, _, _, size in bench.server.asked] == [1024] + [512] * 39
    assert bench.now == pytest.approx(19.5)


def test_a_small_block_of_the_device_wins(make_bench, image) -> None:
    bench = make_bench(block_bytes=256)
    bench.download(image)
    assert {size for _, _, _, size in bench.server.asked} == {256}


@pytest.mark.parametrize(
    ("uri", "result"),
    [
        ("no uri at all", 7),
        ("coap://", 7),
        ("coap://server/", 7),
        ("coap://user@server/f", 7),
        ("coap://server:99999/f", 7),
        ("coap://server/" + "f" * 250, 7),
        ("ftp://server/f", 9),
        ("http://server/f", 9),
        ("coap://server/f/nothing", 7),
        ("coaps://server/f/fw", 4),
    ],
)
def test_a_uri_that_leads_nowhere_has_a_result(make_bench, uri: str, result: int) -> None:
    bench = make_bench()
    assert bench.put("/5/0/1", uri.encode()) == codes.CHANGED
    bench.wait(1)
    assert bench.shown == (0, result)
    assert bench.put("/5/0/1") == codes.CHANGED
    assert bench.shown == (0, 0)


@pytest.mark.parametrize(
    ("spoil", "result"),
    [
        (lambda image: image[:-40] + b"\0" * 40, 5),
        (lambda image: image[:-512], 5),
        (lambda _: b"something else" * 100, 6),
        (lambda _: make_image("Acme", "Two", "2.0.0", 2000), 6),
    ],
)
def test_a_wrong_package_is_found_out(make_bench, image, spoil, result: int) -> None:
    bench = make_bench()
    bench.put("/5/0/1", bench.host(spoil(image)).encode())
    bench.wait(5)
    assert bench.shown == (0, result)
    assert execute(bench) == codes.METHOD_NOT_ALLOWED
    assert bench.device.firmware == "1.0.0"


def test_a_package_larger_than_the_flash_is_not_downloaded(make_bench, image) -> None:
    bench = make_bench(package_bytes_max=10_000)
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(5)
    assert bench.shown == (0, 2)
    assert len(bench.server.asked) == 1
    assert bench.ask(codes.PUT, "/5/0/0", payload=b"\0").code == codes.CHANGED
    refused = bench.send(codes.PUT, "/5/0/0", payload=image, content_format=OPAQUE)
    assert refused.done
    (failure,) = bench.failures()
    assert failure.message.code == codes.REQUEST_ENTITY_TOO_LARGE
    assert failure.message.uint_option(codes.SIZE1) == 10_000


@pytest.mark.parametrize("code", [codes.SERVICE_UNAVAILABLE, codes.TOO_MANY_REQUESTS])
def test_a_busy_server_is_asked_again(make_bench, image, code: int) -> None:
    bench = make_bench()
    uri = bench.host(image)
    bench.server.script = [(code, ((codes.MAX_AGE, b"\x1e"),))]
    bench.put("/5/0/1", uri.encode())
    assert bench.until(DOWNLOADED)
    assert bench.now == pytest.approx(30.6, abs=0.1)


def test_a_refused_download_is_a_lost_connection(make_bench, image) -> None:
    bench = make_bench()
    uri = bench.host(image)
    bench.server.script = [(codes.FORBIDDEN, ())]
    bench.put("/5/0/1", uri.encode())
    bench.wait(1)
    assert bench.shown == (0, 4)


def test_a_broken_download_goes_on_at_the_right_block(make_bench, image) -> None:
    bench = make_bench(lifetime_seconds=86_400)
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(0.2)
    bench.server.silent = True
    bench.wait(1)
    held = len(bench.server.asked)
    assert 5 < held < 39
    bench.wait(GIVE_UP_SECONDS)
    bench.server.silent = False
    assert bench.until(DOWNLOADED)
    assert [number for _, _, number, _ in bench.server.asked] == list(range(40))


def test_a_server_that_stays_away_is_a_lost_connection(make_bench, image) -> None:
    bench = make_bench(lifetime_seconds=86_400)
    bench.put("/5/0/1", b"coap://elsewhere:5683/f/fw")
    bench.wait(GIVE_UP_SECONDS * (RETRIES + 1) + 10 + 20 + 40)
    assert bench.shown == (0, 4)
    assert bench.device.tally.timeouts == RETRIES + 1


def test_another_etag_begins_anew_once(make_bench, image) -> None:
    bench = make_bench()
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(0.2)
    other = make_image("Acme", "One", "3.0.0", 20_000)
    bench.server.files["fw"] = other
    bench.wait(0.2)
    asked = len(bench.server.asked)
    assert bench.until(DOWNLOADED)
    assert bench.read("/5/0/7") == "3.0.0"
    assert len(bench.server.asked) > asked > 13
    again = make_bench()
    again.put("/5/0/1", again.host(image).encode())
    for file in (other, image):
        again.wait(0.1)
        again.server.files["fw"] = file
    again.wait(1)
    assert again.shown == (0, 4)


def test_a_second_peer_is_a_plain_one(make_bench, scripted_server, image) -> None:
    bench = make_bench()
    other = scripted_server(9)
    other.files["fw"] = image
    bench.network.add_server(("files.example", 5700), other)
    bench.put("/5/0/1", b"coap://files.example:5700/f/fw")
    assert bench.until(DOWNLOADED)
    assert len(other.asked) == 40
    assert bench.server.asked == []
    # It is a peer for files, and nothing else: it reads nothing.
    told = other.endpoint.request("device", codes.GET, path=("3", "0", "3"), now=bench.now)
    bench.network.touched(("files.example", 5700))
    bench.wait(1)
    assert told.done
    assert other.events[-1].message.code == codes.UNAUTHORIZED


def test_the_server_itself_is_asked_over_dtls(make_secure_bench, image) -> None:
    bench = make_secure_bench()
    bench.start()
    bench.download(image)
    assert len(bench.server.asked) == 40
    assert bench.server.asked[0][1] == bench.device.identity.endpoint.encode()
    assert bench.device.tally.handshakes == 1
    assert execute(bench) == codes.CHANGED
    assert bench.until(IDLE)
    bench.wait(1)
    assert bench.read("/3/0/3") == "2.0.0"


def test_a_secure_device_fetches_plainly_only_from_elsewhere(
    make_secure_bench, scripted_server, image
) -> None:
    bench = make_secure_bench()
    bench.start()
    other = scripted_server(9)
    other.files["fw"] = image
    bench.network.add_server(("server", 5683), other)
    bench.put("/5/0/1", b"coaps://elsewhere/f/fw")
    bench.wait(1)
    assert bench.shown == (0, 4)
    bench.put("/5/0/1", b"coap://server:5683/f/fw")
    bench.wait(1)
    assert bench.shown == (0, 4)
    bench.network.add_server(("files.example", 5683), other)
    bench.put("/5/0/1", b"coap://files.example/f/fw")
    assert bench.until(DOWNLOADED)
    assert other.asked[0][1] == "device"


def test_a_lost_association_does_not_end_a_download(make_secure_bench, image) -> None:
    bench = make_secure_bench(lifetime_seconds=86_400)
    bench.start()
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(0.2)
    bench.server.restart(7)
    assert bench.until(DOWNLOADED, 3600)
    assert bench.device.tally.handshakes == 2
    numbers = [number for _, _, number, _ in bench.server.asked]
    assert sorted(set(numbers)) == list(range(40))
    assert len(numbers) <= 41


# -- push ------------------------------------------------------------------------------------------


def test_a_push_from_beginning_to_end(make_bench, image) -> None:
    bench = make_bench()
    bench.ask(codes.GET, "/5/0/3", observe=True, accept=TEXT)
    assert push(bench, image) == codes.CHANGED
    assert bench.shown == (2, 0)
    bench.wait(0)
    assert [event.message.payload for event in bench.notifications()] == [b"1", b"2"]
    assert execute(bench) == codes.CHANGED
    assert bench.until(IDLE)
    assert bench.shown == (0, 1)
    assert bench.happened("download") == [(0, "push")]


def test_a_push_in_one_piece(make_bench) -> None:
    bench = make_bench()
    assert push(bench, make_image("Acme", "One", "2.0.0", 200)) == codes.CHANGED
    bench.wait(0)
    assert bench.shown == (2, 0)


@pytest.mark.parametrize("size", [100, 300, 70_000])
def test_a_push_wrapped_in_tlv(make_bench, size: int) -> None:
    bench = make_bench(formats=(TLV,))
    package = make_image("Acme", "One", "2.0.0", size)
    assert push(bench, package) == codes.UNSUPPORTED_CONTENT_FORMAT
    wrapped = encode(TLV, {(5, 0, 0): package}, (5, 0, 0))
    assert wrapped[wrapping_bytes(wrapped) :] == package
    assert push(bench, wrapped, content_format=TLV) == codes.CHANGED
    bench.wait(0)
    assert bench.shown == (2, 0)


def test_a_device_of_small_blocks_says_so_and_the_server_walks_down(make_bench, image) -> None:
    bench = make_bench(block_bytes=128)
    assert push(bench, image) == codes.CHANGED
    assert bench.device.tally.answered >= 157
    bench.wait(0)
    assert bench.shown == (2, 0)


def send_block(bench, image: bytes, number: int, *, size: int = 512, **more) -> object:
    part = image[number * size : (number + 1) * size]
    last = (number + 1) * size >= len(image)
    block = Block(number, not last, size.bit_length() - 5)
    exchange = bench.server.endpoint.request(
        bench.peer,
        codes.PUT,
        path=("5", "0", "0"),
        options=((codes.CONTENT_FORMAT, b"*"), (codes.BLOCK1, block.encode())),
        payload=part,
        now=bench.now,
    )
    bench.network.touched("server")
    bench.network.run_until(bench.now)
    return next(e.message for e in bench.server.events if getattr(e, "exchange", None) is exchange)


def test_blocks_out_of_order_are_incomplete_and_repeated_ones_are_not(make_bench, image) -> None:
    bench = make_bench()
    assert send_block(bench, image, 1).code == codes.REQUEST_ENTITY_INCOMPLETE
    assert bench.shown == (0, 0)
    first = send_block(bench, image, 0)
    assert (first.code, first.block1) == (codes.CONTINUE, Block(0, True, 5))
    assert bench.shown == (1, 0)
    assert send_block(bench, image, 0).code == codes.CONTINUE
    assert send_block(bench, image, 1).code == codes.CONTINUE
    assert send_block(bench, image, 1).code == codes.CONTINUE
    assert send_block(bench, image, 3).code == codes.REQUEST_ENTITY_INCOMPLETE
    assert bench.put("/5/0/1", b"coap://server/f/x") == codes.BAD_REQUEST
    assert [send_block(bench, image, n).code for n in range(2, 40)][-1] == codes.CHANGED
    bench.wait(0)
    assert bench.shown == (2, 0)
    assert send_block(bench, image, 0).code == codes.BAD_REQUEST


def test_a_push_that_stops_is_given_up(make_bench, image) -> None:
    bench = make_bench(queue_mode=True, awake_seconds=10.0, lifetime_seconds=86_400)
    send_block(bench, image, 0)
    bench.wait(PUSH_PATIENCE_SECONDS - 1)
    assert bench.shown == (1, 0)
    # It listens for as long as it hopes for more.
    assert not bench.device.is_asleep(bench.now)
    bench.wait(1)
    assert bench.shown == (0, 4)
    bench.wait(11)
    assert bench.device.is_asleep(bench.now)


# -- taking it back --------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [b"", b"\0"])
@pytest.mark.parametrize("half", [True, False])
def test_a_reset_forgets_the_package(make_bench, image, half: bool, package: bytes) -> None:
    bench = make_bench()
    if half:
        bench.put("/5/0/1", bench.host(image).encode())
        bench.wait(0.2)
    else:
        bench.download(image)
    assert push(bench, package) == codes.CHANGED
    assert bench.shown == (0, 0)
    assert (bench.read("/5/0/1"), bench.read("/5/0/7")) == ("", "")
    assert execute(bench) == codes.METHOD_NOT_ALLOWED
    asked = len(bench.server.asked)
    bench.wait(100)
    assert len(bench.server.asked) == asked
    bench.download(image)
    assert len(bench.server.asked) == asked + 40


def test_an_empty_uri_resets_and_cancel_says_that_it_was_cancelled(make_bench, image) -> None:
    bench = make_bench()
    bench.download(image)
    assert bench.put("/5/0/1") == codes.CHANGED
    assert bench.shown == (0, 0)
    assert execute(bench, "/5/0/10") == codes.METHOD_NOT_ALLOWED
    bench.download(image)
    assert execute(bench, "/5/0/10") == codes.CHANGED
    assert bench.shown == (0, 10)
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(0.1)
    assert execute(bench, "/5/0/10") == codes.CHANGED
    assert bench.shown == (0, 10)


def test_in_1_0_there_is_no_cancel(make_bench) -> None:
    assert execute(make_bench(version="1.0"), "/5/0/10") == codes.NOT_FOUND


def test_what_may_not_be_is_refused(make_bench, image) -> None:
    bench = make_bench()
    uri = bench.host(image).encode()
    assert execute(bench) == codes.METHOD_NOT_ALLOWED
    bench.put("/5/0/1", uri)
    assert execute(bench) == codes.METHOD_NOT_ALLOWED
    assert bench.put("/5/0/1", uri) == codes.BAD_REQUEST
    assert push(bench, image) == codes.BAD_REQUEST
    assert bench.until(DOWNLOADED)
    assert bench.put("/5/0/1", uri) == codes.BAD_REQUEST
    assert execute(bench, payload=b"0='1'") == codes.BAD_REQUEST
    assert execute(bench) == codes.CHANGED
    for path in ("/5/0/2", "/5/0/10"):
        assert execute(bench, path) == codes.METHOD_NOT_ALLOWED
    assert bench.put("/5/0/1") == bench.put("/5/0/1", uri) == codes.METHOD_NOT_ALLOWED
    assert push(bench, b"\0") == codes.METHOD_NOT_ALLOWED
    assert bench.until(IDLE)
    assert bench.shown == (0, 1)
    assert bench.device.update_tally.executes == 5
    assert bench.device.update_tally.flashed == 1


# -- power -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DOWNLOADING, DOWNLOADED, UPDATING])
def test_a_power_cut_in_any_state_leaves_a_device_that_can_go_on(make_bench, image, state) -> None:
    bench = make_bench()
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(0.3)
    if state is not DOWNLOADING:
        assert bench.until(DOWNLOADED)
    if state is UPDATING:
        execute(bench)
        bench.wait(1)
    bench.tell(bench.device.reboot)
    assert bench.until(DOWNLOADED)
    bench.wait(3)
    assert bench.shown == (2, 8 if state is UPDATING else 0)
    assert bench.device.firmware == "1.0.0"
    assert [number for _, _, number, _ in bench.server.asked] == list(range(40))
    execute(bench)
    assert bench.until(IDLE)
    assert (bench.device.firmware, bench.shown) == ("2.0.0", (0, 1))
    assert bench.happened("flashed") == [(pytest.approx(bench.now - 2), "2.0.0")]


def test_a_push_does_not_outlive_a_power_cut(make_bench, image) -> None:
    bench = make_bench()
    send_block(bench, image, 0)
    bench.tell(bench.device.reboot)
    bench.wait(3)
    assert bench.shown == (0, 4)
    assert push(bench, image) == codes.CHANGED


def test_a_power_cut_after_the_flash_changes_nothing(make_bench, image) -> None:
    bench = make_bench()
    bench.download(image)
    execute(bench)
    bench.wait(5)
    bench.tell(bench.device.reboot)
    assert bench.until(IDLE)
    assert (bench.device.firmware, bench.shown) == ("2.0.0", (0, 1))
    assert bench.device.update_tally.booted == 1


@settings(max_examples=40)
@given(cuts=st.lists(st.floats(0.01, 4.0), max_size=6), faulty=st.booleans())
def test_however_often_the_power_goes_it_runs_one_of_the_two(
    make_bench, image, cuts: list[float], faulty: bool
) -> None:
    bench = make_bench(fault="power-cut" if faulty else "push-only")
    for pause in [*cuts, 30.0, 30.0]:
        if bench.shown[0] == 0 and bench.device.firmware == "1.0.0":
            bench.send(codes.PUT, "/5/0/1", payload=bench.host(image).encode(), content_format=TEXT)
            bench.send(codes.PUT, "/5/0/0", payload=image, content_format=OPAQUE)
        bench.wait(2.5)
        bench.send(codes.POST, "/5/0/2")
        bench.wait(pause)
        if pause < 30:
            bench.tell(bench.device.reboot)
    bench.wait(1000)
    device = bench.device
    assert device.firmware == "2.0.0"
    assert bench.shown == (0, 1)
    assert (device.update_tally.flashed, device.update_tally.booted) == (1, 1)


# -- components ------------------------------------------------------------------------------------


def component(name: str, version: str) -> bytes:
    profile = TWO_COMPONENTS
    return make_image(profile.make, profile.model, version, 3000, name=name)


def test_a_component_is_updated_by_itself(make_bench) -> None:
    bench = make_bench(TWO_COMPONENTS)
    assert bench.ask(codes.GET, "/5/0/3").code == codes.NOT_FOUND
    assert bench.read("/33629/1/14") == "modem"
    bench.put("/33629/1/1", bench.host(component("modem", "mfw_2.1.0")).encode())
    bench.wait(1)
    assert bench.read("/33629/1/3") == "2"
    assert bench.device.update_state is DOWNLOADED
    assert execute(bench, "/33629/1/2", b"0") == codes.CHANGED
    bench.wait(10)
    assert (bench.read("/33629/1/15"), bench.read("/33629/1/5")) == ("mfw_2.1.0", "1")
    assert bench.read("/3/0/3") == "2.0.0"


def test_two_components_are_installed_at_once(make_bench) -> None:
    bench = make_bench(TWO_COMPONENTS)
    for instance, name in enumerate(("application", "modem")):
        uri = bench.host(component(name, "9.9"), name)
        bench.put(f"/33629/{instance}/1", uri.encode())
    bench.wait(1)
    assert execute(bench, "/33629/0/2", b"0='</33629/7>'") == codes.BAD_REQUEST
    assert execute(bench, "/33629/0/2", b"0='</33629/1>'") == codes.CHANGED
    bench.wait(10)
    assert [bench.read(f"/33629/{n}/15") for n in (0, 1)] == ["9.9", "9.9"]
    assert bench.device.firmware == "9.9"
    assert bench.device.tally.registrations == 2
    assert bench.device.update_tally.flashed == 2


def test_a_package_for_another_component_is_refused(make_bench) -> None:
    bench = make_bench(TWO_COMPONENTS)
    bench.put("/33629/0/1", bench.host(component("modem", "9.9")).encode())
    bench.wait(1)
    assert bench.read("/33629/0/5") == str(int(Result.PACKAGE_TYPE))
