"""Keys and secrets under AES-256-GCM, and the master key that opens them.

A sealed key is a random nonce of 12 bytes, the ciphertext and its tag of 16 bytes; what it belongs to is
associated data, so that a sealed key can't be moved to something else. With random nonces one master key is
good for 2**32 seals (NIST SP 800-38D, section 8.3).

The master key lies in a file beside the embedded database, or is given by the environment, which wins.
Whoever has the database alone, or its backup, can't read a key; and who loses the master key has lost them.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE_NAME = "master.key"
VARIABLE = "OVERAIR_MASTER_KEY"

MASTER_KEY_BYTES = 32
NONCE_BYTES = 12


class MasterKeyError(Exception):
    """The master key is missing, unsafe or not the right one; the message says what to do."""


class Sealer:
    """Seals and opens keys, after :meth:`unlock`. Neither takes longer than some microseconds."""

    def __init__(self, data: Path, environ: Mapping[str, str]) -> None:
        self._file = data / FILE_NAME
        self._environ = environ
        self._aead: AESGCM | None = None

    def unlock(self, sample: tuple[bytes, bytes] | None) -> None:
        """Get the master key, or make it if nothing was ever sealed; blocks on files, does nothing twice.

        *sample* is an owner and its sealed key of the database, None if that holds no key.
        Raises :class:`MasterKeyError` where the master key is missing, unsafe or another one.
        """
        if self._aead is not None:
            return
        key, source = self._given(), VARIABLE
        if key is None:
            key, source = _read(self._file), str(self._file)
        if key is None:
            if sample is not None:
                raise MasterKeyError(
                    f"{source} is missing, but the database holds keys that only it opens: "
                    f"restore it from a backup, or set {VARIABLE}"
                )
            key = _make(self._file)
        aead = AESGCM(key)
        if sample is not None and _opened(aead, *sample) is None:
            raise MasterKeyError(
                f"{source} does not open the keys in the database: it is of another installation"
            )
        self._aead = aead

    def seal(self, owner: bytes, key: bytes) -> bytes:
        """Return the stored form of a key; *owner* says what it is of."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._unlocked.encrypt(nonce, key, owner)

    def open(self, owner: bytes, sealed: bytes) -> bytes:
        """Return the key; :class:`MasterKeyError` if it was sealed otherwise, or for another owner."""
        key = _opened(self._unlocked, owner, sealed)
        if key is None:
            raise MasterKeyError("a key does not open: it was sealed under another master key")
        return key

    @property
    def _unlocked(self) -> AESGCM:
        if self._aead is None:
            raise MasterKeyError("the master key has not been read yet")
        return self._aead

    def _given(self) -> bytes | None:
        text = self._environ.get(VARIABLE)
        if text is None:
            return None
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != MASTER_KEY_BYTES or len(text) != 2 * MASTER_KEY_BYTES:
            raise MasterKeyError(f"{VARIABLE}: must be {2 * MASTER_KEY_BYTES} hex digits")
        return key


def _opened(aead: AESGCM, owner: bytes, sealed: bytes) -> bytes | None:
    try:
        return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner)
    except (InvalidTag, ValueError):  # the latter for a nonce that is cut short
        return None


def _read(file: Path) -> bytes | None:
    """Return the master key of a file that only its owner may read; None if there is no file."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        key = opened.read(MASTER_KEY_BYTES + 1)
    if mode & 0o077:
        raise MasterKeyError(f"{file} is open to other users (mode {mode:04o}): run 'chmod 600 {file}'")
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyError(f"{file}: must hold {MASTER_KEY_BYTES} bytes; restore it from a backup")
    return key


def _make(file: Path) -> bytes:
    """Make the file, whole and on the disk before anything is sealed under it; return what it holds.

    Written under another name first: two processes that both need it get the same one, and a crash
    leaves no half of it.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    key = secrets.token_bytes(MASTER_KEY_BYTES)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(key)
            opened.flush()
            os.fsync(descriptor)
        os.link(draft, file)
    except FileExistsError:
        return _read(file) or _make(file)
    finally:
        draft.unlink()
    _sync_folder(file.parent)
    return key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
