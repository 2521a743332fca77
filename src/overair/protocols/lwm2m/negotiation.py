"""Which content format to try first, and which after 4.06 or 4.15 (spec lwm2m.md 6.1).

The caller goes through the tuple and remembers, per device and until its next Register, what worked. None
means: send no Accept option.
"""

from overair.protocols.lwm2m.content import (
    LWM2M_CBOR,
    LWM2M_JSON,
    OPAQUE,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    canonical_format,
)
from overair.protocols.lwm2m.links import ObjectList
from overair.protocols.lwm2m.objects import ResourceType, resource_at
from overair.protocols.lwm2m.paths import Path

# Order of preference among what a 1.1 client lists in the `ct` of its root link.
_PREFERRED = (SENML_CBOR, SENML_JSON, LWM2M_CBOR, TLV)
_FALLBACKS = (SENML_JSON, TLV)


def read_formats(path: Path, version: str, objects: ObjectList | None) -> tuple[int | None, ...]:
    """Accept values for a Read or Observe of one path, in the order to try them.

    `version` is the client's enabler version, `objects` what it registered (None: not known).
    """
    old = version == "1.0"
    if _is_single(path):
        if _is_opaque(path):
            return (None, TLV) if old else (OPAQUE, TLV, None)
        return (None, TLV, SENML_CBOR, SENML_JSON) if old else (TEXT, TLV, SENML_CBOR, SENML_JSON, None)
    # A 1.0 client answers TLV unasked; some answer nothing at all when they are asked for it.
    return (None, TLV, LWM2M_JSON) if old else (*_several(objects), None)


def write_formats(path: Path, version: str, objects: ObjectList | None) -> tuple[int, ...]:
    """Content formats for a Write or Create at one path, in the order to try them."""
    if _is_single(path):
        return (OPAQUE, TLV) if _is_opaque(path) else (TEXT, TLV, SENML_CBOR, SENML_JSON)
    return (TLV, LWM2M_JSON) if version == "1.0" else _several(objects)


def composite_formats(objects: ObjectList | None) -> tuple[int, ...]:
    """Content formats for Read-Composite and Write-Composite, in the order to try them."""
    if SENML_CBOR in _listed(objects):
        return (SENML_CBOR, SENML_JSON)
    return (SENML_JSON, SENML_CBOR)


def _several(objects: ObjectList | None) -> tuple[int, ...]:
    listed = _listed(objects)
    first = next((number for number in _PREFERRED if number in listed), SENML_CBOR)
    return (first, *(number for number in _FALLBACKS if number != first))


def _listed(objects: ObjectList | None) -> set[int]:
    return {canonical_format(number) for number in objects.content_formats} if objects else set()


def _is_single(path: Path) -> bool:
    """A resource instance, or a resource that is not known to have instances, is one value."""
    resource = resource_at(path)
    return len(path) == 4 or (len(path) == 3 and not (resource and resource.multiple))


def _is_opaque(path: Path) -> bool:
    resource = resource_at(path)
    return resource is not None and resource.type is ResourceType.OPAQUE
