"""``overair campaign`` as an operator types it, without a service and with one."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from overair.cli import main
from overair.cli.campaign_watch import Pace, duration
from overair.platform.clock import SANDBOX_FILE

ACCOUNT = "0742000123-00001"
IMEI, OTHER_IMEI = "990012340000006", "990012340000014"
PACKAGE = "ACME_T1_1.0_2.0"
NOBODY = "00000000-0000-0000-0000-000000000000"
WHAT = ("--make", "ACME", "--model", "T1", "--from", "1.0", "--to", "2.0")


class Terminal:
    """A shell with one data directory, with an account, two devices and a package."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *arguments: object, **environment: str) -> Result:
        typed = [str(argument) for argument in arguments]
        result = CliRunner().invoke(main, typed, env={"OVERAIR_DATA": str(self.data), **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *arguments: object) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return msgspec.json.decode(result.stdout)

    def add(self, *more: object) -> Any:
        return self.json("campaign", "add", "--account", ACCOUNT, "--package", PACKAGE, *more)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that is copied for each test."""
    folder = tmp_path_factory.mktemp("template")
    terminal = Terminal(folder / "data")
    image = folder / "image.bin"
    image.write_bytes(bytes(100))
    terminal.json("account", "add", ACCOUNT, "--licenses", "5", "--subscription", "mrc")
    for imei in (IMEI, OTHER_IMEI):
        terminal.json("device", "add", imei, "--account", ACCOUNT, "--protocol", "lwm2m")
    terminal.json("package", "add", image, "--account", ACCOUNT, *WHAT)
    terminal.json("package", "add", image, "--account", ACCOUNT, *WHAT, "--protocol", "http", "--name", "ddi")
    return terminal.data


@pytest.fixture
def terminal(template: Path, tmp_path: Path) -> Terminal:
    shutil.copytree(template, tmp_path / "data")
    return Terminal(tmp_path / "data")


def test_add_list_show_change_cancel(terminal: Terminal) -> None:
    added = terminal.add(
        "--name", "spring", "--start", "2999-07-01", "--end", "2999-07-31", "--window", "1-5",
        "--window", "22-24", "--device", IMEI, "--device", IMEI, "--auto-assign",
    )  # fmt: skip
    assert added == added | {
        "accountName": ACCOUNT, "campaignName": "spring", "firmwareName": PACKAGE, "firmwareFrom": "1.0",
        "firmwareTo": "2.0", "protocol": "LWM2M", "make": "ACME", "model": "T1", "startDate": "2999-07-01",
        "endDate": "2999-07-31", "status": "CampaignRequestPending", "autoAssignLicenseFlag": True,
        "autoAddDevicesFlag": False,
        "campaignTimeWindowList": [{"startTime": 1, "endTime": 5}, {"startTime": 22, "endTime": 24}],
    }  # fmt: skip
    uuid = added["id"]
    assert terminal.json("campaign", "list") == [added]
    assert terminal.json("campaign", "list", "--account", ACCOUNT) == [added]
    shown = terminal.json("campaign", "show", uuid)
    assert shown == added | {
        "counts": {"NoDeviceDataFromNetwork": 1}, "done": 0, "total": 1, "perMinute": 0,
    }  # fmt: skip
    text = terminal.run("campaign", "show", uuid).stdout
    assert "2999-07-01 to 2999-07-31" in text
    assert "1-5 UTC, 22-24 UTC" in text
    assert "1 NoDeviceDataFromNetwork" in text
    (device,) = terminal.json("campaign", "devices", uuid)
    assert (device["deviceId"], device["status"]) == (IMEI, "NoDeviceDataFromNetwork")
    changed = terminal.json("campaign", "dates", uuid, "--end", "2999-08-01")
    assert changed == added | {"endDate": "2999-08-01"}
    changed = terminal.json("campaign", "dates", uuid, "--window", "any")
    assert "campaignTimeWindowList" not in changed
    assert terminal.run("campaign", "cancel", uuid).exit_code == 0
    assert terminal.json("campaign", "list")[0]["status"] == "CampaignCancelled"
    assert uuid in terminal.run("campaign", "list").stdout


def test_a_campaign_lasts_a_week_from_today_unless_one_says(terminal: Terminal) -> None:
    added = terminal.add("--auto-add")
    start, end = added["startDate"], added["endDate"]
    assert added["createTime"].startswith(start)
    assert (_day(end) - _day(start)) == 7
    assert added["autoAddDevicesFlag"] is True


def test_today_is_the_sandboxs(terminal: Terminal) -> None:
    before = terminal.add("--auto-add")["startDate"]
    (terminal.data / SANDBOX_FILE).write_text(f"{40 * 86_400_000}\n")
    assert _day(terminal.add("--auto-add")["startDate"]) - _day(before) in (40, 41)


def _day(text: str) -> int:
    from overair.records.times import parse_d

    return parse_d(text) // 86_400_000


@pytest.mark.parametrize(
    "content",
    [
        f"{IMEI}\n{OTHER_IMEI}\n",
        f"\n{IMEI}\r\n\r\n{OTHER_IMEI},x\n",
        f"mdn,IMEI\n5551234567,{IMEI}\n,{OTHER_IMEI}",
    ],
)
def test_devices_from_a_file(terminal: Terminal, tmp_path: Path, content: str) -> None:
    file = tmp_path / "devices.txt"
    file.write_text(content)
    uuid = terminal.add("--devices", file, "--device", IMEI)["id"]
    found = {each["deviceId"] for each in terminal.json("campaign", "devices", uuid)}
    assert found == {IMEI, OTHER_IMEI}


ADD = ("campaign", "add", "--account", ACCOUNT, "--package", PACKAGE)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        ((*ADD,), 2, "no devices"),
        ((*ADD, "--device", "12345"), 2, "'12345' is no IMEI"),
        ((*ADD, "--devices", "{file}"), 2, "line 2: 'nonsense' is no IMEI"),
        ((*ADD, "--devices", "/nowhere"), 2, "/nowhere: No such file"),
        ((*ADD, "--auto-add", "--start", "tomorrow"), 2, "is no date"),
        ((*ADD, "--auto-add", "--start", "2001-01-01"), 1, "start: must not be in the past"),
        ((*ADD, "--auto-add", "--end", "2001-01-01"), 1, "end: must not be before the start"),
        ((*ADD, "--auto-add", "--window", "5-5"), 2, "'5-5' is no hours"),
        ((*ADD, "--auto-add", "--window", "1-25"), 2, "'1-25' is no hours"),
        ((*ADD, "--auto-add", "--window", "1-5", "--window", "any"), 2, "any goes alone"),
        (("campaign", "add", "--account", "1-1", "--package", "x", "--auto-add"), 1, "there is no account"),
        (("campaign", "add", "--account", ACCOUNT, "--package", "x", "--auto-add"), 1, "x"),
        (("campaign", "add", "--account", ACCOUNT, "--package", "ddi", "--auto-add"), 1, "'ddi' is for HTTP"),
        (("campaign", "list", "--account", "1-1"), 1, "there is no account"),
        (("campaign", "show", NOBODY), 1, "there is none of that id"),
        (("campaign", "devices", "nonsense"), 1, "there is none of that id"),
        (("campaign", "cancel", NOBODY), 1, "there is none of that id"),
        (("campaign", "abort", NOBODY), 1, "there is none of that id"),
        (("campaign", "watch", NOBODY), 1, "there is none of that id"),
        (("campaign", "dates", NOBODY), 2, "nothing to change"),
        (("campaign", "dates", NOBODY, "--end", "2999-01-01"), 1, "there is none of that id"),
        (("clock", "advance", "soon"), 2, "'soon' is no time"),
        (("clock", "advance", "0d"), 2, "'0d' is no time"),
        (("clock", "advance", "1d", "--url", "http://127.0.0.1:9"), 1, "no operator.token"),
        (("status", "--url", "http://127.0.0.1:9"), 1, "no operator.token"),
        (("serve", "--advertise", "host:80"), 2, "without a port"),
        (("serve", "--advertise", "300.1.1.1"), 2, "is no name or address"),
        (("serve", "--public-url", "ftp://x"), 2, "http or https"),
        (("serve", "--public-url", "https://u:p@x"), 2, "no user"),
        (("serve", "--public-url", "https://x/?a"), 2, "no query"),
        (("serve", "--public-url", "https://"), 2, "is no URL"),
        (("serve", "--public-url", "https://x:99999"), 2, "is no URL"),
        (("serve", "--callback-ca", "/nowhere"), 2, "does not exist"),
        (("serve", "--callback-ca", "{file}", "--http", "127.0.0.1:0"), 1, "callbacks: "),
        (("serve", "--images", "nonsense://x", "--http", "127.0.0.1:0"), 1, "nonsense://x"),
    ],
)
def test_wrong_use_is_one_clear_line(
    terminal: Terminal, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, says: str
) -> None:
    file = tmp_path / "wrong.txt"
    file.write_text(f"{IMEI}\nnonsense\n")
    result = terminal.run(*[argument.replace("{file}", str(file)) for argument in arguments])
    assert (result.exit_code, says in result.output) == (exit_code, True), result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert result.output.rstrip().endswith(errors[0])


def test_only_a_campaign_that_runs_is_aborted(terminal: Terminal) -> None:
    uuid = terminal.add("--device", IMEI)["id"]
    refused = terminal.run("campaign", "abort", uuid)
    assert (refused.exit_code, "not started" in refused.output) == (1, True)


def test_watching_what_is_over_ends_at_once(terminal: Terminal) -> None:
    uuid = terminal.add("--device", IMEI)["id"]
    terminal.run("campaign", "cancel", uuid)
    watched = terminal.run("campaign", "watch", uuid)
    assert (watched.exit_code, watched.stdout) == (
        0, "CampaignCancelled · 0 of 1 done · 1 NoDeviceDataFromNetwork\n",
    )  # fmt: skip
    (line,) = terminal.run("campaign", "watch", uuid, "--json").stdout.splitlines()
    assert msgspec.json.decode(line)["status"] == "CampaignCancelled"


def test_the_pace() -> None:
    pace = Pace()
    assert pace.words(5, 100, 10.0) == ""
    assert pace.words(5, 100, 20.0) == ""
    assert pace.words(25, 100, 20.0) == "2.0 devices a second, about 38 s left"
    assert pace.words(6, 100, 70.0) == "1.0 a minute, about 94 min left"
    assert pace.words(100, 100, 105.0) == "1.0 devices a second"
    assert [duration(seconds) for seconds in (0.2, 119, 120, 7200, 200_000)] == [
        "1 s", "119 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip
