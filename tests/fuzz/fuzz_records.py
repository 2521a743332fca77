"""Feed any bytes to the record decoders: each gives a record that survives its own codec, or RecordError.

The first byte picks the decoder. `python tests/fuzz/fuzz_records.py [CORPUS...]` runs it under atheris.
"""

import sys
from collections.abc import Callable

from msgspec import Struct

from overair.records import (
    ErrorBody,
    FaultBody,
    PasswordResetRequest,
    RecordError,
    SessionLoginRequest,
    TokenError,
    TokenResult,
    V3AccountDeviceList,
    V3AddOrRemoveDeviceRequest,
    V3CampaignFirmwareUpgrade,
    V3ChangeCampaignDatesRequest,
    V3Device,
    V3DeviceListQueryRequest,
    V3DeviceListQueryResult,
    V3FirmwareSyncRequest,
    V3FirmwareSyncResult,
    check,
    decode,
    decode_request,
    encode,
)
from overair.records.times import parse_d, parse_t1, parse_t2

_STRICT: tuple[type[Struct], ...] = (
    V3Device,
    V3AccountDeviceList,
    V3DeviceListQueryResult,
    V3FirmwareSyncResult,
    TokenResult,
    TokenError,
    ErrorBody,
    FaultBody,
)
_LENIENT: tuple[type[Struct], ...] = (
    V3DeviceListQueryRequest,
    V3FirmwareSyncRequest,
    SessionLoginRequest,
    PasswordResetRequest,
    V3AddOrRemoveDeviceRequest,
    V3CampaignFirmwareUpgrade,
    V3ChangeCampaignDatesRequest,
)


def _strict(record_type: type[Struct]) -> Callable[[bytes], object]:
    return lambda data: _survives(decode(record_type, data))


def _lenient(record_type: type[Struct]) -> Callable[[bytes], object]:
    return lambda data: _survives(decode_request(record_type, data))


def _survives(record: Struct) -> None:
    if decode(type(record), encode(record)) != record:
        raise AssertionError(f"{type(record).__name__} changed in its own codec")
    check(record)


def _time(parse: Callable[[str], int]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


TARGETS: tuple[Callable[[bytes], object], ...] = (
    *map(_strict, _STRICT),
    *map(_lenient, _LENIENT),
    *map(_time, (parse_d, parse_t1, parse_t2)),
)


def one_input(data: bytes) -> None:
    """Run the decoder that the first byte names on the rest."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](bytes(data[1:]))
    except RecordError:
        return


def main() -> None:
    """Run under atheris until it is stopped."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
