"""An image as a TLV resource, read in slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap.blockwise import Upload
from overair.protocols.lwm2m import ContentError, decode
from overair.protocols.lwm2m.content import TLV
from overair.protocols.lwm2m.updating.wrapping import IMAGE_BYTES_MAX, Wrapped


def test_the_header_names_resource_0_and_the_length() -> None:
    assert bytes(Wrapped(bytes(300))[:6]).hex() == "d80000012c00"


@given(st.binary(min_size=0, max_size=200), st.integers(0, 220), st.integers(0, 220))
def test_slices_are_those_of_header_and_image_together(image: bytes, start: int, stop: int) -> None:
    wrapped = Wrapped(memoryview(image))
    whole = bytes.fromhex("d800") + len(image).to_bytes(3, "big") + image
    assert len(wrapped) == len(whole)
    assert bytes(wrapped[start:stop]) == whole[start:stop]
    assert bytes(wrapped[:]) == whole


def test_a_device_reads_the_image_back() -> None:
    image = bytes(range(256)) * 300
    wrapped = Wrapped(image)
    assert decode(TLV, bytes(wrapped[:]), (5, 0)) == {(5, 0, 0): image}


def test_an_upload_cuts_across_the_header() -> None:
    upload = Upload(Wrapped(bytes(40)), 16)
    assert upload.compose()[1] == bytes.fromhex("d800000028") + bytes(11)
    assert upload.block.more


def test_an_image_that_the_header_can_not_measure() -> None:
    class Huge:
        def __len__(self) -> int:
            return IMAGE_BYTES_MAX + 1

        def __getitem__(self, part: slice) -> bytes:
            return b""

    with pytest.raises(ContentError, match="package"):
        Wrapped(Huge())
