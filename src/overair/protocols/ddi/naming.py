"""What file a package becomes for a device: its name says what it is, since clients go by that."""

import re

PREFIX_BYTES = 110 + 15
"""What has to be read of an image to tell what it is: a cpio header, and the name behind it."""
NAME_CHARACTERS = 48
"""With the longest of the other segments, a path of less than 200 characters (spec ddi.md, section 9.3)."""

_STRANGE = re.compile(r"[^A-Za-z0-9._-]+")
_CPIO = (b"070701", b"070702")
_CPIO_NAME = slice(110, 110 + 14)
_SUFFIXES = (".swu", ".raucb", ".bin")


def filename(package_name: str, beginning: bytes) -> str:
    """Return the name of the file, from the package's and from how the image begins.

    SWUpdate refuses what does not end in ``.swu`` (spec ddi.md, section 9.1).
    """
    suffix = suffix_of(beginning)
    stem = _STRANGE.sub("-", package_name).strip(".-") or "image"
    for known in _SUFFIXES:
        stem = stem.removesuffix(known)
    return f"{stem[: NAME_CHARACTERS - len(suffix)]}{suffix}"


def suffix_of(beginning: bytes) -> str:
    """Return ``.swu`` for a cpio archive that begins with a description, ``.raucb`` for a squashfs."""
    if beginning[:6] in _CPIO and beginning[_CPIO_NAME] == b"sw-description":
        return ".swu"
    return ".raucb" if beginning[:4] == b"hsqs" else ".bin"
