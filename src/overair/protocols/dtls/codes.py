"""Numbers of DTLS 1.2: content types, messages, extensions, versions and alerts.

Sources: RFC 5246 (TLS 1.2), RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID), the IANA TLS registries.
"""

from __future__ import annotations

import enum
from typing import Final

DTLS_1_0: Final = 0xFEFF
DTLS_1_2: Final = 0xFEFD
"""Versions count downwards: a newer one is a smaller number."""

# Content types of records.
CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
TLS12_CID: Final = 25

# Handshake messages.
HELLO_REQUEST: Final = 0
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
HELLO_VERIFY_REQUEST: Final = 3
NEW_SESSION_TICKET: Final = 4
SERVER_KEY_EXCHANGE: Final = 12
SERVER_HELLO_DONE: Final = 14
CLIENT_KEY_EXCHANGE: Final = 16
FINISHED: Final = 20

# Extensions of the hellos.
MAX_FRAGMENT_LENGTH: Final = 1
SUPPORTED_GROUPS: Final = 10
EC_POINT_FORMATS: Final = 11
ENCRYPT_THEN_MAC: Final = 22
EXTENDED_MASTER_SECRET: Final = 23
SESSION_TICKET: Final = 35
CONNECTION_ID: Final = 54
RENEGOTIATION_INFO: Final = 0xFF01

FRAGMENT_LENGTHS: Final = {1: 512, 2: 1024, 3: 2048, 4: 4096}
"""What a code of max_fragment_length stands for, in bytes (RFC 6066 section 4)."""

RENEGOTIATION_SCSV: Final = 0x00FF
"""A cipher suite that says what an empty renegotiation_info says (RFC 5746 section 3.3)."""

SECP256R1: Final = 23
NAMED_CURVE: Final = 3

WARNING: Final = 1
FATAL: Final = 2


class Alert(enum.IntEnum):
    """Alerts this engine sends (RFC 5246 section 7.2); a peer may send others."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    HANDSHAKE_FAILURE = 40
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    NO_RENEGOTIATION = 100
    UNSUPPORTED_EXTENSION = 110
