"""Firmware packages in the words of API v3 (spec api-v3.md, section 4.1)."""

from overair.packages.model import Package
from overair.records import V3Firmware
from overair.records.times import format_t2


def v3_firmware(package: Package) -> V3Firmware:
    """Return the row of the firmware list."""
    return V3Firmware(
        firmware_name=package.name,
        firmware_from=package.version_from,
        firmware_to=package.version_to,
        launch_date=format_t2(package.launch_ms),
        release_note=package.release_note,
        model=package.model,
        make=package.make,
        # Spelt otherwise than in records of devices (quirks.md Q4).
        protocol="LWM2M" if package.protocol == "LWM2M" else "OMD-DM",
    )
