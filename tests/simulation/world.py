"""A world from a seed: devices, a service that is killed and started again, an owner, bad weather, time."""

from __future__ import annotations

import asyncio
import hashlib
import random as random_module
import tempfile
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import func, insert, select

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.callbacks.sql import listeners
from overair.campaigns.model import (
    AlreadyEnded,
    AlreadyStarted,
    DateRefused,
    NewCampaign,
    NotEnoughLicenses,
    UnknownPackage,
)
from overair.campaigns.tables import campaigns as campaign_table
from overair.devices.model import Provisioning
from overair.packages.model import UnknownPackage as PackageGone
from overair.packages.model import WrongState
from overair.packages.sql import packages
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.simulator import Faults, State, make_image
from overair.simulator.firmware import Result
from overair.simulator.keys import Psk
from overair.simulator.transfer import Fetch

from ..inline import InlineDatabase
from ..virtual import START_MS, LoopClock
from .chronicle import Chronicle
from .devices import Devices, Member
from .ether import SERVICE_HOST, Ether
from .plan import DAY, HOUR, CampaignSpec, PackageSpec, Plan
from .service import Crash, Service, Unanswered

T = TypeVar("T")

TODAY = START_MS // DAY_MS
CHUNK_BYTES = 4096
QUIET_DAYS = 2
"""After all is over: every device has been heard by then."""
PATIENCE_DAYS = 4
"""How long after its last day a campaign may take to let go of its devices."""
CALM = Faults()


class World:
    """Everything, and what became of it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.chronicle = Chronicle()
        self.loop = asyncio.get_running_loop()
        self.ether = Ether(self.chance("ether"))
        self.devices = Devices(self.ether, self.chance("devices"), self._fetch)
        self.service = Service(
            folder, self.ether, self.chance("service"), plan.limits, self.chronicle.complain
        )
        self.account: Account
        self.answered: dict[str, Any] = {}
        """What owners were told: the ids of campaigns by name, and what became of them."""
        self._work: set[asyncio.Task[Any]] = set()
        self._calm = False

    def chance(self, what: str) -> random_module.Random:
        """Return a source of chance of its own, so that one part does not disturb another."""
        return random_module.Random(f"{what} {self.plan.seed}")

    async def run(self) -> None:
        """Let it all happen, and come to rest."""
        self._found()
        keeping = self._spawn(self._keep_service())
        for spec in self.plan.devices:
            self._spawn(self._live(spec))
        self._spawn(self._weather())
        owners = [self._spawn(self._own(spec)) for spec in self.plan.campaigns]
        owners.append(self._spawn(self._licenses()))
        await asyncio.gather(*owners)
        await self._until_closed()
        await self._calm_down()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        if not self.service.is_open:
            await self.service.kill()
            await self.service.start()

    async def close(self) -> None:
        """End it."""
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.service.kill()

    @property
    def digest(self) -> str:
        """What was carried, and what became of it, in one text."""
        ends = [
            (member.imei, member.device.firmware, member.device.state, self.chronicle.turns.get(member.imei))
            for member in self.devices
        ]
        return hashlib.sha256(f"{self.ether.digest} {ends}".encode()).hexdigest()

    # -- the beginning -----------------------------------------------------------------------------

    def _found(self) -> None:
        """Make the account, its packages and a listener, as they stand in the database before anything."""
        plan, random = self.plan, self.chance("beginning")
        database = InlineDatabase(self.service.url)
        metadata.create_all(database.engine)
        with database.engine.begin() as connection:
            values = {
                "name": "0000123456-00001", "active": True, "licenses": plan.licenses,
                "subscriptions": plan.subscriptions, "created_ms": 0,
            }  # fmt: skip
            connection.execute(insert(accounts).values(values))
            self.account = account_of(connection.execute(select(accounts)).one())
            connection.execute(
                insert(listeners).values(
                    account_id=self.account.id, version="v3", url="https://example.com/", sealed_secret=b"",
                    created_ms=0, changed_ms=0,
                )
            )  # fmt: skip
            for package in plan.packages:
                package_id = str(uuid.UUID(int=random.getrandbits(128)))
                image = _image(package)
                self.service.images.bodies[package_id] = image
                connection.execute(insert(packages).values(_row(package, package_id, self.account.id, image)))
        database.close()

    async def _live(self, spec: Any) -> None:
        """One device's life, until it is calm."""
        random = self.chance(f"device {spec.identity.imei}")
        psk = Psk(spec.identity.endpoint.encode(), random.randbytes(16)) if spec.secure else None
        member = self.devices.add(spec.identity, spec.misbehaviour, psk)
        if psk is not None:
            self.service.keys.add(member.imei, psk)
        if spec.added:
            await self.insist(
                lambda service: service.devices.add(
                    self.account.id, [Provisioning(member.imei, protocol="LWM2M")]
                )
            )
        await asyncio.sleep(max(0.0, spec.on_at - self.loop.time()))
        member.start()
        await self._suffer(member, random)

    async def _suffer(self, member: Member, random: random_module.Random) -> None:
        """Let something happen to a device now and then."""
        rate = self.plan.roughness / DAY
        while rate and not self._calm:
            await asyncio.sleep(random.expovariate(rate * 3))
            if self._calm:
                return
            await random.choices(
                (self._reboot, self._move, self._cut_off, self._switch_off), weights=(4, 4, 3, 1)
            )[0](member, random)

    async def _reboot(self, member: Member, random: random_module.Random) -> None:
        member.reboot(random.choice((2.0, 60.0, HOUR)))

    async def _move(self, member: Member, random: random_module.Random) -> None:
        address = member.another_address()
        left = getattr(self, "_left_address", None)
        if left is not None and random.random() < 0.3 and self.ether.is_free(left):
            address = left
        self._left_address = member.address
        member.move(address)

    async def _cut_off(self, member: Member, random: random_module.Random) -> None:
        host = member.address[0]
        self.ether.cut_off.add(host)
        member.note("cut off")
        await asyncio.sleep(random.expovariate(1 / random.choice((60.0, 600.0, 4 * HOUR))))
        self.ether.cut_off.discard(host)
        member.note("no more cut off")

    async def _switch_off(self, member: Member, random: random_module.Random) -> None:
        member.leave()
        await asyncio.sleep(random.expovariate(1 / (4 * HOUR)))
        if member.device.state is State.OFF:
            member.start()

    async def _weather(self) -> None:
        random = self.chance("weather")
        while not self._calm:
            self.ether.up, self.ether.down = (
                _faults(random, self.plan.roughness),
                _faults(random, self.plan.roughness),
            )
            await asyncio.sleep(random.expovariate(1 / HOUR))

    # -- the service -------------------------------------------------------------------------------

    async def _keep_service(self) -> None:
        """Start the service, and start it again when it died."""
        random = self.chance("kills")
        for writes, committed in self.plan.kills:
            if await self.service.start(Crash(writes, committed)):
                self.chronicle.note(f"service started, to die after {writes} writes")
                await self._until_it_dies(random)
            self.chronicle.note("service died")
            await self.service.kill()
            await asyncio.sleep(random.choice((0.0, 5.0, 120.0, HOUR)))
        await self.service.start()
        self.chronicle.note("service started for good")

    async def _until_it_dies(self, random: random_module.Random) -> None:
        life = self.service.life
        patience = random.expovariate(1 / (2 * DAY))
        try:
            async with asyncio.timeout(patience):
                await life.over.wait()
        except TimeoutError:
            if random.random() < 0.5:
                await self.service.stop()
                self.chronicle.note("service stopped as one should")

    async def insist(self, use: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        """Ask for something that may be done twice, until it is answered."""
        while True:
            try:
                return await self.service.ask(use)
            except Unanswered:
                await asyncio.sleep(60)

    # -- the owner ---------------------------------------------------------------------------------

    async def _own(self, spec: CampaignSpec) -> None:
        await asyncio.sleep(max(0.0, spec.asked_at - self.loop.time()))
        campaign_id = await self._schedule(spec)
        if campaign_id is None:
            return
        later: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = []
        if spec.cancelled_at is not None:
            later.append((spec.cancelled_at, lambda: self._cancel(spec, campaign_id)))
        if spec.prolonged_at is not None:
            later.append((spec.prolonged_at, lambda: self._prolong(spec, campaign_id)))
        if spec.withdrawn_at is not None:
            later.append((spec.withdrawn_at, lambda: self._withdraw(spec.package)))
        for at, action in sorted(later, key=lambda each: each[0]):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            await action()

    async def _schedule(self, spec: CampaignSpec) -> str | None:
        """Ask for a campaign until it is there; returns its id."""
        while True:
            asked = self._new_campaign(spec)
            try:
                made = await self.service.ask(
                    lambda service, asked=asked: service.campaigns.schedule(self.account, asked)
                )
            except Unanswered:
                await asyncio.sleep(60)
                known = await self.insist(lambda service: _named(service, spec.name))
                if known is not None:
                    return known
            except (NotEnoughLicenses, UnknownPackage) as refused:
                self.chronicle.note(f"{spec.name} refused: {refused}")
                return None
            else:
                self.answered[spec.name] = made.uuid
                self.chronicle.note(f"{spec.name} scheduled: {asked}")
                return made.uuid

    def _new_campaign(self, spec: CampaignSpec) -> NewCampaign:
        start_day = int(self.loop.time() // DAY) + TODAY + spec.start_in_days
        return NewCampaign(
            version="v3",
            name=spec.name,
            package_name=spec.package.name,
            version_from=spec.package.version_from,
            version_to=spec.package.version_to,
            start_day=start_day,
            end_day=start_day + spec.days,
            windows=spec.windows,
            device_ids=tuple(self.plan.devices[place].identity.imei for place in spec.devices),
            auto_add=spec.auto_add,
            auto_assign=spec.auto_assign,
        )

    async def _cancel(self, spec: CampaignSpec, campaign_id: str) -> None:
        try:
            await self.service.ask(lambda service: service.campaigns.cancel(self.account.id, campaign_id))
        except (AlreadyStarted, AlreadyEnded, Unanswered) as refused:
            self.chronicle.note(f"{spec.name} not cancelled: {refused!r}")
        else:
            self.answered[f"cancelled {spec.name}"] = campaign_id
            self.chronicle.note(f"{spec.name} cancelled")

    async def _prolong(self, spec: CampaignSpec, campaign_id: str) -> None:
        try:
            known = await self.service.ask(
                lambda service: service.campaigns.campaign(self.account.id, campaign_id)
            )
            end_day = known.end_day + 1
            await self.service.ask(
                lambda service: service.campaigns.change_dates(
                    self.account.id, campaign_id, known.start_day, end_day, known.windows
                )
            )
        except (AlreadyEnded, DateRefused, Unanswered) as refused:
            self.chronicle.note(f"{spec.name} not prolonged: {refused!r}")
        else:
            self.answered[f"prolonged {spec.name}"] = (campaign_id, end_day)
            self.chronicle.note(f"{spec.name} prolonged to day {end_day - TODAY}")

    async def _withdraw(self, package: PackageSpec) -> None:
        try:
            known = await self.insist(
                lambda service: service.packages.get_named(self.account.id, package.name)
            )
            await self.service.ask(lambda service: service.packages.withdraw(known.id))
        except (Unanswered, PackageGone, WrongState) as refused:
            self.chronicle.note(f"{package.name} not withdrawn: {refused!r}")
        else:
            self.chronicle.note(f"{package.name} withdrawn")

    async def _licenses(self) -> None:
        """Give licences to some, and take some away again."""
        random = self.chance("licences")
        imeis = [spec.identity.imei for spec in self.plan.devices]
        await asyncio.sleep(2.2 * HOUR)
        chosen = [imei for imei in imeis if random.random() < 0.7]
        await self._try(lambda service: service.licenses.assign(self.account, chosen))
        for _ in range(random.choice((0, 0, 2, 5))):
            await asyncio.sleep(random.expovariate(1 / (8 * HOUR)))
            some = random.sample(imeis, min(len(imeis), 3))
            if random.random() < 0.7:
                await self._try(lambda service, some=some: service.licenses.remove(self.account, some))
                self.chronicle.note(f"licences taken from {some}")
            else:
                bought = random.randint(0, len(imeis))
                await self._try(
                    lambda service, bought=bought: service.licenses.set_licenses(self.account.id, bought)
                )
                self.chronicle.note(f"{bought} licences bought")

    async def _try(self, use: Callable[[Service], Coroutine[Any, Any, Any]]) -> None:
        try:
            await self.service.ask(use)
        except Unanswered:
            return

    # -- the end -----------------------------------------------------------------------------------

    async def _until_closed(self) -> None:
        """Wait until all campaigns have let go of their devices."""
        while True:
            await asyncio.sleep(HOUR)
            still, last_day = await self.insist(_unclosed)
            if not still:
                return
            if self.loop.time() > (last_day - TODAY + 1 + PATIENCE_DAYS) * DAY:
                self.chronicle.complain(f"{still} campaigns are over and not closed")
                return

    async def _calm_down(self) -> None:
        """Let the weather be fine and all devices be on until their records are up to date."""
        self._calm = True
        self.chronicle.note("all is over; the weather is fine")
        await asyncio.sleep(0)
        self.ether.up = self.ether.down = CALM
        self.ether.cut_off.clear()
        for member in self.devices:
            if member.device.state is State.OFF:
                member.start()
        await asyncio.sleep(QUIET_DAYS * DAY)

    # -- HTTP --------------------------------------------------------------------------------------

    def _fetch(self, member: Member, fetch: Fetch) -> None:
        self._spawn(self._carry_out(member, fetch))

    async def _carry_out(self, member: Member, fetch: Fetch) -> None:
        """Carry an image over HTTP, as far as network and service let it."""
        token, offset = fetch.source.path[-1], fetch.offset
        await asyncio.sleep(1)
        body = await self._get(member, token)
        if not fetch.wanted:
            return
        if body is None or not fetch.begin(offset, len(body), b"1"):
            fetch.fail(Result.CONNECTION_LOST, self.loop.time())
            member.settle()
            return
        while fetch.wanted and offset < len(body):
            await asyncio.sleep(CHUNK_BYTES / fetch.bytes_per_second)
            if not fetch.wanted:
                return
            if not self._connected(member):
                fetch.fail(Result.CONNECTION_LOST, self.loop.time())
                member.settle()
                return
            fetch.take(body[offset : offset + CHUNK_BYTES], self.loop.time())
            offset += CHUNK_BYTES
            member.settle()
        if fetch.wanted:
            fetch.end(self.loop.time())
            member.settle()

    async def _get(self, member: Member, token: str) -> bytes | None:
        if not self._connected(member):
            return None
        try:
            grant = await self.service.ask(lambda service: service.updates.resolve(token))
        except Unanswered:
            return None
        return None if grant is None else self.service.images.bodies[grant.image_id]

    def _connected(self, member: Member) -> bool:
        return self.service.life.is_alive and member.address[0] not in self.ether.cut_off

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.chronicle.complain(f"the world itself: {error!r}")
            raise error


def _faults(random: random_module.Random, roughness: float) -> Faults:
    bad = roughness * random.random() ** 2
    return Faults(
        loss=0.5 * bad,
        duplication=0.2 * bad,
        reordering=0.3 * bad,
        latency_seconds=random.choice((0.05, 0.5, 1.0 + 3.0 * bad)),
        jitter_seconds=random.choice((0.0, 0.5, 2.0 * bad)),
        late_seconds=random.choice((1.0, 10.0, 60.0)),
    )


def _image(package: PackageSpec) -> bytes:
    profile = package.profile
    name = profile.components[0].name if profile.components else "firmware"
    model = profile.model if package.fits else "another model"
    return make_image(profile.make, model, package.version_to, package.size_bytes, name=name)


def _row(package: PackageSpec, package_id: str, account_id: int, image: bytes) -> dict[str, Any]:
    make, model = package.profile.make, package.profile.model
    return {
        "id": package_id, "account_id": account_id, "kind": "firmware", "name": package.name, "make": make,
        "model": model, "make_key": make.lower(), "model_key": model.lower(),
        "version_from": package.version_from, "version_to": package.version_to, "protocol": "LWM2M",
        "launch_ms": 0, "release_note": "", "size_bytes": len(image),
        "sha256": hashlib.sha256(image).digest(), "state": "ready", "created_ms": 0, "changed_ms": 0,
    }  # fmt: skip


async def _named(service: Service, name: str) -> str | None:
    query = select(campaign_table.c.uuid).where(campaign_table.c.name == name)
    return await service.database.read(lambda connection: connection.scalar(query))


async def _unclosed(service: Service) -> tuple[int, int]:
    """Return how many campaigns are not closed, and the last day of all."""
    query = select(func.count(), func.max(campaign_table.c.end_day)).where(
        campaign_table.c.closed_ms.is_(None)
    )
    count, last_day = await service.database.read(lambda connection: connection.execute(query).one())
    return count, last_day or TODAY


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for a world, in memory where the machine has one there."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="world-", dir=memory if memory.is_dir() else None)


__all__ = ["SERVICE_HOST", "LoopClock", "World", "temporary_folder"]
