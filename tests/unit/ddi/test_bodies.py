"""Bodies, links and names of files: what the three clients need of them (spec ddi.md, 2 and 9)."""

import msgspec
import pytest

from overair.protocols.ddi import bodies
from overair.protocols.ddi.clients import Client, client_of
from overair.protocols.ddi.naming import filename
from overair.protocols.ddi.offering import handling, is_readable, link_of
from overair.protocols.ddi.states import State

from .made import ARTIFACT, NOW_MS, action

BASE = "https://fota.example/DEFAULT/controller/v1/490154203237518"


def test_the_checksum_file() -> None:
    assert bodies.md5sum(ARTIFACT) == b"efb32b0313460b0ba532323f6dd4dae4  fw-1.4.2.swu"


def test_a_deployment_has_one_chunk_with_one_file_and_all_that_clients_need() -> None:
    body = bodies.deployment(BASE, action(), Client.SWUPDATE, "forced", windowed=False)
    assert body["id"] == "7731"
    assert "maintenanceWindow" not in body["deployment"]
    assert (body["deployment"]["download"], body["deployment"]["update"]) == ("forced", "forced")
    (chunk,) = body["deployment"]["chunks"]
    assert (chunk["part"], chunk["name"], chunk["version"]) == ("bApp", "tracker-app", "1.4.2")
    (artifact,) = chunk["artifacts"]
    assert artifact["size"] == 21
    assert set(artifact["hashes"]) == {"sha1", "md5", "sha256"}
    assert set(artifact["_links"]) == {"download", "download-http", "md5sum", "md5sum-http"}
    url = f"{BASE}/softwaremodules/7731/artifacts/fw-1.4.2.swu"
    assert artifact["_links"]["download-http"] == artifact["_links"]["download"] == {"href": url}


@pytest.mark.parametrize(("update", "window"), [("forced", "available"), ("skip", "unavailable")])
def test_a_window_is_told(update: bodies.Handling, window: str) -> None:
    body = bodies.deployment(BASE, action(), Client.RAUC, update, windowed=True)
    assert body["deployment"]["maintenanceWindow"] == window


def test_the_body_fits_the_smallest_client() -> None:
    long_name = filename("Acme Telematics_AT-410-with-a-long-name_1.4.0_1.5.0", b"")
    big = msgspec.structs.replace(
        ARTIFACT, name="n" * 64, version="v" * 32, filename=long_name, size_bytes=4 << 30
    )
    base = "https://fota.example.com:8443/0742000123-00001/controller/v1/urn:imei:490154203237518"
    made = bodies.deployment(
        base, action(id=2**31 - 1, artifact=big), Client.UNKNOWN, "forced", windowed=True
    )
    assert len(msgspec.json.encode(made)) <= 1000
    url = made["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download-http"]["href"]
    assert len(url.removeprefix("https://fota.example.com:8443")) <= 200


def test_the_check_of_a_link_changes_with_what_is_behind_it() -> None:
    forced = bodies.action_url(BASE, "deploymentBase", action(), "forced")
    assert forced.startswith(f"{BASE}/deploymentBase/7731?c=")
    assert len(forced.split("deploymentBase/")[1]) < 50
    assert forced != bodies.action_url(BASE, "deploymentBase", action(), "skip")
    assert bodies.action_url(BASE, "cancelAction", action(), "forced") == f"{BASE}/cancelAction/7731"


def test_a_cancellation_names_its_action_twice() -> None:
    assert bodies.cancellation(action()) == {"id": "7731", "cancelAction": {"stopId": "7731"}}


@pytest.mark.parametrize(
    ("asked", "count"),
    [("", 0), ("0", 0), ("2", 2), ("-1", 100), ("101", 100), ("x", 0), ("--1", 0), ("9" * 50, 0), ("²", 0)],
)
def test_how_much_history_is_asked_for(asked: str, count: int) -> None:
    assert bodies.history_count(asked) == count


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        (b"libcurl-agent/1.0", Client.SWUPDATE),
        (b"rauc-hawkbit-c-agent/1.0", Client.RAUC),
        (b"", Client.UNKNOWN),
        (b"curl/8.0", Client.UNKNOWN),
    ],
)
def test_clients_are_told_apart(agent: bytes, client: Client) -> None:
    assert client_of(agent) is client


@pytest.mark.parametrize("client", list(Client))
def test_inside_a_window_all_are_alike(client: Client) -> None:
    assert link_of(action(), client, window_open=True) == "deploymentBase"
    assert handling(action(), client, window_open=True) == "forced"


def test_outside_a_window_only_one_client_waits() -> None:
    assert link_of(action(), Client.RAUC, window_open=False) == "deploymentBase"
    assert handling(action(begun=True), Client.RAUC, window_open=False) == "skip"
    for client in (Client.SWUPDATE, Client.UNKNOWN):
        assert link_of(action(), client, window_open=False) is None
        # What it has begun it finishes: it reports success only when it finds the action again.
        assert link_of(action(begun=True), client, window_open=False) == "deploymentBase"
        assert handling(action(begun=True), client, window_open=False) == "forced"


@pytest.mark.parametrize(
    ("state", "link"),
    [
        (State.CONFIRMING, "confirmationBase"),
        (State.CANCELLING, "cancelAction"),
        (State.FINISHED, None),
        (State.FAILED, None),
        (State.CANCELLED, None),
    ],
)
def test_the_link_of_each_state(state: State, link: str | None) -> None:
    assert link_of(action(state=state), Client.UNKNOWN, window_open=True) == link


def test_a_closed_action_can_be_read_a_minute_longer() -> None:
    closed = action(state=State.FINISHED, closed_ms=NOW_MS)
    assert is_readable(closed, NOW_MS + 59_999)
    assert not is_readable(closed, NOW_MS + 60_000)
    assert not is_readable(action(state=State.CANCELLING), NOW_MS)


SWU = b"070702" + b"0" * 104 + b"sw-description\0"


@pytest.mark.parametrize(
    ("name", "beginning", "expected"),
    [
        ("ACME_T1_1.0_2.0", SWU, "ACME_T1_1.0_2.0.swu"),
        ("fw.swu", SWU, "fw.swu"),
        ("fw", b"hsqs" + bytes(100), "fw.raucb"),
        ("fw", b"070702" + b"0" * 104 + b"something-else", "fw.bin"),
        ("../../etc/passwd", b"", "etc-passwd.bin"),
        ("a b/c\\d", b"", "a-b-c-d.bin"),
        ("..", b"", "image.bin"),
        ("é" * 100, b"", "image.bin"),
        ("x" * 100, SWU, "x" * 44 + ".swu"),
    ],
)
def test_names_of_files(name: str, beginning: bytes, expected: str) -> None:
    assert filename(name, beginning) == expected
