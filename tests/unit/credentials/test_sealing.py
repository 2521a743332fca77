"""Sealed keys, and a master key that is missing, unsafe or another one."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.platform.sealing import FILE_NAME, VARIABLE, MasterKeyError, Sealer

MASTER = "0f" * 32
IDENTITY = b"urn:imei:490154203237518"
KEY = bytes(range(16))


def unlocked(master: str = MASTER) -> Sealer:
    sealer = Sealer(Path("/nowhere"), {VARIABLE: master})
    sealer.unlock(None)
    return sealer


SEALER = unlocked()


def made(data: Path) -> tuple[Sealer, Path]:
    sealer = Sealer(data, {})
    sealer.unlock(None)
    return sealer, data / FILE_NAME


@given(st.binary(min_size=1, max_size=128), st.binary(min_size=8, max_size=64))
def test_a_sealed_key_opens_again_and_shows_nothing(identity: bytes, key: bytes) -> None:
    sealed = SEALER.seal(identity, key)
    assert SEALER.open(identity, sealed) == key
    assert key not in sealed
    assert len(sealed) == 12 + len(key) + 16
    assert SEALER.seal(identity, key) != sealed


@given(st.binary(max_size=100))
def test_any_bytes_open_or_raise_the_one_error(sealed: bytes) -> None:
    with pytest.raises(MasterKeyError):
        SEALER.open(IDENTITY, sealed)


@given(st.integers(0, (12 + 16 + 16) * 8 - 1))
def test_a_bit_that_was_changed_is_noticed(bit: int) -> None:
    sealed = bytearray(SEALER.seal(IDENTITY, KEY))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MasterKeyError):
        SEALER.open(IDENTITY, bytes(sealed))


def test_a_sealed_key_is_no_good_for_another_identity_or_master() -> None:
    sealed = SEALER.seal(IDENTITY, KEY)
    with pytest.raises(MasterKeyError):
        SEALER.open(b"urn:imei:490154203237519", sealed)
    with pytest.raises(MasterKeyError):
        unlocked("f0" * 32).open(IDENTITY, sealed)


def test_nothing_is_sealed_before_there_is_a_master_key(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path, {})
    with pytest.raises(MasterKeyError, match="not been read"):
        sealer.seal(IDENTITY, KEY)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    sealer, file = made(tmp_path / "data")
    assert (file.stat().st_mode & 0o777, file.stat().st_size) == (0o600, 32)
    assert (file.parent.stat().st_mode & 0o777) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == [FILE_NAME]
    sealed = sealer.seal(IDENTITY, KEY)
    again, _ = made(tmp_path / "data")
    assert again.open(IDENTITY, sealed) == KEY
    assert file.read_bytes() != made(tmp_path / "other")[1].read_bytes()


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _, file = made(tmp_path)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_two_that_make_it_at_once_both_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is ready just before ours is put in place."""
    others: list[Sealer] = []
    link = os.link

    def late(draft: Path, file: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        others.append(made(tmp_path)[0])
        link(draft, file)

    monkeypatch.setattr(os, "link", late)
    sealer, file = made(tmp_path)
    assert others[0].open(IDENTITY, sealer.seal(IDENTITY, KEY)) == KEY
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o777])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    _, file = made(tmp_path)
    file.chmod(mode)
    with pytest.raises(MasterKeyError, match=rf"mode 0{mode:o}\): run 'chmod 600 .*{FILE_NAME}'"):
        Sealer(tmp_path, {}).unlock(None)


@pytest.mark.parametrize("size", [0, 31, 33, 5000])
def test_a_file_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    _, file = made(tmp_path)
    file.write_bytes(b"x" * size)
    with pytest.raises(MasterKeyError, match="must hold 32 bytes"):
        Sealer(tmp_path, {}).unlock(None)


def test_a_missing_file_is_not_made_anew_under_sealed_keys(tmp_path: Path) -> None:
    sealer, file = made(tmp_path)
    sample = (IDENTITY, sealer.seal(IDENTITY, KEY))
    file.unlink()
    with pytest.raises(MasterKeyError, match=r"missing.*restore it"):
        Sealer(tmp_path, {}).unlock(sample)
    assert not file.exists()


def test_another_master_key_is_refused_and_not_taken(tmp_path: Path) -> None:
    sample = (IDENTITY, SEALER.seal(IDENTITY, KEY))
    made(tmp_path)
    for environ, source in (({}, FILE_NAME), ({VARIABLE: "f0" * 32}, VARIABLE)):
        sealer = Sealer(tmp_path, environ)
        with pytest.raises(MasterKeyError, match=f"{source} does not open the keys"):
            sealer.unlock(sample)
        with pytest.raises(MasterKeyError, match="not been read"):
            sealer.seal(IDENTITY, KEY)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    _, file = made(tmp_path)
    file.chmod(0o644)
    sealer = Sealer(tmp_path, {VARIABLE: MASTER.upper()})
    sealer.unlock(None)
    assert SEALER.open(IDENTITY, sealer.seal(IDENTITY, KEY)) == KEY


def test_no_file_is_made_where_the_environment_has_the_key(tmp_path: Path) -> None:
    Sealer(tmp_path, {VARIABLE: MASTER}).unlock(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "0f" * 31, "0f" * 33, "0g" * 32, " " + "0f" * 32, "0f " * 32])
def test_a_wrong_variable_is_named_but_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(MasterKeyError, match=VARIABLE) as refused:
        Sealer(tmp_path, {VARIABLE: text}).unlock(None)
    assert "0f" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_secret_is_shown_of_it() -> None:
    assert "0f0f" not in repr(SEALER)
    assert "\\x0f" not in repr(SEALER)
