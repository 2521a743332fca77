"""Where devices fetch images from (spec lwm2m.md, 8.5)."""

import socket
from typing import Any

import pytest

from overair.doors.lwm2m.updates import addresses
from overair.doors.lwm2m.updates.addresses import URL_BYTES_MAX, Addresses, facing
from overair.protocols.lwm2m.updating import Means

TOKEN = "0123456789abcdef"
ALL = {Means.COAP, Means.COAPS, Means.HTTP}


def doors(host: str) -> dict[Means, tuple[str, int]]:
    return {Means.COAP: (host, 5683), Means.COAPS: (host, 5684), Means.HTTP: (host, 8080)}


def url(known: Addresses, means: Means = Means.COAP, device: str = "10.0.0.9", *, short: bool = False) -> str:
    return known.image_url(means, TOKEN, device, short=short)


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this runs on: it is reached at .1 of each network."""
    known = {"10.0.0.9": "10.0.0.1", "2001:db8::9": "2001:db8::1", "fe80::9": "fe80::1%eth0"}
    monkeypatch.setattr(addresses, "facing", lambda host: known[host.removeprefix("::ffff:")])


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", ""])
def test_a_door_on_all_addresses_is_named_by_the_one_that_faces_the_device(bound: str) -> None:
    known = Addresses(doors=doors(bound))
    assert url(known) == f"coap://10.0.0.1:5683/f/{TOKEN}"
    assert url(known, Means.COAPS) == f"coaps://10.0.0.1:5684/f/{TOKEN}"
    assert url(known, Means.HTTP) == f"http://10.0.0.1:8080/f/{TOKEN}"


def test_a_literal_of_ipv6_stands_in_brackets_and_without_a_scope() -> None:
    known = Addresses(doors=doors("::"))
    assert url(known, device="2001:db8::9") == f"coap://[2001:db8::1]:5683/f/{TOKEN}"
    assert url(known, device="fe80::9") == f"coap://[fe80::1]:5683/f/{TOKEN}"
    assert url(Addresses(doors=doors("2001:db8::5"))) == f"coap://[2001:db8::5]:5683/f/{TOKEN}"


def test_what_the_operator_says_comes_before_what_is_bound() -> None:
    known = Addresses(host="fota.example.com", doors=doors("0.0.0.0"))
    assert url(known) == f"coap://fota.example.com:5683/f/{TOKEN}"
    assert url(known, short=True) == f"coap://10.0.0.1:5683/f/{TOKEN}"
    assert url(Addresses(host="192.0.2.7", doors=doors("10.0.0.5"))) == f"coap://192.0.2.7:5683/f/{TOKEN}"
    assert url(Addresses(host="2001:db8::7", doors=doors("::"))) == f"coap://[2001:db8::7]:5683/f/{TOKEN}"


@pytest.mark.parametrize(
    ("public", "means"), [("https://fota.example.com", Means.HTTPS), ("http://fota.example.com/", Means.HTTP)]
)
def test_the_http_door_seen_from_outside(public: str, means: Means) -> None:
    known = Addresses(url=public, doors=doors("127.0.0.1"))
    offered = known.means("10.0.0.9", secure=True)
    assert offered == {means, Means.PUSH}
    for short in (False, True):
        assert url(known, means, short=short) == f"{public.rstrip('/')}/f/{TOKEN}"


@pytest.mark.parametrize("bound", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_doors_on_loopback_are_not_offered_to_devices_elsewhere(bound: str) -> None:
    known = Addresses(doors=doors(bound))
    for elsewhere in ("10.0.0.9", "2001:db8::9", "::ffff:10.0.0.9", "::1234"):
        assert known.means(elsewhere, secure=True) == {Means.PUSH}
    for here in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert known.means(here, secure=True) == {*ALL, Means.PUSH}


def test_without_a_key_there_is_no_coaps() -> None:
    known = Addresses(doors=doors("0.0.0.0"))
    assert known.means("10.0.0.9", secure=False) == {Means.COAP, Means.HTTP, Means.PUSH}
    assert known.means("10.0.0.9", secure=True) == {*ALL, Means.PUSH}


@pytest.mark.parametrize(
    ("bound", "device", "reached"),
    [
        ("0.0.0.0", "10.0.0.9", True),
        ("0.0.0.0", "2001:db8::9", False),
        ("192.0.2.1", "2001:db8::9", False),
        ("192.0.2.1", "::ffff:10.0.0.9", True),
        ("2001:db8::1", "10.0.0.9", False),
        ("::", "10.0.0.9", True),
        ("::", "2001:db8::9", True),
    ],
)
def test_a_door_of_one_family_is_not_for_devices_of_the_other(bound: str, device: str, reached: bool) -> None:
    known = Addresses(doors=doors(bound))
    assert (Means.COAP in known.means(device, secure=True)) is reached
    named = Addresses(host="fota.example.com", doors=doors(bound))
    assert Means.COAP in named.means(device, secure=True)  # a name may stand for both


def test_only_doors_that_are_open_are_offered() -> None:
    known = Addresses(doors={Means.COAP: ("0.0.0.0", 5683)})
    assert known.means("10.0.0.9", secure=True) == {Means.COAP, Means.PUSH}
    with pytest.raises(KeyError):
        url(known, Means.COAPS)


def test_an_url_has_255_bytes_at_most() -> None:
    longest = "a" * (URL_BYTES_MAX - len(f"coap://:5683/f/{TOKEN}"))
    assert len(url(Addresses(host=longest, doors=doors("0.0.0.0")))) == URL_BYTES_MAX
    assert url(Addresses(host=longest + "a", doors=doors("0.0.0.0"))) == f"coap://10.0.0.1:5683/f/{TOKEN}"
    public = "https://" + "a" * (URL_BYTES_MAX - len(f"https:///f/{TOKEN}"))
    assert Means.HTTPS in Addresses(url=public).means("10.0.0.9", secure=True)
    assert Means.HTTPS not in Addresses(url=public + "a").means("10.0.0.9", secure=True)


@pytest.mark.parametrize("device", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_the_address_that_faces_a_device_is_asked_of_the_kernel(device: str) -> None:
    assert facing(device) == "127.0.0.1"


def test_no_datagram_is_sent_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.setblocking(False)
        monkeypatch.setattr(addresses, "DISCARD_PORT", there.getsockname()[1])
        assert facing("127.0.0.1") == "127.0.0.1"
        received: Any = None
        with pytest.raises(BlockingIOError):
            received = there.recv(1)
        assert received is None
