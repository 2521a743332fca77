"""LwM2M without its transport: names, registration, paths, objects, values and content formats.

Source: spec lwm2m.md 1-7. Nothing here knows CoAP messages: the door hands in query strings, payload bytes
and `now`, and gets values and rules back.
"""

from overair.protocols.lwm2m.awake import AwakeWindow
from overair.protocols.lwm2m.content import decode, encode
from overair.protocols.lwm2m.errors import ContentError, RegistrationError
from overair.protocols.lwm2m.lifetime import expires_at
from overair.protocols.lwm2m.links import ObjectList, parse_links
from overair.protocols.lwm2m.names import EndpointName, parse_endpoint_name
from overair.protocols.lwm2m.negotiation import read_formats, write_formats
from overair.protocols.lwm2m.paths import Path, format_path, parse_path
from overair.protocols.lwm2m.registration import RegisterRequest, UpdateRequest, parse_register, parse_update
from overair.protocols.lwm2m.values import ObjectLink, Value

__all__ = [
    "AwakeWindow",
    "ContentError",
    "EndpointName",
    "ObjectLink",
    "ObjectList",
    "Path",
    "RegisterRequest",
    "RegistrationError",
    "UpdateRequest",
    "Value",
    "decode",
    "encode",
    "expires_at",
    "format_path",
    "parse_endpoint_name",
    "parse_links",
    "parse_path",
    "parse_register",
    "parse_update",
    "read_formats",
    "write_formats",
]
