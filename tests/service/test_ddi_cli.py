"""Tokens, names and settings of HTTP devices by the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from overair.cli import main

ACCOUNT = "0742000123-00001"
IMEI = "490154203237518"
DEVICE = (IMEI, "--account", ACCOUNT)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """A command has its loop for itself."""
    return


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run(tmp_path, "account", "add", ACCOUNT)
    return tmp_path


def run(data: Path, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
    """Run one command; returns the JSON that it prints, or else what it says."""
    done = CliRunner().invoke(main, arguments, input=stdin, env={"OVERAIR_DATA": str(data)})
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if "--json" in arguments and code == 0 else done.output


def test_a_device_is_added_with_a_token_that_is_shown_once(data: Path) -> None:
    added = run(data, "device", "add", *DEVICE, "--protocol", "http", "--token", "--json")
    assert added["deviceId"] == IMEI
    assert len(added["token"]) == 32
    assert added["token"] not in run(data, "device", "show", *DEVICE)
    assert added["token"] not in run(data, "device", "token", "list", *DEVICE)
    stored = b"".join(file.read_bytes() for file in data.iterdir() if file.is_file())
    assert added["token"].encode() not in stored


def test_a_token_is_changed_listed_and_removed(data: Path) -> None:
    run(data, "device", "add", *DEVICE, "--token")
    made = run(data, "device", "token", "add", *DEVICE, "--json")
    assert set(made) == {"token"}
    newest, older = run(data, "device", "token", "list", *DEVICE, "--json")
    assert set(newest) == {"number", "createTime"}
    assert set(older) == {"number", "createTime", "expiryTime"}
    run(data, "device", "token", "remove", IMEI, str(newest["number"]), "--account", ACCOUNT)
    assert run(data, "device", "token", "list", *DEVICE, "--json") == [older]
    refused = run(data, "device", "token", "remove", IMEI, "99", "--account", ACCOUNT, code=1)
    assert "there is no token 99" in refused


def test_a_token_of_ones_own_is_read_and_never_repeated(data: Path) -> None:
    run(data, "device", "add", *DEVICE)
    own = "0123456789abcdef"
    made = run(data, "device", "token", "add", *DEVICE, "--token-stdin", "--json", stdin=f"{own}\n")
    assert made == {"token": own}
    said = run(data, "device", "token", "add", *DEVICE, "--token-stdin", code=1, stdin="guess-me\n")
    assert "16 to 256" in said
    assert "guess-me" not in said


def test_a_name_belongs_to_one_device(data: Path) -> None:
    run(data, "device", "add", *DEVICE, "--controller-id", "board-1")
    other = ("990012340000006", "--account", ACCOUNT)
    said = run(data, "device", "add", *other, "--controller-id", "board-1", code=1)
    assert "board-1" in said


def test_the_token_of_somebody_elses_device(data: Path) -> None:
    assert "not known" in run(data, "device", "token", "add", *DEVICE, code=1)


def test_how_an_account_wants_its_devices_treated(data: Path) -> None:
    shown = run(data, "account", "http", ACCOUNT, "--json")
    standard = {"accountName": ACCOUNT, "pollSeconds": 300, "jitterPercent": 10, "confirmation": False}
    assert shown == {**standard, "issuers": []}
    asked = ("--poll-seconds", "60", "--confirm", "--issuer", "AB", "--issuer", "cd")
    after = {**standard, "pollSeconds": 60, "confirmation": True, "issuers": ["ab", "cd"]}
    assert run(data, "account", "http", ACCOUNT, *asked, "--json") == after
    assert run(data, "account", "http", ACCOUNT, "--json") == after
    none = run(data, "account", "http", ACCOUNT, "--no-issuers", "--no-confirm", "--json")
    assert none == {**after, "confirmation": False, "issuers": []}
    run(data, "account", "http", ACCOUNT, "--poll-seconds", "29", code=2)
    assert "issuer" in run(data, "account", "http", ACCOUNT, "--issuer", "a b", code=1)


def test_a_gateway_gets_a_token(data: Path) -> None:
    first = run(data, "account", "gateway-token", ACCOUNT, "--json")
    second = run(data, "account", "gateway-token", ACCOUNT, "--json")
    assert first["gatewayToken"] != second["gatewayToken"]


@pytest.mark.parametrize(
    "arguments",
    [("--certificate-header", "X-Cn"), ("--trust-proxy", "not-an-address"), ("--trust-proxy", "10.0.0.1/8")],
)
def test_a_proxy_that_makes_no_sense(data: Path, arguments: tuple[str, str]) -> None:
    run(data, "serve", *arguments, code=2)
