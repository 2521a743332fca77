"""An image as one TLV resource, for clients that refuse it as opaque (spec lwm2m.md 13.2, section 14).

The blocks of such a push are cut across header and image, so both have to look like one body; the image is
not copied for that.
"""

from overair.protocols.coap.blockwise import Body, Source
from overair.protocols.lwm2m.errors import ContentError

IMAGE_BYTES_MAX = (1 << 24) - 1
_RESOURCE_0_LENGTH_24 = 0xD8


class Wrapped:
    """A TLV header and an image, with the length and the slices of both together.

    ContentError if the image has 16 MiB or more: the header's length has 24 bits.
    """

    __slots__ = ("_header", "_image")

    def __init__(self, image: Body | Source) -> None:
        if len(image) > IMAGE_BYTES_MAX:
            raise ContentError("package", f"at most {IMAGE_BYTES_MAX} bytes in TLV")
        self._header = bytes((_RESOURCE_0_LENGTH_24, 0)) + len(image).to_bytes(3, "big")
        self._image = image

    def __len__(self) -> int:
        return len(self._header) + len(self._image)

    def __getitem__(self, part: slice, /) -> Body:
        start, stop, _ = part.indices(len(self))
        size = len(self._header)
        if start >= size:
            return self._image[start - size : stop - size]
        return self._header[start:stop] + bytes(self._image[: max(stop - size, 0)])
