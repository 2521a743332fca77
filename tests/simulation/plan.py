"""What a world is made of, drawn from its seed: devices, packages, campaigns, limits and how rough it is."""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import msgspec

from overair.campaigns.model import Window
from overair.platform.limits import Limits
from overair.protocols.lwm2m.content import OPAQUE
from overair.simulator import MISBEHAVIOURS, PROFILES, TWO_COMPONENTS, Misbehaviour
from overair.simulator.misbehaviour import NONE
from overair.simulator.profile import COAP, COAPS, HTTP, PULL_AND_PUSH, Identity, Profile, identities

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
MODELS: Final = (*PROFILES, TWO_COMPONENTS)
LIFETIMES: Final = (3600, 7200, 14_400, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device, and how it is reached."""

    identity: Identity
    misbehaviour: Misbehaviour
    secure: bool
    on_at: float
    """Second at which it is switched on."""
    added: bool
    """Whether its owner has added it before that."""


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """Firmware for one model."""

    name: str
    profile: Profile
    version_from: str
    version_to: str
    size_bytes: int
    fits: bool
    """Whether the image is what the package says; else it is one for another model."""


@dataclass(frozen=True, slots=True)
class CampaignSpec:
    """A campaign as its owner asks for it, and what comes to the owner's mind later."""

    name: str
    package: PackageSpec
    asked_at: float
    start_in_days: int
    days: int
    windows: tuple[Window, ...]
    devices: tuple[int, ...]
    """Places of devices in the plan."""
    auto_add: bool
    auto_assign: bool
    cancelled_at: float | None
    withdrawn_at: float | None
    """When its package is taken back."""
    prolonged_at: float | None


@dataclass(slots=True)
class Plan:
    """Everything that is drawn before a world begins."""

    seed: int
    limits: Limits
    subscriptions: str
    licenses: int
    devices: list[DeviceSpec] = field(default_factory=list)
    packages: list[PackageSpec] = field(default_factory=list)
    campaigns: list[CampaignSpec] = field(default_factory=list)
    roughness: float = 0.0
    """0 to 1: how bad the network is, and how often devices are moved, cut off and switched off."""
    kills: tuple[tuple[int, bool], ...] = ()
    """Of each process but the last: its writes, and whether the last one is committed."""

    @property
    def last_day(self) -> int:
        return max(
            (int(each.asked_at / DAY) + each.start_in_days + each.days for each in self.campaigns), default=1
        )


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = random_module.Random(f"plan {seed}")
    count = _size(random)
    plan = Plan(
        seed=seed,
        limits=_limits(random),
        subscriptions=random.choice(("mrc", "mrc", "event", "mrc,event")),
        licenses=random.choice((count, count, max(1, count // 2), max(1, count // 4))),
        roughness=random.choice((0.0, 0.2, 0.5, 1.0)),
    )
    models = random.sample(MODELS, random.choice((1, 1, 2)))
    plan.devices = list(_devices(random, count, models))
    plan.packages = [package for model in models for package in _packages(random, model)]
    plan.campaigns = [_campaign(random, plan, number) for number in range(random.choice((1, 1, 2, 2, 3)))]
    kills = random.choice((0, 1, 2, 4, 8))
    plan.kills = tuple(
        (int(random.expovariate(1 / (40 * count))), random.random() < 0.5) for _ in range(kills)
    )
    return plan


def _size(random: random_module.Random) -> int:
    return (
        random.choice((3, 5, 8, 8, 12, 12, 16, 20, 30, 60))
        if random.random() < 0.97
        else random.randint(100, 300)
    )


def _limits(random: random_module.Random) -> Limits:
    said: dict[str, Any] = {}
    if random.random() < 0.3:
        said["attempts_at_once"] = random.randint(1, 5)
    if random.random() < 0.3:
        said["transfers_at_once"] = random.randint(1, 3)
    if random.random() < 0.3:
        said["reachability_tries"] = random.randint(1, 6)
    if random.random() < 0.3:
        said["refreshes_at_once"] = random.randint(1, 4)
    return Limits(**said)


def _devices(random: random_module.Random, count: int, models: list[Profile]) -> list[DeviceSpec]:
    faulty = random.choice((0.0, 0.3, 0.6, 1.0))
    secure = random.choice((0.0, 0.3, 1.0))
    drawn = [
        DeviceSpec(
            identity=Identity(identity.imei, identity.mdn, _profile(random, random.choice(models))),
            misbehaviour=random.choice(list(MISBEHAVIOURS.values())) if random.random() < faulty else NONE,
            secure=random.random() < secure,
            on_at=random.uniform(0, 2 * HOUR) if random.random() < 0.9 else random.uniform(0, 2 * DAY),
            added=random.random() < 0.97,
        )
        for identity in identities(count)
    ]
    return [_able(spec) for spec in drawn]


def _able(spec: DeviceSpec) -> DeviceSpec:
    """Return a device that can get an image in some way: one behind DTLS that takes no bytes pulls by it."""
    profile = spec.identity.profile
    if not spec.secure or OPAQUE in profile.formats or COAPS in profile.protocols:
        return spec
    able = msgspec.structs.replace(profile, protocols=(COAP, COAPS))
    return replace(spec, identity=msgspec.structs.replace(spec.identity, profile=able))


def _profile(random: random_module.Random, model: Profile) -> Profile:
    return msgspec.structs.replace(
        model,
        lifetime_seconds=random.choice(LIFETIMES),
        queue_mode=random.random() < 0.4,
        protocols=random.choice(((COAP,), (COAP, COAPS), (COAP, COAPS, HTTP))),
        delivery=PULL_AND_PUSH,
        block_bytes=random.choice((256, 512, 1024)),
        download_bytes_per_second=random.choice((500.0, 4000.0, 32_000.0)),
        flash_seconds=random.choice((4.0, 60.0, 900.0)),
        reboot_seconds=random.choice((2.0, 30.0, 300.0)),
    )


def _packages(random: random_module.Random, model: Profile) -> list[PackageSpec]:
    versions = [model.firmware, f"{model.firmware}-b", f"{model.firmware}-c"]
    return [
        PackageSpec(
            name=f"{model.model} {before} {after}"[:255],
            profile=model,
            version_from=before,
            version_to=after,
            size_bytes=random.choice((2000, 5000, 12_000, 40_000)),
            fits=random.random() < 0.95,
        )
        for before, after in pairwise(versions)
    ]


def _campaign(random: random_module.Random, plan: Plan, number: int) -> CampaignSpec:
    package = random.choice(plan.packages) if number else plan.packages[0]
    follows = plan.packages.index(package) % 2 and random.random() < 0.8  # on what another campaign brings
    asked_at = random.uniform(2.5 * HOUR, 6 * HOUR) + (random.choice((1, 2)) * DAY if follows else 0)
    start_in_days = random.choice((0, 0, 0, 1, 2))
    fitting = [
        place
        for place, device in enumerate(plan.devices)
        if device.identity.profile.model == package.profile.model
    ]
    others = [place for place, _ in enumerate(plan.devices) if place not in fitting]
    listed = [place for place in fitting if random.random() < random.choice((0.5, 1.0))]
    listed += [place for place in others if random.random() < 0.1]
    days = random.choice((0, 0, 1, 1, 2, 4))
    return CampaignSpec(
        name=f"campaign {number}",
        package=package,
        asked_at=asked_at,
        start_in_days=start_in_days,
        days=days,
        windows=_windows(random),
        devices=tuple(listed),
        auto_add=random.random() < 0.25,
        auto_assign=random.random() < 0.6,
        cancelled_at=asked_at + random.uniform(0, DAY) if start_in_days and random.random() < 0.3 else None,
        withdrawn_at=asked_at + random.uniform(0, 1.5 * DAY) if random.random() < 0.15 else None,
        prolonged_at=asked_at + random.uniform(0, DAY) if random.random() < 0.3 else None,
    )


def _windows(random: random_module.Random) -> tuple[Window, ...]:
    windows = []
    for _ in range(random.choice((0, 0, 1, 2))):
        start = random.randint(0, 22)
        windows.append(Window(start, random.randint(start + 1, 24)))
    return tuple(windows)
