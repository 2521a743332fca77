"""The command `overair sim lwm2m`, with a small server in a thread."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from overair.cli.sim import CSV_COLUMNS, command
from overair.protocols.coap import codes
from overair.simulator import FIRST_IMEI, identities, make_image

TEXT = ((codes.CONTENT_FORMAT, b""),)


class ThreadedServer:
    """The scripted server on a socket of its own thread.

    It reads a path of every device that registers; after `interrupt_after` answers it presses Ctrl-C.
    """

    def __init__(self, scripted) -> None:
        self.scripted = scripted
        self.interrupt_after = 0
        self.update = False
        self.known = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.socket.getsockname())
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            datagram, peer = self.socket.recvfrom(2048)
            if datagram == b"end":
                return
            now = time.monotonic()
            self.scripted.receive(datagram, peer, now)
            if len(self.scripted.registers) > self.known:
                self.known = len(self.scripted.registers)
                known = self.scripted.locations[f"L{self.known}"]
                self.scripted.endpoint.request(known, codes.GET, path=("3", "0"), now=now)
                if self.update:
                    uri = f"coap://{self.address}/f/fw".encode()
                    self.scripted.endpoint.request(
                        known, codes.PUT, path=("5", "0", "1"), payload=uri, options=TEXT, now=now
                    )
            for answer, target in self.scripted.outbox:
                self.socket.sendto(answer, target)
            self.scripted.outbox.clear()
            if self.interrupt_after and len(self.scripted.events) >= self.interrupt_after:
                self.interrupt_after = 0
                os.kill(os.getpid(), signal.SIGINT)

    def end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


@pytest.fixture
def server(scripted_server) -> Iterator[ThreadedServer]:
    threaded = ThreadedServer(scripted_server())
    threaded.thread.start()
    yield threaded
    threaded.end()


@pytest.fixture
def secure(secure_server) -> Iterator[ThreadedServer]:
    threaded = ThreadedServer(secure_server())
    threaded.thread.start()
    yield threaded
    threaded.end()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["lwm2m", *arguments])


def test_the_list_is_what_device_import_reads() -> None:
    result = run("--imeis-only", "--count", "3")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    fleet = list(identities(3))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "imei,mdn,make,model,firmware,protocol"
    assert [(row["imei"], row["mdn"], row["make"]) for row in rows] == [
        (each.imei, each.mdn, each.profile.make) for each in fleet
    ]
    assert {row["protocol"] for row in rows} == {"lwm2m"}


def test_the_list_as_json_from_a_given_imei() -> None:
    first = list(identities(10))[9].imei
    result = run("--imeis-only", "--count", "2", "--first-imei", first, "--json")
    assert [each["imei"] for each in json.loads(result.stdout)] == [
        first,
        list(identities(11))[10].imei,
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--first-imei", "123"), "15 digits with the right check digit"),
        (("--first-imei", "999999999999994"), "no 10 numbers follow"),
        (("--count", "0"), "1<=x<=50000"),
        (("--server", "localhost"), "is not HOST:PORT"),
        (("--lifetime", "0"), "--lifetime"),
        (("--coaps",), "--coaps takes one of --psk-key and --keys"),
        (("--psk-key", "00"), "--psk-key and --keys go with --coaps"),
        (("--coaps", "--psk-key", "0x12"), "psk_key: must be hexadecimal"),
        (("--coaps", "--psk-key", ""), "psk_key: must be 1 to 64 bytes"),
        (("--coaps", "--psk-key", "00" * 65), "psk_key: must be 1 to 64 bytes"),
        (("--coaps", "--keys", "nowhere.csv"), "'nowhere.csv' does not exist"),
        (("--with-keys",), "--with-keys goes with --imeis-only"),
        (("--fault", "dances"), "must be any or one of download-result-2, "),
        (("--fault", "moves:2"), "must be a number from 0 to 1"),
        (("--fault", "moves", "--fault", "sleeps"), "make more than 1 together"),
    ],
)
def test_wrong_use_is_explained(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_fleet_that_registers_runs_until_ctrl_c_and_leaves(server) -> None:
    server.interrupt_after = 5
    result = run("--count", "5", "--server", server.address, "--lifetime", "60", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (said["devices"], said["registered"], said["refused"]) == (5, 5, [])
    assert said["answered"] == 5
    assert {asked.lifetime_seconds for asked in server.scripted.registers} == {60}
    assert not any(asked.queue_mode for asked in server.scripted.registers)
    assert server.scripted.locations == {}


def test_queue_mode_is_registered(server) -> None:
    server.interrupt_after = 5
    result = run("--count", "5", "--server", server.address, "--queue-mode")
    assert result.exit_code == 0
    assert result.stdout == "5 of 5 devices registered, 0 updates, 5 requests answered\n"
    assert all(asked.queue_mode for asked in server.scripted.registers)


def test_a_fleet_that_is_refused_ends_early_and_says_what_to_do(server) -> None:
    server.scripted.script = [(codes.FORBIDDEN, ())] * 12
    result = run("--count", "12", "--server", server.address)
    assert result.exit_code == 1
    assert "0 of 12 devices registered" in result.stdout
    assert "12 refused: 4.03 Forbidden (not known to the service: add it first" in result.stderr
    assert "start the service with --enroll open" in result.stderr
    assert FIRST_IMEI in result.stderr
    assert "and 2 more" in result.stderr


def test_one_refused_device_is_enough_to_fail(server) -> None:
    server.scripted.script = [(codes.BAD_REQUEST, ())]
    server.interrupt_after = 2
    result = run("--count", "3", "--server", server.address, "--json")
    assert result.exit_code == 1
    assert [each["reason"] for each in json.loads(result.stdout)["refused"]] == ["4.00 Bad Request"]
    assert "1 of 3 devices did not register" in result.stderr


def test_nobody_listening_is_told_apart() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    result = run("--count", "1", "--server", f"127.0.0.1:{port}", "--duration", "0.3")
    assert result.exit_code == 1
    assert f"nothing listens at 127.0.0.1 port {port} (UDP)" in result.stderr


# -- DTLS ------------------------------------------------------------------------------------------


def test_a_secure_fleet_with_one_key_registers_and_leaves(secure) -> None:
    secure.interrupt_after = 4
    key = secure.scripted.KEY.hex()
    result = run("--coaps", "--psk-key", key, "--count", "4", "--server", secure.address, "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (said["registered"], said["answered"], said["handshakes"]) == (4, 4, 4)
    assert secure.scripted.locations == {}


def test_a_key_that_is_wrong_ends_early_and_says_what_to_do(secure) -> None:
    result = run("--coaps", "--psk-key", "00", "--count", "2", "--server", secure.address)
    assert result.exit_code == 1
    assert "2 refused: DTLS handshake: alert decrypt_error" in result.stderr
    assert "does the service know this PSK identity and this key?" in result.stderr


def test_the_list_with_keys_is_what_keys_reads(secure, tmp_path) -> None:
    listed = run("--imeis-only", "--with-keys", "--count", "3").stdout
    rows = list(csv.DictReader(listed.splitlines()))
    assert list(rows[0]) == [*CSV_COLUMNS, "psk_identity", "psk_key"]
    assert [row["psk_identity"] for row in rows] == [each.endpoint for each in identities(3)]
    secrets = {row["psk_identity"].encode(): bytes.fromhex(row["psk_key"]) for row in rows}
    assert len(set(secrets.values())) == 3
    file = tmp_path / "devices.csv"
    file.write_text(listed)
    secure.scripted.find = lambda identity: (secrets[identity],)
    secure.interrupt_after = 3
    result = run("--coaps", "--keys", str(file), "--count", "3", "--server", secure.address)
    assert result.exit_code == 0
    too_many = run("--coaps", "--keys", str(file), "--count", "5")
    assert too_many.exit_code == 2
    assert f"no key for 2 of 5 devices, the first is {list(identities(5))[3].imei}" in too_many.stderr


def test_a_broken_file_of_keys_names_the_line_and_no_key(tmp_path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(f"imei,psk_identity,psk_key\n{FIRST_IMEI},me,12345z\n")
    result = run("--coaps", "--keys", str(file))
    assert result.exit_code == 2
    assert "line 2: psk_key: must be hexadecimal" in result.stderr
    assert "12345z" not in result.stderr


def test_an_image_is_written_and_one_that_cannot_be_is_explained(tmp_path) -> None:
    file = tmp_path / "fw.bin"
    options = ["--make", "Acme", "--model", "One", "--to", "2.0.0", "--size", "5000"]
    assert CliRunner().invoke(command, ["image", str(file), *options]).exit_code == 0
    assert file.read_bytes() == make_image("Acme", "One", "2.0.0", 5000)
    options[1] = "A" * 300
    refused = CliRunner().invoke(command, ["image", str(file), *options])
    assert refused.exit_code == 1
    assert "at most 255 bytes each" in refused.output


def update(server: ThreadedServer) -> None:
    """Have every device that registers pull an image and install it."""
    image = make_image("SEQUANS COMMUNICATIONS", "GM01Q", "SR2", 2000)
    server.scripted.files["fw"] = image
    server.update = True


def test_updates_are_shown(server) -> None:
    update(server)
    result = run(
        "--server", server.address, "--count", "1", "--duration", "1.5", "--json", "--fault", "rolls-back:0"
    )
    said = json.loads(result.stdout)
    assert result.exit_code == 0
    assert said["downloads"] == 1
    assert said["updated"] == 0
    assert said["firmware"] == {"SR1.2.0.0-10657": 1}
    assert said["updateStates"] == {"downloaded": 1}
    plain = run("--server", server.address, "--count", "1", "--duration", "1")
    assert "firmware: 1 downloaded, 1 downloaded, 0 updated" in plain.stdout
    assert "  1 run SR1.2.0.0-10657" in plain.stdout
