"""The driver for devices that speak HTTP: an attempt of a campaign is an action that they find when polling.

What moves an action is :mod:`overair.protocols.ddi`; here it is stored, and its end told to the campaign
engine. An action and what was said of it are stored before the device gets its answer.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from sqlalchemy import Connection

from overair.campaigns.model import Assignment
from overair.campaigns.rules import window_open
from overair.campaigns.service import Attempts
from overair.devices.model import imei_text
from overair.doors.ddi import store
from overair.doors.ddi.contacts import Contacts
from overair.doors.ddi.facts import Facts, PackageGone
from overair.doors.ddi.installed import take_finished
from overair.doors.ddi.model import Job, NotCancelling, Standing, Stored, UnknownAction
from overair.doors.ddi.targets import Targets
from overair.doors.ddi.waiting import Waiting
from overair.platform.clock import DAY_MS, Clock
from overair.platform.database import Database
from overair.platform.images import ImageError
from overair.platform.limits import Limits
from overair.protocols.ddi import ageing
from overair.protocols.ddi import feedback as rules
from overair.protocols.ddi.action import Action, Artifact
from overair.protocols.ddi.records import Confirmation, Feedback
from overair.protocols.ddi.states import State

_log = structlog.get_logger()

HOUR_MS = 3_600_000
RETRY_SECONDS = 3600.0
TRIES = 5
"""Attempts after which what a device skips is not offered again."""
AGAIN_SECONDS = 60.0
"""When something is done again that failed by a fault of ours."""
ATTACH_SECONDS = 120.0
"""Until then the campaign engine has taken up the attempts that run."""
NOT_REPORTED = "no response"
NOT_INSTALLED = "window or campaign ended after download"
PACKAGE = "package missing"


class Deployments:
    """The driver, and all actions that are not closed."""

    def __init__(
        self,
        database: Database,
        facts: Facts,
        attempts: Attempts,
        targets: Targets,
        contacts: Contacts,
        waiting: Waiting,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._database = database
        self._facts = facts
        self._attempts = attempts
        self._targets = targets
        self._contacts = contacts
        self._waiting = waiting
        self._clock = clock
        self._limits = limits
        self._jobs: dict[int, Job] = {}
        self._beginning: dict[int, asyncio.Task[None]] = {}
        self._stopping: set[int] = set()
        self._since = asyncio.get_running_loop().time()
        waiting.on_found = self._hurry

    def __len__(self) -> int:
        return len(self._jobs)

    async def start(self) -> None:
        """Take up the actions that were open when the service ended."""
        for stored in await self._database.read(store.open_actions):
            self._jobs[stored.imei] = Job(stored)

    async def close(self) -> None:
        """Let go of all; what is stored is taken up after a restart."""
        tasks = list(self._beginning.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Told by the engine.

    def ready(self, imei: int) -> bool:
        """Whether an action could begin right now; a device that is elsewhere is asked to come soon."""
        if imei in self._jobs or imei in self._beginning:
            return False
        self._waiting.ask(imei)
        return self._contacts.is_recent(imei)

    def begin(self, assignment: Assignment) -> None:
        """Have an action for an attempt, or take it up again."""
        self._waiting.forget(assignment.imei)
        task = asyncio.get_running_loop().create_task(self._begin(assignment))
        self._beginning[assignment.imei] = task
        task.add_done_callback(lambda _: self._begun(assignment.imei, task))

    def stop(self, imei: int) -> None:
        """Take an action back, or ask the device to stop it."""
        if imei in self._jobs or imei in self._beginning:
            self._stopping.add(imei)
            self.wake(imei)

    # Asked by the door.

    def job(self, imei: int) -> Job | None:
        """Return the action that a device has, if it is not closed."""
        job = self._jobs.get(imei)
        return None if job is None or job.action.is_closed else job

    def has_room(self) -> bool:
        """Whether more actions may be open."""
        return len(self._jobs) + len(self._beginning) < self._limits.attempts_at_once

    def is_open(self, job: Job) -> bool:
        """Whether one of the windows of an action's campaign is open."""
        return window_open(job.windows, self._clock.now_ms())

    async def stored(self, imei: int, number: int) -> Stored:
        """Return an action of a device, closed or not; :class:`UnknownAction`."""
        job = self._jobs.get(imei)
        if job is not None and job.action.id == number:
            return job.stored
        found = await self._database.read(lambda connection: store.action(connection, number))
        if found is None or found.imei != imei:
            raise UnknownAction(number)
        return found

    async def history(self, number: int, count: int) -> list[str]:
        """Return the newest messages of an action."""
        return await self._database.read(lambda connection: store.history(connection, number, count))

    # Said by devices.

    async def retrieved(self, job: Job, *, skip: bool) -> None:
        """The device read its action."""
        async with job.lock:
            now_ms = self._clock.now_ms()
            action = job.action
            if skip:
                action = msgspec.structs.replace(action, skipped_ms=now_ms)
            if action.retrieved_ms is None:
                action = msgspec.structs.replace(action, retrieved_ms=now_ms)
                await self._note(job, rules.of_server(action, "RETRIEVED", "read by the device", now_ms))
            else:
                self._hold(job, action)

    async def downloads(self, job: Job, *, whole: bool) -> None:
        """The device fetches the file, or a part of it."""
        async with job.lock:
            now_ms = self._clock.now_ms()
            first = not job.action.downloaded
            action = msgspec.structs.replace(job.action, downloaded=True, begun=True, progressed_ms=now_ms)
            if (whole or first) and action.statuses < rules.STATUSES:
                said = f"device downloads {action.artifact.filename}"
                await self._note(job, rules.of_server(action, "DOWNLOAD", said, now_ms))
            else:
                self._hold(job, action)

    def progressed(self, job: Job) -> None:
        """A piece of the file went to the device."""
        self._hold(job, msgspec.structs.replace(job.action, progressed_ms=self._clock.now_ms()))

    async def said(self, imei: int, number: int, feedback: Feedback) -> None:
        """Take feedback to a deployment; what comes after its end changes nothing (spec ddi.md, 2.4).

        Raises UnknownAction, Malformed or TooMany.
        """
        await self._take(imei, number, lambda action, now: rules.of_deployment(action, feedback, now))

    async def said_of_cancelling(self, imei: int, number: int, feedback: Feedback) -> None:
        """Take the answer to a cancellation; raises NotCancelling, too."""

        def heard(action: Action, now_ms: int) -> rules.Outcome:
            if action.state is not State.CANCELLING:
                raise NotCancelling(number)
            return rules.of_cancellation(action, feedback, now_ms)

        await self._take(imei, number, heard)

    async def confirmed(self, imei: int, number: int, said: Confirmation) -> bool:
        """Take a confirmation; False if the action is closed. Raises UnknownAction or TooMany."""
        stored = await self.stored(imei, number)
        job = self.job(imei)
        if job is None or stored.action.is_closed:
            return False
        async with job.lock:
            if job.action.state is not State.CONFIRMING:
                raise UnknownAction(number)
            await self._note(job, rules.of_confirmation(job.action, said, self._clock.now_ms()))
        return True

    async def agreed_for_ever(self, imei: int) -> None:
        """The device confirms whatever comes, and so what waits for it now."""
        job = self.job(imei)
        if job is not None and job.action.state is State.CONFIRMING:
            await self.confirmed(imei, job.action.id, Confirmation("confirmed"))

    async def _take(self, imei: int, number: int, hear: Callable[[Action, int], rules.Outcome]) -> None:
        stored = await self.stored(imei, number)
        job = self._jobs.get(imei)
        if job is None or job.action.id != number or stored.action.is_closed:
            return
        async with job.lock:
            if not job.action.is_closed:
                if job.action.state is State.CONFIRMING:
                    raise UnknownAction(number)
                await self._note(job, hear(job.action, self._clock.now_ms()))
        if job.action.is_closed:
            await self._tell(job)

    # Time.

    async def look(self) -> bool:
        """Look at all actions: some are to be stopped, are stuck, or their end is still to be told."""
        for job in list(self._jobs.values()):
            await self._look_at(job)
        return False

    def wake(self, imei: int) -> None:
        """Have one action looked at soon."""
        job = self._jobs.get(imei)
        if job is not None and imei not in self._beginning:
            task = asyncio.get_running_loop().create_task(self._look_at(job))
            self._beginning[imei] = task
            task.add_done_callback(lambda _: self._begun(imei, task))

    async def purge(self) -> int:
        """Delete actions that were closed long ago; return how many. Call it now and then."""
        before_ms = self._clock.now_ms() - self._limits.ddi_kept_days * DAY_MS
        return await self._database.write(lambda connection: store.purge(connection, before_ms))

    async def _look_at(self, job: Job) -> None:
        async with job.lock:
            now_ms = self._clock.now_ms()
            if not job.action.is_closed:
                due = self._due(job, now_ms)
                if due is not None:
                    await self._note(job, due)
        if job.action.is_closed:
            await self._tell(job)

    def _due(self, job: Job, now_ms: int) -> rules.Outcome | None:
        """Return what is to become of an action by itself."""
        imei = job.stored.imei
        around = ageing.Circumstances(
            stops=imei in self._stopping or self._is_orphan(job),
            heard_ms=self._contacts.last_ms(imei),
            waits=bool(job.windows),
            stuck_ms=self._limits.ddi_stuck_hours * HOUR_MS,
            ending_ms=self._limits.ending_hours * HOUR_MS,
        )
        self._stopping.discard(imei)
        return ageing.due(job.action, around, now_ms)

    def _is_orphan(self, job: Job) -> bool:
        """Whether the campaign engine has let go of an action while the service did not run."""
        return not job.attached and asyncio.get_running_loop().time() - self._since >= ATTACH_SECONDS

    # Beginning and ending.

    async def _begin(self, assignment: Assignment) -> None:
        while True:
            try:
                await self._open(assignment)
            except PackageGone:
                await self._refused(assignment)
            except (ImageError, OSError) as error:
                _log.error("action_not_begun", imei=imei_text(assignment.imei), reason=str(error))
                if assignment.imei not in self._stopping:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                await self._refused(assignment)
            return

    async def _open(self, assignment: Assignment) -> None:
        key = (assignment.campaign_id, assignment.imei, assignment.attempt)
        stored = await self._database.read(lambda connection: store.action_of(connection, *key))
        if stored is None:
            artifact = await self._facts.artifact(assignment.package_id)
            stored = await self._added(assignment, artifact)
        job = self._jobs.get(assignment.imei)
        if job is not None and job.action.id != stored.action.id:
            await self._take_back(job)
        if job is None or job.action.id != stored.action.id:
            job = self._jobs[assignment.imei] = Job(stored)
        job.windows, job.attached = assignment.windows, True
        await self._look_at(job)

    async def _take_back(self, job: Job) -> None:
        """Close an action that another one takes the place of."""
        async with job.lock:
            if not job.action.is_closed:
                gone = ageing.withdrawn(job.action, "another one came", self._clock.now_ms())
                await self._note(job, gone)

    async def _added(self, assignment: Assignment, artifact: Artifact) -> Stored:
        now_ms = self._clock.now_ms()

        def add(connection: Connection) -> Stored:
            settings = store.settings_of(connection, assignment.account_id)
            standing = store.standing_of(connection, assignment.imei)
            asks = settings.confirmation and standing.auto_confirm is None
            new = Action(
                id=0, artifact=artifact, state=State.CONFIRMING if asks else State.RUNNING,
                opened_ms=now_ms, progressed_ms=now_ms,
            )  # fmt: skip
            return store.add_action(
                connection,
                Stored(
                    action=new,
                    imei=assignment.imei,
                    account_id=assignment.account_id,
                    campaign_id=assignment.campaign_id,
                    attempt=assignment.attempt,
                    package_id=assignment.package_id,
                    kind=assignment.kind,
                ),
            )

        return await self._database.write(add)

    async def _refused(self, assignment: Assignment) -> None:
        key = (assignment.campaign_id, assignment.imei, assignment.attempt)
        self._stopping.discard(assignment.imei)
        await self._attempts.refused(*key, PACKAGE)

    def _begun(self, imei: int, task: "asyncio.Task[None]") -> None:
        if self._beginning.get(imei) is task:
            del self._beginning[imei]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("action_failed", imei=imei_text(imei), exc_info=error)
        elif imei in self._stopping:
            self.wake(imei)

    async def _note(self, job: Job, outcome: rules.Outcome) -> None:
        """Store an action and what was said of it, and what that means for its device."""
        stored = msgspec.structs.replace(job.stored, action=outcome.action)

        def write(connection: Connection) -> Standing | None:
            store.note(connection, stored, outcome)
            if stored.action.state is not State.FINISHED:
                return None
            after = _standing_after(store.standing_of(connection, stored.imei), stored)
            store.put_standing(connection, stored.imei, stored.account_id, after)
            return after

        after = await self._database.write(write)
        job.stored = stored
        if after is not None:
            self._targets.stands(stored.imei, after)

    def _hold(self, job: Job, action: Action) -> None:
        """Remember what need not be stored."""
        job.stored = msgspec.structs.replace(job.stored, action=action)

    async def _tell(self, job: Job) -> None:
        """Tell the campaign engine how an action ended, and forget it."""
        stored = job.stored
        async with job.lock:
            if self._jobs.get(stored.imei) is not job:
                return
            counted = await self._ended(stored)
            if stored.action.state is State.FINISHED and not counted:
                await self._database.write(lambda connection: take_finished(connection, stored))
            del self._jobs[stored.imei]
            self._stopping.discard(stored.imei)

    def _ended(self, stored: Stored) -> Awaitable[bool]:
        key = (stored.campaign_id, stored.imei, stored.attempt)
        action = stored.action
        if action.state is State.FINISHED:
            return self._attempts.succeeded(*key, None)
        if action.state is State.CANCELLED:
            detail = NOT_INSTALLED if action.downloaded else NOT_REPORTED
            return self._attempts.failed(*key, detail, None)
        again = action.retry and stored.attempt < TRIES
        return self._attempts.failed(*key, action.detail, RETRY_SECONDS if again else None)

    def _hurry(self, imei: int) -> None:
        if self.has_room() and self._contacts.is_recent(imei):
            self._contacts.hurry(imei)


def _standing_after(standing: Standing, stored: Stored) -> Standing:
    """Return what is known of a target that finished an action: it is asked what it has now."""
    expected = stored.action.artifact.version if stored.kind == "firmware" else standing.expected
    return msgspec.structs.replace(standing, wanted=True, installed_id=stored.action.id, expected=expected)
