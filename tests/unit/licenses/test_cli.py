"""``overair license`` and ``overair account set-licenses`` as an operator types them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from overair.cli import main
from overair.devices.changes import TakeReport
from overair.devices.group import apply_changes
from overair.devices.model import Report
from overair.platform.database import embedded_url
from overair.platform.database.database import engine_for

ACCOUNT = "0742000123-00001"
A, B, C = "490154203237518", "490154203237526", "490154203237534"


class Terminal:
    """A shell with one data directory, an account with two licences and three devices."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.json("account", "add", ACCOUNT, "--licenses", "2", "--subscription", "mrc")
        for imei in (A, B, C):
            self.json("device", "add", imei, "--account", ACCOUNT)
        engine = engine_for(embedded_url(data))
        said = Report("LWM2M", firmware="1.0", firmware_capable=True)
        with engine.begin() as connection:
            apply_changes(connection, [TakeReport(int(imei), said, 1) for imei in (A, B, C)])
        engine.dispose()

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, list(arguments), env={"OVERAIR_DATA": str(self.data)})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == code, result.output
        return msgspec.json.decode(result.stdout)

    def held(self) -> list[str]:
        return [row["deviceId"] for row in self.json("license", "list", "--account", ACCOUNT)]


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "data")


def test_licences_are_assigned_listed_and_removed(terminal: Terminal) -> None:
    done = terminal.json("license", "assign", "--account", ACCOUNT, C, A, B, code=1)
    assert [row["status"] for row in done["deviceList"]] == [
        "LicenseAssignSuccess", "LicenseAssignSuccess", "LicenseAssignFailed",
    ]  # fmt: skip
    assert (done["licCount"], done["licUsedCount"], terminal.held()) == (2, 2, [A, C])
    assert terminal.json("device", "show", A, "--account", ACCOUNT)["licenseAssigned"] is True
    listed = terminal.json("license", "list", "--account", ACCOUNT)
    assert [list(row) for row in listed] == [["deviceId", "assignmentTime"]] * 2
    done = terminal.json("license", "remove", A, "--account", ACCOUNT)
    assert (done["licUsedCount"], terminal.held()) == (1, [C])
    assert C in terminal.run("license", "list", "--account", ACCOUNT).stdout


def test_what_was_refused_is_said_and_ends_with_1(terminal: Terminal) -> None:
    result = terminal.run("license", "assign", "--account", ACCOUNT, A, B, C)
    assert result.exit_code == 1
    assert "Not enough licenses." in result.stdout
    assert "2 of 2 licences are assigned" in result.stdout
    assert "1 of 3 devices were refused" in result.stderr
    result = terminal.run("license", "remove", "--account", ACCOUNT, C)
    assert (result.exit_code, "No license attached to device" in result.stdout) == (1, True)


def test_an_account_that_has_too_few_takes_licences_away(terminal: Terminal) -> None:
    for imei in (B, A):
        terminal.json("license", "assign", imei, "--account", ACCOUNT)
    assert terminal.json("account", "set-licenses", ACCOUNT, "1") == {
        "accountName": ACCOUNT,
        "licenseCount": 1,
        "subscription": "mrc",
        "active": True,
        "licenseUsedCount": 1,
    }
    assert terminal.held() == [A]
    assert "licenseCount" in terminal.run("account", "set-licenses", ACCOUNT, "5").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["license", "assign", "--account", ACCOUNT], 2, "IMEI"),
        (["license", "assign", A], 2, "--account"),
        (["license", "assign", "1", "--account", ACCOUNT], 1, "must be 15 digits"),
        (["license", "remove", "x" * 15, "--account", ACCOUNT], 1, "must be 15 digits"),
        (["license", "list", "--account", "1-1"], 1, "there is no account"),
        (["account", "set-licenses", ACCOUNT, "-1"], 2, "-1"),
        (["account", "set-licenses", ACCOUNT, "1000000001"], 1, "licenses: must be"),
        (["account", "set-licenses", "1-1", "1"], 1, "there is no account"),
    ],
)
def test_wrong_use_is_explained(terminal: Terminal, arguments: list[str], exit_code: int, says: str) -> None:
    result = terminal.run(*arguments)
    assert (result.exit_code, says in result.output) == (exit_code, True), result.output
    assert "Traceback" not in result.output
