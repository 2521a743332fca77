"""Simulated devices, which speak through the same protocol code as the service and know nothing else of it.

`SimulatedDevice` is one LwM2M device without socket and clock, `SecureDevice` one that speaks DTLS; `Fleet`
runs many over real sockets, `Network` on a virtual clock.
"""

from overair.simulator.device import SimulatedDevice, Tally
from overair.simulator.fleet import Fleet, FleetError, Refusal, Standing
from overair.simulator.keys import Psk, PskError, parse_key, read_keys
from overair.simulator.lifecycle import State, UnexpectedEventError
from overair.simulator.profile import (
    FIRST_IMEI,
    PROFILES,
    Host,
    Identity,
    IdentityError,
    Profile,
    Software,
    identities,
)
from overair.simulator.secure import SecureDevice
from overair.simulator.virtual import Faults, Network, NetworkError

__all__ = [
    "FIRST_IMEI",
    "PROFILES",
    "Faults",
    "Fleet",
    "FleetError",
    "Host",
    "Identity",
    "IdentityError",
    "Network",
    "NetworkError",
    "Profile",
    "Psk",
    "PskError",
    "Refusal",
    "SecureDevice",
    "SimulatedDevice",
    "Software",
    "Standing",
    "State",
    "Tally",
    "UnexpectedEventError",
    "identities",
    "parse_key",
    "read_keys",
]
