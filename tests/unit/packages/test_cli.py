"""``overair package`` as an operator types it."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ed25519

from overair.cli import main

from .world import ACCOUNT, NAME, image_bytes, public_pem, sha256

IMAGE = image_bytes()
WHAT = ("--make", "Acme Telematics", "--model", "AT-410", "--from", "AT410-1.4.2", "--to", "AT410-1.5.0")


class Terminal:
    """A shell with one data directory, an account in it, and an image at hand."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.image = folder / "image.bin"
        self.image.write_bytes(IMAGE)

    def run(self, *arguments: object, **environment: str) -> Result:
        typed = [str(argument) for argument in arguments]
        result = CliRunner().invoke(main, typed, env={"OVERAIR_DATA": str(self.data), **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *arguments: object) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return msgspec.json.decode(result.stdout)

    def add(self, *more: object, **environment: str) -> Result:
        return self.run("package", "add", self.image, "--account", ACCOUNT, *WHAT, *more, **environment)


@pytest.fixture(scope="session")
def with_account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that is copied for each test."""
    terminal = Terminal(tmp_path_factory.mktemp("template"))
    terminal.json("account", "add", ACCOUNT)
    return terminal.data


@pytest.fixture
def terminal(with_account: Path, tmp_path: Path) -> Terminal:
    terminal = Terminal(tmp_path)
    shutil.copytree(with_account, terminal.data)
    return terminal


def test_add_list_remove(terminal: Terminal) -> None:
    shown = terminal.json(
        "package", "add", terminal.image, "--account", ACCOUNT, *WHAT, "--protocol", "oma-dm",
        "--launch-date", "2025-05-12", "--release-note", "Fixes",
    )  # fmt: skip
    assert shown == {
        "id": shown["id"],
        "accountName": ACCOUNT,
        "kind": "firmware",
        "name": NAME,
        "make": "Acme Telematics",
        "model": "AT-410",
        "versionFrom": "AT410-1.4.2",
        "versionTo": "AT410-1.5.0",
        "protocol": "OMADM",
        "launchDate": "2025-05-12T00:00:00Z",
        "releaseNote": "Fixes",
        "sizeBytes": len(IMAGE),
        "sha256": sha256(IMAGE).hex(),
        "state": "ready",
        "createTime": shown["createTime"],
    }
    assert terminal.json("package", "list") == [shown]
    assert terminal.json("package", "list", "--account", ACCOUNT) == [shown]
    assert NAME in terminal.run("package", "list").stdout
    assert (terminal.data / "images" / shown["id"]).read_bytes() == IMAGE
    assert "ready" in terminal.add().stderr
    assert terminal.run("package", "remove", NAME, "--account", ACCOUNT).exit_code == 0
    assert terminal.json("package", "list") == []
    added = terminal.add()
    assert (added.exit_code, sha256(IMAGE).hex() in added.stdout) == (0, True)


def test_signatures(terminal: Terminal, tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public, signature = tmp_path / "public.pem", tmp_path / "image.sig"
    public.write_bytes(public_pem(key))
    signature.write_bytes(key.sign(IMAGE))
    refused = terminal.add("--signature", signature)
    assert (refused.exit_code, "by a trusted key" in refused.stderr) == (1, True)
    (anchor,) = terminal.json("package", "trust", "add", public)
    assert anchor == {"name": anchor["name"], "kind": "key", "subject": "", "expiryTime": ""}
    assert terminal.json("package", "trust", "list") == [anchor]
    assert anchor["name"] in terminal.run("package", "trust", "list").stdout
    assert terminal.add("--signature", signature).exit_code == 0
    (package,) = terminal.json("package", "list")
    assert package["signedBy"] == f"key {anchor['name']}"
    unsigned = terminal.add("--name", "other", OVERAIR_REQUIRE_SIGNATURES="1")
    assert (unsigned.exit_code, "signed packages only" in unsigned.stderr) == (1, True)
    assert terminal.run("package", "trust", "remove", public).exit_code == 0
    assert terminal.json("package", "trust", "list") == []
    assert terminal.run("package", "trust", "remove", anchor["name"]).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["package", "add", "none.bin"], 2, "none.bin"),
        (["package", "add", "{image}", "--account", "1-1", *WHAT], 1, "there is no account"),
        (["package", "add", "{image}", "--account", ACCOUNT, *WHAT, "--protocol", "mqtt"], 1, "protocol"),
        (["package", "add", "{image}", "--account", ACCOUNT, *WHAT, "--protocol", "all"], 1, "protocol"),
        (["package", "add", "{image}", "--account", ACCOUNT, *WHAT, "--kind", "music"], 2, "music"),
        (
            ["package", "add", "{image}", "--account", ACCOUNT, *WHAT, "--launch-date", "May"],
            1,
            "launch_date",
        ),
        (["package", "add", "{image}", "--account", ACCOUNT, *WHAT[:-2], "--to", WHAT[5]], 1, "differ"),
        (
            ["package", "add", "{image}", "--account", ACCOUNT, *WHAT, "--certificate", "{image}"],
            1,
            "signature",
        ),
        (["package", "remove", "none", "--account", ACCOUNT], 1, "there is no package 'none'"),
        (["package", "list", "--account", "1-1"], 1, "there is no account"),
        (["package", "list", "--images", "nonsense"], 1, "nonsense"),
        (["package", "trust", "add", "{image}"], 1, "PEM"),
        (["package", "trust", "remove", "none"], 1, "none"),
    ],
)
def test_what_is_typed_wrongly_is_said(
    terminal: Terminal, arguments: list[str], exit_code: int, says: str
) -> None:
    result = terminal.run(*(one.format(image=terminal.image) for one in arguments))
    assert (result.exit_code, says in result.stderr) == (exit_code, True), result.stderr
    assert terminal.json("package", "list") == []


def test_an_empty_file_is_no_image(terminal: Terminal) -> None:
    terminal.image.write_bytes(b"")
    refused = terminal.add()
    assert (refused.exit_code, "size" in refused.stderr) == (1, True)
