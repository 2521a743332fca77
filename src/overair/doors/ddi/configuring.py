"""Attributes of devices become what is known of them (spec ddi.md, 2.2 and 10; device-record.md, 3)."""

from dataclasses import dataclass

import msgspec
import structlog
from sqlalchemy import Connection

from overair.credentials import token_sql
from overair.credentials.token_model import ControllerTaken
from overair.devices import sql as devices
from overair.devices.contacts import TakeAttributes
from overair.devices.group import apply_changes
from overair.devices.model import Operation, Report, imei_text
from overair.devices.service import DeviceService
from overair.doors.ddi import store
from overair.doors.ddi.model import Standing
from overair.doors.ddi.targets import Target, Targets, Unclaimed
from overair.platform.clock import DAY_MS, Clock
from overair.platform.database import Database
from overair.protocols.ddi.attributes import Description, description, merged
from overair.protocols.ddi.records import ConfigData
from overair.protocols.lwm2m.names import parse_endpoint_name

_log = structlog.get_logger()

ATTRIBUTE_NAME = "ddi_controller"
_IMEI_CHARACTERS = 15


class UnclaimedRefused(Exception):
    """The attributes of a controller that is no device yet do not say which one of the account it is."""


@dataclass(frozen=True, slots=True)
class _Taken:
    standing: Standing
    mismatch: str | None


class Configuring:
    """Takes attributes, and ends the operations of owners that asked for them."""

    def __init__(self, database: Database, service: DeviceService, targets: Targets, clock: Clock) -> None:
        self._database = database
        self._service = service
        self._targets = targets
        self._clock = clock
        self._asked: dict[int, list[Operation]] = {}

    async def start(self) -> None:
        """Take up what owners asked before the service was started, and from now on."""
        self._service.on_operation(self._ask)
        for operation in await self._service.open_operations():
            self._ask(operation)

    def is_wanted(self, target: Target, now_ms: int) -> bool:
        """Whether a device is to send its attributes: never came, were asked for, or are a day old."""
        standing = target.standing
        if standing.wanted or standing.reported_ms is None or target.imei in self._asked:
            return True
        return now_ms - standing.reported_ms >= DAY_MS

    def _ask(self, operation: Operation) -> None:
        if operation.kind == "report_firmware":
            self._asked.setdefault(operation.imei, []).append(operation)

    async def take(self, target: Target, said: ConfigData) -> None:
        """Take what a device says; raises Malformed or TooMany, and then nothing has changed."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> _Taken:
            return _take(connection, target.imei, target.account_id, target.controller_id, said, now_ms)

        taken = await self._database.write(write)
        self._targets.stands(target.imei, taken.standing)
        target.standing = taken.standing
        if taken.mismatch is not None:
            _log.warning("version_mismatch", imei=imei_text(target.imei), reason=taken.mismatch)
        for operation in self._asked.pop(target.imei, ()):
            await self._service.end_operation(operation.id, "done")

    async def claim(self, unclaimed: Unclaimed, said: ConfigData) -> None:
        """Find out by its attributes which device a controller is; :class:`UnclaimedRefused`."""
        now_ms = self._clock.now_ms()
        named = description(merged({}, said)).imei or ""
        imei = (
            parse_endpoint_name(named, lambda _digits: True).imei if len(named) >= _IMEI_CHARACTERS else None
        )
        if imei is None:
            raise UnclaimedRefused

        def write(connection: Connection) -> None:
            number = int(imei)
            if number not in devices.devices_of(connection, unclaimed.account_id, [number]):
                raise UnclaimedRefused
            token_sql.bind(connection, unclaimed.account_id, unclaimed.controller_id, number)
            _take(connection, number, unclaimed.account_id, unclaimed.controller_id, said, now_ms)

        try:
            await self._database.write(write)
        except ControllerTaken as error:
            _log.warning("controller_not_bound", reason=str(error))
            raise UnclaimedRefused from error


def _take(
    connection: Connection, imei: int, account_id: int, controller_id: str, said: ConfigData, now_ms: int
) -> _Taken:
    known = store.standing_of(connection, imei)
    attributes = merged(known.attributes, said)
    described = description(attributes)
    change = _change(imei, described, controller_id, replaces=said.mode == "replace", now_ms=now_ms)
    apply_changes(connection, [change])
    mismatch = _mismatch(known, described)
    after = msgspec.structs.replace(
        known,
        attributes=attributes,
        reported_ms=now_ms,
        wanted=False,
        expected=known.expected if described.firmware is None else None,
    )
    store.put_standing(connection, imei, account_id, after)
    return _Taken(after, mismatch)


def _change(
    imei: int, described: Description, controller_id: str, *, replaces: bool, now_ms: int
) -> TakeAttributes:
    report = Report(
        "HTTP",
        mdn=described.mdn,
        make=described.make,
        model=described.model,
        firmware=described.firmware,
        firmware_capable=True,
        software=tuple((name, version, None) for name, version in described.software) or None,
        software_complete=replaces,
        attributes=((ATTRIBUTE_NAME, controller_id), *described.others),
        inventory=True,
    )
    return TakeAttributes(imei, report, described.files, replaces, now_ms)


def _mismatch(known: Standing, described: Description) -> str | None:
    """Return what is wrong if a device has other firmware than it said it installed."""
    if known.expected is None or described.firmware in (None, known.expected):
        return None
    return f"said it installed {known.expected}, and has {described.firmware}"
