"""How the image comes to the device, and how an update object is made idle (spec lwm2m.md 8.3, 8.5, 8.8)."""

from collections.abc import Collection
from typing import Final

from overair.protocols.lwm2m.updating.model import Allowed, Policy
from overair.protocols.lwm2m.updating.steps import Means, Via

PULL_ONLY: Final = 0
PUSH_ONLY: Final = 1

# In the order of choice; the numbers are those of /5/x/8.
_SCHEMES: Final = ((3, Means.HTTPS), (2, Means.HTTP), (1, Means.COAPS), (0, Means.COAP))
_CLEAR: Final = frozenset({Means.HTTP, Means.COAP})


def choices(
    protocols: Collection[int], delivery: int | None, allowed: Allowed, policy: Policy
) -> tuple[Means, ...]:
    """The means that device, server and policy agree on, best first.

    No protocols means CoAP, no delivery method both, and pulling is tried first: a push holds a device up
    for as long as it takes, and can't be resumed after a reboot.
    """
    supported = frozenset(protocols) or frozenset({0})
    push_only = policy.delivery == "push" or (delivery == PUSH_ONLY and policy.delivery is None)
    pulled: list[Means] = []
    if policy.scheme is not None and not push_only:
        pulled.append(policy.scheme)
    elif not push_only:
        pulled += [means for number, means in _SCHEMES if number in supported]
        if 0 in supported and not allowed.clear_text and Means.COAPS not in pulled:
            # A client that names CoAP alone mostly has CoAPS as well: it registered by it.
            pulled.append(Means.COAPS)
    usable = [means for means in pulled if means not in _CLEAR or allowed.clear_text]
    may_push = push_only or (delivery != PULL_ONLY and policy.delivery != "pull")
    return tuple(means for means in (*usable, *([Means.PUSH] if may_push else ())) if means in allowed.means)


def reset_ways(delivery: int | None, policy: Policy) -> tuple[Via, ...]:
    """The ways to make a device idle that is not, in the order to try them."""
    if policy.reset_via is not None:
        return (policy.reset_via,)
    return (Via.PACKAGE,) if delivery == PUSH_ONLY else (Via.URI, Via.PACKAGE)
