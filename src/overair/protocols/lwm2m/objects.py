"""What the server knows of objects and resources: type, operations, single or multiple (spec lwm2m.md 7-9).

Devices may leave out anything and add anything; a resource that is not here is simply of unknown type.
"""

from enum import Enum

from msgspec import Struct

from overair.protocols.lwm2m.object_tables import TABLES
from overair.protocols.lwm2m.paths import Path


class ResourceType(Enum):
    """Data type of a resource; NONE for one that is only executed."""

    STRING = "string"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    BOOLEAN = "boolean"
    OPAQUE = "opaque"
    TIME = "time"
    OBJECT_LINK = "objlnk"
    CORE_LINK = "corelnk"
    NONE = "none"


class Resource(Struct, frozen=True, gc=False):
    """One row of an object table. `operations` is of the letters R, W, E; empty when only bootstrap may."""

    name: str
    operations: str
    type: ResourceType
    multiple: bool


def _read_tables() -> dict[tuple[int, int], Resource]:
    resources = {}
    for object_id, _, rows in TABLES:
        for row in rows.strip().splitlines():
            number, operations, kind, name = row.split(maxsplit=3)
            letters = operations.rstrip("*").replace("-", "")
            resource = Resource(name, letters, ResourceType(kind), operations.endswith("*"))
            resources[object_id, int(number)] = resource
    return resources


RESOURCES = _read_tables()
OBJECT_NAMES = {object_id: name for object_id, name, _ in TABLES}


def type_of(object_id: int, resource_id: int) -> ResourceType | None:
    """Type of a resource; None if unknown."""
    resource = RESOURCES.get((object_id, resource_id))
    return resource.type if resource else None


def resource_at(path: Path) -> Resource | None:
    """Table row for the path of a resource or resource instance; None if unknown or not that deep."""
    return RESOURCES.get((path[0], path[2])) if len(path) > 2 else None
