"""What a Register or an Update says, in the words of the domain (spec lwm2m.md, sections 2 and 3)."""

from functools import lru_cache

import msgspec

from overair.devices.changes import Said, encode_said
from overair.devices.model import Registration
from overair.doors.lwm2m.security import Owner, address_of, check_owner, identity_of, name_given
from overair.protocols.coap import Peer, codes
from overair.protocols.lwm2m import (
    EndpointName,
    ObjectList,
    Path,
    RegisterRequest,
    RegistrationError,
    UpdateRequest,
    parse_endpoint_name,
)

SHARED_BYTES_MAX = 2048  # what strangers make up must not fill the memory: 8 MB at most


def device_name(asked: RegisterRequest, identity: bytes, owner: Owner) -> EndpointName:
    """Return what the endpoint's name says; its ``imei`` is there.

    Raises RegistrationError 4.00 without a name or for another's, 4.03 for one that leads to no IMEI.
    """
    given = name_given(asked, identity)
    if not given:
        raise RegistrationError(codes.BAD_REQUEST, "ep: missing, and no security identity names the device")
    name = parse_endpoint_name(given, known=lambda _: True)
    if identity:
        owned = check_owner(int(name.imei) if name.imei else None, identity, owner)
        name = name if name.imei else msgspec.structs.replace(name, imei=f"{owned:015d}")
    if name.imei is None:
        raise RegistrationError(codes.FORBIDDEN, "ep: carries no IMEI")
    return name


def check_profile(asked: RegisterRequest) -> None:
    """Raise RegistrationError 4.09 for a profile in the place of an object list: no profile is known here.

    The client then registers with the list itself (spec lwm2m.md, 3.3).
    """
    if asked.profile is not None and asked.objects == ObjectList():
        raise RegistrationError(codes.CONFLICT, "pid: not known, register with the object list")


def counts_only_if_known(name: EndpointName) -> bool:
    """Whether the name is a bare number that is no IMEI by its check digit (spec lwm2m.md, 2.2, step 3)."""
    return name.text == name.imei and not name.luhn_valid


def registration_of(
    asked: RegisterRequest, name: EndpointName, peer: Peer, payload: bytes, location: str, now_ms: int
) -> Registration:
    """Return the registration that a Register asks for, under a new *location*."""
    host, port = address_of(peer)
    return Registration(
        imei=int(name.imei or 0),
        account_id=0,
        location=location,
        endpoint=name.text,
        host=host,
        port=port,
        lifetime_seconds=asked.lifetime_seconds,
        lwm2m_version=asked.version,
        binding=asked.binding,
        queue_mode=asked.queue_mode,
        # A payload that was not taken as links would be read as such after a restart.
        links=b"" if asked.objects == ObjectList() else _shared(payload),
        identity=identity_of(peer),
        said=_said(asked, name),
        registered_ms=now_ms,
        updated_ms=now_ms,
    )


def updated(
    registration: Registration, said: UpdateRequest, peer: Peer, payload: bytes, now_ms: int
) -> Registration:
    """Return the registration after an Update: what it says replaces, what it leaves out stays."""
    kept = registration.lifetime_seconds, registration.binding
    host, port = address_of(peer)
    return msgspec.structs.replace(
        registration,
        host=host,
        port=port,
        lifetime_seconds=kept[0] if said.lifetime_seconds is None else said.lifetime_seconds,
        binding=kept[1] if said.binding is None else said.binding,
        queue_mode=said.queue_mode_after(registration.queue_mode, registration.lwm2m_version),
        links=registration.links if said.objects is None else _shared(payload),
        updated_ms=now_ms,
    )


def is_registered(path: Path, objects: ObjectList) -> bool:
    """Whether a path lies in what the device registered, as far as it said (spec lwm2m.md, 5.7 and 3.2)."""
    if path[:2] in objects.instances:
        return True
    instances_unknown = objects.has(path[0]) and not objects.instances_of(path[0])
    return instances_unknown or not objects.objects


def _said(asked: RegisterRequest, name: EndpointName) -> bytes:
    attributes = _attributes(asked, name)
    if not (attributes or name.msisdn or asked.sms):
        return b""  # as most devices do
    return encode_said(Said(attributes, name.msisdn, asked.sms))


def _attributes(asked: RegisterRequest, name: EndpointName) -> tuple[tuple[str, str], ...]:
    own: list[tuple[str, str]] = [("imsi", name.imsi)] if name.imsi else []
    if not name.luhn_valid:
        own.append(("imei_check", "failed"))
    if asked.attributes:
        own += [(f"registration:{key}", value) for key, value in asked.attributes]
    return tuple(own)


def _shared(links: bytes) -> bytes:
    """Return one object for equal payloads: a fleet registers the same list a hundred thousand times."""
    return _memo(links) if len(links) <= SHARED_BYTES_MAX else links


@lru_cache(maxsize=4096)
def _memo(links: bytes) -> bytes:
    return links
