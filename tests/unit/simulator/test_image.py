"""Images of simulated firmware."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.simulator.image import (
    DamagedImageError,
    Header,
    ImageError,
    NoImageError,
    Slot,
    make_image,
    parse_header,
)

TEXT = st.text(max_size=40)


def written(image: bytes, step: int) -> Slot:
    slot = Slot()
    for at in range(0, len(image), step):
        slot.write(image[at : at + step])
    return slot


@given(TEXT, TEXT, TEXT, TEXT, st.integers(1000, 5000), st.integers(0, 9), st.integers(1, 700))
def test_a_slot_reads_what_was_made_however_it_comes(
    make: str, model: str, version: str, name: str, size: int, seed: int, step: int
) -> None:
    image = make_image(make, model, version, size, seed, name=name)
    assert len(image) == size
    assert image == make_image(make, model, version, size, seed, name=name)
    assert hashlib.sha256(image[:-32]).digest() == image[-32:]
    slot = written(image, step)
    header = slot.check()
    assert (header.make, header.model, header.version, header.name) == (make, model, version, name)
    assert (header.size_bytes, slot.received) == (size, size)


def test_another_seed_makes_other_bytes() -> None:
    assert make_image("a", "b", "1", 500, 1) != make_image("a", "b", "1", 500, 2)


@given(st.integers(0, 1999), st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, change: int) -> None:
    image = bytearray(make_image("Acme", "One", "2.0.0", 2000))
    image[at] ^= change
    with pytest.raises((DamagedImageError, NoImageError)):
        written(bytes(image), 512).check()


def test_missing_and_additional_bytes_are_found() -> None:
    image = make_image("Acme", "One", "2.0.0", 2000)
    for wrong in (image[:-1], image + b"\0", image[:40]):
        with pytest.raises(DamagedImageError):
            written(wrong, 512).check()


@pytest.mark.parametrize("other", [b"", b"S", b"PK\3\4 something else", b"\x7fELF" * 100])
def test_what_is_no_image_is_told_apart_from_a_damaged_one(other: bytes) -> None:
    with pytest.raises(NoImageError):
        written(other, 16).check()


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(ImageError, match="at least 64"):
        make_image("Acme", "One", "2", 63)
    assert len(make_image("Acme", "One", "2", 64)) == 64
    with pytest.raises(ImageError, match="at most 255"):
        make_image("A" * 256, "One", "2", 1000)
    with pytest.raises(ImageError, match="4 GiB"):
        make_image("Acme", "One", "2", 1 << 32)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_header_fail(data: bytes) -> None:
    for head in (data, b"SIMIMAGE" + data):
        try:
            header = parse_header(head)
        except NoImageError:
            continue
        assert header is None or isinstance(header, Header)
