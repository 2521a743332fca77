"""The JSON records of the API exactly as on the wire, shared by server, client and command line.

`decode` and `encode` are the strict codec, `decode_request` takes what clients in the field send, `check`
tests a record made in Python. All of them raise `RecordError`, and nothing else.
"""

from overair.records.auth import (
    ErrorBody,
    Fault,
    FaultBody,
    PasswordResetRequest,
    PasswordResetResult,
    SessionLoginRequest,
    SessionResult,
    TokenError,
    TokenResult,
)
from overair.records.codec import check, decode, encode
from overair.records.errors import RecordError
from overair.records.lenient import decode_request
from overair.records.v3_callbacks import (
    V3CallbackDevice,
    V3CallbackListener,
    V3CallbackMessage,
    V3CallbackRegistration,
    V3CallbackUpgrade,
    V3FirmwareReportMessage,
    V3ReportedDevice,
)
from overair.records.v3_campaigns import (
    FotaV3SuccessResult,
    V3AddOrRemoveDeviceRequest,
    V3AddOrRemoveDeviceResult,
    V3Campaign,
    V3CampaignFirmwareUpgrade,
    V3CampaignMetaInfo,
    V3ChangeCampaignDatesRequest,
    V3DeviceListItem,
    V3FirmwareCampaign,
    V3TimeWindow,
)
from overair.records.v3_devices import (
    V3AccountDevice,
    V3AccountDeviceList,
    V3Device,
    V3DeviceListQueryRequest,
    V3DeviceListQueryResult,
    V3SoftwareInfo,
)
from overair.records.v3_firmware import (
    V3FirmwareAsyncResult,
    V3FirmwareSyncRequest,
    V3FirmwareSyncResult,
    V3FirmwareSyncRow,
)
from overair.records.v3_licenses import (
    FotaV3Subscription,
    V3LicenseAssignedRemovedResult,
    V3LicenseDevice,
    V3LicenseImei,
    V3LicenseStatus,
    V3LicenseSummary,
)
from overair.records.v3_packages import V3Firmware
from overair.records.v3_reports import (
    V3CampaignDevice,
    V3CampaignHistory,
    V3DeviceFirmwareUpgrade,
    V3DeviceStatus,
)

__all__ = [
    "ErrorBody",
    "Fault",
    "FaultBody",
    "FotaV3Subscription",
    "FotaV3SuccessResult",
    "PasswordResetRequest",
    "PasswordResetResult",
    "RecordError",
    "SessionLoginRequest",
    "SessionResult",
    "TokenError",
    "TokenResult",
    "V3AccountDevice",
    "V3AccountDeviceList",
    "V3AddOrRemoveDeviceRequest",
    "V3AddOrRemoveDeviceResult",
    "V3CallbackDevice",
    "V3CallbackListener",
    "V3CallbackMessage",
    "V3CallbackRegistration",
    "V3CallbackUpgrade",
    "V3Campaign",
    "V3CampaignDevice",
    "V3CampaignFirmwareUpgrade",
    "V3CampaignHistory",
    "V3CampaignMetaInfo",
    "V3ChangeCampaignDatesRequest",
    "V3Device",
    "V3DeviceFirmwareUpgrade",
    "V3DeviceListItem",
    "V3DeviceListQueryRequest",
    "V3DeviceListQueryResult",
    "V3DeviceStatus",
    "V3Firmware",
    "V3FirmwareAsyncResult",
    "V3FirmwareCampaign",
    "V3FirmwareReportMessage",
    "V3FirmwareSyncRequest",
    "V3FirmwareSyncResult",
    "V3FirmwareSyncRow",
    "V3LicenseAssignedRemovedResult",
    "V3LicenseDevice",
    "V3LicenseImei",
    "V3LicenseStatus",
    "V3LicenseSummary",
    "V3ReportedDevice",
    "V3SoftwareInfo",
    "V3TimeWindow",
    "check",
    "decode",
    "decode_request",
    "encode",
]
