"""Tokens, sessions, and the bodies of refusals (spec auth.md, api-v3.md 1).

The token request is a form, not JSON, and has no record here.
"""

from typing import Annotated

from msgspec import Meta, Struct

from overair.records.fields import Count, Secret


class ErrorBody(Struct, gc=False, omit_defaults=True, rename="camel"):
    """A business error (HTTP 400)."""

    error_code: Annotated[str, Meta(min_length=1, description="Stable")]
    error_message: Annotated[str, Meta(min_length=1, description="Free text")]


class Fault(Struct, gc=False, omit_defaults=True):
    """A refusal of the gateway."""

    code: str
    message: str
    description: str


class FaultBody(Struct, gc=False, omit_defaults=True):
    """The wrapper of a `Fault` (HTTP 401 and 404)."""

    fault: Fault


class TokenResult(Struct, gc=False, omit_defaults=True, kw_only=True):
    """An access token (POST /api/ts/v1/oauth2/token)."""

    access_token: str
    scope: Annotated[str | None, Meta(description="Granted scopes, by spaces")] = None
    token_type: Annotated[str, Meta(description="`Bearer`")]
    expires_in: Annotated[Count | None, Meta(description="Seconds left")] = None


class TokenError(Struct, gc=False, omit_defaults=True, kw_only=True):
    """No access token: the OAuth2 error, and beside it the gateway's fault (quirks.md Q23)."""

    error: Annotated[str, Meta(min_length=1, description="OAuth2 error code")]
    error_description: str | None = None
    error_uri: str | None = None
    fault: Fault | None = None


class SessionLoginRequest(Struct, gc=False, omit_defaults=True, kw_only=True):
    """A user logs in (POST /api/m2m/v1/session/login)."""

    username: Secret
    password: Secret


class SessionResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The session begun, or ended (POST /api/m2m/v1/session/login and /logout)."""

    session_token: Annotated[str, Meta(description="UUID")]


class PasswordResetRequest(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A user asks for a new password (PUT /api/m2m/v1/session/password/actions/reset)."""

    old_password: Secret


class PasswordResetResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The new password, in force at once (PUT /api/m2m/v1/session/password/actions/reset)."""

    new_password: str
