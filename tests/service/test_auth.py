"""Every row of the tables of spec auth.md, through the ASGI application."""

import asyncio
import contextlib
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx2 import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from overair.accounts.store import SqlAccountStore
from overair.doors.thingspace.auth import read_form
from overair.doors.thingspace.errors import Refusal
from overair.doors.thingspace.guards import basic_credentials, bearer_token
from overair.platform.database import Database, upgrade
from overair.platform.limits import Limits

from .harness import (
    ACCOUNT,
    DEVICES,
    LOGIN,
    LOGOUT,
    PASSWORD,
    RESET,
    REVOKE,
    TOKEN,
    USER,
    Door,
    basic,
    door_to,
    open_door,
    vector,
)

UWS = "UnifiedWebService"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = await open_door()
    async with door.client:
        yield door


def refused(response: Response, status: int, code: str) -> None:
    """Check a business error: exactly two strings, neither of them empty."""
    body = response.json()
    assert (response.status_code, body["errorCode"]) == (status, code)
    assert set(body) == {"errorCode", "errorMessage"}
    assert body["errorMessage"]
    assert response.headers["content-type"] == "application/json"


def faulted(response: Response, status: int, code: str) -> None:
    """Check a fault: exactly three strings."""
    fault = response.json()["fault"]
    assert (response.status_code, fault["code"]) == (status, code)
    assert set(response.json()) == {"fault"}
    assert set(fault) == {"code", "message", "description"}
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"


# 1. Access tokens.


async def test_a_token_is_opaque_and_lives_an_hour(door: Door) -> None:
    response = await door.token(scope="read write")
    body = response.json()
    sample = vector("auth-post-token.response")
    assert response.status_code == 200
    assert list(body) == list(sample)
    assert {**body, "access_token": ""} == {**sample, "access_token": ""}
    assert len(body["access_token"]) == 32
    assert response.headers["cache-control"] == "no-store"


async def test_without_a_scope_the_token_has_the_default_one(door: Door) -> None:
    assert (await door.token()).json()["scope"] == "default"
    assert (await door.token(scope="")).json()["scope"] == "default"


async def test_a_repeated_request_gets_the_same_token_with_what_is_left_of_its_hour(door: Door) -> None:
    first = (await door.token()).json()
    door.clock.advance(1800.4)
    again = (await door.token()).json()
    assert again["access_token"] == first["access_token"]
    assert again["expires_in"] == 1799
    door.clock.advance(1799.6)
    assert (await door.token()).json()["access_token"] != first["access_token"]


async def test_scopes_are_a_set_and_each_set_has_its_own_token(door: Door) -> None:
    first = (await door.token(scope="read write")).json()
    assert (await door.token(scope="write  read read")).json() == first
    assert (await door.token(scope="read")).json()["access_token"] != first["access_token"]


async def test_requests_at_the_same_time_get_one_token(door: Door) -> None:
    answers = await asyncio.gather(*(door.token() for _ in range(8)))
    assert len({answer.json()["access_token"] for answer in answers}) == 1


async def test_another_key_has_another_token(door: Door) -> None:
    other = await door.accounts.add_key(ACCOUNT)
    answer = await door.client.post(TOKEN, data=GRANT, headers=basic(other.key, other.secret))
    assert answer.json()["access_token"] != (await door.token()).json()["access_token"]


async def test_credentials_may_come_in_the_form(door: Door) -> None:
    form = {**GRANT, "client_id": door.key.key, "client_secret": door.key.secret, "unknown": "ignored"}
    answer = await door.client.post(TOKEN, data=form)
    assert answer.json() == (await door.token()).json()


async def test_the_content_type_is_not_enforced(door: Door) -> None:
    headers = {**basic(door.key.key, door.key.secret), "Content-Type": "*/*"}
    answer = await door.client.post(TOKEN, content=b"grant_type=client_credentials", headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=", "invalid_request"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&scope=read&scope=write", "invalid_request"),
        (b"grant_type=client_credentials&scope=%ff", "invalid_request"),
        (b"grant_type=client_credentials\xff", "invalid_request"),
        (b"&".join(b"f%d=1" % n for n in range(40)), "invalid_request"),
        (b"grant_type=password", "unsupported_grant_type"),
        (b"grant_type=client_credentials&scope=admin", "invalid_scope"),
        (b"grant_type=client_credentials&scope=" + b"read+" * 1000, "invalid_scope"),
    ],
)
async def test_a_wrong_form_is_refused_as_oauth2_says(door: Door, form: bytes, error: str) -> None:
    answer = await door.client.post(TOKEN, content=form, headers=basic(door.key.key, door.key.secret))
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert set(answer.json()) == {"error", "error_description"}


async def test_a_missing_grant_type_is_described_as_published(door: Door) -> None:
    answer = await door.client.post(TOKEN, headers=basic(door.key.key, door.key.secret))
    assert answer.json()["error_description"] == "Missing grant_type parameter value"


@pytest.mark.parametrize("path", [TOKEN, REVOKE])
async def test_a_client_that_is_none_gets_both_shapes_of_error(door: Door, path: str) -> None:
    form = {**GRANT, "token": "0" * 32}
    wrong = [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + b64encode(b"no colon").decode()},
        {"Authorization": "Basic " + b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Bearer abc"},
        basic(door.key.key, "wrong"),
        basic("unknown", door.key.secret),
        basic("", ""),
    ]
    for headers in wrong:
        answer = await door.client.post(path, data=form, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.json() == vector("auth-post-token.error.response")
        assert "Bearer" in answer.headers["www-authenticate"]


async def test_a_revoked_key_gets_no_token_and_its_token_is_refused(door: Door) -> None:
    headers = await door.signed_in()
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200
    await door.accounts.revoke_key(ACCOUNT, door.key.key)
    faulted(await door.client.get(DEVICES, headers=headers), 401, "900901")
    assert (await door.token()).status_code == 401


# 2. Revocation.


async def test_a_revoked_token_is_refused_and_the_next_one_is_new(door: Door) -> None:
    headers = await door.signed_in()
    token = headers["Authorization"].removeprefix("Bearer ")
    credentials = basic(door.key.key, door.key.secret)
    answer = await door.client.post(REVOKE, data={**GRANT, "token": token}, headers=credentials)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["RevokedAccessToken"] == token
    faulted(await door.client.get(DEVICES, headers=headers), 401, "900901")
    assert (await door.token()).json()["access_token"] != token


async def test_an_unknown_token_is_as_good_as_revoked_and_not_echoed(door: Door) -> None:
    credentials = basic(door.key.key, door.key.secret)
    for token in ("0" * 32, "x\r\nSet-Cookie: a=b"):
        answer = await door.client.post(REVOKE, data={"token": token}, headers=credentials)
        assert (answer.status_code, answer.content) == (200, b"")
        assert "revokedaccesstoken" not in answer.headers


async def test_a_key_can_not_revoke_the_token_of_another(door: Door) -> None:
    headers = await door.signed_in()
    other = await door.accounts.add_key(ACCOUNT)
    form = {"token": headers["Authorization"].removeprefix("Bearer ")}
    assert (await door.client.post(REVOKE, data=form, headers=basic(other.key, other.secret))).content == b""
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (GRANT, "invalid_request"),
        ({"token": "0" * 32, "grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_wrong_revocation_is_refused(door: Door, form: dict[str, str], error: str) -> None:
    answer = await door.client.post(REVOKE, data=form, headers=basic(door.key.key, door.key.secret))
    assert (answer.status_code, answer.json()["error"]) == (400, error)


# 3. Sessions.


async def test_login_answers_a_guid_and_logout_the_same(door: Door) -> None:
    headers = await door.signed_in()
    session = headers["VZ-M2M-Token"]
    assert str(uuid.UUID(session)) == session
    ended = await door.client.post(LOGOUT, headers=headers)
    assert (ended.status_code, ended.json()) == (200, {"sessionToken": session})
    expired = f"{UWS}.REQUEST_FAILED.SessionToken.Expired"
    refused(await door.client.post(LOGOUT, headers=headers), 400, expired)
    refused(await door.client.get(DEVICES, headers=headers), 400, expired)


async def test_an_expired_session_is_told_as_published(door: Door) -> None:
    headers = await door.signed_in()
    door.clock.advance(20 * 60 + 1)
    answer = await door.client.get(DEVICES, headers=headers)
    assert (answer.status_code, answer.json()) == (400, vector("auth-session-expired.response"))


async def test_every_call_restarts_the_clock_of_the_session(door: Door) -> None:
    headers = await door.signed_in()
    for _ in range(4):
        door.clock.advance(20 * 60)
        headers |= await door.bearer()
        assert (await door.client.get(DEVICES, headers=headers)).status_code == 200
    door.clock.advance(20 * 60 + 0.001)
    headers |= await door.bearer()
    refused(
        await door.client.get(DEVICES, headers=headers), 400, f"{UWS}.REQUEST_FAILED.SessionToken.Expired"
    )


async def test_a_call_that_is_refused_for_its_account_restarts_the_clock_too(door: Door) -> None:
    headers = await door.signed_in()
    door.clock.advance(15 * 60)
    assert (await door.client.get("/api/fota/v3/devices/9-9", headers=headers)).status_code == 400
    door.clock.advance(15 * 60)
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200


async def test_a_user_may_have_several_sessions(door: Door) -> None:
    first, second = await door.signed_in(), await door.signed_in()
    assert first["VZ-M2M-Token"] != second["VZ-M2M-Token"]
    await door.client.post(LOGOUT, headers=first)
    assert (await door.client.get(DEVICES, headers=second)).status_code == 200


async def test_the_session_token_is_matched_in_any_case(door: Door) -> None:
    headers = await door.signed_in()
    headers["VZ-M2M-Token"] = headers["VZ-M2M-Token"].upper()
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200


async def test_any_token_works_with_any_session_and_rights_are_the_users(door: Door) -> None:
    await door.accounts.add_account("2-2", 0, [])
    foreign = await door.accounts.add_key("2-2")
    token = await door.client.post(TOKEN, data=GRANT, headers=basic(foreign.key, foreign.secret))
    headers = await door.signed_in()
    headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200
    refused(
        await door.client.get("/api/fota/v3/devices/2-2", headers=headers),
        400,
        f"{UWS}.REQUEST_FAILED.AccountName",
    )


async def test_five_failures_in_a_row_lock_the_user_until_it_is_unlocked(door: Door) -> None:
    failed, locked = f"{UWS}.REQUEST_FAILED.LoginFailed", f"{UWS}.REQUEST_FAILED.LoginLocked"
    for _ in range(4):
        refused(await door.login("wrong-one"), 400, failed)
    assert (await door.login()).status_code == 200
    for _ in range(5):
        refused(await door.login("wrong-one"), 400, failed)
    refused(await door.login("wrong-one"), 400, locked)
    refused(await door.login(), 400, locked)
    await door.accounts.unlock_user(ACCOUNT, USER)
    assert (await door.login()).status_code == 200


async def test_of_guesses_at_the_same_time_five_count(door: Door) -> None:
    guesses = ["wrong-one"] * 30 + [PASSWORD]
    answers = await asyncio.gather(*(door.login(guess) for guess in guesses))
    assert [answer.status_code for answer in answers] == [400] * 31
    assert sum("LoginFailed" in answer.json()["errorCode"] for answer in answers) == 5


async def test_an_unknown_user_is_told_what_a_wrong_password_is_told(door: Door) -> None:
    wrong, unknown = await door.login("wrong-one"), await door.login(user="nobody")
    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content)
    for _ in range(6):
        assert (await door.login(user="nobody")).content == unknown.content


async def test_login_needs_a_bearer(door: Door) -> None:
    body = {"username": USER, "password": PASSWORD}
    faulted(await door.client.post(LOGIN, json=body), 401, "900902")
    answer = await door.client.post(LOGIN, json=body, headers={"Authorization": "Bearer x"})
    faulted(answer, 401, "900901")
    assert "/api/m2m/v1, version: v1" in answer.json()["fault"]["description"]


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"[]", b"null", b"{}", b'{"username":"fleet-ops"}', b'{"username":1,"password":"x"}'],
)
async def test_a_login_without_a_body_of_its_form_is_undefined(door: Door, body: bytes) -> None:
    answer = await door.client.post(LOGIN, content=body, headers=await door.bearer())
    refused(answer, 400, f"{UWS}.INPUT_INVALID.RequestUndefined")


async def test_a_password_reset_is_in_force_at_once_and_sessions_stay(door: Door) -> None:
    headers = await door.signed_in()
    answer = await door.client.put(RESET, json={"oldPassword": PASSWORD}, headers=headers)
    assert (answer.status_code, list(answer.json())) == (200, ["newPassword"])
    refused(await door.login(), 400, f"{UWS}.REQUEST_FAILED.LoginFailed")
    assert (await door.login(answer.json()["newPassword"])).status_code == 200
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200


async def test_a_reset_with_a_wrong_password_counts_as_a_failed_login(door: Door) -> None:
    headers = await door.signed_in()
    for _ in range(5):
        answer = await door.client.put(RESET, json={"oldPassword": "wrong-one"}, headers=headers)
        refused(answer, 400, f"{UWS}.INPUT_INVALID.OldPassword")
    answer = await door.client.put(RESET, json={"oldPassword": PASSWORD}, headers=headers)
    refused(answer, 400, f"{UWS}.REQUEST_FAILED.LoginLocked")


async def test_a_reset_without_a_body_is_undefined(door: Door) -> None:
    answer = await door.client.put(RESET, headers=await door.signed_in())
    refused(answer, 400, f"{UWS}.INPUT_INVALID.RequestUndefined")


async def test_the_oldest_session_makes_room(door: Door) -> None:
    first = await door.signed_in()
    for _ in range(1000):
        await door.store.add_session(1, uuid.uuid4().bytes * 2, door.clock.now_ms(), keep=1000)
    refused(await door.client.get(DEVICES, headers=first), 400, f"{UWS}.INPUT_INVALID.SessionToken.Invalid")


# 4. The order of the checks of a FOTA call: each call breaks one thing more than the one after it.


async def test_the_checks_of_a_call_come_in_order(door: Door) -> None:
    await door.accounts.add_account("2-2", 0, [])
    other = "/api/fota/v3/devices/2-2"
    bearer, signed_in = await door.bearer(), await door.signed_in()
    faulted(await door.client.get("/api/fota/v3/nothing/2-2"), 404, "900906")
    faulted(await door.client.get(other), 401, "900902")
    faulted(await door.client.get(other, headers={"Authorization": "Bearer wrong"}), 401, "900901")
    format_, invalid = "REQUEST_FAILED.SessionToken.Format", "INPUT_INVALID.SessionToken.Invalid"
    refused(await door.client.get(other, headers=bearer), 400, f"{UWS}.{format_}")
    for session in ("not-a-guid", str(uuid.uuid4())):
        headers = {**bearer, "VZ-M2M-Token": session}
        refused(await door.client.get(other, headers=headers), 400, f"{UWS}.{invalid}")
    door.clock.advance(21 * 60)
    expired = f"{UWS}.REQUEST_FAILED.SessionToken.Expired"
    refused(await door.client.get("/api/fota/v3/devices/bad", headers=signed_in), 400, expired)
    signed_in = await door.signed_in()
    await door.accounts.set_active(ACCOUNT, active=False)
    await door.accounts.set_active("2-2", active=False)
    bad = await door.client.get("/api/fota/v3/devices/0742_1", headers=signed_in)
    refused(bad, 400, "INVALID_PARAMETER")
    assert bad.json()["errorMessage"] == "Invalid account name format"
    unknown = await door.client.get("/api/fota/v3/devices/3-3", headers=signed_in)
    refused(unknown, 400, f"{UWS}.REQUEST_FAILED.AccountNotFound")
    refused(await door.client.get(other, headers=signed_in), 400, f"{UWS}.REQUEST_FAILED.AccountName")
    inactive = await door.client.post(DEVICES, headers=signed_in, content=b"no json")
    assert inactive.json() == {"errorCode": "INVALID_PARAMETER", "errorMessage": "Inactive account"}
    await door.accounts.set_active(ACCOUNT, active=True)
    body = await door.client.post(DEVICES, headers=signed_in, content=b"no json")
    assert body.json() == {"errorCode": "INVALID_PARAMETER", "errorMessage": "Input binding error"}


async def test_a_wrong_bearer_is_told_as_published(door: Door) -> None:
    answer = await door.client.get(DEVICES, headers={"Authorization": "Bearer wrong"})
    assert answer.json() == vector("auth-bearer-invalid.response")


async def test_an_access_token_dies_after_its_hour_however_much_it_is_used(door: Door) -> None:
    headers = await door.signed_in()
    for _ in range(4):
        door.clock.advance(899.999)
        assert (await door.client.get(DEVICES, headers=headers)).status_code == 200
    door.clock.advance(0.004)
    faulted(await door.client.get(DEVICES, headers=headers), 401, "900901")


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "Bearer   {}", " Bearer {} "])
async def test_the_scheme_is_matched_in_any_case(door: Door, form: str) -> None:
    headers = await door.signed_in()
    token = headers["Authorization"].removeprefix("Bearer ")
    headers["Authorization"] = form.format(token)
    assert (await door.client.get(DEVICES, headers=headers)).status_code == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic abc", "abc"])
async def test_a_header_without_a_bearer_is_missing(door: Door, value: str) -> None:
    faulted(await door.client.get(DEVICES, headers={"Authorization": value}), 401, "900902")


# Strangers.


@given(st.binary(max_size=300))
def test_any_form_is_read_or_refused(data: bytes) -> None:
    form: dict[str, str] = {}
    with contextlib.suppress(Refusal):
        form = read_form(data)
    assert all(form.values())


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_any_header_is_read_or_is_none(text: str) -> None:
    assert bearer_token(text) is None or bearer_token(text)
    credentials = basic_credentials(text)
    assert credentials is None or len(credentials) == 2


@settings(max_examples=30, deadline=None)
@given(
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
)
def test_no_header_and_no_account_breaks_a_call(authorization: bytes, session: bytes, name: str) -> None:
    async def call() -> None:
        door = await open_door()
        async with door.client:
            bearer = (await door.bearer())["Authorization"].encode()
            for first in (authorization, b"Bearer " + authorization, bearer):
                headers = [(b"authorization", first), (b"vz-m2m-token", session)]
                answer = await door.client.post(LOGOUT, headers=headers)
                assert answer.status_code in (400, 401)
            signed_in = await door.signed_in()
            answer = await door.client.get("/api/fota/v3/devices/" + escaped(name), headers=signed_in)
            assert answer.status_code in (400, 404)

    asyncio.run(call())


def escaped(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


async def test_secrets_are_neither_logged_nor_shown(door: Door) -> None:
    with capture_logs() as logs:
        headers = await door.signed_in()
        await door.login("wrong-one")
        await door.client.put(RESET, json={"oldPassword": "wrong-one"}, headers=headers)
        door.devices.broken = RuntimeError("the disk is gone")
        assert (await door.client.get(DEVICES, headers=headers)).status_code == 500
        await door.client.post(LOGOUT, headers=headers)
    assert [entry["event"] for entry in logs] == ["call failed"]
    shown = repr(logs) + repr(vars(door.store)) + repr(door.key)
    assert [secret for secret in [*door.secrets, "wrong-one"] if secret in shown] == []


# With the database behind: what it alone can get wrong.


async def test_the_whole_way_over_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/overair.db"
    async with Database(url) as database:
        await asyncio.to_thread(upgrade, database.engine)
        door = await open_door(SqlAccountStore(database))
        async with door.client:
            headers = await door.signed_in()
            door.clock.advance(600)
            assert (await door.client.get(DEVICES, headers=headers)).status_code == 200
    async with Database(url) as database:
        # Restarted, it knows of the use ten minutes after the login.
        door.clock.advance(1199)
        again = door_to(SqlAccountStore(database), door.clock, Limits())
        async with again.client:
            assert (await again.client.get(DEVICES, headers=headers)).status_code == 200
            assert (await again.client.post(LOGOUT, headers=headers)).status_code == 200
            answer = await again.client.get(DEVICES, headers=headers)
            refused(answer, 400, f"{UWS}.REQUEST_FAILED.SessionToken.Expired")
