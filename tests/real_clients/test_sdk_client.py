"""The SDK wrapper against canned answers: it must log in by itself and never leave the given address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from verizon.configuration import Configuration, Environment, Server
from verizon.exceptions.fota_v3_result_exception import FotaV3ResultException
from verizon.models.device_imei import DeviceIMEI
from verizon.models.firmware_imei import FirmwareIMEI
from verizon.models.session_reset_password_request import SessionResetPasswordRequest

from .sdk import sdk_client, sdk_login

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
ACCOUNT = "0742000123-00001"
IMEI = "990010991200172"
SESSION = json.loads((VECTORS / "auth-post-session-login.response.json").read_text())["sessionToken"]

ANSWERS = {
    "POST /api/ts/v1/oauth2/token": "auth-post-token",
    "POST /api/m2m/v1/session/login": "auth-post-session-login",
    "POST /api/m2m/v1/session/logout": "auth-post-session-logout",
    "PUT /api/m2m/v1/session/password/actions/reset": "auth-put-session-password-reset",
    f"GET /api/fota/v3/devices/{ACCOUNT}?protocol=LWM2M": "v3-get-devices",
    f"POST /api/fota/v3/devices/{ACCOUNT}": "v3-post-devices",
    f"PUT /api/fota/v3/firmware/{ACCOUNT}/devices": "v3-put-firmware-devices",
    f"PUT /api/fota/v3/firmware/{ACCOUNT}/async/{IMEI}": "v3-put-firmware-async",
}


@dataclass
class Canned:
    """The address, and the requests with their headers and body."""

    url: str
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    def last(self) -> tuple[str, dict[str, str], str]:
        return self.requests[-1]


@pytest.fixture
def service() -> Iterator[Canned]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            line = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            service.requests.append((line, headers, body))
            known = ANSWERS.get(line)
            name = f"{known}.response.json" if known else "error-400.response.json"
            content = (VECTORS / name).read_bytes()
            self.send_response(200 if known else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Canned(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


def test_login_fetches_the_oauth_token_by_itself(service: Canned) -> None:
    client = sdk_login(service.url, "key", "secret", "anna", "pass word")
    assert client.config.vz_m2m_token_credentials.vz_m2m_token == SESSION
    (token, token_headers, form), (login, login_headers, body) = service.requests
    assert (token, form) == ("POST /api/ts/v1/oauth2/token", "grant_type=client_credentials")
    assert token_headers["authorization"] == "Basic a2V5OnNlY3JldA=="
    assert login == "POST /api/m2m/v1/session/login"
    assert login_headers["authorization"].startswith("Bearer ")
    assert json.loads(body) == {"username": "anna", "password": "pass word"}


def test_every_call_of_the_device_part_lands_on_its_path(service: Canned) -> None:
    client = sdk_client(service.url, "key", "secret", SESSION)
    listed = client.account_devices.get_account_device_information(ACCOUNT).body
    assert [row.device_id for row in listed.device_list] == ["990010991200172", "990010991200255"]
    assert service.last()[1]["vz-m2m-token"] == SESSION

    details = client.account_devices.list_account_devices_information(ACCOUNT, DeviceIMEI([IMEI])).body
    assert details.device_list[0].device_id == IMEI
    assert json.loads(service.last()[2]) == {"deviceList": [IMEI]}

    synced = client.firmware_v3.synchronize_device_firmware(ACCOUNT, FirmwareIMEI([IMEI])).body
    assert synced.device_firmwar_version_list
    assert json.loads(service.last()[2]) == {"deviceList": [IMEI]}
    assert client.firmware_v3.report_device_firmware(ACCOUNT, IMEI).body.request_id
    assert (service.last()[2], service.last()[1].get("content-type")) == ("", None)

    sessions = client.session_management
    assert sessions.reset_connectivity_management_password(
        SessionResetPasswordRequest("old")
    ).body.new_password
    assert sessions.end_connectivity_management_session().body.session_token == SESSION
    assert {line for line, _, _ in service.requests} == set(ANSWERS) - {"POST /api/m2m/v1/session/login"}


def test_the_error_shape_becomes_the_exception_of_the_sdk(service: Canned) -> None:
    client = sdk_client(service.url, "key", "secret", SESSION)
    with pytest.raises(FotaV3ResultException) as caught:
        client.account_devices.get_account_device_information("0000000000-00000")
    expected = json.loads((VECTORS / "error-400.response.json").read_text())
    assert caught.value.error_code == expected["errorCode"]
    assert caught.value.error_message == expected["errorMessage"]


def test_only_this_client_has_the_other_server_table(service: Canned) -> None:
    client = sdk_client(f"{service.url}/", "key", "secret")
    addresses = {server: client.config.get_base_uri(server) for server in Server}
    assert all(
        address.startswith(f"{service.url}/") for address in addresses.values() if address != service.url
    )
    assert addresses[Server.SOFTWARE_MANAGEMENT_V3] == f"{service.url}/api/fota/v3"
    assert client.config.environment is Environment.PRODUCTION
    assert not any("127.0.0.1" in url for url in Configuration.environments[Environment.PRODUCTION].values())
