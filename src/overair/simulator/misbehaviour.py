"""What goes wrong with a device while it is updated, each kind a small value with a name.

Mostly something happens at a moment of the update (`Moment`), and instead of going on the device does
something else (`Mishap`). The rest are devices that are made in another way: which delivery and protocols
they know, how their client library behaves, what they refuse. Sources: spec lwm2m.md 8.2 to 8.7, 13.2, 14.

An accident happens `times` times to a device and then no more, so that another try goes well; 0 is always.
"""

from __future__ import annotations

import enum
import math
import random as random_module
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from overair.protocols.coap import codes
from overair.simulator.profile import (
    ANJAY,
    HTTP,
    HTTPS,
    PULL_ONLY,
    PUSH_ONLY,
    ZEPHYR,
    Identity,
)

NAP_SECONDS: Final = 600.0
DEFER_SECONDS: Final = 600.0
"""As long as an installation is put off where the server did not say how long it may be."""
LONG_AWAY_SECONDS: Final = 6 * 3600.0
DRAWN: Final = "any"
"""Instead of a name: one of them by chance."""


class MisbehaviourError(ValueError):
    """A misbehaviour that does not exist, or shares of a fleet that make more than all of it."""


class Moment(enum.Enum):
    """When in an update."""

    BEGIN = "before the first byte"
    HALFWAY = "half of the bytes are there"
    DOWNLOADED = "the package is downloaded"
    EXECUTED = "the server said to install it"
    MID_FLASH = "half of it is flashed"
    FLASHED = "all of it is flashed"


class Mishap(enum.Enum):
    """What the device does instead of going on."""

    FAIL = "end with a result"
    STALL = "do nothing more, but answer"
    DEAF = "answer nothing more"
    REBOOT = "lose power, and come back"
    MOVE = "get another address, and go on"
    SLEEP = "switch the radio off for a while, and then go on"
    DEFER = "put it off"
    KEEP_OLD = "boot into what it had before"
    FORGET_RESULT = "know nothing of the update after the boot"
    STAY_AWAY = "boot, and register much later or never"


class Misbehaviour(Struct, frozen=True, kw_only=True):
    """One way of not doing as expected. `seconds` and `result` are the mishap's.

    `refusal` is the code that answers each block of a package, or with `refuses_all` also URIs and Execute.
    `changes` are fields of the profile.
    """

    name: str
    moment: Moment | None = None
    mishap: Mishap | None = None
    result: int = 0
    seconds: float = 0.0
    times: int = 0
    refusal: int = 0
    refuses_all: bool = False
    ignores_uri: bool = False
    changes: tuple[tuple[str, object], ...] = ()

    def fit(self, identity: Identity) -> Identity:
        """Return the device as it is made for this."""
        if not self.changes:
            return identity
        profile = msgspec.structs.replace(identity.profile, **dict(self.changes))
        return msgspec.structs.replace(identity, profile=profile)


NONE: Final = Misbehaviour(name="none")


def _at(
    name: str, moment: Moment, mishap: Mishap, *, result: int = 0, seconds: float = 0, times: int = 0
) -> Misbehaviour:
    return Misbehaviour(name=name, moment=moment, mishap=mishap, result=result, seconds=seconds, times=times)


def _made(name: str, **changes: object) -> Misbehaviour:
    return Misbehaviour(name=name, changes=tuple(changes.items()))


def _pushed(name: str, refusal: int) -> Misbehaviour:
    return Misbehaviour(name=name, refusal=refusal, changes=(("delivery", PUSH_ONLY),))


_RESULTS: Final = range(2, 12)
_ALL: Final = (
    *(_at(f"download-result-{n}", Moment.HALFWAY, Mishap.FAIL, result=n) for n in _RESULTS),
    *(_at(f"install-result-{n}", Moment.MID_FLASH, Mishap.FAIL, result=n) for n in _RESULTS),
    _at("never-downloads", Moment.BEGIN, Mishap.STALL),
    _at("download-hangs", Moment.HALFWAY, Mishap.STALL),
    _at("downloaded-deaf", Moment.DOWNLOADED, Mishap.DEAF),
    _at("install-hangs", Moment.MID_FLASH, Mishap.STALL),
    _at("never-returns", Moment.FLASHED, Mishap.STAY_AWAY, seconds=math.inf),
    _at("silent-reboot", Moment.FLASHED, Mishap.STAY_AWAY, seconds=LONG_AWAY_SECONDS),
    _at("reboot-before-download", Moment.BEGIN, Mishap.REBOOT, times=1),
    _at("reboot-while-downloading", Moment.HALFWAY, Mishap.REBOOT, times=1),
    _at("reboot-after-download", Moment.DOWNLOADED, Mishap.REBOOT, times=1),
    _at("power-cut", Moment.MID_FLASH, Mishap.REBOOT, times=1),
    _at("connection-lost", Moment.HALFWAY, Mishap.FAIL, result=4, times=1),
    _at("claims-success", Moment.FLASHED, Mishap.KEEP_OLD, result=1),
    _at("rolls-back", Moment.FLASHED, Mishap.KEEP_OLD, result=0),
    _at("result-lost", Moment.FLASHED, Mishap.FORGET_RESULT),
    _at("defers", Moment.EXECUTED, Mishap.DEFER, seconds=DEFER_SECONDS, times=1),
    _at("cancels", Moment.HALFWAY, Mishap.FAIL, result=10),
    _at("moves", Moment.HALFWAY, Mishap.MOVE),
    _at("sleeps", Moment.HALFWAY, Mishap.SLEEP, seconds=NAP_SECONDS),
    _pushed("push-too-large", codes.REQUEST_ENTITY_TOO_LARGE),
    _pushed("push-incomplete", codes.REQUEST_ENTITY_INCOMPLETE),
    Misbehaviour(name="not-allowed", refusal=codes.METHOD_NOT_ALLOWED, refuses_all=True),
    Misbehaviour(name="internal-error", refusal=codes.INTERNAL_SERVER_ERROR, refuses_all=True),
    Misbehaviour(name="ignores-uri", ignores_uri=True),
    _made("auto-install", auto_install=True),
    _made("zephyr-like", manner=ZEPHYR),
    _made("anjay-like", manner=ANJAY),
    _made("push-only", delivery=PUSH_ONLY),
    _made("pull-only", delivery=PULL_ONLY),
    _made("http-only", delivery=PULL_ONLY, protocols=(HTTP, HTTPS)),
)
MISBEHAVIOURS: Final[Mapping[str, Misbehaviour]] = {each.name: each for each in _ALL}
"""All there are, by name."""


class Share(NamedTuple):
    """A misbehaviour by name, or `any`, and for which part of a fleet (0 to 1)."""

    name: str
    part: float


def parse_share(text: str) -> Share:
    """Read NAME or NAME:SHARE. MisbehaviourError names what is wrong."""
    name, colon, part = text.partition(":")
    if name != DRAWN and name not in MISBEHAVIOURS:
        raise MisbehaviourError(f"fault {name[:40]!r}: must be {DRAWN} or one of {', '.join(MISBEHAVIOURS)}")
    try:
        share = float(part) if colon else 1.0
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise MisbehaviourError(f"share {part[:40]!r}: must be a number from 0 to 1")
    return Share(name, share)


def spread(
    identities: Sequence[Identity], shares: Iterable[Share], *, seed: int = 0
) -> dict[str, Misbehaviour]:
    """Return the misbehaviours of a fleet by IMEI; devices that behave are left out.

    The same seed, devices and shares give the same. MisbehaviourError if the shares make more than 1.
    """
    wanted = list(shares)
    if sum(share.part for share in wanted) > 1 + 1e-9:
        raise MisbehaviourError("shares: make more than 1 together")
    chance = random_module.Random(seed)  # noqa: S311 - the same each time is the point; it guards nothing
    imeis = [identity.imei for identity in identities]
    chance.shuffle(imeis)
    given: dict[str, Misbehaviour] = {}
    for name, part in wanted:
        for _ in range(min(round(part * len(identities)), len(imeis))):
            given[imeis.pop()] = chance.choice(_ALL) if name == DRAWN else MISBEHAVIOURS[name]
    return given
