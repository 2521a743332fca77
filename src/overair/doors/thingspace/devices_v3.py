"""Devices of API v3 (spec api-v3.md, section 3): the account's list, page by page, and the look-up.

Devices come from the domain as JSON already. The head of the answer is a record with an empty list, and
the devices are put into that list as they are: a page of 1000 is joined, not encoded.
"""

from collections.abc import Sequence

from msgspec import Struct

from overair.accounts.model import Access
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Refusal, unreadable_device_list
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Route, json_body
from overair.doors.thingspace.parameters import ACCOUNT, CURSOR, FIRST_PAGE, ONLY_PROTOCOL, PROTOCOL
from overair.records import (
    V3AccountDeviceList,
    V3DeviceListQueryRequest,
    V3DeviceListQueryResult,
    encode,
)

PATH = "/api/fota/v3/devices/{acc}"


async def page(call: Call, access: Access, _: None) -> bytes:
    """Answer a page of the account's devices, by IMEI."""
    after = call.value(CURSOR)
    found = await call.services.devices.page(access.account.id, call.value(PROTOCOL), after)
    head = V3AccountDeviceList(
        account_name=access.account.name,
        has_more_data=found.more,
        last_seen_device_id=found.last or after or FIRST_PAGE,
        max_page_size=call.services.limits.page_size,
        device_list=[],
    )
    return with_devices(head, found.documents)


async def look_up(call: Call, access: Access, asked: V3DeviceListQueryRequest) -> bytes:
    """Answer what is known of the devices asked for; the path's account need not have them all."""
    imeis = bounded_list(asked.device_list, call.services.limits.device_list_items)
    found = await call.services.devices.look_up(access.account.id, imeis, call.value(ONLY_PROTOCOL))
    head = V3DeviceListQueryResult(account_name=access.account.name, device_count=len(found), device_list=[])
    return with_devices(head, found)


def bounded_list(imeis: Sequence[str], limit: int) -> list[str]:
    """Return the list without duplicates, in order; :class:`Refusal` when longer than *limit*."""
    if len(imeis) > limit:
        raise Refusal(errors.device_list_exceeds(limit))
    return list(dict.fromkeys(imeis))


def with_devices(head: Struct, documents: Sequence[bytes]) -> bytes:
    """Encode *head*, whose last field is an empty list, with *documents* in that list."""
    return b"%b%b]}" % (encode(head).removesuffix(b"]}"), b",".join(documents))


DEVICE_LIST_PROBLEMS = (
    errors.INPUT_BINDING,
    errors.DEVICE_LIST_EMPTY,
    errors.INVALID_DEVICE_ID,
    errors.device_list_exceeds(1000),
)

ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="GET",
        path=PATH,
        summary="List the devices of an account",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=page,
        answer=V3AccountDeviceList,
        parameters=(ACCOUNT, CURSOR, PROTOCOL),
    ),
    Route(
        method="POST",
        path=PATH,
        summary="Look up devices by IMEI",
        guard=ON_ACCOUNT,
        body=json_body(V3DeviceListQueryRequest, unreadable_device_list, *DEVICE_LIST_PROBLEMS),
        handler=look_up,
        answer=V3DeviceListQueryResult,
        parameters=(ACCOUNT, ONLY_PROTOCOL),
    ),
)
