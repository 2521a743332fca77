"""What the driver is to do next. Each step is a value; doing it is the driver's.

Steps that the device feels carry `felt`: the job must be stored before they are done, and what was read
before them counts no more.
"""

import enum
from typing import ClassVar

from msgspec import Struct

from overair.protocols.lwm2m.arguments import Argument
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.results import Detail, Remark


class Means(enum.StrEnum):
    """How an image comes to a device: fetched from a URL of this scheme, or pushed."""

    HTTPS = "https"
    HTTP = "http"
    COAPS = "coaps"
    COAP = "coap"
    PUSH = "push"


class Via(enum.StrEnum):
    """How an update object is brought back to idle."""

    URI = "uri"
    """PUT an empty string to Package URI (Content-Format 0)."""
    PACKAGE = "package"
    """PUT the one byte 00 to Package (Content-Format 42), without block options."""


class Purpose(enum.StrEnum):
    """What an Execute is for."""

    INSTALL = "install"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    UNINSTALL = "uninstall"
    CANCEL = "cancel"


class Read(Struct, frozen=True, tag="read"):
    """Read these resources or objects, one by one or composite, and fold the answers in with `learn`."""

    paths: tuple[Path, ...]
    felt: ClassVar[bool] = False


class Observe(Struct, frozen=True, tag="observe"):
    """Observe these resources; tell `observed` whether the device agreed."""

    paths: tuple[Path, ...]
    felt: ClassVar[bool] = False


class Reset(Struct, frozen=True, tag="reset"):
    """Bring the update object back to idle; `path` is the resource to write."""

    path: Path
    via: Via
    felt: ClassVar[bool] = True


class WriteUri(Struct, frozen=True, tag="write-uri"):
    """Write the image's URL, which holds the job's token, to `path`. `short`: in its shortest form."""

    path: Path
    means: Means
    short: bool
    felt: ClassVar[bool] = True


class Push(Struct, frozen=True, tag="push"):
    """Send the image to `path` by Block1 (spec lwm2m.md 13.2).

    `resume`: go on with the transfer that was begun, where it stopped; nothing to do while it is running.
    Where the driver has none (it was restarted), the answer is `Reply.GONE`.
    """

    path: Path
    block_size: int
    resume: bool
    felt: ClassVar[bool] = True


class Execute(Struct, frozen=True, tag="execute"):
    """Execute `path`; without arguments there is no payload and no Content-Format."""

    path: Path
    purpose: Purpose
    arguments: tuple[Argument, ...] = ()
    felt: ClassVar[bool] = True


class Create(Struct, frozen=True, tag="create"):
    """Create an instance of an object; `answered` takes its path where the device names it."""

    object_id: int
    felt: ClassVar[bool] = True


class Wait(Struct, frozen=True, tag="wait"):
    """Nothing to do until `until_ms`, or until something is learned: whichever comes first."""

    until_ms: int
    felt: ClassVar[bool] = False


class Retry(Struct, frozen=True, tag="retry"):
    """The attempt failed; the job is queued for another one at `at_ms`."""

    detail: Detail
    at_ms: int
    felt: ClassVar[bool] = False


class Succeed(Struct, frozen=True, tag="succeed"):
    """The job is done.

    `version` is what the device says it has; None where it does not say, and the target's counts.
    """

    version: str | None
    remark: Remark | None = None
    felt: ClassVar[bool] = False


class Fail(Struct, frozen=True, tag="fail"):
    """The job failed for good.

    `result` is the number the device gave where the detail alone does not say it. `reset`: if the device
    is awake, bring it back to idle, so that it does not keep the image.
    """

    detail: Detail
    result: int | None = None
    reset: bool = False
    felt: ClassVar[bool] = False


class Cancelled(Struct, frozen=True, tag="cancelled"):
    """The job is cancelled, as it was asked to be."""

    felt: ClassVar[bool] = False


End = Succeed | Fail | Cancelled
Step = Read | Observe | Reset | WriteUri | Push | Execute | Create | Wait | Retry | Succeed | Fail | Cancelled
