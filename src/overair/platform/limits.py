"""Every bound of the service, with its reason. Nothing that a stranger sends may exceed one of these.

The bounds of a protocol's own machinery (retransmission, blocks) stand in that protocol's package.
"""

import math
from dataclasses import dataclass

LISTED_DEVICE_BYTES = 20
"""An IMEI in a list: 15 digits, quotes, comma, white space."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults suit one machine with two cores."""

    # REST. The largest body but those that list a campaign's devices has 1000 IMEIs: 20 kB.
    request_body_bytes: int = 1 << 20
    request_timeout_seconds: float = 30.0
    page_size: int = 1000  # published (spec api-v3.md, section 1)
    device_list_items: int = 1000  # of POST /devices
    license_list_items: int = 1000  # of assign and remove (spec api-v3.md, "Limits")
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

    # Packages and their images.
    image_bytes: int = 4 << 30  # no cellular module takes more; CoAP's blocks end at 1 GiB
    image_memory_bytes: int = 64 << 20  # verified pieces kept for the devices that ask for the same ones
    account_packages: int = 1000  # the list of firmware has no pages (spec api-v3.md, section 4.1)
    listed_packages: int = 10_000  # in a list of all accounts
    release_note_characters: int = 1000
    signature_bytes: int = 1024  # RSA of 8192 bits
    certificates_bytes: int = 65_536  # eight in PEM, with room
    uploads: int = 64  # not done yet; each may hold image_bytes on the disk
    uploads_at_once: int = 8  # requests that write at the same time
    upload_kept_days: int = 7  # how long an upload waits to be resumed
    upload_stall_seconds: float = 30.0  # without a byte
    upload_bytes_per_second: int = 1024  # less, over the whole request, is a client that only holds a place
    downloads: int = 512  # answers under way at once: 64 kB each
    downloads_per_token: int = 8  # of which one device may have so many
    download_stall_seconds: float = 120.0  # 64 kB at 5 kbit/s, the slowest that NB-IoT is bearable at
    download_bytes_per_second: float = math.inf  # of all devices together

    # LwM2M.
    registrations: int = 2_000_000  # 1.5 kB each: 3 GB
    refreshes_at_once: int = 512  # devices whose inventory is read at the same time
    awake_seconds: float = (
        93.0  # MAX_TRANSMIT_WAIT of RFC 7252: how long after a message a queue-mode device listens
    )
    refresh_after_hours: int = 24
    operations_per_device: int = 32  # queued while it sleeps
    operation_age_days: int = 7

    # Devices over HTTP (spec ddi.md).
    tokens_per_device: int = 4  # valid at once, while one is replaced
    ddi_body_bytes: int = 128 << 10  # 50 messages of 512 characters, or 100 attributes, in any script
    ddi_targets: int = 200_000  # devices remembered between polls: 1 kB each
    ddi_stuck_hours: int = 24  # without progress while the device polls (section 6)
    ddi_kept_days: int = 183  # for actions that are closed and their history

    # Campaigns (spec lifecycle.md).
    campaign_devices: int = 10_000  # of one request; none is published, and it may be raised
    reachability_tries: int = 42  # how often a device is looked for (spec lifecycle.md, section 4)
    attempts_at_once: int = 2000  # each a conversation with a device: 10 kB
    transfers_at_once: int = 200  # of images, among those attempts
    attempt_hours: int = 30  # 24 for the download, and then what installing takes
    ending_hours: int = 3  # for attempts that can't be stopped when their campaign is over
    reachable_hours: int = 24  # after that without a sign of life a device counts as unreachable
    windows: int = 48  # of one campaign
    history_days: int = 183  # published: six months (spec api-v3.md, "Limits")

    # Callbacks (spec callbacks.md).
    callback_url_characters: int = 2048  # what proxies and browsers commonly bear
    callbacks_at_once: int = 64  # attempts under way: a connection each
    callbacks_per_listener: int = 4  # of which one listener may have so many
    callback_timeout_seconds: float = 10.0  # for a whole attempt (spec callbacks.md, section 2)
    callback_answer_bytes: int = 4096  # read of an answer, of which only the status counts
    callback_scan_messages: int = 2000  # of one listener, the oldest: a message a minute for a day, and more
    callback_retry_hours: int = 24
    callback_hold_hours: int = 48  # for messages that waited behind others
    callback_kept_days: int = 30  # for inspection (spec callbacks.md, section 2)
    callback_attempts_kept: int = 100  # of one message; some 60 are made in a day
    callback_log_items: int = 1000  # shown at once

    @property
    def campaign_body_bytes(self) -> int:
        """The largest body of a request that lists a campaign's devices."""
        return self.request_body_bytes + LISTED_DEVICE_BYTES * self.campaign_devices


DEFAULT_LIMITS = Limits()
