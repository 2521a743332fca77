"""What goes wrong with updates: each misbehaviour, and what a server sees of it."""

from __future__ import annotations

import random

import msgspec
import pytest

from overair.protocols.coap import codes
from overair.simulator import (
    MISBEHAVIOURS,
    Faults,
    MisbehaviourError,
    Network,
    Share,
    SimulatedDevice,
    State,
    UpdateState,
    identities,
    make_image,
    parse_share,
    spread,
)
from overair.simulator.misbehaviour import LONG_AWAY_SECONDS, NAP_SECONDS, NONE

HOUR = 3600.0
OLD, NEW = "1.0.0", "2.0.0"
IDLE, DOWNLOADING, DOWNLOADED, UPDATING = UpdateState


def update(bench, image: bytes) -> None:
    """What a server does that knows no better: URI, push if that is refused, wait, Execute, wait."""
    if bench.put("/5/0/1", bench.host(image).encode()) != codes.CHANGED:
        bench.send(codes.PUT, "/5/0/0", payload=image, content_format=42)
    bench.until(DOWNLOADED, HOUR)
    # A server knows an address by the next Update; none is waited for here.
    bench.address = bench.network.address_of(bench.device)
    if bench.device.update_state is DOWNLOADED:
        bench.send(codes.POST, "/5/0/2")
    bench.wait(2 * HOUR)


def one_result(name: str) -> int:
    return int(name.rpartition("-")[2])


# What a device shows two hours after Execute: (state, result), the version that runs, how often it flashed.
ENDS = {
    **{f"download-result-{n}": (IDLE, n, OLD, 0) for n in range(2, 12)},
    **{f"install-result-{n}": (DOWNLOADED, n, OLD, 0) for n in range(2, 12)},
    "install-result-5": (IDLE, 5, OLD, 0),
    "install-result-6": (IDLE, 6, OLD, 0),
    "never-downloads": (DOWNLOADING, 0, OLD, 0),
    "download-hangs": (DOWNLOADING, 0, OLD, 0),
    "downloaded-deaf": (DOWNLOADED, 0, OLD, 0),
    "install-hangs": (UPDATING, 0, OLD, 0),
    "never-returns": (UPDATING, 0, OLD, 1),
    "silent-reboot": (UPDATING, 0, OLD, 1),
    "reboot-before-download": (IDLE, 1, NEW, 1),
    "reboot-while-downloading": (IDLE, 1, NEW, 1),
    "reboot-after-download": (IDLE, 1, NEW, 1),
    "power-cut": (DOWNLOADED, 8, OLD, 0),
    "connection-lost": (IDLE, 4, OLD, 0),
    "claims-success": (IDLE, 1, OLD, 0),
    "rolls-back": (IDLE, 0, OLD, 0),
    "result-lost": (IDLE, 0, NEW, 1),
    "defers": (IDLE, 1, NEW, 1),
    "cancels": (IDLE, 10, OLD, 0),
    "moves": (IDLE, 1, NEW, 1),
    "sleeps": (IDLE, 1, NEW, 1),
    "push-too-large": (IDLE, 0, OLD, 0),
    "push-incomplete": (DOWNLOADING, 0, OLD, 0),
    "not-allowed": (IDLE, 0, OLD, 0),
    "internal-error": (IDLE, 0, OLD, 0),
    "ignores-uri": (IDLE, 0, OLD, 0),
    "auto-install": (IDLE, 1, NEW, 1),
    "zephyr-like": (IDLE, 0, NEW, 1),
    "anjay-like": (IDLE, 1, NEW, 1),
    "push-only": (IDLE, 1, NEW, 1),
    "pull-only": (IDLE, 1, NEW, 1),
    "http-only": (IDLE, 9, OLD, 0),
}


def test_there_is_an_end_for_each() -> None:
    assert set(ENDS) == set(MISBEHAVIOURS)


@pytest.mark.parametrize("name", ENDS)
def test_how_it_ends(make_bench, image, name: str) -> None:
    state, result, version, flashed = ENDS[name]
    bench = make_bench(fault=name, lifetime_seconds=86_400)
    update(bench, image)
    if name == "push-incomplete":
        # The push is given up in the end.
        assert bench.shown == (0, 4)
    elif name == "downloaded-deaf":
        assert bench.failures()
        assert bench.shown == (2, 0)
    else:
        assert bench.shown == (state, result)
    assert bench.device.firmware == version
    assert bench.device.update_tally.flashed == flashed
    assert bench.device.misbehaviour.name == name


@pytest.mark.parametrize("name", [name for name, misbehaviour in MISBEHAVIOURS.items() if misbehaviour.times])
def test_an_accident_does_not_happen_again(make_bench, image, name: str) -> None:
    bench = make_bench(fault=name, lifetime_seconds=86_400)
    for _ in range(2):
        if bench.device.update_state is DOWNLOADED:
            bench.send(codes.POST, "/5/0/2")
            bench.wait(HOUR)
        elif bench.device.firmware == OLD:
            update(bench, image)
    assert (bench.device.firmware, bench.shown) == (NEW, (0, 1))
    assert bench.device.update_tally.flashed == 1


def test_stalls_end_with_a_reset_where_one_is_heard(make_bench, image) -> None:
    for name in ("never-downloads", "download-hangs"):
        bench = make_bench(fault=name, lifetime_seconds=86_400)
        update(bench, image)
        assert bench.put("/5/0/1") == codes.CHANGED
        assert bench.shown == (0, 0)


@pytest.mark.parametrize("name", ["never-downloads", "download-hangs"])
def test_a_push_stalls_by_silence(make_bench, image, name: str) -> None:
    fault = msgspec.structs.replace(MISBEHAVIOURS[name], changes=(("delivery", 1),))
    bench = make_bench(fault=fault, lifetime_seconds=86_400)
    update(bench, image)
    assert bench.shown[0] == DOWNLOADING
    assert bench.failures()
    assert bench.device.tally.slept_through >= 5


def test_deaf_is_deaf_to_everything_but_answers(make_bench, image) -> None:
    bench = make_bench(fault="downloaded-deaf", lifetime_seconds=100)
    update(bench, image)
    assert bench.device.state is State.REGISTERED
    assert bench.device.tally.updates > 100
    bench.tell(bench.device.reboot)
    bench.wait(3)
    assert bench.read("/5/0/3") == "2"


def test_it_never_returns_or_much_later(make_bench, image) -> None:
    gone, late = make_bench(fault="never-returns"), make_bench(fault="silent-reboot")
    for bench in (gone, late):
        update(bench, image)
        assert bench.device.state is State.REBOOTING
        bench.wait(LONG_AWAY_SECONDS)
    assert gone.device.state is State.REBOOTING
    assert gone.device.next_due() is None
    assert (late.device.state, late.device.firmware, late.shown) == (State.REGISTERED, NEW, (0, 1))


def test_it_defers_for_as_long_as_it_may(make_bench, image) -> None:
    bench = make_bench(fault="defers")
    assert bench.put("/5/0/13", b"60") == codes.CHANGED
    bench.download(image)
    assert bench.ask(codes.POST, "/5/0/2").code == codes.CHANGED
    assert bench.shown == (2, 11)
    begin = bench.now
    assert bench.until(UPDATING)
    assert bench.now == begin + 60
    assert bench.until(IDLE)
    assert bench.device.firmware == NEW


def test_a_nap_in_mid_download(make_bench, image) -> None:
    bench = make_bench(fault="sleeps", queue_mode=True, lifetime_seconds=86_400)
    bench.put("/5/0/1", bench.host(image).encode())
    bench.wait(10)
    assert bench.device.is_asleep(bench.now)
    assert not bench.send(codes.GET, "/5/0/3").done
    assert bench.device.tally.slept_through == 1
    asked = len(bench.server.asked)
    assert bench.until(DOWNLOADED, HOUR)
    assert bench.now == pytest.approx(NAP_SECONDS + 0.6, abs=0.1)
    assert asked == 20
    # It tells that it is awake again.
    assert [when for when, _ in bench.updates()] == [pytest.approx(NAP_SECONDS + 0.3, abs=0.1)]
    assert len(bench.server.asked) == 40


def test_another_address_in_mid_download(make_bench, image) -> None:
    bench = make_bench(fault="moves")
    bench.put("/5/0/1", bench.host(image).encode())
    assert bench.until(DOWNLOADED)
    assert [peer for _, peer, _, _ in bench.server.asked] == ["device"] * 20 + ["device~1"] * 20
    assert bench.network.address_of(bench.device) == "device~1"


def test_what_is_refused_is_refused_with_its_code(make_bench, image) -> None:
    for name, code in (("not-allowed", 0x85), ("internal-error", 0xA0)):
        bench = make_bench(fault=name)
        assert bench.put("/5/0/1", b"coap://server/f") == code
        assert bench.put("/5/0/0", b"\0", 42) == code
        assert bench.ask(codes.POST, "/5/0/2").code == code
        assert bench.device.update_tally.executes == 1
    for name, code in (("push-too-large", 0x8D), ("push-incomplete", 0x88)):
        bench = make_bench(fault=name)
        bench.send(codes.PUT, "/5/0/0", payload=image, content_format=42)
        (failure,) = bench.failures()
        assert failure.message.code == code


def test_a_uri_may_be_passed_over(make_bench) -> None:
    bench = make_bench(fault="ignores-uri")
    assert bench.put("/5/0/1", b"coap://server/f/fw") == codes.CHANGED
    assert bench.read("/5/0/1") == ""


# -- client libraries ------------------------------------------------------------------------------


def test_zephyr(make_bench, image) -> None:
    bench = make_bench(fault="zephyr-like")
    assert bench.put("/5/0/0", b"", 42) == codes.CHANGED
    assert bench.shown == (1, 0)
    # Neither a URI nor its absence is looked at while it downloads.
    assert bench.put("/5/0/1", b"coap://server/f/fw") == bench.put("/5/0/1") == codes.CHANGED
    assert bench.shown == (1, 0)
    assert bench.put("/5/0/0", b"\0", 42) == codes.CHANGED
    assert bench.shown == (0, 0)
    bench.put("/5/0/1", b"coap://server/f/nothing?lost=1")
    bench.wait(1)
    assert bench.shown == (0, 4)
    assert bench.server.heard[-1][2:] == (("f", "nothing"), ())
    bench.ask(codes.GET, "/5/0/5", observe=True, accept=0)
    bench.ask(codes.GET, "/5/0/3", observe=True, accept=0)
    bench.download(image)
    bench.ask(codes.POST, "/5/0/2")
    bench.until(IDLE)
    bench.wait(5)
    # It says so before the reboot, and knows nothing of it afterwards.
    assert [event.message.payload for event in bench.notifications()][-2:] == [b"1", b"0"]
    assert (bench.shown, bench.device.firmware) == ((0, 0), NEW)


def test_zephyr_forgets_what_it_has_downloaded(make_bench, image) -> None:
    bench = make_bench(fault="zephyr-like")
    bench.download(image)
    bench.tell(bench.device.reboot)
    bench.wait(3)
    assert bench.shown == (0, 0)


def test_anjay_sends_and_has_no_time_while_it_is_pushed_to(make_bench, image) -> None:
    bench = make_bench(fault="anjay-like")
    bench.put("/1/0/23", b"0")
    bench.server.endpoint.request(
        "device",
        codes.PUT,
        path=("5", "0", "0"),
        options=((codes.CONTENT_FORMAT, b"*"), (codes.BLOCK1, b"\x0d")),
        payload=image[:512],
        now=bench.now,
    )
    bench.network.touched("server")
    bench.wait(0)
    assert bench.ask(codes.GET, "/3/0/3").code == codes.SERVICE_UNAVAILABLE
    bench.send(codes.PUT, "/5/0/0", payload=image, content_format=42)
    bench.wait(0)
    assert bench.ask(codes.GET, "/3/0/3").code == codes.CONTENT
    bench.ask(codes.POST, "/5/0/2")
    bench.wait(10)
    states = [each[5, 0, 3] for each in bench.server.sent if (5, 0, 3) in each]
    assert states == [1, 2, 3, 0]
    assert bench.server.sent[-1] == {(5, 0, 3): 0, (5, 0, 5): 1, (3, 0, 3): NEW}


def test_delivery_and_protocols_are_what_the_device_says(make_bench, image) -> None:
    bench = make_bench(fault="push-only")
    assert bench.read("/5/0/9") == "1"
    assert bench.put("/5/0/1", b"coap://server/f") == bench.put("/5/0/1") == codes.METHOD_NOT_ALLOWED
    bench = make_bench(fault="pull-only")
    assert bench.read("/5/0/9") == "0"
    assert bench.put("/5/0/0", b"\0", 42) == codes.METHOD_NOT_ALLOWED
    bench = make_bench(fault="http-only")
    assert [bench.read(f"/5/0/8/{each}") for each in (0, 1)] == ["2", "3"]
    assert make_bench(fault="auto-install").read("/5/0/14") == "1"


# -- shares of a fleet -----------------------------------------------------------------------------


def test_a_share_of_a_fleet_is_that_many_and_always_the_same() -> None:
    fleet = list(identities(50))
    given = spread(fleet, [Share("moves", 0.5), Share("any", 0.1), Share("sleeps", 0.04)])
    names = [each.name for each in given.values()]
    assert (names.count("moves") >= 25, names.count("sleeps") >= 2, len(given)) == (True, True, 32)
    assert given == spread(fleet, [Share("moves", 0.5), Share("any", 0.1), Share("sleeps", 0.04)])
    assert given != spread(fleet, [Share("moves", 0.5), Share("any", 0.1), Share("sleeps", 0.04)], seed=1)
    assert spread(fleet, []) == {}
    with pytest.raises(MisbehaviourError, match="more than 1"):
        spread(fleet, [Share("moves", 0.6), Share("sleeps", 0.5)])


def test_a_share_is_read() -> None:
    assert parse_share("moves") == Share("moves", 1.0)
    assert parse_share("any:0.25") == Share("any", 0.25)
    for wrong in ("dances", "moves:", "moves:2", "moves:-1", "moves:nan", ""):
        with pytest.raises(MisbehaviourError):
            parse_share(wrong)


# -- a fleet on a bad network ----------------------------------------------------------------------


def drive(server, network: Network, devices: list[SimulatedDevice]) -> None:
    """Ask of each device that is registered what brings its update on."""
    latest = {asked.endpoint: f"L{n}" for n, asked in enumerate(server.registers, 1)}
    for device in devices:
        peer = server.locations.get(latest[device.identity.endpoint])
        if peer is None or device.firmware == NEW:
            continue
        if device.update_state is DOWNLOADED:
            server.endpoint.request(peer, codes.POST, path=("5", "0", "2"), now=network.now)
        elif device.update_state is IDLE:
            server.endpoint.request(
                peer,
                codes.PUT,
                path=("5", "0", "1"),
                options=((codes.CONTENT_FORMAT, b""),),
                payload=b"coap://server/f/fw",
                now=network.now,
            )
    network.touched("server")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fleet_of_misfits_on_a_bad_network_flashes_nothing_twice(scripted_server, plain, seed: int) -> None:
    chance = random.Random(seed)
    bad = Faults(loss=0.1, duplication=0.1, reordering=0.1, jitter_seconds=0.3)
    network = Network(random=chance, faults=bad)
    server = scripted_server(seed)
    server.files["fw"] = make_image("Acme", "One", NEW, 4000)
    network.add_server("server", server)
    profile = msgspec.structs.replace(plain, lifetime_seconds=400)
    fleet = [msgspec.structs.replace(each, profile=profile) for each in identities(len(MISBEHAVIOURS))]
    faults = list(MISBEHAVIOURS.values())
    devices = [
        SimulatedDevice(each, "server", random=chance, misbehaviour=faults[number])
        for number, each in enumerate(fleet)
    ]
    for device in devices:
        network.add_device(device.identity.imei, device)
        device.start(network.now)
        network.touched(device.identity.imei)
    for _ in range(8):
        network.run_until(network.now + 400)
        drive(server, network, devices)
    network.run_until(network.now + 8 * HOUR)
    for device in devices:
        flashed = [each for each in device.history if each.what == "flashed"]
        assert len(flashed) <= 1, device.misbehaviour.name
        assert len(flashed) == device.update_tally.flashed
        executed = [each.at for each in device.history if each.what == "execute"]
        if device.misbehaviour.name != "auto-install":
            assert all(executed and executed[0] < each.at for each in flashed)
        if device.firmware == NEW:
            assert device.update_tally.booted == 1
    updated = {device.misbehaviour.name for device in devices if device.firmware == NEW}
    assert {"moves", "sleeps", "power-cut", "reboot-while-downloading", "silent-reboot"} <= updated
    assert "rolls-back" not in updated


def test_a_device_that_behaves_has_a_name_for_it(make_bench) -> None:
    assert make_bench().device.misbehaviour is NONE
