"""The ThingSpace API as one ASGI application."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from overair.doors.thingspace import (
    auth,
    callbacks_v3,
    campaigns_v3,
    devices_v3,
    firmware_v3,
    licenses_v3,
    openapi,
    packages_v3,
    reports_v3,
)
from overair.doors.thingspace.http import JSON, AnyRoute, router
from overair.doors.thingspace.services import Services

ROUTES: tuple[AnyRoute, ...] = (
    *auth.ROUTES,
    *devices_v3.ROUTES,
    *firmware_v3.ROUTES,
    *campaigns_v3.ROUTES,
    *reports_v3.ROUTES,
    *licenses_v3.ROUTES,
    *packages_v3.ROUTES,
    *callbacks_v3.ROUTES,
)


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of everything that is served."""
    return openapi.document(ROUTES)


def thingspace_app(services: Services) -> ASGIApp:
    """Return the application; it also serves its own description at ``/openapi.json``."""
    described = msgspec.json.encode(openapi_document())

    async def description(_: Request) -> Response:
        return Response(described, media_type=JSON)

    return router(ROUTES, services, StarletteRoute("/openapi.json", description))
