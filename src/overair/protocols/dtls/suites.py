"""The cipher suites of this engine, as a table (RFC 6655, RFC 5487, RFC 5489; spec lwm2m.md 10.1)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Suite(NamedTuple):
    """What a cipher suite takes; sizes in bytes, `tag_bytes` is the tag or the MAC."""

    number: int
    name: str
    mode: Literal["ccm", "gcm", "cbc"]
    tag_bytes: int
    mac_key_bytes: int
    iv_bytes: int
    ecdhe: bool = False

    @property
    def key_block_bytes(self) -> int:
        """Keys of both directions."""
        return 2 * (self.mac_key_bytes + KEY_BYTES + self.iv_bytes)


KEY_BYTES: Final = 16
"""All of them use AES-128."""

PSK_AES_128_CCM_8: Final = 0xC0A8
PSK_AES_128_CCM: Final = 0xC0A4
PSK_AES_128_GCM_SHA256: Final = 0x00A8
PSK_AES_128_CBC_SHA256: Final = 0x00AE
ECDHE_PSK_AES_128_CBC_SHA256: Final = 0xC037

SUITES: Final[dict[int, Suite]] = {
    suite.number: suite
    for suite in (
        Suite(PSK_AES_128_CCM_8, "TLS_PSK_WITH_AES_128_CCM_8", "ccm", 8, 0, 4),
        Suite(PSK_AES_128_CCM, "TLS_PSK_WITH_AES_128_CCM", "ccm", 16, 0, 4),
        Suite(PSK_AES_128_GCM_SHA256, "TLS_PSK_WITH_AES_128_GCM_SHA256", "gcm", 16, 0, 4),
        Suite(ECDHE_PSK_AES_128_CBC_SHA256, "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256", "cbc", 32, 32, 0, True),
        Suite(PSK_AES_128_CBC_SHA256, "TLS_PSK_WITH_AES_128_CBC_SHA256", "cbc", 32, 32, 0),
    )
}
"""Best first: CBC last, because no interpreter is constant-time over its padding (spec engine.md 2)."""
