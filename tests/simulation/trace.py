"""What happened in a world, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .chronicle import clock_text

if TYPE_CHECKING:
    from .devices import Member
    from .world import World

_IMEI = re.compile(r"\b\d{15}\b")


def tell(world: World, *, all_devices: bool = False) -> str:
    """Tell what happened to the world, and to the devices that something is wrong with."""
    concerned = set(_IMEI.findall("\n".join(world.chronicle.broken)))
    lines = [f"{clock_text(at)}  {what}" for at, what in world.chronicle.events]
    for member in world.devices:
        if all_devices or f"{member.imei:015d}" in concerned:
            lines += ["", *_story(world, member)]
    return "\n".join(lines)


def _story(world: World, member: Member) -> list[str]:
    device = member.device
    head = (
        f"device {member.imei:015d} {device.profile.model} {device.misbehaviour.name} "
        f"{'DTLS' if member.is_secure else 'plain'}{' queue mode' if device.profile.queue_mode else ''} "
        f"lifetime {device.profile.lifetime_seconds}: {device.state}, runs {device.firmware}"
    )
    events = [(at, what) for at, what in member.heard_of]
    events += [(each.at, f"    {each.what} {each.path} {each.detail}") for each in device.history]
    events += [
        (
            turn.at,
            f"        campaign {turn.campaign_id}: {turn.status}, {turn.attempts} {turn.detail or ''}",
        )
        for turn in world.chronicle.turns.get(member.imei, [])
    ]
    return [head, *[f"{clock_text(at)}  {what}" for at, what in sorted(events, key=lambda each: each[0])]]
