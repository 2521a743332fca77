"""Callback registration of API v3 (spec callbacks.md, section 1; api-v3.md, section 8)."""

from overair.accounts.model import Access
from overair.callbacks.model import Version
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Problem
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Route, json_body
from overair.doors.thingspace.parameters import ACCOUNT
from overair.doors.thingspace.services import Callbacks
from overair.records import FotaV3SuccessResult, RecordError, V3CallbackListener, V3CallbackRegistration

PATH = "/api/fota/v3/callbacks/{acc}"
VERSION: Version = "v3"


async def show(call: Call, access: Access, _: None) -> V3CallbackListener:
    """Answer the registered URL; an empty object where there is none (Q24)."""
    listener = await _callbacks(call).listener(access.account.id, VERSION)
    return V3CallbackListener(url=listener.url if listener else None)


async def register(call: Call, access: Access, asked: V3CallbackRegistration) -> V3CallbackListener:
    """Put a URL in the place of what was registered, if anything was."""
    listener = await _callbacks(call).register(access.account.id, VERSION, asked.url)
    return V3CallbackListener(url=listener.url)


async def deregister(call: Call, access: Access, _: None) -> FotaV3SuccessResult:
    """Send nothing any more; a success also where nothing was registered."""
    await _callbacks(call).deregister(access.account.id, VERSION)
    return FotaV3SuccessResult(success=True)


def unreadable(error: RecordError) -> Problem:
    """Return the refusal of a body that holds a URL."""
    return errors.INVALID_URL if error.path in ("url", "callback") else errors.INPUT_BINDING


def _callbacks(call: Call) -> Callbacks:
    callbacks = call.services.callbacks
    if callbacks is None:
        raise LookupError("callbacks: this door was opened without them")
    return callbacks


_BODY = json_body(V3CallbackRegistration, unreadable, errors.INPUT_BINDING, errors.INVALID_URL)

ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="GET",
        path=PATH,
        summary="Show the callback URL of an account",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=show,
        answer=V3CallbackListener,
        parameters=(ACCOUNT,),
    ),
    Route(
        method="POST",
        path=PATH,
        summary="Register a callback URL",
        guard=ON_ACCOUNT,
        body=_BODY,
        handler=register,
        answer=V3CallbackListener,
        parameters=(ACCOUNT,),
    ),
    Route(
        method="PUT",
        path=PATH,
        summary="Change the callback URL",
        guard=ON_ACCOUNT,
        body=_BODY,
        handler=register,
        answer=V3CallbackListener,
        parameters=(ACCOUNT,),
    ),
    Route(
        method="DELETE",
        path=PATH,
        summary="Deregister the callback URL",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=deregister,
        answer=FotaV3SuccessResult,
        parameters=(ACCOUNT,),
    ),
)
