"""Who signed an image: by a trusted key, or by a certificate that a trusted one vouches for."""

import subprocess
from base64 import encodebytes
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from overair.packages.model import BadSignature, TrustError
from overair.packages.signatures import decoded
from overair.packages.trust import ANCHORS, FILE_BYTES, TrustFolder

from .world import Authority, World, certify, image_bytes, pem, public_pem, root

IMAGE = image_bytes()
RSA_2048 = rsa.generate_private_key(65537, 2048)
PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
PSS_LONG = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=padding.PSS.MAX_LENGTH)


def trust(world: World, content: bytes) -> None:
    file = world.data / "to-trust"
    file.write_bytes(content)
    world.packages.trust.add(file)


def ecdsa(signer: Authority, image: bytes = IMAGE) -> bytes:
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    return signer.key.sign(image, ec.ECDSA(SHA256()))


# Keys.


async def test_an_ed25519_key_that_is_trusted(world: World) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    trust(world, public_pem(ed25519.Ed25519PrivateKey.generate()))
    trust(world, public_pem(key))
    package = await world.add(IMAGE, signature=key.sign(IMAGE))
    names = {anchor.name for anchor in world.packages.trust.anchors()}
    assert package.signed_by in {f"key {name}" for name in names}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key.sign(IMAGE + b"x"),
        lambda key: key.sign(IMAGE)[:-1],
        lambda key: key.sign(IMAGE)[:-1] + bytes([key.sign(IMAGE)[-1] ^ 1]),
        lambda key: b"\x00",
        lambda key: ed25519.Ed25519PrivateKey.generate().sign(IMAGE),
    ],
)
async def test_a_signature_that_is_not_of_a_trusted_key(world: World, spoil: Any) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    trust(world, public_pem(key))
    with pytest.raises(BadSignature, match="not of this image by a trusted key"):
        await world.add(IMAGE, signature=spoil(key))
    assert await world.packages.listed(None) == []


async def test_a_key_that_is_trusted_no_longer(world: World) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    trust(world, public_pem(key))
    (anchor,) = world.packages.trust.anchors()
    world.packages.trust.remove(anchor.name)
    with pytest.raises(BadSignature):
        await world.add(IMAGE, signature=key.sign(IMAGE))


# Certificates.


async def test_a_chain_to_a_trusted_root(world: World) -> None:
    anchor = root()
    between = anchor.vouch("Between", ca=True, path_length=0)
    signer = between.vouch("Build server")
    trust(world, pem(anchor.certificate))
    chain = pem(signer.certificate, between.certificate)
    package = await world.add(IMAGE, signature=ecdsa(signer), certificates=chain)
    assert package.signed_by == "CN=Build server"
    assert package.certificates == chain
    strict = world.restarted(require_signatures=True)
    await world.add_device()
    assert [each.id for each in await strict.offered(world.account.id, None)] == [package.id]


@pytest.mark.parametrize(
    "sign",
    [
        lambda: RSA_2048.sign(IMAGE, PSS, SHA256()),
        lambda: RSA_2048.sign(IMAGE, PSS_LONG, SHA256()),
        lambda: RSA_2048.sign(IMAGE, padding.PKCS1v15(), SHA256()),
    ],
)
async def test_rsa(world: World, sign: Any) -> None:
    anchor = root()
    signer = anchor.vouch("Signer", RSA_2048)
    trust(world, pem(anchor.certificate))
    package = await world.add(IMAGE, signature=sign(), certificates=pem(signer.certificate))
    assert package.signed_by == "CN=Signer"


async def test_rsa_with_another_digest(world: World) -> None:
    anchor = root()
    signer = anchor.vouch("Signer", RSA_2048)
    trust(world, pem(anchor.certificate))
    with pytest.raises(BadSignature, match="not of this image by the key of 'CN=Signer'"):
        await world.add(
            IMAGE,
            signature=RSA_2048.sign(IMAGE, padding.PKCS1v15(), SHA512()),
            certificates=pem(signer.certificate),
        )


async def test_an_ed25519_certificate(world: World) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    anchor = root()
    signer = anchor.vouch("Signer", key)
    trust(world, pem(anchor.certificate))
    package = await world.add(IMAGE, signature=key.sign(IMAGE), certificates=pem(signer.certificate))
    assert package.signed_by == "CN=Signer"


async def test_a_certificate_that_is_trusted_itself(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = Authority("Alone", key, certify("Alone", "Alone", key, key))
    trust(world, pem(signer.certificate))
    package = await world.add(IMAGE, signature=ecdsa(signer), certificates=pem(signer.certificate))
    assert package.signed_by == "CN=Alone"


def purposes(*names: x509.ObjectIdentifier) -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage(names), False


def usage(*, signature: bool, certificates: bool = False) -> tuple[x509.ExtensionType, bool]:
    others = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    return x509.KeyUsage(digital_signature=signature, key_cert_sign=certificates, **others), True


@pytest.mark.parametrize(
    "extensions",
    [
        [purposes(ExtendedKeyUsageOID.CODE_SIGNING)],
        [purposes(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)],
        [usage(signature=True)],
    ],
)
async def test_a_certificate_that_is_for_signing_code(world: World, extensions: Any) -> None:
    anchor = root()
    signer = anchor.vouch("Signer", extensions=extensions)
    trust(world, pem(anchor.certificate))
    package = await world.add(IMAGE, signature=ecdsa(signer), certificates=pem(signer.certificate))
    assert package.signed_by == "CN=Signer"


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"days": -0.5}, "has expired on 2025-12-31"),
        ({"begins": 1}, "is not valid before 2026-01-02"),
        ({"extensions": [purposes(ExtendedKeyUsageOID.SERVER_AUTH)]}, "not for signing code"),
        ({"extensions": [usage(signature=False)]}, "not for signatures"),
        ({"extensions": [(UNKNOWN, True)]}, "critical"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "RSA of 2048 bits"),
        ({"key": ec.generate_private_key(ec.SECP521R1())}, "P-256"),
    ],
)
async def test_a_certificate_that_does_not_do(world: World, said: dict[str, Any], reason: str) -> None:
    anchor = root()
    signer = anchor.vouch("Signer", **said)
    trust(world, pem(anchor.certificate))
    signature = ecdsa(signer) if isinstance(signer.key, ec.EllipticCurvePrivateKey) else b"x" * 128
    with pytest.raises(BadSignature, match=reason):
        await world.add(IMAGE, signature=signature, certificates=pem(signer.certificate))
    assert await world.packages.listed(None) == []


async def refused(world: World, signer: Authority, *between: Authority) -> str:
    chain = pem(signer.certificate, *(each.certificate for each in between))
    with pytest.raises(BadSignature) as error:
        await world.add(IMAGE, signature=ecdsa(signer), certificates=chain)
    return str(error.value)


async def test_chains_that_lead_nowhere(world: World) -> None:
    anchor = root()
    assert "no certificate is trusted" in await refused(world, anchor.vouch("Signer"))
    trust(world, pem(anchor.certificate))
    stranger = root("Stranger")
    assert "no chain" in await refused(world, stranger.vouch("Signer"), stranger)
    impostor = root("Root")
    assert "no chain" in await refused(world, impostor.vouch("Signer"), impostor)
    between = anchor.vouch("Between", ca=True)
    assert "no chain" in await refused(world, between.vouch("Signer"))
    leaf = anchor.vouch("Leaf")
    assert "no chain" in await refused(world, leaf.vouch("Signer"), leaf)
    no_ca = anchor.vouch("No CA", ca=False)
    assert "cA must be asserted" in await refused(world, no_ca.vouch("Signer"), no_ca)
    ended = anchor.vouch("Ended", ca=True, days=-0.5)
    assert "not valid" in await refused(world, ended.vouch("Signer"), ended)
    short = anchor.vouch("Short", ca=True, path_length=0)
    longer = short.vouch("Longer", ca=True)
    assert "path length" in await refused(world, longer.vouch("Signer"), longer, short)
    web = anchor.vouch("Web", ca=True, extensions=[purposes(ExtendedKeyUsageOID.SERVER_AUTH)])
    assert "not for signing code" in await refused(world, web.vouch("Signer"), web)
    mute = anchor.vouch("Mute", ca=True, extensions=[usage(signature=True)])
    assert "may not sign certificates" in await refused(world, mute.vouch("Signer"), mute)


async def test_the_key_of_another_certificate(world: World) -> None:
    anchor = root()
    trust(world, pem(anchor.certificate))
    signer, other = anchor.vouch("Signer"), anchor.vouch("Other")
    with pytest.raises(BadSignature, match="not of this image by the key of 'CN=Other'"):
        await world.add(IMAGE, signature=ecdsa(signer), certificates=pem(other.certificate))


@pytest.mark.parametrize(
    "chain", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"]
)
async def test_certificates_that_are_none(world: World, chain: bytes) -> None:
    trust(world, pem(root().certificate))
    with pytest.raises(BadSignature, match="must be PEM"):
        await world.add(IMAGE, signature=b"x" * 64, certificates=chain)


async def test_a_chain_has_a_bound(world: World) -> None:
    anchor = root()
    trust(world, pem(anchor.certificate))
    signer = anchor.vouch("Signer")
    with pytest.raises(BadSignature, match="at most 8"):
        await world.add(IMAGE, signature=ecdsa(signer), certificates=pem(*[signer.certificate] * 9))


# Files.


def test_a_signature_may_be_text() -> None:
    signature = bytes(range(64))
    assert decoded(signature) == signature
    assert decoded(encodebytes(signature)) == signature
    assert decoded(b"  " + encodebytes(signature * 3) + b"\n") == signature * 3


def openssl(*arguments: object, folder: Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)


async def test_openssl_signs(world: World, tmp_path: Path) -> None:
    """By the commands of docs/packages.md."""
    (tmp_path / "image.bin").write_bytes(IMAGE)
    openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem", folder=tmp_path)
    openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem", folder=tmp_path)
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", "key.pem", "-in", "image.bin", "-out", "image.sig",
            folder=tmp_path)  # fmt: skip
    world.packages.trust.add(tmp_path / "public.pem")
    package = await world.add(IMAGE, name="a", signature=(tmp_path / "image.sig").read_bytes())
    assert package.signed_by
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "ec.pem", folder=tmp_path)
    openssl("req", "-x509", "-key", "ec.pem", "-subj", "/CN=Build", "-days", "30", "-out", "ec.crt",
            folder=tmp_path)  # fmt: skip
    openssl("dgst", "-sha256", "-sign", "ec.pem", "-out", "ec.sig", "image.bin", folder=tmp_path)
    (certificate,) = x509.load_pem_x509_certificates((tmp_path / "ec.crt").read_bytes())
    now_ms = certificate.not_valid_before_utc.timestamp() * 1000
    world.clock.advance(max(0.0, now_ms - world.clock.now_ms()) / 1000 + 60)
    world.packages.trust.add(tmp_path / "ec.crt")
    package = await world.add(
        IMAGE,
        name="b",
        signature=(tmp_path / "ec.sig").read_bytes(),
        certificates=(tmp_path / "ec.crt").read_bytes(),
    )
    assert package.signed_by == "CN=Build"


def test_the_folder_of_what_is_trusted(tmp_path: Path) -> None:
    folder, anchor = TrustFolder(tmp_path), root()
    key = ed25519.Ed25519PrivateKey.generate()
    assert folder.anchors() == []
    file = tmp_path / "in.pem"
    file.write_bytes(pem(anchor.certificate, root("Second").certificate))
    assert [one.subject for one in folder.add(file)] == ["CN=Root", "CN=Second"]
    file.write_bytes(public_pem(key))
    (added,) = folder.add(file)
    assert (added.subject, added.expires_ms) == ("", None)
    folder.add(file)
    names = [one.name for one in folder.anchors()]
    assert len(names) == 3
    assert names == sorted(names)
    assert {one.stem for one in (tmp_path / "trust").iterdir()} == set(names)
    assert all(one.stat().st_mode & 0o077 == 0 for one in (tmp_path / "trust").iterdir())
    folder.remove(added.name)
    assert added.name not in [one.name for one in folder.anchors()]
    with pytest.raises(TrustError, match="nothing"):
        folder.remove(added.name)
    with pytest.raises(TrustError, match="nothing"):
        folder.remove("../in")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\n", b"x" * (FILE_BYTES + 1)]
)
def test_what_can_not_be_trusted_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "in.pem"
    file.write_bytes(content)
    with pytest.raises(TrustError, match=r"in\.pem"):
        TrustFolder(tmp_path).add(file)
    assert TrustFolder(tmp_path).anchors() == []


def test_a_private_key_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    file = tmp_path / "in.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(TrustError, match="private"):
        TrustFolder(tmp_path).add(file)
    assert not (tmp_path / "trust").exists()


def test_files_put_there_by_hand_count(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    by_hand = tmp_path / "trust" / "ours.pem"
    by_hand.write_bytes(pem(root().certificate, root("Second").certificate))
    folder = TrustFolder(tmp_path)
    assert {one.subject for one in folder.anchors()} == {"CN=Root", "CN=Second"}
    with pytest.raises(TrustError, match="other certificates"):
        folder.remove(folder.anchors()[0].name)
    by_hand.write_bytes(pem(root().certificate))
    folder.remove(folder.anchors()[0].name)
    assert not by_hand.exists()


def test_what_is_trusted_has_a_bound(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    many = [certify(f"C{n}", "C", key, key) for n in range(ANCHORS + 1)]
    file = tmp_path / "in.pem"
    file.write_bytes(pem(*many))
    with pytest.raises(TrustError, match=f"more than {ANCHORS}"):
        TrustFolder(tmp_path).add(file)
    file.write_bytes(pem(*many[:ANCHORS]))
    assert len(TrustFolder(tmp_path).add(file)) == ANCHORS
