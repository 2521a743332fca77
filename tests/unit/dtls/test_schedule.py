"""Secrets from secrets: the known answer of the PRF, and the parts that no capture shows."""

from __future__ import annotations

import hashlib
import hmac

from overair.protocols.dtls import schedule


def test_prf_known_answer() -> None:
    """The P_SHA256 vector that the TLS working group's list published for TLS 1.2."""
    secret = bytes.fromhex("9bbe436ba940f017b17652849a71db35")
    seed = bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
    expected = bytes.fromhex(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
        "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
        "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )
    assert schedule.Prf(secret)(b"test label", seed, 100) == expected
    assert schedule.Prf(secret)(b"test label", seed, 12) == expected[:12]


def test_premaster_secret_of_a_psk() -> None:
    assert schedule.psk_premaster(b"abc") == b"\0\3\0\0\0\0\3abc"
    assert schedule.psk_premaster(b"abc", b"shared") == b"\0\6shared\0\3abc"


def test_master_secret_without_the_extension() -> None:
    """RFC 5246 section 8.1, written out with the standard library."""
    client, server = bytes(range(32)), bytes(range(32, 64))
    seed = b"master secret" + client + server
    first = hmac.digest(b"pre", seed, "sha256")
    second = hmac.digest(b"pre", first, "sha256")
    output = hmac.digest(b"pre", first + seed, "sha256") + hmac.digest(b"pre", second + seed, "sha256")
    assert schedule.master_secret(b"pre", client, server) == output[:48]


def test_transcript_goes_on_after_a_look() -> None:
    transcript = schedule.new_transcript()
    transcript.update(b"one")
    assert transcript.digest() == hashlib.sha256(b"one").digest()
    transcript.update(b"two")
    assert transcript.digest() == hashlib.sha256(b"onetwo").digest()


def test_fingerprints_tell_keys_apart() -> None:
    assert schedule.key_fingerprint(b"one") != schedule.key_fingerprint(b"two")
    assert schedule.key_fingerprint(b"one") == schedule.key_fingerprint(b"one")
