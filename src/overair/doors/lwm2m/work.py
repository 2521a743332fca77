"""What devices are to be asked, and when: after a registration, at an owner's request.

Work waits in memory under the device's IMEI until the device is heard, and is done while it is awake
(spec lwm2m.md, section 4.1). Only so many devices are asked at the same time, so that a fleet which
registers at once is first registered and then asked.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable

import msgspec
import structlog

from overair.devices.model import Observed, Operation, UnknownDevice, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m import inventory
from overair.doors.lwm2m.conversation import Conversation, Refused, Silent
from overair.doors.lwm2m.registry import Live, Registry
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.protocols.coap import Endpoint
from overair.protocols.lwm2m import Path, Value, format_path

_log = structlog.get_logger()

SETTLE_SECONDS = 0.1  # a client needs a moment to take in its location before it can be asked
HOUR_MS = 3_600_000
READY_SLACK = 1000  # entries of forgotten devices that may stand in the line
DAY_MS = 24 * HOUR_MS
SERVER_OBJECT, MUTE_SEND = 1, 23


class Due(msgspec.Struct, gc=False):
    """What one device is to be asked. Lean: after a storm a whole fleet is waiting to be asked."""

    inventory: bool = False
    firmware: bool = False
    operations: tuple[Operation, ...] = ()
    is_ready: bool = False
    """Whether it stands among those to be asked next."""

    def __bool__(self) -> bool:
        return self.inventory or self.firmware or bool(self.operations)


class Work:
    """The work list, and the conversations that are going on."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: Registry,
        service: DeviceService,
        clock: Clock,
        limits: Limits,
        flush: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._service = service
        self._clock = clock
        self._limits = limits
        self._flush = flush
        self._due: dict[int, Due] = {}
        # Those to be asked next, the last first. What was forgotten since is passed over when its turn comes.
        self._ready: list[int] = []
        self._running: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        # All operations, oldest first: those of devices that never come back are found without a search.
        self._operations: dict[str, Operation] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def registered(self, live: Live, inventoried_ms: int | None, *, objects_changed: bool) -> None:
        """Plan what a Register calls for (spec device-record.md, section 5)."""
        due = self._due.setdefault(live.registration.imei, Due())
        old = self._limits.refresh_after_hours * HOUR_MS
        stale = inventoried_ms is None or self._clock.now_ms() - inventoried_ms >= old
        if objects_changed or stale:
            due.inventory = True
        else:
            due.firmware = True  # a new Register may mean a reboot, and a reboot another firmware
        self._restart(live)

    def resume(self, live: Live) -> None:
        """Plan the inventory that a restart cut short; a device that sleeps is asked when it is heard."""
        self._due.setdefault(live.registration.imei, Due()).inventory = True
        if self._listens(live):
            self.heard(live)

    def objects_changed(self, live: Live) -> None:
        """An Update brought another object list."""
        self._due.setdefault(live.registration.imei, Due()).inventory = True
        self._restart(live)

    def ask(self, operation: Operation) -> None:
        """Put an operation on the list; begins at once if the device is awake."""
        due = self._due.setdefault(operation.imei, Due())
        if len(due.operations) >= self._limits.operations_per_device:
            self._spawn_end(due.operations[0], "superseded")
        due.operations = (*due.operations, operation)
        self._operations[operation.id] = operation
        live = self._registry.by_imei(operation.imei)
        if live is not None and live.is_awake(asyncio.get_running_loop().time()):
            self.heard(live)

    def heard(self, live: Live) -> None:
        """The device is awake: do what is due."""
        imei = live.registration.imei
        due = self._due.get(imei)
        if due is None:
            return
        if imei in self._running:
            self._again.add(imei)
        else:
            self._line_up(imei, due)
            self._start()

    def forget(self, imei: int) -> None:
        """The registration is over: what it called for is; what an owner asked for waits for the next one."""
        due = self._due.get(imei)
        if due is not None:
            due.inventory = due.firmware = due.is_ready = False
            self._settle(imei, due)
        self._again.discard(imei)
        self._cancel(imei)

    def expire(self) -> None:
        """End the operations that waited too long for their devices."""
        oldest_ms = self._clock.now_ms() - self._limits.operation_age_days * DAY_MS
        old = itertools.takewhile(lambda each: each.created_ms < oldest_ms, self._operations.values())
        for operation in list(old):
            self._spawn_end(operation, "expired")

    async def close(self) -> None:
        """End all conversations; what was due is asked again after the next Register."""
        self._due.clear()
        self._ready.clear()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._ending, return_exceptions=True)

    def _restart(self, live: Live) -> None:
        """Begin anew: what is being asked of the device is for what it was before."""
        self._cancel(live.registration.imei)
        self.heard(live)

    def _cancel(self, imei: int) -> None:
        task = self._running.get(imei)
        if task is not None:
            task.cancel()

    def _line_up(self, imei: int, due: Due) -> None:
        if due.is_ready:
            return
        due.is_ready = True
        self._ready.append(imei)
        if len(self._ready) > 2 * len(self._due) + READY_SLACK:
            standing = dict.fromkeys(self._ready)  # each once
            self._ready = [each for each in standing if each in self._due and self._due[each].is_ready]

    def _start(self) -> None:
        while self._ready and len(self._running) < self._limits.refreshes_at_once:
            # The last first: of devices that sleep, those that were heard last are still awake.
            imei = self._ready.pop()
            due = self._due.get(imei)
            if due is None or not due.is_ready:
                continue
            due.is_ready = False
            task = asyncio.get_running_loop().create_task(self._converse(imei))
            self._running[imei] = task
            task.add_done_callback(lambda ended, imei=imei: self._ended(imei, ended))  # type: ignore[misc]

    def _ended(self, imei: int, task: "asyncio.Task[None]") -> None:
        del self._running[imei]
        due = self._due.get(imei)
        if due is not None:
            self._settle(imei, due)
        if imei in self._again:
            self._again.discard(imei)
            if due:
                self._line_up(imei, due)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("conversation_failed", imei=imei_text(imei), exc_info=error)
        self._start()

    async def _converse(self, imei: int) -> None:
        live, due = self._registry.by_imei(imei), self._due.get(imei)
        if live is None or due is None or not self._listens(live):
            return
        await asyncio.sleep(SETTLE_SECONDS)
        conversation = Conversation(self._endpoint, live, self._flush)
        try:
            await self._do(conversation, due)
        except Silent:
            if live.awake_until > conversation.asked_until:
                self._again.add(imei)  # it was heard since: only the messages were lost
            else:
                self._again.discard(imei)
                live.asleep_after_timeout()
        except UnknownDevice:
            self._due.pop(imei, None)  # taken out of the inventory meanwhile
        else:
            self._due.pop(imei, None)

    def _listens(self, live: Live) -> bool:
        return live.is_awake(asyncio.get_running_loop().time()) and self._registry.reaches(live)

    async def _do(self, conversation: Conversation, due: Due) -> None:
        """Ask until nothing is due; one Read serves all that want the same (spec lwm2m.md, 4.1)."""
        while due:
            served = due.operations
            if due.inventory:
                answered = await self._take_inventory(conversation)
            else:
                answered = await self._read_firmware(conversation, observe=due.firmware, wanted=bool(served))
            due.inventory = due.firmware = False
            for operation in served:
                await self._end(operation, "done" if answered else "refused")

    async def _take_inventory(self, conversation: Conversation) -> bool:
        """Read all that the device has; returns whether that brought its firmware version."""
        live = conversation.live
        values: dict[Path, Value] = {}
        read: list[Path] = []
        refused: list[Path] = []
        for path in inventory.plan(live.objects):
            try:
                values |= await self._read_whole(conversation, path)
                read.append(path)
            except Refused as error:
                if error.forbidden:
                    refused.append(path)
                _log.info("read_refused", imei=imei_text(live.registration.imei), reason=str(error))
        said = inventory.report(values, live.objects, read=read, refused=refused)
        await self._service.report(live.registration.imei, said)
        answered = inventory.FIRMWARE_VERSION in values
        if answered:
            await self._read_firmware(conversation, observe=True, wanted=False)
        await self._unmute(conversation)
        return answered

    async def _read_whole(self, conversation: Conversation, path: Path) -> dict[Path, Value]:
        """Read an instance or object; where the device can't answer that, the resources that matter."""
        try:
            return await conversation.read(path)
        except Refused as refused:
            if refused.forbidden or path not in inventory.SINGLE_RESOURCES:
                raise
            values: dict[Path, Value] = {}
            for resource in inventory.SINGLE_RESOURCES[path]:
                with contextlib.suppress(Refused):
                    values |= await conversation.read(resource)
            if not values:
                raise
            return values

    async def _read_firmware(self, conversation: Conversation, *, observe: bool, wanted: bool) -> bool:
        """Read the firmware version; returns whether the device said it. *wanted*: by an owner."""
        live = conversation.live
        try:
            path = inventory.FIRMWARE_VERSION
            values = await (self._observe(conversation, path) if observe else conversation.read(path))
        except Refused as error:
            _log.info("read_refused", imei=imei_text(live.registration.imei), reason=str(error))
            return False
        await self._service.report(
            live.registration.imei, inventory.firmware_report(values, refreshed=wanted)
        )
        return True

    async def _observe(self, conversation: Conversation, path: Path) -> dict[Path, Value]:
        """Read, and have the device say when the value changes."""
        registration = conversation.live.registration
        values, observation = await conversation.observe(path)
        if observation is not None:
            kept = Observed(
                registration.imei,
                format_path(path),
                observation.token,
                registration.location,
                self._clock.now_ms(),
            )
            await self._service.observe(kept)
        return values

    async def _unmute(self, conversation: Conversation) -> None:
        """Let a 1.1 client Send: one whose Mute Send is absent or true never does (spec lwm2m.md, 5.7)."""
        live = conversation.live
        servers = live.objects.instances_of(SERVER_OBJECT)
        if live.registration.lwm2m_version == "1.0" or len(servers) != 1:
            return
        try:
            await conversation.write((SERVER_OBJECT, servers[0], MUTE_SEND), False)
        except Refused as error:
            _log.debug("unmute_refused", imei=imei_text(live.registration.imei), reason=str(error))

    def _spawn_end(self, operation: Operation, outcome: str) -> None:
        self._take_off(operation)
        ending = self._service.end_operation(operation.id, outcome)
        task = asyncio.get_running_loop().create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._end_recorded)

    def _end_recorded(self, task: "asyncio.Task[None]") -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("operation_not_ended", exc_info=error)

    async def _end(self, operation: Operation, outcome: str) -> None:
        if operation.id in self._operations:  # not superseded or expired while it was being done
            self._take_off(operation)
            await self._service.end_operation(operation.id, outcome)

    def _take_off(self, operation: Operation) -> None:
        del self._operations[operation.id]
        due = self._due.get(operation.imei)
        if due is not None:
            due.operations = tuple(each for each in due.operations if each.id != operation.id)
            self._settle(operation.imei, due)

    def _settle(self, imei: int, due: Due) -> None:
        if not due and imei not in self._running:
            del self._due[imei]
