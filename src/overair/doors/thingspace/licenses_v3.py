"""Licences and subscriptions of API v3 (spec api-v3.md, section 7; quirks.md Q3, Q8, Q13, Q15, Q25)."""

from overair.accounts.model import Access
from overair.doors.thingspace.devices_v3 import DEVICE_LIST_PROBLEMS, bounded_list
from overair.doors.thingspace.errors import unreadable_device_list
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Parameter, Route, json_body
from overair.doors.thingspace.parameters import ACCOUNT, CURSOR, FIRST_PAGE, read_cursor
from overair.doors.thingspace.services import Licenses
from overair.licenses import render
from overair.records import (
    FotaV3Subscription,
    V3LicenseAssignedRemovedResult,
    V3LicenseImei,
    V3LicenseSummary,
)

PATH = "/api/fota/v3/licenses/{acc}"
OTHER_PATH = "/api/fota/v3/firmware/licenses/{acc}"
SUBSCRIPTIONS = "/api/fota/v3/subscriptions/{acc}"


def _read_given_cursor(text: str) -> str | None:
    return (read_cursor(text) or FIRST_PAGE) if text else None


CURSOR_IN_PATH = Parameter(
    CURSOR.name, "path", read_cursor, CURSOR.description, CURSOR.schema, CURSOR.problems
)
RATHER_CURSOR = Parameter(
    CURSOR.name,
    "query",
    _read_given_cursor,
    "Another cursor, which is taken rather than the one in the path (Q25)",
    CURSOR.schema,
    CURSOR.problems,
)


async def page(call: Call, access: Access, _: None) -> V3LicenseSummary:
    """Answer a page of the devices that hold a licence, by IMEI."""
    return await _page_after(call, access, call.value(CURSOR))


async def page_by_path(call: Call, access: Access, _: None) -> V3LicenseSummary:
    """Answer the page whose cursor stands in the path."""
    in_path, rather = call.value(CURSOR_IN_PATH), call.value(RATHER_CURSOR)
    if rather is None:
        return await _page_after(call, access, in_path)
    return await _page_after(call, access, None if rather == FIRST_PAGE else rather)


async def assign(call: Call, access: Access, asked: V3LicenseImei) -> V3LicenseAssignedRemovedResult:
    """Assign licences to devices, in their order; those that get none do not fail the others."""
    imeis = bounded_list(asked.device_list, call.services.limits.license_list_items)
    return render.changed(await _licenses(call).assign(access.account, imeis))


async def remove(call: Call, access: Access, asked: V3LicenseImei) -> V3LicenseAssignedRemovedResult:
    """Remove the licences of devices, where that is allowed."""
    imeis = bounded_list(asked.device_list, call.services.limits.license_list_items)
    return render.changed(await _licenses(call).remove(access.account, imeis))


async def subscription(call: Call, access: Access, _: None) -> FotaV3Subscription:
    """Answer what the account has bought."""
    return render.subscription(await _licenses(call).counters(access.account.id))


async def _page_after(call: Call, access: Access, after: str | None) -> V3LicenseSummary:
    found = await _licenses(call).page(access.account.id, after)
    return render.summary(found, after or FIRST_PAGE, call.services.limits.page_size)


def _licenses(call: Call) -> Licenses:
    licenses = call.services.licenses
    if licenses is None:
        raise LookupError("licenses: this door was opened without them")
    return licenses


_DEVICES = json_body(V3LicenseImei, unreadable_device_list, *DEVICE_LIST_PROBLEMS)

ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="GET",
        path=PATH,
        summary="List the devices of an account that hold a licence",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=page,
        answer=V3LicenseSummary,
        parameters=(ACCOUNT, CURSOR),
    ),
    Route(
        method="GET",
        path=f"{PATH}/index/{{lastSeenDeviceId}}",
        summary="List the devices of an account that hold a licence (cursor in the path)",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=page_by_path,
        answer=V3LicenseSummary,
        parameters=(ACCOUNT, CURSOR_IN_PATH, RATHER_CURSOR),
    ),
    *(
        Route(
            method="POST",
            path=f"{path}/{action}",
            summary=summary,
            guard=ON_ACCOUNT,
            body=_DEVICES,
            handler=handler,
            answer=V3LicenseAssignedRemovedResult,
            parameters=(ACCOUNT,),
        )
        for path in (PATH, OTHER_PATH)
        for action, summary, handler in (
            ("assign", "Assign licences to devices", assign),
            ("remove", "Remove the licences of devices", remove),
        )
    ),
    Route(
        method="GET",
        path=SUBSCRIPTIONS,
        summary="Read the subscription of an account",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=subscription,
        answer=FotaV3Subscription,
        parameters=(ACCOUNT,),
    ),
)
