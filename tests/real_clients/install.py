"""Installs the clients that nobody here wrote, for the tests that drive them.

    python tests/real_clients/install.py [--check]

Everything goes to `.clients/` at the root of the checkout, except Debian packages, which are installed only
on Debian, as root, and only for commands that are missing. What can't be installed is named with its reason;
that is a failure only where the variable CI is set. `--check` looks and installs nothing.

Standard library only: it runs before the project's own environment exists.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
HOME = SOURCES.parents[1] / ".clients"

DEBIAN_PACKAGES = {
    "node": "nodejs",
    "npm": "npm",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "coap-client-notls": "libcoap3-bin",
    "coap-client-openssl": "libcoap3-bin",
    "coap-client-gnutls": "libcoap3-bin",
    "openssl": "openssl",
    "gnutls-cli": "gnutls-bin",
    "swupdate": "swupdate",
    "swupdate-ipc": "swupdate",
}

COMMAND_LIMIT_SECONDS = 900
"""A first Maven run on a slow line takes minutes; a hanging one must not take the whole of CI."""


class InstallError(Exception):
    """A command that installs something failed; the message holds its last lines."""


@dataclass(frozen=True)
class Client:
    """One client: the commands it needs, the files it is built from, and how."""

    name: str
    commands: tuple[str, ...]
    folder: Path
    sources: Callable[[], Iterable[Path]] = tuple
    build: Callable[[Path], None] | None = None

    def missing_commands(self) -> list[str]:
        """Its commands that are not on PATH."""
        return [command for command in self.commands if shutil.which(command) is None]

    def missing(self) -> str | None:
        """Why it can't be driven now, or None if it can."""
        if commands := self.missing_commands():
            return f"needs {', '.join(commands)}"
        if self.build is not None and self.installed_digest() != self.digest():
            return "not installed, or out of date: run tests/real_clients/install.py"
        return None

    def digest(self) -> str:
        """A digest of all that it is built from."""
        digest = hashlib.sha256()
        for source in sorted(self.sources()):
            name = source.relative_to(SOURCES).as_posix().encode()
            digest.update(b"\0".join((name, source.read_bytes(), b"")))
        return digest.hexdigest()

    def installed_digest(self) -> str | None:
        """The digest of what the installed one was built from."""
        stamp = self.folder / "stamp"
        return stamp.read_text() if stamp.exists() else None

    def install(self) -> None:
        """Builds it anew; the stamp comes last, so that a broken run counts as none."""
        if self.build is None:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.build(self.folder)
        (self.folder / "stamp").write_text(self.digest())


def _node_sources() -> list[Path]:
    return [SOURCES / "node/package.json", SOURCES / "node/package-lock.json"]


def _build_node(folder: Path) -> None:
    for source in _node_sources():
        shutil.copy(source, folder)
    # No package here needs a build step, so none may run one.
    npm = ["npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    _run(npm, folder)


def _leshan_sources() -> list[Path]:
    return [SOURCES / "leshan/pom.xml", *(SOURCES / "leshan/src").rglob("*.java")]


def _build_leshan(folder: Path) -> None:
    maven = ["mvn", "-q", "-B", "-P", folder.name, f"-Dbuild.root={folder.parent}", "package"]
    _run(maven, SOURCES / "leshan")


CLIENTS = {
    client.name: client
    for client in (
        Client("lwm2m-node-lib", ("node", "npm"), HOME / "node", _node_sources, _build_node),
        Client("leshan", ("java", "javac", "mvn"), HOME / "leshan/v2", _leshan_sources, _build_leshan),
        Client("leshan-1", ("java", "javac", "mvn"), HOME / "leshan/v1", _leshan_sources, _build_leshan),
        Client("openssl", ("openssl",), HOME),
        Client("gnutls-cli", ("gnutls-cli",), HOME),
        Client("swupdate", ("swupdate", "swupdate-ipc"), HOME),
        Client("libcoap", tuple(f"coap-client-{tls}" for tls in ("notls", "openssl", "gnutls")), HOME),
    )
}


def _run(command: list[str], folder: Path, **environment: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{command[0]} took more than {COMMAND_LIMIT_SECONDS} s") from error
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise InstallError(f"{command[0]} ended with {done.returncode}:\n{tail}")


def _install_commands(commands: Iterable[str]) -> None:
    packages = sorted({DEBIAN_PACKAGES[command] for command in commands})
    if not packages:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise InstallError(f"needs {', '.join(packages)}; installed only on Debian, as root")
    print(f"installing {', '.join(packages)}", flush=True)
    _run(["apt-get", "update", "-qq"], HOME)
    _run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        HOME,
        DEBIAN_FRONTEND="noninteractive",
    )


def _install(client: Client) -> str | None:
    """Installs it if it is not there; why that failed, or None."""
    if client.missing() is None:
        return None
    try:
        _install_commands(client.missing_commands())
        client.install()
    except InstallError as error:
        return str(error)
    return client.missing()


def main(arguments: list[str]) -> int:
    """Installs or checks every client; returns the exit status."""
    parser = argparse.ArgumentParser(description="Install the real clients that the tests drive.")
    parser.add_argument("--check", action="store_true", help="only say what is there")
    check = parser.parse_args(arguments).check
    HOME.mkdir(exist_ok=True)
    complete = True
    for client in CLIENTS.values():
        reason = client.missing() if check else _install(client)
        print(f"{client.name}: {'installed' if reason is None else f'NOT installed: {reason}'}", flush=True)
        complete = complete and reason is None
    return 1 if os.environ.get("CI") and not complete else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
