"""An action to begin with, and feedback to it."""

from typing import Any

import msgspec

from overair.protocols.ddi.action import Action, Artifact
from overair.protocols.ddi.records import Feedback, Progress, Result, Status
from overair.protocols.ddi.states import State

NOW_MS = 1_795_348_800_000

ARTIFACT = Artifact(
    part="bApp",
    name="tracker-app",
    version="1.4.2",
    filename="fw-1.4.2.swu",
    size_bytes=21,
    sha1="229545889eca2ae18f16961c6c991589ce60600a",
    md5="efb32b0313460b0ba532323f6dd4dae4",
    sha256="af546864ceb8f257aaf89cd9a46174d4015c3d560df418450045c40842682d4e",
)
ACTION = Action(id=7731, artifact=ARTIFACT, state=State.RUNNING, opened_ms=NOW_MS, progressed_ms=NOW_MS)


def action(**changes: Any) -> Action:
    return msgspec.structs.replace(ACTION, **changes)


def feedback(execution: str, finished: Any = "none", *details: str, **said: Any) -> Feedback:
    code = said.pop("code", None)
    status = Status(execution, Result(finished, Progress(1, 2)), code, list(details))
    return Feedback(status, **said)
