"""Every bound of the service, with its reason. Nothing that a stranger sends may exceed one of these.

The bounds of a protocol's own machinery (retransmission, blocks) stand in that protocol's package.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults suit one machine with two cores."""

    # REST. The largest body today is a list of 1000 IMEIs: 20 kB.
    request_body_bytes: int = 1 << 20
    request_timeout_seconds: float = 30.0
    page_size: int = 1000  # published (spec api-v3.md, section 1)
    device_list_items: int = 1000  # of POST /devices
    firmware_sync_devices: int = 100  # Q14; may be raised to 1000

    # Records (spec api-v3.md, "Limits").
    software_list_items: int = 1000
    file_list_items: int = 1000
    text_bytes: int = (
        255  # longest string kept from a device: LwM2M's own bound for strings of objects 5 and 9
    )
    history_items: int = 20  # replaced values kept for one device (spec device-record.md, section 6)

    # Accounts (spec auth.md).
    access_token_seconds: int = 3600
    session_idle_seconds: int = 20 * 60
    session_kept_days: int = 30  # an ended session is told from one that never was for that long
    failed_logins: int = 5
    sessions_per_user: int = 1000  # the oldest make room

    # Pre-shared keys of devices (spec lwm2m.md, section 10.2).
    identities_per_device: int = 4
    keys_per_identity: int = 4  # a handshake tries them all
    key_overlap_days: int = 7  # how long the old key stays valid beside the new one

    # LwM2M.
    registrations: int = 2_000_000  # 1.5 kB each: 3 GB
    refreshes_at_once: int = 512  # devices whose inventory is read at the same time
    awake_seconds: float = (
        93.0  # MAX_TRANSMIT_WAIT of RFC 7252: how long after a message a queue-mode device listens
    )
    refresh_after_hours: int = 24
    operations_per_device: int = 32  # queued while it sleeps
    operation_age_days: int = 7


DEFAULT_LIMITS = Limits()
