"""What a cipher suite does to one record: AEAD, or AES-CBC with a MAC.

Sources: RFC 5246 section 6.2.3, RFC 6655 and RFC 5288 (AEAD), RFC 7366 (encrypt-then-MAC), RFC 9146
section 5 (what is authenticated when a record carries a Connection ID).

A record's number is its epoch and sequence number in one 64-bit integer, as on the wire.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from overair.protocols.dtls.codes import DTLS_1_2, TLS12_CID
from overair.protocols.dtls.suites import Suite

_ASSOCIATED: Final = struct.Struct(">QBHH")
_EXPLICIT_NONCE_BYTES: Final = 8
_BLOCK: Final = 16
_SHA256: Final = SHA256()


def associated_data(kind: int, number: int, cid: bytes, length: int) -> bytes:
    """What is authenticated beside the content; `cid` is the one in the record, empty for none."""
    if not cid:
        return _ASSOCIATED.pack(number, kind, DTLS_1_2, length)
    head = struct.pack(">QBBBHQ", (1 << 64) - 1, TLS12_CID, len(cid), TLS12_CID, DTLS_1_2, number)
    return head + cid + length.to_bytes(2, "big")


class Protection(Protocol):
    """Both directions of one association."""

    expansion: int
    """How many bytes longer than its content a fragment can be."""

    def seal(self, kind: int, number: int, content: bytes, cid: bytes) -> bytes:
        """Return the fragment of the record."""

    def open(self, kind: int, number: int, fragment: bytes, cid: bytes) -> bytes | None:
        """Return the content, None if the fragment does not authenticate."""


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...


class _Gcm:
    """AES-GCM set up for each record, for a microsecond: kept, it takes 2 kB a direction."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        return AESGCM(self._key).encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        return AESGCM(self._key).decrypt(nonce, data, associated_data)


def _aead(suite: Suite, key: bytes) -> _Aead:
    return AESCCM(key, suite.tag_bytes) if suite.mode == "ccm" else _Gcm(key)


class AeadProtection:
    """CCM and GCM: the nonce is 4 secret bytes and 8 in the record, the record's number from us."""

    __slots__ = ("_own_cipher", "_own_iv", "_peer_cipher", "_peer_iv", "expansion")

    def __init__(self, suite: Suite, material: bytes, own: int) -> None:
        client, server = _aead(suite, material[:16]), _aead(suite, material[16:32])
        client_iv, server_iv = material[32:36], material[36:40]
        if own:
            client, server, client_iv, server_iv = server, client, server_iv, client_iv
        self._own_cipher, self._own_iv = client, client_iv
        self._peer_cipher, self._peer_iv = server, server_iv
        self.expansion = _EXPLICIT_NONCE_BYTES + suite.tag_bytes

    def seal(self, kind: int, number: int, content: bytes, cid: bytes) -> bytes:
        nonce = number.to_bytes(8, "big")
        associated = associated_data(kind, number, cid, len(content))
        return nonce + self._own_cipher.encrypt(self._own_iv + nonce, content, associated)

    def open(self, kind: int, number: int, fragment: bytes, cid: bytes) -> bytes | None:
        length = len(fragment) - self.expansion
        if length < 0:
            return None
        associated = associated_data(kind, number, cid, length)
        nonce = self._peer_iv + fragment[:8]
        try:
            return self._peer_cipher.decrypt(nonce, fragment[8:], associated)
        except InvalidTag:
            return None


class _CbcKeys:
    """AES-CBC and HMAC-SHA256 of both directions: what the two orders of CBC and MAC share."""

    __slots__ = ("_own_key", "_own_mac", "_peer_key", "_peer_mac")

    expansion = 2 * _BLOCK + 32
    """The IV, up to a block of padding, the MAC."""

    def __init__(self, material: bytes, own: int) -> None:
        macs, keys = (material[:32], material[32:64]), (material[64:80], material[80:96])
        self._own_mac, self._peer_mac = HMAC(macs[own], _SHA256), HMAC(macs[1 - own], _SHA256)
        self._own_key, self._peer_key = AES(keys[own]), AES(keys[1 - own])

    def _encrypt(self, number: int, data: bytes) -> bytes:
        """Pad and encrypt; the first block of what comes out is the IV.

        The IV is the record's number under the same key, which nobody can predict: the first method of
        NIST SP 800-38A appendix C. One pass from an IV of zeros does both.
        """
        padding = _BLOCK - 1 - len(data) % _BLOCK
        blocks = number.to_bytes(_BLOCK, "big") + data + bytes((padding,)) * (padding + 1)
        return Cipher(self._own_key, CBC(bytes(_BLOCK))).encryptor().update(blocks)

    def _decrypt(self, fragment: bytes) -> bytes:
        return Cipher(self._peer_key, CBC(fragment[:_BLOCK])).decryptor().update(fragment[_BLOCK:])


class EncryptThenMacProtection(_CbcKeys):
    """CBC whose MAC covers the encrypted bytes, so that padding is only seen once it is trusted."""

    __slots__ = ()

    def seal(self, kind: int, number: int, content: bytes, cid: bytes) -> bytes:
        encrypted = self._encrypt(number, content)
        return encrypted + _mac(self._own_mac, associated_data(kind, number, cid, len(encrypted)), encrypted)

    def open(self, kind: int, number: int, fragment: bytes, cid: bytes) -> bytes | None:
        encrypted, mac = fragment[:-32], fragment[-32:]
        if len(encrypted) < 2 * _BLOCK or len(encrypted) % _BLOCK:
            return None
        associated = associated_data(kind, number, cid, len(encrypted))
        if not bytes_eq(mac, _mac(self._peer_mac, associated, encrypted)):
            return None
        plain = self._decrypt(encrypted)
        end = len(plain) - plain[-1] - 1
        return plain[:end] if end >= 0 else None


class MacThenEncryptProtection(_CbcKeys):
    """CBC as TLS 1.2 had it first, for peers that offer no encrypt-then-MAC."""

    __slots__ = ()

    def seal(self, kind: int, number: int, content: bytes, cid: bytes) -> bytes:
        associated = associated_data(kind, number, cid, len(content))
        return self._encrypt(number, content + _mac(self._own_mac, associated, content))

    def open(self, kind: int, number: int, fragment: bytes, cid: bytes) -> bytes | None:
        """Bad padding costs the same work as a bad MAC, as far as an interpreter allows that."""
        if len(fragment) < _BLOCK + 48 or len(fragment) % _BLOCK:
            return None
        plain = self._decrypt(fragment)
        padding = plain[-1]
        fits = padding + 33 <= len(plain)
        if not fits:
            padding = 0
        padded = bytes_eq(plain[-padding - 1 :], bytes((plain[-1],)) * (padding + 1))
        end = len(plain) - padding - 33
        content, mac = plain[:end], plain[end : end + 32]
        associated = associated_data(kind, number, cid, end)
        expected = _mac(self._peer_mac, associated, content)
        # The bytes that were not content are hashed too: the time then tells little of the padding.
        _mac(self._peer_mac, associated, plain[end:])
        genuine = bytes_eq(mac, expected)
        return content if fits and padded and genuine else None


def new_protection(suite: Suite, *, encrypt_then_mac: bool, material: bytes, is_server: bool) -> Protection:
    """Set up the ciphers; `material` is the key block: of each pair the client's part comes first."""
    own = int(is_server)
    if suite.mode != "cbc":
        return AeadProtection(suite, material, own)
    return (EncryptThenMacProtection if encrypt_then_mac else MacThenEncryptProtection)(material, own)


def _mac(keyed: HMAC, associated: bytes, data: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(associated)
    mac.update(data)
    return mac.finalize()
