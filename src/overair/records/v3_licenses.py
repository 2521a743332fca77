"""Licences and subscriptions of API v3 (spec api-v3.md 7).

The public pages and the SDK disagree on some names, so these values stand under two (quirks.md Q13, Q15):
the second name of each pair is filled from the first, or the other way where the first is optional.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from overair.records.errors import DEVICE_ID_RULE, RecordError
from overair.records.fields import MAX_ENTRIES, T1, Count, DeviceId, DeviceIds, RowDeviceId


class V3LicenseDevice(Struct, gc=False, omit_defaults=True, rename="camel"):
    """One device that holds a licence."""

    device_id: RowDeviceId
    assignment_time: Annotated[T1 | None, Meta(description="Since when")] = None

    def __post_init__(self) -> None:
        device_id = self.device_id
        if isinstance(device_id, str) and not (device_id.isascii() and device_id.isdigit()):
            raise RecordError("deviceId", DEVICE_ID_RULE)


class V3LicenseSummary(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A page of the licences of an account, by IMEI (GET /licenses/{acc})."""

    account_name: str
    total_licenses: Annotated[Count | None, Meta(description="Licences bought")] = None
    total_licenses_copy: Annotated[Count | None, Meta(description="Same as totalLicenses")] = field(
        default=None, name="totalLicense"
    )
    assigned_licenses: Annotated[Count, Meta(description="Devices that hold one")]
    has_more_data: Annotated[bool, Meta(description="Ask again with lastSeenDeviceId")]
    last_seen_device_id: Annotated[str | None, Meta(description="Cursor of the next page")] = None
    max_page_size: Count
    device_list: Annotated[list[V3LicenseDevice], Meta(max_length=MAX_ENTRIES)] | None = None

    def __post_init__(self) -> None:
        if self.total_licenses is None:
            self.total_licenses = self.total_licenses_copy
        self.total_licenses_copy = self.total_licenses


class V3LicenseImei(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The devices that are to get or lose a licence (POST /licenses/{acc}/assign and /remove)."""

    device_list: DeviceIds


class V3LicenseStatus(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What became of one device's licence; the time fields of a campaign's row are not used here."""

    device_id: DeviceId
    status: Annotated[str, Meta(description="As `LicenseAssignSuccess`")]
    result_reason: Annotated[str | None, Meta(description="Why")] = None
    result_reason_copy: Annotated[str | None, Meta(description="Same as resultReason")] = field(
        default=None, name="Reason"
    )

    def __post_init__(self) -> None:
        if self.result_reason is None:
            self.result_reason = self.result_reason_copy
        self.result_reason_copy = self.result_reason


class V3LicenseAssignedRemovedResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What was assigned or removed, a row a device (POST /licenses/{acc}/assign and /remove)."""

    account_name: str
    lic_count: Annotated[Count, Meta(description="Licences bought")]
    lic_count_copy: Annotated[Count | None, Meta(description="Same as licCount")] = field(
        default=None, name="licTotalCount"
    )
    lic_used_count: Annotated[Count, Meta(description="Devices that hold one now")]
    device_list: Annotated[list[V3LicenseStatus], Meta(max_length=MAX_ENTRIES)]

    def __post_init__(self) -> None:
        self.lic_count_copy = self.lic_count


class FotaV3Subscription(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What an account has bought (GET /subscriptions/{acc})."""

    account_name: str | None = None
    purchase_type: Annotated[
        str | None, Meta(description="`TS-HFOTA-EVNT` and `TS-HFOTA-MRC`, comma-separated; may be empty")
    ] = None
    license_count: Annotated[Count | None, Meta(description="Licences bought; 0 without MRC")] = None
    license_used_count: Annotated[Count | None, Meta(description="Devices that hold one")] = None
    update_time: Annotated[
        str | None, Meta(description="When the subscription last changed, like 2012-04-23T18:25:43.511Z")
    ] = None
