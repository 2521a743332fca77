"""The owner in ``overair demo``: everything over HTTP, as a program of his would do it."""

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

PIECE_BYTES = 64 * 1024


class Owner:
    """Calls of one account, with a token and a session; and those of its operator, who uploads images."""

    def __init__(self, client: httpx2.AsyncClient, account: str, operator_token: str) -> None:
        self._client = client
        self._account = account
        self._operator = {"Authorization": f"Bearer {operator_token}"}

    async def log_in(self, key: str, secret: str, user: str, password: str) -> None:
        """Get an access token and a session (spec auth.md)."""
        form = {"grant_type": "client_credentials"}
        token = await self._client.post("/api/ts/v1/oauth2/token", auth=(key, secret), data=form)
        self._client.headers["Authorization"] = f"Bearer {token.raise_for_status().json()['access_token']}"
        login = await self._client.post(
            "/api/m2m/v1/session/login", json={"username": user, "password": password}
        )
        self._client.headers["VZ-M2M-Token"] = login.raise_for_status().json()["sessionToken"]

    async def device(self, imei: str) -> Any:
        """Return the V3Device of one device."""
        found = await self._post(f"devices/{self._account}", {"deviceList": [imei]})
        return found["deviceList"][0]

    async def upload(self, data: bytes, make: str, model: str, version_from: str, version_to: str) -> str:
        """Upload a firmware in pieces; returns its name."""
        said = {
            "accountName": self._account, "kind": "firmware", "make": make, "model": model,
            "versionFrom": version_from, "versionTo": version_to, "protocol": "LWM2M",
            "sizeBytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        made = await self._client.post("/operator/v1/packages", json=said, headers=self._operator)
        path = f"/operator/v1/packages/{made.raise_for_status().json()['id']}"
        for offset in range(0, len(data), PIECE_BYTES):
            headers = {**self._operator, "Upload-Offset": str(offset)}
            piece = data[offset : offset + PIECE_BYTES]
            sent = await self._client.put(f"{path}/image", content=piece, headers=headers)
            sent.raise_for_status()
        whole = await self._client.post(f"{path}/complete", headers=self._operator)
        return str(whole.raise_for_status().json()["name"])

    async def schedule(self, firmware: Mapping[str, Any], imeis: Iterable[str]) -> str:
        """Schedule a campaign that starts today; returns its id."""
        today = datetime.datetime.now(datetime.UTC).date()
        asked = {
            "firmwareName": firmware["firmwareName"], "firmwareFrom": firmware["firmwareFrom"],
            "firmwareTo": firmware["firmwareTo"], "protocol": "LWM2M", "startDate": today.isoformat(),
            "endDate": (today + datetime.timedelta(days=7)).isoformat(), "deviceList": list(imeis),
            "autoAssignLicenseFlag": True, "autoAddDevicesFlag": False,
        }  # fmt: skip
        return str((await self._post(f"campaigns/firmware/{self._account}", asked))["id"])

    async def firmware(self) -> list[dict[str, Any]]:
        """Return the firmware that there is for the account's devices."""
        found = await self._client.get(f"/api/fota/v3/firmware/{self._account}", params={"protocol": "LWM2M"})
        return list(found.raise_for_status().json())

    async def statuses(self, campaign_id: str) -> list[str]:
        """Return the status of each device of a campaign."""
        path = f"/api/fota/v3/reports/{self._account}/campaigns/{campaign_id}/devices"
        found = await self._client.get(path)
        return [each["status"] for each in found.raise_for_status().json()["deviceList"]]

    async def campaign_status(self, campaign_id: str) -> str:
        """Return the status of a campaign."""
        found = await self._client.get(f"/api/fota/v3/campaigns/{self._account}/{campaign_id}")
        return str(found.raise_for_status().json()["status"])

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self._client.post(f"/api/fota/v3/{path}", json=body)
        return answer.raise_for_status().json()
