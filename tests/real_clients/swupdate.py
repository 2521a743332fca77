"""SWUpdate of Debian as a device, the packages that it takes, and a line that breaks."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEADLINE_SECONDS = 40.0
PACE_SECONDS = 0.5
BOARD = "board:1.0"

_DESCRIPTION = """software = {{
    version = "{version}";
    hardware-compatibility: [ "1.0" ];
    files: ( {{ filename = "payload"; path = "{path}"; sha256 = "{sha256}"; }} );
}}
"""
_CONFIGURATION = """globals : {{ }};
identify : (
  {{ name = "imei"; value = "{imei}"; }},
  {{ name = "make"; value = "{make}"; }},
  {{ name = "model"; value = "{model}"; }},
  {{ name = "fw_version"; value = "{version}"; }}
);
"""


@dataclass(frozen=True)
class Signer:
    """Who signs packages; devices are given the certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, data: bytes) -> bytes:
        """Return a detached CMS signature."""
        options = [
            pkcs7.PKCS7Options.DetachedSignature,
            pkcs7.PKCS7Options.Binary,
            pkcs7.PKCS7Options.NoCapabilities,
        ]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(data)
        return builder.add_signer(self.certificate, self.key, SHA256()).sign(Encoding.DER, options)


def make_signer(name: str) -> Signer:
    """Return somebody whom nobody but himself has certified."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, SHA256())
    )
    return Signer(key, made)


def make_package(payload: bytes, version: str, installed_at: Path, signer: Signer) -> bytes:
    """Return a .swu that puts *payload* into a file."""
    said = _DESCRIPTION.format(
        version=version, path=installed_at, sha256=hashlib.sha256(payload).hexdigest()
    ).encode()
    members = [("sw-description", said), ("sw-description.sig", signer.sign(said)), ("payload", payload)]
    return b"".join(_member(name, data, 1 + place) for place, (name, data) in enumerate(members)) + _member(
        "TRAILER!!!", b"", 0
    )


def _member(name: str, data: bytes, inode: int) -> bytes:
    """Return a file as cpio has it in the format with checksums (070702)."""
    checksum = sum(data) & 0xFFFFFFFF
    fields = (inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, checksum)
    head = b"070702" + "".join(f"{value:08X}" for value in fields).encode() + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@dataclass
class Device:
    """A board with SWUpdate on it; what it has in flash is a folder."""

    folder: Path
    url: str
    imei: str
    token: str
    signer: Signer
    make: str
    model: str
    version: str
    lines: list[str] = field(default_factory=list)

    @property
    def installed_at(self) -> Path:
        return self.folder / "installed"

    @asynccontextmanager
    async def on(self, *suricatta: str) -> AsyncIterator[None]:
        """Have it run; *suricatta* are further options of its client. What it said before is forgotten."""
        self._write()
        self.lines.clear()
        client = f"-t DEFAULT -u {self.url} -i {self.imei} -k {self.token} -w 1 {' '.join(suricatta)}"
        command = ["swupdate", "-v", "-f", "sw.cfg", "-k", "cert.pem", "-H", BOARD, "-u", client]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=os.environ | {"TMPDIR": str(self.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # it is several processes, which are ended together
        )
        reading = asyncio.create_task(self._read(process.stdout))
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await reading

    async def come(self) -> None:
        """Have it poll now, instead of when it was told to."""
        process = await asyncio.create_subprocess_exec(
            "swupdate-ipc", "hawkbitcfg", "-t",
            env=os.environ | {"TMPDIR": str(self.folder)},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await process.wait()

    async def says(self, words: str) -> None:
        """Have it poll until it says so."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not any(words in line for line in self.lines):
                    await self.come()
                    await asyncio.sleep(PACE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"it never said {words!r}:\n" + "\n".join(self.lines[-40:])) from None

    def _write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        said = _CONFIGURATION.format(imei=self.imei, make=self.make, model=self.model, version=self.version)
        (self.folder / "sw.cfg").write_text(said)
        (self.folder / "cert.pem").write_bytes(self.signer.pem)

    async def _read(self, output: asyncio.StreamReader | None) -> None:
        assert output is not None
        async for line in output:
            self.lines.append(line.decode(errors="replace").rstrip())


@dataclass
class Line:
    """A line to the service that breaks once, when so many bytes have come over one connection."""

    port: int
    breaks_after_bytes: int
    broken: int = 0
    ranges: list[str] = field(default_factory=list)
    """The ranges that were asked for."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Yield the URL at its near end."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        up = asyncio.create_task(self._up(reader, far_writer))
        down = asyncio.create_task(self._down(far_reader, writer))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (up, down):
                each.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for each in (writer, far_writer):
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self._tasks.discard(task)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.ranges += re.findall(r"(?im)^range: *(\S+)\r$", data.decode("latin-1"))
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size_bytes = 0
        while data := await reader.read(65536):
            size_bytes += len(data)
            if size_bytes > self.breaks_after_bytes and not self.broken:
                self.broken += 1
                return
            writer.write(data)
            await writer.drain()


__all__: Sequence[str] = ("Device", "Line", "Signer", "make_package", "make_signer")
