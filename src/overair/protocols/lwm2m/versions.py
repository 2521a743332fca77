"""LwM2M enabler versions and object versions (spec lwm2m.md 3.2, 3.9)."""

import re

_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,4}){0,3}", re.ASCII)
_ENABLERS = ("1.0", "1.1", "1.2")


def parse_version(text: str) -> tuple[int, ...] | None:
    """Read `1.10` as `(1, 10)`, so that it compares above `1.9`; None if it is no version."""
    if _VERSION.fullmatch(text) is None:
        return None
    return tuple(map(int, text.split(".")))


def enabler_version(text: str) -> str | None:
    """Return "1.0", "1.1" or "1.2" for the `lwm2m` parameter of a Register; None if it is not supported.

    A third number is ignored; `1` alone and an empty value mean 1.0.
    """
    if text in _ENABLERS:
        return text
    if text in {"", "1"}:
        return "1.0"
    numbers = parse_version(text)
    if numbers is None or len(numbers) not in {2, 3}:
        return None
    version = f"{numbers[0]}.{numbers[1]}"
    return version if version in _ENABLERS else None
