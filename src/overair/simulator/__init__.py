"""Simulated devices, which speak through the same protocol code as the service and know nothing else of it.

`SimulatedDevice` is one LwM2M device without socket and clock, `SecureDevice` one that speaks DTLS; `Fleet`
runs many over real sockets, `Network` on a virtual clock. They take updates: `make_image` makes what they are
updated with, `MISBEHAVIOURS` has what can go wrong with it.
"""

from overair.simulator.bank import Happening, What
from overair.simulator.device import SimulatedDevice
from overair.simulator.firmware import Result, UpdateState
from overair.simulator.fleet import Fleet, FleetError, Refusal, Standing
from overair.simulator.image import ImageError, make_image
from overair.simulator.keys import Psk, PskError, parse_key, read_keys
from overair.simulator.lifecycle import State, UnexpectedEventError
from overair.simulator.mainboard import Tally
from overair.simulator.misbehaviour import (
    MISBEHAVIOURS,
    Misbehaviour,
    MisbehaviourError,
    Share,
    parse_share,
    spread,
)
from overair.simulator.profile import (
    FIRST_IMEI,
    PROFILES,
    TWO_COMPONENTS,
    Host,
    Identity,
    IdentityError,
    Profile,
    Software,
    identities,
)
from overair.simulator.secure import SecureDevice
from overair.simulator.transfer import Fetch, Fetcher
from overair.simulator.upkeep import UpdateTally
from overair.simulator.virtual import Faults, Network, NetworkError

__all__ = [
    "FIRST_IMEI",
    "MISBEHAVIOURS",
    "PROFILES",
    "TWO_COMPONENTS",
    "Faults",
    "Fetch",
    "Fetcher",
    "Fleet",
    "FleetError",
    "Happening",
    "Host",
    "Identity",
    "IdentityError",
    "ImageError",
    "Misbehaviour",
    "MisbehaviourError",
    "Network",
    "NetworkError",
    "Profile",
    "Psk",
    "PskError",
    "Refusal",
    "Result",
    "SecureDevice",
    "Share",
    "SimulatedDevice",
    "Software",
    "Standing",
    "State",
    "Tally",
    "UnexpectedEventError",
    "UpdateState",
    "UpdateTally",
    "What",
    "identities",
    "make_image",
    "parse_key",
    "parse_share",
    "read_keys",
    "spread",
]
