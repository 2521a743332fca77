"""Which link of an action a poll shows, and what the device is to do with it (spec ddi.md, sections 4 and 6).

Windows say when an update may begin. Only one client understands "download now, install later"; the others
take "do not install" for a finished update, so they do not get to see the action before its window. What a
device has begun it may finish, in the window or not.
"""

from typing import Literal

from overair.protocols.ddi.action import Action
from overair.protocols.ddi.clients import Client
from overair.protocols.ddi.states import State

Link = Literal["confirmationBase", "deploymentBase", "cancelAction"]
Handling = Literal["forced", "skip"]

_LINKS: dict[State, Link] = {
    State.CONFIRMING: "confirmationBase",
    State.RUNNING: "deploymentBase",
    State.CANCELLING: "cancelAction",
}
KEPT_MS = 60_000
"""How long the body of a closed action is still given: a client may read it once more after its feedback."""


def link_of(action: Action, client: Client, *, window_open: bool) -> Link | None:
    """Return the link that a poll shows for an action; None: none."""
    link = _LINKS.get(action.state)
    if link == "deploymentBase" and not (window_open or action.begun or client.waits):
        return None
    return link


def handling(action: Action, client: Client, *, window_open: bool) -> Handling:
    """Return what ``update`` says: whether the device may install."""
    may_install = window_open or (action.begun and not client.waits)
    return "forced" if may_install else "skip"


def is_readable(action: Action, now_ms: int) -> bool:
    """Whether ``deploymentBase`` answers with the action (section 2.3)."""
    if action.state is State.RUNNING:
        return True
    return action.closed_ms is not None and now_ms - action.closed_ms < KEPT_MS
