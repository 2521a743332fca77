"""Images that are pushed, in memory: each once, however many devices it is sent to."""

from weakref import WeakValueDictionary

from overair.packages.model import ImageGrant
from overair.platform.images import Images


class Whole:
    """An image for as long as somebody is being sent it; a source of bytes for CoAP."""

    __slots__ = ("__weakref__", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, part: slice, /) -> memoryview:
        return self._data[part]


class Wholes:
    """The images that are being pushed."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._held: WeakValueDictionary[str, Whole] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, grant: ImageGrant) -> Whole:
        """Return an image, verified; raises what :meth:`Images.read` does."""
        held = self._held.get(grant.image_id)
        if held is not None:
            return held
        read = Whole(await self._images.read(grant.image_id, 0, grant.size_bytes))
        # Of two that read it at the same time, one copy stays.
        return self._held.setdefault(grant.image_id, read)
