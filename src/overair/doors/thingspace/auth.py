"""The five calls that open and close the door: access tokens, sessions, passwords (spec auth.md)."""

from typing import Any
from urllib.parse import parse_qsl

from overair.accounts.model import SignedIn
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import NOT_STORED, Problem, Refusal
from overair.doors.thingspace.guards import (
    BASIC,
    SESSION_HEADER,
    WITH_BEARER,
    WITH_SESSION,
    basic_credentials,
)
from overair.doors.thingspace.http import (
    ANYONE,
    FORM,
    NO_BODY,
    AnyRoute,
    Body,
    Call,
    Guard,
    Reply,
    Route,
    json_body,
)
from overair.records import (
    PasswordResetRequest,
    PasswordResetResult,
    RecordError,
    SessionLoginRequest,
    SessionResult,
    TokenResult,
)
from overair.records.errors import EMPTY_BODY

FORM_FIELDS = 32  # a client sends four
GRANT = "client_credentials"
SCHEME = "Bearer"

# Fields that count; the others are ignored, repeated or not.
_KNOWN = ("grant_type", "scope", "token", "client_id", "client_secret")

Form = dict[str, str]
"""Fields of a form. One without a value is as good as missing (RFC 6749, section 3.2)."""


def read_form(data: bytes) -> Form:
    """Return the known fields; :class:`Refusal` when one is repeated, or the form is none."""
    try:
        pairs = parse_qsl(data.decode(), errors="strict", max_num_fields=FORM_FIELDS)
    except ValueError:  # not UTF-8, or too many fields
        raise Refusal(errors.FORM_MALFORMED) from None
    known = [(name, value) for name, value in pairs if name in _KNOWN]
    form = dict(known)
    if len(form) != len(known):
        raise Refusal(errors.FORM_MALFORMED)
    return form


async def _form(call: Call) -> Form:
    return read_form(await call.body())


def _client(call: Call, form: Form) -> tuple[str, str]:
    """Return the key and secret of the header or else of the form; wrong ones are found out later."""
    in_form = (form.get("client_id", ""), form.get("client_secret", ""))
    return basic_credentials(call.header("authorization")) or in_form


async def issue_token(call: Call, _: None, form: Form) -> Reply:
    """Issue an access token, the same one within the hour."""
    if "grant_type" not in form:
        raise Refusal(errors.GRANT_MISSING)
    _check_grant(form)
    issued = await call.services.accounts.issue_token(*_client(call, form), form.get("scope", ""))
    answer = TokenResult(
        access_token=issued.token,
        scope=issued.scope,
        token_type=SCHEME,
        expires_in=issued.expires_in,
    )
    return Reply(answer, NOT_STORED)


async def revoke_token(call: Call, _: None, form: Form) -> Reply:
    """Revoke an access token; one that is not there is as good as revoked."""
    token = form.get("token")
    if token is None:
        raise Refusal(errors.TOKEN_MISSING)
    _check_grant(form)
    revoked = await call.services.accounts.revoke_token(*_client(call, form), token)
    # Only what we issued is echoed: anything else in a header is the caller's to write.
    return Reply(headers={"RevokedAccessToken": token} if revoked else {})


def _check_grant(form: Form) -> None:
    if form.get("grant_type", GRANT) != GRANT:
        raise Refusal(errors.GRANT_UNSUPPORTED)


async def log_in(call: Call, _: None, asked: SessionLoginRequest) -> Reply:
    """Begin a session."""
    session = await call.services.accounts.log_in(asked.username, asked.password)
    return Reply(SessionResult(session_token=session.token), NOT_STORED)


async def log_out(call: Call, signed_in: SignedIn, _: None) -> Reply:
    """End the session of the call."""
    await call.services.accounts.log_out(signed_in)
    return Reply(SessionResult(session_token=call.header(SESSION_HEADER) or ""), NOT_STORED)


async def reset_password(call: Call, signed_in: SignedIn, asked: PasswordResetRequest) -> Reply:
    """Give the user of the session a new password."""
    password = await call.services.accounts.reset_password(signed_in, asked.old_password)
    return Reply(PasswordResetResult(new_password=password), NOT_STORED)


def _unreadable(error: RecordError) -> Problem:
    """Return the refusal of a login or reset body; it names the field and the rule, never the value."""
    if error.rule == EMPTY_BODY:
        return errors.REQUEST_UNDEFINED
    return errors.request_undefined(f"The request body can't be read: {error}.")


_FORM_PROBLEMS = (errors.FORM_MALFORMED, errors.GRANT_UNSUPPORTED)
_TOKEN_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "const": GRANT},
        "scope": {"type": "string", "description": "Scopes, by spaces"},
        "client_id": {"type": "string", "description": "API key, instead of the Authorization header"},
        "client_secret": {"type": "string", "format": "password"},
    },
}
_REVOKE_FORM: dict[str, Any] = {
    **_TOKEN_FORM,
    "required": ["token"],
    "properties": {**_TOKEN_FORM["properties"], "token": {"type": "string"}},
}

# The key and secret are checked by the handlers, since the form may hold them instead of the header.
CLIENT = Guard(ANYONE.check, (BASIC,), (errors.CLIENT_INVALID,))

ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="POST",
        path="/api/ts/v1/oauth2/token",
        summary="Get an access token",
        guard=CLIENT,
        body=Body(_form, FORM, _TOKEN_FORM, _FORM_PROBLEMS),
        handler=issue_token,
        answer=TokenResult,
        problems=(errors.GRANT_MISSING, errors.SCOPE_INVALID),
    ),
    Route(
        method="POST",
        path="/api/ts/v1/oauth2/revoke",
        summary="Revoke an access token",
        guard=CLIENT,
        body=Body(_form, FORM, _REVOKE_FORM, _FORM_PROBLEMS),
        handler=revoke_token,
        answer=None,
        problems=(errors.TOKEN_MISSING,),
    ),
    Route(
        method="POST",
        path="/api/m2m/v1/session/login",
        summary="Begin a session",
        guard=WITH_BEARER,
        body=json_body(SessionLoginRequest, _unreadable, errors.REQUEST_UNDEFINED),
        handler=log_in,
        answer=SessionResult,
        problems=(errors.LOGIN_FAILED, errors.LOGIN_LOCKED),
    ),
    Route(
        method="POST",
        path="/api/m2m/v1/session/logout",
        summary="End the session",
        guard=WITH_SESSION,
        body=NO_BODY,
        handler=log_out,
        answer=SessionResult,
    ),
    Route(
        method="PUT",
        path="/api/m2m/v1/session/password/actions/reset",
        summary="Get a new password",
        guard=WITH_SESSION,
        body=json_body(PasswordResetRequest, _unreadable, errors.REQUEST_UNDEFINED),
        handler=reset_password,
        answer=PasswordResetResult,
        problems=(errors.OLD_PASSWORD, errors.LOGIN_LOCKED),
    ),
)
