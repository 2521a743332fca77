"""What a decision is made of: the job, what it is to reach, what is allowed, how patient to be.

Source: spec lwm2m.md 8.6 (limits), 14 (overrides per model). Times are UTC milliseconds, spans too.
"""

import enum
import re
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from overair.protocols.lwm2m.arguments import Argument
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.states import Phase
from overair.protocols.lwm2m.updating.steps import End, Means, Via

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
REGEX_CHARS_MAX: Final = 256
BLOCK_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)


class PolicyError(ValueError):
    """A policy that can't be followed; the text names the field and its rule."""


class Kind(enum.StrEnum):
    """What an update changes."""

    FIRMWARE = "firmware"
    SOFTWARE = "software"
    REMOVAL = "removal"
    """Software is taken off."""


class Target(Struct, frozen=True, kw_only=True):
    """What a device is to have afterwards.

    `version_from` empty: whatever it has now. `name` is the package's (object 9), `component` the part of
    the device that the image is for (object 33629); None: the main one.
    """

    kind: Kind = Kind.FIRMWARE
    version_from: str = ""
    version_to: str
    size_bytes: int = 0
    name: str = ""
    component: str | None = None


class Allowed(Struct, frozen=True, kw_only=True):
    """What may be done now.

    `awake`: the device listens. `deliver` and `install`: the owner's windows are open. `means`: how this
    server can bring this image to this device. `clear_text`: it may go unprotected over the air, as when
    the image is signed or the device is managed in clear anyhow.
    """

    awake: bool
    deliver: bool = True
    install: bool = True
    means: frozenset[Means] = frozenset(Means)
    clear_text: bool = False


class Timers(Struct, frozen=True, kw_only=True):
    """How long a device may take. One that sleeps is read before a limit counts.

    Two end a job without a word from the device: `download_ms` and `return_ms`.
    """

    reset_ms: int = MINUTE_MS
    first_activity_ms: int = 15 * MINUTE_MS
    """From the written URL to the first sign of a download."""
    download_ms: int = 24 * HOUR_MS
    no_progress_ms: int = 30 * MINUTE_MS
    """Between two requests at our file server."""
    install_ms: int = HOUR_MS
    return_ms: int = 24 * HOUR_MS
    """How long a device may stay away after it was told to install."""
    unchanged_ms: int = 30 * MINUTE_MS
    """How long a device that claims success may still show the old version."""
    deferral_ms: int = 24 * HOUR_MS
    """For devices that let their users defer and don't say how long."""
    defer_margin_ms: int = HOUR_MS
    stale_read_ms: int = 10 * MINUTE_MS
    """How old the last word of the device may be when something is delivered to it."""


class Policy(Struct, frozen=True, kw_only=True):
    """What is different for one model (spec lwm2m.md 14).

    `version_regex`: what of a version string counts: its first group, or all that matches. PolicyError if
    it is longer than 256 characters or no expression, or the block size none that CoAP has.
    """

    block_size: int = 512
    delivery: Literal["pull", "push"] | None = None
    scheme: Means | None = None
    reset_via: Via | None = None
    trust_result: bool = False
    version_regex: str | None = None
    observe: bool = True
    execute_args: tuple[Argument, ...] | None = None
    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        if self.block_size not in BLOCK_SIZES:
            raise PolicyError(f"block_size: one of {BLOCK_SIZES}")
        if self.scheme is Means.PUSH:
            raise PolicyError("scheme: of a URL; for pushing there is delivery")
        if self.version_regex is None:
            return
        if len(self.version_regex) > REGEX_CHARS_MAX:
            raise PolicyError(f"version_regex: at most {REGEX_CHARS_MAX} characters")
        try:
            re.compile(self.version_regex)
        except re.error as error:
            raise PolicyError(f"version_regex: {error}") from error


class Watch(enum.IntEnum):
    """Whether the device reports its state by itself."""

    UNKNOWN = 0
    OBSERVED = 1
    POLLED = 2


class Reply(enum.StrEnum):
    """What became of a step that the device feels."""

    DONE = "done"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    TOO_LARGE = "too large"
    """4.13, or no block size was small enough, or it took the first block for the whole."""
    TROUBLE = "trouble"
    SILENT = "silent"
    GONE = "gone"
    """There is no transfer to resume, or it broke off too often."""


def reply_of(code: int) -> Reply:
    """The reply that a CoAP response code is (spec lwm2m.md 5.2)."""
    if code >> 5 == 2:
        return Reply.DONE
    if code in (0x81, 0x83):
        return Reply.FORBIDDEN
    if code == 0x8D:
        return Reply.TOO_LARGE
    if code == 0x88:
        return Reply.GONE
    return Reply.TROUBLE if code >> 5 == 5 else Reply.REFUSED


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device's update, as far as it has to be remembered. Most fields are empty most of the time.

    Made by `begin`; changed by `decide`, `answered`, `observed`, `registered`, `progressed`, `cancel`.
    """

    token: str
    deadline_ms: int
    phase: Phase = Phase.QUEUED
    entered_ms: int = 0
    """When the phase began."""
    turn: int = 0
    """Counts what the device felt, and its reboots: what was seen in an earlier turn counts no more."""
    place: Path = ()
    """The object instance that is used."""
    previous: str | None = None
    """The version before the update."""
    used: dict[int, int] = {}
    """Retries by cause, over all attempts."""
    not_before_ms: int = 0
    tried: tuple[Means, ...] = ()
    """What the device can't do after all."""
    refusal: int = 0
    """The cause to report when no means are left."""
    block_size: int = 0
    short_uri: bool = False
    others: tuple[int, ...] = ()
    """Instances to reset first, since they conflict."""
    kept: bool = False
    """The next attempt may find the image on the device and use it."""
    cancelled: bool = False
    watch: Watch = Watch.UNKNOWN
    watch_asked: int = 0
    """How often it was asked to report since it registered."""
    polls: int = 0
    poll_at_ms: int = 0
    acted: bool = False
    """The step of this phase was given."""
    acted_ms: int = 0
    reply: Reply | None = None
    """What became of it; None while that is not known."""
    unanswered: int = 0
    """Replies missing since the device was last heard."""
    bytes_sent: int = 0
    resets: int = 0
    breaks: int = 0
    """Deliveries that broke off in this attempt."""
    means: Means | None = None
    active: bool = False
    """The device was seen downloading in this attempt."""
    progress_ms: int = 0
    """When it last asked our file server for a part."""
    forbidden: bool = False
    """Our file server refused it."""
    stale: int = 0
    """A result from before this attempt's delivery, or from before its Execute."""
    downloaded: bool = False
    """It was seen with the whole image in this attempt."""
    executes: int = 0
    executed_ms: int = 0
    """When it was told to install, or began to by itself; 0 before that."""
    plain: bool = False
    """It takes no arguments."""
    left: bool = False
    """It was seen installing."""
    deferred_until_ms: int = 0
    returned: bool = False
    """It registered again since it was told to install."""
    unchanged_ms: int = 0
    """Since when it shows the old version though it claims success."""
    again: bool = False
    """It registered again since then."""
    end: End | None = None
    """How the job ended."""


def begin(token: str, *, now_ms: int, deadline_ms: int) -> Job:
    """A new job. The token is in the image's URL and ties a download to it: letters and digits, random.

    At `deadline_ms` the job ends, however it stands.
    """
    return Job(token=token, deadline_ms=deadline_ms, entered_ms=now_ms)


def answered(job: Job, reply: Reply, *, bytes_sent: int = 0, place: Path | None = None) -> Job:
    """Note what became of the felt step that was done last.

    `bytes_sent` is how much of a push the device confirmed; `place` the instance that a Create made.
    """
    progress = bytes_sent > job.bytes_sent
    silent = reply in (Reply.SILENT, Reply.GONE)
    return replace(
        job,
        reply=reply,
        bytes_sent=bytes_sent,
        unanswered=job.unanswered + 1 if silent and not progress else 0,
        place=place or job.place,
    )


def observed(job: Job, agreed: bool) -> Job:
    """Note whether the device observes what it was asked to."""
    return replace(job, watch=Watch.OBSERVED if agreed else Watch.POLLED)


def registered(job: Job) -> Job:
    """Note a Register: the device may have rebooted, so it is read again and forgot what it observed."""
    return replace(
        job,
        turn=job.turn + 1,
        watch=Watch.UNKNOWN,
        watch_asked=0,
        poll_at_ms=0,
        returned=job.executed_ms > 0,
        again=job.unchanged_ms > 0,
    )


def progressed(job: Job, now_ms: int) -> Job:
    """Note a request at our file server with the job's token."""
    return replace(job, progress_ms=now_ms)


def download_refused(job: Job) -> Job:
    """Note that our file server refused the device: what it will call a lost connection is that."""
    return replace(job, forbidden=True)


def cancel(job: Job) -> Job:
    """Ask for the end of a job; `decide` says what that takes. One that is installing goes on to its end."""
    return replace(job, cancelled=True)
