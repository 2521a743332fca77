"""One device's update: asks the rules what to do, does it, and tells them what came of it.

The rules are :mod:`overair.protocols.lwm2m.updating`; this carries out one step after the other. Whenever
something was learned of the device, or time has passed, :meth:`Update.wake` has them asked again. What a
device is about to feel is stored first.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from overair.campaigns.model import Assignment
from overair.campaigns.rules import next_opening_ms, window_open
from overair.devices.model import imei_text
from overair.doors.lwm2m.conversation import Conversation, Refused, Silent
from overair.doors.lwm2m.registry import Live
from overair.doors.lwm2m.updates.pushing import Push as Pushing
from overair.doors.lwm2m.updates.surroundings import Surroundings
from overair.packages.model import ImageGrant
from overair.platform.images import DamagedImage, UnknownImage
from overair.protocols.coap import Observation, codes
from overair.protocols.lwm2m import Path, Value
from overair.protocols.lwm2m import updating as rules
from overair.protocols.lwm2m.updating import Allowed, Detail, Job, Phase, Reply, Seen, Step, Target
from overair.protocols.lwm2m.updating.layout import LAYOUTS

_log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Job).decode

RESET_BYTE = b"\0"


class Update:
    """An attempt of a campaign with one device. Its end is told to the campaign engine."""

    def __init__(self, around: Surroundings, assignment: Assignment, token: str) -> None:
        self._around = around
        self.assignment = assignment
        self.grant: ImageGrant | None = None
        self._signed = False
        self._loop = asyncio.get_running_loop()
        self.job = self._taken_up(assignment, token)
        self._stored = assignment.progress
        self._seen = Seen()
        self._observations: list[Observation] = []
        self._push: Pushing | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def imei(self) -> int:
        return self.assignment.imei

    @property
    def transfers(self) -> bool:
        """Whether an image is on its way to the device; one that is only to be delivered is not."""
        phase = self.job.phase
        return phase is Phase.DOWNLOADING or (phase is Phase.DELIVER and self.job.acted)

    def wake(self) -> None:
        """Have the rules asked again, now or after the step that is under way."""
        if self._around.is_over(self):
            return
        if self._task is not None:
            self._again = True
            return
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._done)

    def registered(self) -> None:
        """The device registered: it may have rebooted."""
        self.job = rules.registered(self.job)
        self._observations.clear()
        self.wake()

    def learned(self, values: Mapping[Path, Value]) -> None:
        """The device said something unasked."""
        self._seen = rules.learn(self._seen, self.job, values, now_ms=self._now_ms())
        self.wake()

    def fetched(self, *, refused: bool) -> None:
        """The device asked for a part of its image."""
        self.job = rules.download_refused(self.job) if refused else rules.progressed(self.job, self._now_ms())

    def stop(self) -> None:
        """End it as far as that is still possible."""
        self.job = rules.cancel(self.job)
        self.wake()

    def let_go(self) -> None:
        """Do nothing more by itself: it is over, or will be taken up after a restart."""
        if self._timer is not None:
            self._timer.cancel()
        if self._push is not None:
            self._push.give_up()
            self._push = None

    async def close(self) -> None:
        """Let go of it without an end: it is taken up after a restart."""
        self.let_go()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _taken_up(self, assignment: Assignment, token: str) -> Job:
        now_ms, deadline_ms = self._now_ms(), assignment.deadline_ms
        if assignment.progress is None:
            return rules.begin(token, now_ms=now_ms, deadline_ms=deadline_ms)
        # The token of an attempt that was interrupted may be in the device's hands. Whether the device still
        # reports by itself nobody knows: it ends with the first notification that finds no service.
        return msgspec.structs.replace(
            _decode(assignment.progress), deadline_ms=deadline_ms, watch=rules.Watch.UNKNOWN, watch_asked=0
        )

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("update_failed", imei=imei_text(self.imei), exc_info=error)
            self._set_timer(self._around.retry_seconds)
        elif self._again:
            self.wake()

    async def _run(self) -> None:
        if self.grant is None and not await self._find_image():
            return
        while not self._around.is_over(self):
            self._again = False
            before = self.job
            step = self._decide()
            if isinstance(step, rules.Wait):
                self._wait(step.until_ms)
                if not self._again:
                    return
                continue
            if _is_stored_first(step):
                await self._keep(before)
            if not await self._do(step):
                return

    def _decide(self) -> Step:
        live = self._around.registered(self.imei)
        if live is not None and live.objects != self._seen.objects:
            self._seen = msgspec.structs.replace(self._seen, objects=live.objects)
        self.job, step = rules.decide(
            self.job, self._seen, self._target(), self._allowed(live), self._now_ms(), self._around.policy
        )
        places = self._around.places
        if self.transfers:
            places.take(self)
        elif self.job.phase is not Phase.DELIVER:
            places.leave(self)
        return step

    async def _find_image(self) -> bool:
        package = await self._around.package(self.assignment.package_id)
        if package is None or package.sha256 is None:
            await self._around.refused(self)
            return False
        self.grant = ImageGrant(package.id, package.size_bytes, package.sha256)
        self._signed = package.signed_by is not None
        return True

    async def _keep(self, before: Job) -> None:
        """Store the job. If that fails nothing was decided: what the device never felt must not count."""
        decided, stored = self.job, _encode(self.job)
        if stored == self._stored:
            return
        try:
            await self._around.keep(self, stored)
            self._stored = stored
        finally:
            if self._stored != stored and self.job is decided:
                self.job = before

    async def _do(self, step: Step) -> bool:
        """Do one step; returns whether to go on."""
        if self._push is not None and not isinstance(step, rules.Push):
            self._push.give_up()
            self._push = None
        if isinstance(step, rules.Retry):
            await self._around.retry(self, step.detail, step.at_ms)
            return False
        if isinstance(step, rules.Succeed | rules.Fail | rules.Cancelled):
            await self._end(step)
            return False
        if isinstance(step, rules.Push):
            return await self._do_push(step)
        live = self._live()
        if live is None:
            return await self._unanswered(step)
        conversation = self._around.conversation(live)
        try:
            await self._ask(conversation, step)
        except Silent:
            # Unless it was heard since: then only the messages were lost.
            if live.awake_until <= conversation.asked_until:
                live.asleep_after_timeout()
            return await self._unanswered(step)
        except Refused as refused:
            self.job = rules.answered(self.job, rules.reply_of(refused.code))
        return True

    async def _unanswered(self, step: Step) -> bool:
        if step.felt:
            self.job = rules.answered(self.job, Reply.SILENT)
        return True

    async def _ask(self, conversation: Conversation, step: Step) -> None:
        if isinstance(step, rules.Read):
            await self._read(conversation, step.paths)
            return
        if isinstance(step, rules.Observe):
            await self._observe(conversation, step.paths)
            return
        place = await self._act(conversation, step)
        self.job = rules.answered(self.job, Reply.DONE, place=place)

    async def _act(self, conversation: Conversation, step: Step) -> Path | None:
        """Do what the device feels."""
        if isinstance(step, rules.WriteUri):
            if step.means not in self._around.means(conversation.live):
                raise Refused(codes.BAD_REQUEST, f"{step.means}: no such door any more")
            url = self._around.image_url(self, step.means, conversation.live, short=step.short)
            await conversation.write(step.path, url)
        elif isinstance(step, rules.Reset):
            await conversation.write(step.path, "" if step.via is rules.Via.URI else RESET_BYTE)
        elif isinstance(step, rules.Execute):
            await conversation.execute(step.path, step.arguments)
        elif isinstance(step, rules.Create):
            return await conversation.create(step.object_id)
        return None

    async def _read(self, conversation: Conversation, paths: Sequence[Path]) -> None:
        """Read in one message if the device can: every message costs a battery (spec lwm2m.md, 8.6)."""
        if len(paths) > 1 and conversation.composes:
            turn = self.job.turn
            try:
                values = await conversation.read_composite(paths)
            except Refused as refused:
                _log.info("composite_refused", imei=imei_text(self.imei), reason=str(refused))
            else:
                self._learn(values, paths, turn)
                return
        for path in paths:
            turn = self.job.turn
            values = {}
            try:
                values = await conversation.read(path)
            except Refused as refused:
                _log.info("read_refused", imei=imei_text(self.imei), reason=str(refused))
            self._learn(values, (path,), turn)

    def _learn(self, values: Mapping[Path, Value], asked: Sequence[Path], turn: int) -> None:
        """Fold in an answer, unless the device registered since it was asked: it may have rebooted."""
        if turn == self.job.turn:
            self._seen = rules.learn(self._seen, self.job, values, asked=asked, now_ms=self._now_ms())

    async def _observe(self, conversation: Conversation, paths: Sequence[Path]) -> None:
        agreed, turn = True, self.job.turn
        for path in paths:
            try:
                values, observation = await conversation.observe(path)
            except Refused:
                agreed = False
                continue
            self._learn(values, (path,), turn)
            if observation is None:
                agreed = False
            else:
                self._observations.append(observation)
                await self._around.observed(conversation.live, path, observation)
        if turn == self.job.turn:
            self.job = rules.observed(self.job, agreed)

    async def _do_push(self, step: rules.Push) -> bool:
        """Begin or go on with sending the image; returns False, since its end wakes the rules."""
        live = self._live()
        if live is None:
            return await self._unanswered(step)
        if self._push is not None and self._push.is_running:
            return False
        if step.resume and self._push is None:
            self.job = rules.answered(self.job, Reply.GONE)
            return True
        if not step.resume or self._push is None:
            try:
                body = await self._around.whole(self)
            except (DamagedImage, UnknownImage):
                await self._around.refused(self)
                return False
            self._push = Pushing(self._around.endpoint, step, body, self._around.flush)
        self._push.run(live, self._pushed)
        return False

    def _pushed(self, reply: Reply, bytes_sent: int) -> None:
        self.job = rules.answered(self.job, reply, bytes_sent=bytes_sent)
        if reply is not Reply.SILENT:
            self._push = None
        self.wake()

    async def _end(self, step: "rules.Succeed | rules.Fail | rules.Cancelled") -> None:
        if isinstance(step, rules.Fail) and step.reset:
            await self._make_idle()
        for observation in self._observations:
            self._around.endpoint.forget_observation(observation)
        self._observations.clear()
        if isinstance(step, rules.Succeed):
            _log.info("updated", imei=imei_text(self.imei), version=step.version, remark=step.remark)
            await self._around.succeeded(self, step.version)
        elif isinstance(step, rules.Fail):
            number = "" if step.result is None else f" {step.result}"
            await self._around.failed(self, f"{step.detail}{number}")
        else:
            await self._around.failed(self, Detail.ENDED if self.job.downloaded else Detail.NO_RESPONSE)

    async def _make_idle(self) -> None:
        """Have the device forget an image that it will not be told to install."""
        live = self._live()
        path = _uri_path(self.job)
        if live is None or path is None:
            return
        try:
            await self._around.conversation(live).write(path, "")
        except (Silent, Refused) as error:
            _log.info("not_reset", imei=imei_text(self.imei), reason=str(error))

    # What is known.

    def _live(self) -> Live | None:
        """Return the registration, if the device listens."""
        return self._around.listening(self.imei)

    def _now_ms(self) -> int:
        return self._around.clock.now_ms()

    def _target(self) -> Target:
        assignment = self.assignment
        kind = rules.Kind.FIRMWARE if assignment.kind == "firmware" else rules.Kind.SOFTWARE
        return Target(
            kind=kind,
            version_from=assignment.version_from,
            version_to=assignment.version_to,
            size_bytes=self.grant.size_bytes if self.grant else 0,
            name=assignment.package_name,
        )

    def _allowed(self, live: Live | None) -> Allowed:
        now_ms, assignment = self._now_ms(), self.assignment
        open_now = now_ms < assignment.end_ms and window_open(assignment.windows, now_ms)
        secure = live is not None and bool(live.registration.identity)
        return Allowed(
            awake=self._live() is not None,
            deliver=open_now and self._around.places.may_have(self),
            install=open_now,
            means=self._means(live),
            clear_text=self._signed or not secure,
        )

    def _means(self, live: Live | None) -> frozenset[rules.Means]:
        means = self._around.means(live)
        fits = self.grant is not None and self.grant.size_bytes <= self._around.push_bytes
        return means if fits else means - {rules.Means.PUSH}

    def _wait(self, until_ms: int) -> None:
        now_ms = self._now_ms()
        opening_ms = next_opening_ms(self.assignment.windows, now_ms)
        if now_ms < opening_ms < until_ms:
            until_ms = opening_ms
        self._set_timer(max(0, until_ms - now_ms) / 1000)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(min(seconds, self._around.longest_seconds), self.wake)


def _is_stored_first(step: Step) -> bool:
    """Whether the job must be on the disk before a step: the device feels it, or another attempt follows."""
    return step.felt or isinstance(step, rules.Retry) or (isinstance(step, rules.Fail) and step.reset)


def _uri_path(job: Job) -> Path | None:
    """Return where an empty URL makes the device idle; None before an object was chosen."""
    return (*job.place, LAYOUTS[job.place[0]].uri) if job.place else None
