"""The public Python SDK of ThingSpace, pointed at our own address.

Nothing of it is changed but its server table, and that only in the one client that is handed out. It blocks:
in a test with a running event loop, call it through `asyncio.to_thread`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from verizon.configuration import Configuration, Environment
from verizon.http.auth.thingspace_oauth import ThingspaceOauthCredentials
from verizon.http.auth.vz_m2m_token import VZM2mTokenCredentials
from verizon.models.log_in_request import LogInRequest
from verizon.verizon_client import VerizonClient

TIMEOUT_SECONDS = 20


def sdk_client(base_url: str, key: str, secret: str, session_token: str | None = None) -> VerizonClient:
    """A client of the service at `base_url` ("http://127.0.0.1:8080").

    It fetches its OAuth token by itself at the first call. Without a session token only the login works.
    """
    credentials: dict[str, Any] = {"thingspace_oauth_credentials": ThingspaceOauthCredentials(key, secret)}
    if session_token is not None:
        credentials["vz_m2m_token_credentials"] = VZM2mTokenCredentials(session_token)
    configuration = Configuration(timeout=TIMEOUT_SECONDS, **credentials)
    # The table belongs to the class; shadowing it on the instance leaves every other client as it was. All
    # its rows are replaced, so that no call of a test can leave the machine.
    servers = Configuration.environments[Environment.PRODUCTION]
    configuration.environments = {
        Environment.PRODUCTION: {
            server: base_url.rstrip("/") + urlsplit(url).path for server, url in servers.items()
        }
    }
    # A proxy named in the environment is no way to a loopback address.
    configuration.http_client.session.trust_env = False
    return VerizonClient(config=configuration)


def sdk_login(base_url: str, key: str, secret: str, username: str, password: str) -> VerizonClient:
    """A client with a session: the SDK takes the session token only when it is made, so this makes two."""
    login = sdk_client(base_url, key, secret).session_management
    answer = login.start_connectivity_management_session(LogInRequest(username, password))
    return sdk_client(base_url, key, secret, answer.body.session_token)
