"""The ThingSpace API as one ASGI application."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from overair.accounts.service import AccountService
from overair.doors.thingspace import auth, devices_v3, firmware_v3, openapi
from overair.doors.thingspace.http import JSON, AnyRoute, router
from overair.doors.thingspace.services import Devices, Services
from overair.platform.limits import Limits

ROUTES: tuple[AnyRoute, ...] = (*auth.ROUTES, *devices_v3.ROUTES, *firmware_v3.ROUTES)


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of everything that is served."""
    return openapi.document(ROUTES)


def thingspace_app(accounts: AccountService, devices: Devices, limits: Limits) -> ASGIApp:
    """Return the application; it also serves its own description at ``/openapi.json``."""
    described = msgspec.json.encode(openapi_document())

    async def description(_: Request) -> Response:
        return Response(described, media_type=JSON)

    return router(ROUTES, Services(accounts, devices, limits), StarletteRoute("/openapi.json", description))
