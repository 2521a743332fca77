"""Overair: self-hosted software management for cellular IoT fleets.

The records of the API are the public face of the package: ``from overair import V3Device``. They are
loaded on first use, so that programs which need only a protocol do not pay for the JSON codec.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overair.records import V3Device as V3Device
    from overair.records import V3SoftwareInfo as V3SoftwareInfo

__version__ = "0.1.0"

__all__ = ["V3Device", "V3SoftwareInfo", "__version__"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("overair.records"), name)
