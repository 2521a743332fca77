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

__all__ = [
    "ErrorBody",
    "Fault",
    "FaultBody",
    "PasswordResetRequest",
    "PasswordResetResult",
    "RecordError",
    "SessionLoginRequest",
    "SessionResult",
    "TokenError",
    "TokenResult",
    "V3AccountDevice",
    "V3AccountDeviceList",
    "V3Device",
    "V3DeviceListQueryRequest",
    "V3DeviceListQueryResult",
    "V3FirmwareAsyncResult",
    "V3FirmwareSyncRequest",
    "V3FirmwareSyncResult",
    "V3FirmwareSyncRow",
    "V3SoftwareInfo",
    "check",
    "decode",
    "decode_request",
    "encode",
]
