"""The command line as a user types it, rightly and wrongly."""

import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from overair import V3Device
from overair.cli import COMMANDS, main
from overair.credentials.service import CredentialService

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
        (["device", "add", IMEI, "--account", ACCOUNT, "--psk-key", "secret"], 2, "hex digits"),
        (["device", "add", IMEI, "--account", ACCOUNT, "--psk-key", "abab"], 2, "8 to 64 bytes"),
        (["device", "add", IMEI, "--account", ACCOUNT, "--psk-identity", "i" * 129], 1, "1 to 128 bytes"),
        (["device", "key", "add", IMEI, "--account", ACCOUNT], 1, "not known"),
        (["device", "key", "list", IMEI, "--account", ACCOUNT], 1, "not known"),
        (["device", "key", "remove", IMEI, "--account", ACCOUNT], 1, "not known"),
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
    stored = b"".join(file.read_bytes() for file in with_account.data.rglob("*") if file.is_file())
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


def keys(terminal: Terminal, imei: str = IMEI) -> list[dict[str, str]]:
    found: list[dict[str, str]] = terminal.json("device", "key", "list", imei, "--account", ACCOUNT)
    return found


def test_a_device_without_a_key_is_as_before(with_account: Terminal) -> None:
    added = with_account.json("device", "add", IMEI, "--account", ACCOUNT)
    assert not {"pskIdentity", "pskKey"} & set(added)
    assert keys(with_account) == []
    assert not (with_account.data / "master.key").exists()


@pytest.mark.parametrize(
    ("options", "identity", "key"),
    [
        (["--psk"], f"urn:imei:{IMEI}", None),
        (["--psk-identity", "zähler-1"], "zähler-1", None),
        (["--psk-key", "00112233445566AABBCC"], f"urn:imei:{IMEI}", "00112233445566aabbcc"),
        (["--psk", "--psk-identity", "m", "--psk-key", "ab" * 64], "m", "ab" * 64),
    ],
)  # fmt: skip
def test_a_psk_is_shown_once(
    with_account: Terminal, options: list[str], identity: str, key: str | None
) -> None:
    added = with_account.json("device", "add", IMEI, "--account", ACCOUNT, *options)
    made = added.pop("pskKey")
    assert added.pop("pskIdentity") == identity
    assert (made == key) if key else (len(bytes.fromhex(made)) == 16)
    assert with_account.json("device", "show", IMEI, "--account", ACCOUNT) == added
    (listed,) = keys(with_account)
    assert listed == {"pskIdentity": identity, "createTime": listed["createTime"]}
    stored = b"".join(file.read_bytes() for file in with_account.data.rglob("*") if file.is_file())
    assert identity.encode() in stored
    assert bytes.fromhex(made) not in stored
    assert made.encode() not in stored
    assert ((with_account.data / "master.key").stat().st_mode & 0o777) == 0o600


def test_a_psk_on_a_terminal(with_account: Terminal) -> None:
    shown = with_account.run("device", "add", IMEI, "--account", ACCOUNT, "--psk-key", "ab" * 16)
    assert ("ab" * 16 in shown.stdout, "can't be shown again" in shown.stderr) == (True, True)
    shown = with_account.run("device", "key", "add", IMEI, "--account", ACCOUNT, "--psk-key", "cd" * 16)
    assert ("cd" * 16 in shown.stdout, "can't be shown again" in shown.stderr) == (True, True)
    listed = with_account.run("device", "key", "list", IMEI, "--account", ACCOUNT).stdout
    assert listed.count(f"urn:imei:{IMEI}") == 2
    assert "ab" * 16 not in listed
    assert "cd" * 16 not in listed


def test_a_key_is_changed_and_removed(with_account: Terminal) -> None:
    with_account.json("device", "add", IMEI, "--account", ACCOUNT, "--psk")
    made = with_account.json("device", "key", "add", IMEI, "--account", ACCOUNT)
    assert set(made) == {"pskIdentity", "pskKey"}
    with_account.json("device", "key", "add", IMEI, "--account", ACCOUNT, "--psk-identity", "second")
    nameless = ("device", "key", "remove", IMEI, "--account", ACCOUNT, "--psk-identity", "")
    assert with_account.run(*nameless).exit_code == 1  # none, and not the usual one
    second, current, old = keys(with_account)
    assert [("expiryTime" in row) for row in (second, current, old)] == [False, False, True]
    assert (second["pskIdentity"], current["pskIdentity"]) == ("second", made["pskIdentity"])

    assert with_account.run("device", "key", "remove", IMEI, "--account", ACCOUNT).exit_code == 0
    assert keys(with_account) == [second]
    again = with_account.run("device", "key", "remove", IMEI, "--account", ACCOUNT)
    assert (again.exit_code, "has no PSK identity" in again.output) == (1, True)
    remove = ("device", "key", "remove", IMEI, "--account", ACCOUNT, "--psk-identity", "second")
    assert with_account.run(*remove).exit_code == 0
    assert keys(with_account) == []


def test_keys_of_a_device_are_its_accounts_business(with_account: Terminal) -> None:
    other = "0742000123-00002"
    with_account.json("account", "add", other)
    with_account.json("device", "add", IMEI, "--account", ACCOUNT, "--psk")
    for command in ("add", "list", "remove"):
        refused = with_account.run("device", "key", command, IMEI, "--account", other)
        assert (refused.exit_code, "not known to the account" in refused.output) == (1, True)
    refused = with_account.run("device", "add", IMEI, "--account", other, "--psk")
    assert (refused.exit_code, "another account" in refused.output) == (1, True)
    assert len(keys(with_account)) == 1


def test_a_device_is_not_added_without_the_key_it_was_to_have(with_account: Terminal) -> None:
    with_account.json("device", "add", IMEI, "--account", ACCOUNT, "--psk-identity", "meter")
    add = ("device", "add", "867723030209919", "--account", ACCOUNT, "--psk-identity", "meter")
    refused = with_account.run(*add, "--psk-key", "ab" * 16)
    assert (refused.exit_code, "belongs to another device" in refused.output) == (1, True)
    assert "ab" * 16 not in refused.output
    assert len(with_account.json("device", "list", "--account", ACCOUNT)) == 1


def test_without_the_right_master_key_no_key_is_added(
    with_account: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_account.json("device", "add", IMEI, "--account", ACCOUNT, "--psk")
    master = with_account.data / "master.key"
    master.chmod(0o644)
    add = ("device", "key", "add", IMEI, "--account", ACCOUNT)
    refused = with_account.run(*add)
    assert (refused.exit_code, "chmod 600" in refused.output) == (1, True)
    kept = master.read_bytes()
    master.unlink()
    refused = with_account.run(*add)
    assert (refused.exit_code, "is missing" in refused.output) == (1, True)
    monkeypatch.setenv("OVERAIR_MASTER_KEY", "0f" * 32)
    refused = with_account.run(*add)
    assert (refused.exit_code, "does not open" in refused.output) == (1, True)
    assert len(keys(with_account)) == 1
    monkeypatch.setenv("OVERAIR_MASTER_KEY", kept.hex())
    with_account.json(*add)
    assert len(keys(with_account)) == 2
    assert not master.exists()


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


def test_import_with_keys(with_account: Terminal) -> None:
    file = write(
        with_account,
        "imei,psk_identity,psk_key\n"
        f"{IMEI},meter-1,{'AB' * 16}\n867723030209919,,{'cd' * 16}\n864475044204278,,\n",
    )
    for _ in range(2):  # the same keys again change nothing
        imported = with_account.json("device", "import", file, "--account", ACCOUNT)
        assert imported == {"imported": 3, "errors": []}
    assert [row["pskIdentity"] for row in keys(with_account)] == ["meter-1"]
    assert [row["pskIdentity"] for row in keys(with_account, "867723030209919")] == [
        "urn:imei:867723030209919"
    ]
    assert keys(with_account, "864475044204278") == []


def test_an_import_with_a_key_that_is_refused_adds_nothing(with_account: Terminal) -> None:
    with_account.json("device", "add", "864475044204278", "--account", ACCOUNT, "--psk-identity", "taken")
    file = write(
        with_account,
        "imei,psk_identity,psk_key\n"
        f"{IMEI},meter-1,\n990012000000001,,xyz\n990012000000002,,abab\n"
        f"990012000000003,{'i' * 129},{'ab' * 16}\n"
        f"990012000000004,m,{'ab' * 16}\n990012000000005,m,{'ab' * 16}\n"
        f"990012000000006,urn:imei:990012000000007,{'ab' * 16}\n990012000000007,,{'ab' * 16}\n",
    )
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    says = {
        2: "an import makes no keys", 3: "hex digits", 4: "8 to 64 bytes", 5: "1 to 128 bytes",
        7: "stands on line 6", 9: "stands on line 8",
    }  # fmt: skip
    for line, reason in says.items():
        assert any(f":{line}: " in row and reason in row for row in refused.stderr.splitlines()), reason
    assert "xyz" not in refused.output
    assert "abab" not in refused.output

    good = "".join(f"99001200000{number:04d},,{'ab' * 16}\n" for number in range(20))
    file = write(with_account, f"imei,psk_identity,psk_key\n{good}{IMEI},taken,{'ab' * 16}\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert refused.exit_code == 1
    assert ":22: PSK identity 'taken' belongs to another device" in refused.stderr
    assert len(with_account.json("device", "list", "--account", ACCOUNT)) == 1


def test_an_import_of_foreign_devices_adds_no_keys(with_account: Terminal) -> None:
    with_account.json("account", "add", "0742000123-00002")
    with_account.json("device", "add", "864475044204278", "--account", "0742000123-00002")
    file = write(with_account, f"imei,psk_key\n{IMEI},{'ab' * 16}\n864475044204278,{'ab' * 16}\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert (refused.exit_code, ":3: " in refused.stderr) == (1, True)
    with_account.json("device", "add", IMEI, "--account", ACCOUNT)
    assert keys(with_account) == []


def test_an_import_that_another_command_gets_in_the_way_of_says_so(
    with_account: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_early(*_: object) -> None:
        """Checked, before the other command had the identity."""

    with_account.json("device", "add", "864475044204278", "--account", ACCOUNT, "--psk-identity", "taken")
    monkeypatch.setattr(CredentialService, "check", too_early)
    file = write(with_account, f"imei,psk_identity,psk_key\n{IMEI},taken,{'ab' * 16}\n")
    refused = with_account.run("device", "import", file, "--account", ACCOUNT)
    assert (refused.exit_code, "devices were added, but not their keys" in refused.stderr) == (1, True)
    assert keys(with_account) == []


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
