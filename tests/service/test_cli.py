"""The command line as a user types it, rightly and wrongly."""

import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from overair import V3Device
from overair.cli import COMMANDS, main

ACCOUNT = "0742000123-00001"
IMEI = "490154203237518"


class Terminal:
    """A shell with one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(main, list(arguments), input=stdin, env={"OVERAIR_DATA": str(self.data)})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *arguments: str, stdin: str = "") -> Any:
        result = self.run(*arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.count("\n") == 1  # one line where it is no terminal
        return msgspec.json.decode(result.stdout)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "data")


@pytest.fixture
def with_account(terminal: Terminal) -> Terminal:
    terminal.json("account", "add", ACCOUNT, "--licenses", "5", "--subscription", "mrc,event")
    return terminal


def test_help_names_every_command(terminal: Terminal) -> None:
    shown = terminal.run("--help").stdout
    assert all(name in shown for name in COMMANDS)
    for name in COMMANDS:
        assert terminal.run(name, "--help").exit_code == 0


def test_accounts(with_account: Terminal) -> None:
    (account,) = with_account.json("account", "list")
    assert account == {
        "accountName": ACCOUNT, "licenseCount": 5, "subscription": "event,mrc", "active": True,
    } | {"subscription": account["subscription"]}  # fmt: skip
    assert set(account["subscription"].split(",")) == {"mrc", "event"}
    assert ACCOUNT in with_account.run("account", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["account", "add", "nonsense"], 1, "digits"),
        (["account", "add", ACCOUNT], 1, "exists already"),
        (["account", "add", "1-1", "--licenses", "-1"], 2, "--licenses"),
        (["account", "add", "1-1", "--subscription", "gold"], 1, "subscription"),
        (["account"], 2, "Usage"),
        (["acount", "list"], 2, "No such command"),
        (["key", "add"], 2, "--account"),
        (["key", "add", "--account", "1-1"], 1, "there is no account '1-1'"),
        (["key", "revoke", "none", "--account", ACCOUNT], 1, "there is no key"),
        (["user", "add", "--account", ACCOUNT, "--name", "ops", "--password-stdin"], 1, "password"),
        (["device", "add", "12345", "--account", ACCOUNT], 1, "must be 15 digits"),
        (["device", "add", IMEI, "--account", "1-1"], 1, "there is no account"),
        (["device", "add", IMEI, "--account", ACCOUNT, "--protocol", "mqtt"], 2, "mqtt"),
        (["device", "show", IMEI, "--account", ACCOUNT], 1, "not known"),
        (["device", "import", "/nowhere.csv", "--account", ACCOUNT], 2, "does not exist"),
        (["serve", "--http", "nowhere"], 2, "HOST:PORT"),
        (["serve", "--http", "127.0.0.1:99999"], 2, "HOST:PORT"),
        (["serve", "--enroll", "open"], 2, "--enroll-account"),
        (["serve", "--enroll", "open", "--enroll-account", "1-1"], 1, "there is no account"),
        (["db", "upgrade", "--database", "mysql://x/y"], 1, "only sqlite"),
    ],
)
def test_wrong_use_is_explained(
    with_account: Terminal, arguments: list[str], exit_code: int, says: str
) -> None:
    result = with_account.run(*arguments)
    assert (result.exit_code, says in result.output) == (exit_code, True), result.output
    assert "Traceback" not in result.output


def test_a_key_is_shown_once(with_account: Terminal) -> None:
    made = with_account.json("key", "add", "--account", ACCOUNT)
    assert set(made) == {"key", "secret"}
    listed = with_account.run("key", "list", "--account", ACCOUNT).stdout
    assert made["key"] in listed
    assert made["secret"] not in listed
    assert with_account.run("key", "revoke", made["key"], "--account", ACCOUNT).exit_code == 0
    assert with_account.json("key", "list", "--account", ACCOUNT) == [{"key": made["key"], "revoked": True}]


def test_no_secret_stands_in_the_data_directory(with_account: Terminal) -> None:
    made = with_account.json("key", "add", "--account", ACCOUNT)
    with_account.json(
        "user", "add", "--account", ACCOUNT, "--name", "ops", "--password-stdin", stdin="c0rrect-horse\n"
    )
    stored = b"".join(file.read_bytes() for file in with_account.data.iterdir())
    assert made["key"].encode() in stored
    assert made["secret"].encode() not in stored
    assert b"c0rrect-horse" not in stored
    assert (with_account.data.stat().st_mode & 0o777) == 0o700


def test_a_device_is_its_v3device(with_account: Terminal) -> None:
    added = with_account.json(
        "device", "add", IMEI, "--account", ACCOUNT, "--mdn", "+1 555 123 4567".replace(" ", ""),
        "--make", "Acme", "--model", "T1", "--firmware", "1.0", "--protocol", "lwm2m",
    )  # fmt: skip
    record = msgspec.json.decode(msgspec.json.encode(added), type=V3Device)
    assert (record.mdn, record.make, record.firmware, record.protocol) == (
        "5551234567",
        "Acme",
        "1.0",
        "LWM2M",
    )
    assert with_account.json("device", "show", IMEI, "--account", ACCOUNT) == added
    (listed,) = with_account.json("device", "list", "--account", ACCOUNT)
    assert listed["deviceId"] == IMEI
    shown = with_account.run("device", "show", IMEI, "--account", ACCOUNT).stdout
    assert "Acme" in shown
    assert "\x1b[" not in shown  # colour only on a terminal


def test_a_device_of_another_account_is_refused(with_account: Terminal) -> None:
    with_account.json("account", "add", "0742000123-00002")
    with_account.json("device", "add", IMEI, "--account", ACCOUNT)
    refused = with_account.run("device", "add", IMEI, "--account", "0742000123-00002")
    assert (refused.exit_code, "another account" in refused.output) == (1, True)
    assert with_account.json("device", "list", "--account", "0742000123-00002") == []


def write(terminal: Terminal, text: str, encoding: str = "utf-8") -> str:
    file = terminal.data.parent / "fleet.csv"
    file.write_bytes(text.encode(encoding))
    return str(file)


def test_import(with_account: Terminal) -> None:
    file = write(
        with_account,
        f"\ufeffimei,mdn,make,model,protocol\n{IMEI},5551234567,Acme,T1,LWM2M\n\n867723030209919,,,,\n",
    )
    assert with_account.json("device", "import", file, "--account", ACCOUNT) == {"imported": 2, "errors": []}
    first, second = with_account.json("device", "list", "--account", ACCOUNT)
    assert (first["deviceId"], first["make"], first["protocol"]) == (IMEI, "Acme", "LWM2M")
    assert (second["deviceId"], second["protocol"]) == ("867723030209919", "NONE")


def test_an_import_is_whole_or_not_at_all(with_account: Terminal) -> None:
    with_account.json("account", "add", "0742000123-00002")
    with_account.json("device", "add", "864475044204278", "--account", "0742000123-00002")
    good = "".join(f"99001200000{number:04d},,\n" for number in range(50))
    file = write(with_account, f"imei,mdn,protocol\n{good}12,,\n{IMEI},call me,\n{IMEI},,mqtt\n{IMEI}\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert refused.exit_code == 1
    for line, says in ((52, "15 digits"), (53, "phone number"), (54, "mqtt"), (55, "1 cells")):
        assert any(f":{line}: " in row and says in row for row in refused.stderr.splitlines()), says
    assert "nothing was imported" in refused.stderr
    assert with_account.json("device", "list", "--account", ACCOUNT) == []

    file = write(with_account, f"imei\n{IMEI}\n864475044204278\n{IMEI}\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert ":4: " in refused.stderr  # the same IMEI twice
    file = write(with_account, f"imei\n{IMEI}\n864475044204278\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert ":3: " in refused.stderr
    assert "another account" in refused.stderr
    assert with_account.json("device", "list", "--account", ACCOUNT) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "first line must name the columns"),
        (f"{IMEI}\n", "first line must name the columns"),
        (f"imei,colour\n{IMEI},red\n", "unknown column 'colour'"),
        (f"imei,mdn,mdn\n{IMEI},1,2\n", "twice"),
        (f'imei,make\n{IMEI},"open\n', "not CSV"),
        (f"imei,make\n{IMEI},{'x' * 300}\n", "at most 255"),
        ("imei\nüüüüü\n", "not UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_named_as_such(with_account: Terminal, text: str, says: str) -> None:
    refused = with_account.run("device", "import", write(with_account, text, "latin-1"), "--account", ACCOUNT)
    assert (refused.exit_code, says in refused.stderr) == (1, True), refused.output


def test_openapi(terminal: Terminal) -> None:
    document = msgspec.json.decode(terminal.run("openapi").stdout)
    assert document["openapi"].startswith("3.1")
    assert "/api/fota/v3/devices/{acc}" in document["paths"]


def test_db_upgrade(terminal: Terminal) -> None:
    assert "empty → " in terminal.run("db", "upgrade").stdout
    assert "already at" in terminal.run("db", "upgrade").stdout


def test_a_port_that_is_taken_is_named(with_account: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = with_account.run("serve", "--http", address, "--coap", "127.0.0.1:0")
    assert (result.exit_code, f"http {address}: Address already in use" in result.output) == (1, True)
