"""The harness itself: each client against the stand-in, the installer, the waiting for events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiocoap.numbers.codes import FORBIDDEN

from . import devices, install
from .coap import CoapFailedError, coap_client
from .conftest import Launch
from .processes import ClientProcess, EventMissingError
from .standin import StandIn

ENDPOINT = "urn:imei:490154203237518"

CLIENTS = [
    pytest.param(devices.leshan, {"client": name}, marks=pytest.mark.real_client(name), id=name)
    for name in ("leshan", "leshan-1")
] + [
    pytest.param(devices.node, {}, marks=pytest.mark.real_client("lwm2m-node-lib"), id="lwm2m-node-lib"),
]


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    server = await StandIn.start()
    yield server
    await server.stop()


@pytest.mark.parametrize(("device", "options"), CLIENTS)
async def test_device_lives_a_whole_life(
    device: Callable[..., ClientProcess], options: dict[str, str], server: StandIn, launch: Launch
) -> None:
    client = await launch(device(server.uri, ENDPOINT, lifetime_seconds=400, **options))
    assert (await client.expect("registered"))["location"] == "/rd/5a3f"
    assert {f"ep={ENDPOINT}", "lt=400"} <= set(server.seen[0].queries)
    assert all(f"<{instance}>" in server.seen[0].payload for instance in ("/3/0", "/5/0", "/9/0"))

    assert (await server.read("/3/0/3", accept=0)).payload == b"1.4.2"
    await client.expect("read", path="/3/0/3")
    await client.send("set /3/0/3 1.5.0 beta")
    await client.expect("set", path="/3/0/3", value="1.5.0 beta")
    assert (await server.read("/3/0/3", accept=0)).payload == b"1.5.0 beta"

    await client.send("update")
    await client.expect("updated")
    await client.send("deregister")
    await client.expect("deregistered")
    assert [seen.operation for seen in server.seen] == ["register", "update", "deregister"]


@pytest.mark.parametrize(
    ("name", "version", "formats"),
    [
        pytest.param("leshan", "1.1", {110, 112, 11542}, marks=pytest.mark.real_client("leshan")),
        pytest.param("leshan-1", "1.0", {11542, 11543}, marks=pytest.mark.real_client("leshan-1")),
    ],
)
async def test_leshan_generations_differ(
    name: str, version: str, formats: set[int], server: StandIn, launch: Launch
) -> None:
    client = await launch(devices.leshan(server.uri, ENDPOINT, client=name))
    await client.expect("registered")
    assert f"lwm2m={version}" in server.seen[0].queries
    answers = {accept: await server.read("/3/0", accept=accept) for accept in (110, 112, 11542, 11543)}
    assert {accept for accept, answer in answers.items() if answer.code.is_successful()} >= formats
    assert answers[110].code.is_successful() == (110 in formats)


@pytest.mark.parametrize(("device", "options"), CLIENTS)
async def test_a_refused_registration_is_an_event_with_its_code(
    device: Callable[..., ClientProcess], options: dict[str, str], server: StandIn, launch: Launch
) -> None:
    server.refusal = FORBIDDEN
    client = await launch(device(server.uri, ENDPOINT, **options))
    await client.expect("failed", operation="register", code="4.03")


@pytest.mark.real_client("libcoap")
async def test_coap_client_returns_payload_code_and_options(server: StandIn) -> None:
    answer = await coap_client(f"{server.uri}/rd?ep={ENDPOINT}&lt=60", "post", b"</3/0>", content_format=40)
    assert (answer.output, answer.code, answer.location) == (b"", "2.01", "/rd/5a3f")
    assert server.seen[0].payload == "</3/0>"
    listed = await coap_client(f"{server.uri}/.well-known/core")
    assert (listed.code, b"</rd>" in listed.output) == ("4.04", False)
    assert (await coap_client(f"{server.uri}{answer.location}", "delete")).code == "2.02"


@pytest.mark.real_client("libcoap")
async def test_coap_client_without_an_answer_fails(server: StandIn) -> None:
    await server.stop()
    with pytest.raises(CoapFailedError, match="no answer to get"):
        await coap_client(f"{server.uri}/rd", timeout_seconds=1)


def python(script: str) -> ClientProcess:
    return ClientProcess("script", [sys.executable, "-u", "-c", script])


async def test_events_are_taken_in_any_order_and_once() -> None:
    script = (
        """print('noise\\n{"event": "a", "n": "1"}\\n{"event": "b"}\\n{"event": "a", "n": "2"}'); input()"""
    )
    async with python(script) as client:
        assert await client.expect("b") == {"event": "b"}
        assert await client.expect("a", n="2") == {"event": "a", "n": "2"}
        assert await client.expect("a") == {"event": "a", "n": "1"}
        await client.send("done")
        with pytest.raises(EventMissingError, match=r"(?s)no event a .*out: noise"):
            await client.expect("a")


async def test_a_silent_process_is_reported_at_the_deadline_and_killed() -> None:
    client = python("import sys; print('why', file=sys.stderr); input()")
    await client.start()
    with pytest.raises(EventMissingError):
        await client.expect("never", timeout_seconds=0.2)
    await client.stop()
    await client.stop()
    assert "err: why" in client.transcript


async def test_waiting_ends_with_the_process() -> None:
    async with python("raise SystemExit(3)") as client:
        async with asyncio.timeout(15):
            with pytest.raises(EventMissingError):
                await client.expect("never", timeout_seconds=600)


def test_installer_notices_changed_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "SOURCES", tmp_path)
    source = tmp_path / "source"
    source.write_text("1")
    built: list[Path] = []
    client = install.Client("it", (), tmp_path / "out", lambda: [source], built.append)
    assert "not installed" in str(client.missing())
    client.install()
    assert client.missing() is None
    source.write_text("2")
    assert "out of date" in str(client.missing())
    assert built == [tmp_path / "out"]


def test_installer_names_what_it_lacks_and_fails_only_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = install.Client("it", ("no-such-command",), tmp_path)
    monkeypatch.setattr(install, "CLIENTS", {"it": lacking})
    monkeypatch.setattr(install, "HOME", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    assert install.main(["--check"]) == 0
    assert capsys.readouterr().out == "it: NOT installed: needs no-such-command\n"
    monkeypatch.setenv("CI", "true")
    assert install.main(["--check"]) == 1
