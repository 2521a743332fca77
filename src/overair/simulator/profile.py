"""What kind of device a simulated one is, and who it is.

A Profile is a model of device, shared by all devices of that model. An Identity is one device: it follows
from its IMEI and a seed alone, so a fleet is the same each time, and a device the same in whichever fleet
it appears. Source: spec lwm2m.md 2 (names), 3.9 (versions), 14 (real clients).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from overair.protocols.lwm2m.awake import AWAKE_WINDOW_SECONDS
from overair.protocols.lwm2m.content import LWM2M_CBOR, OPAQUE, SENML_CBOR, SENML_JSON, TEXT, TLV
from overair.protocols.lwm2m.names import luhn_digit, luhn_valid

FIRST_IMEI: Final = "990012340000006"
"""The first device of the type allocation code 99001234, which no maker has."""
_IMEI14_MAX: Final = 10**14 - 1

Version = Literal["1.0", "1.1", "1.2"]
NameForm = Literal["urn:imei:{imei}", "urn:imei-msisdn:{imei}-{mdn}"]


class IdentityError(ValueError):
    """An IMEI that no fleet can begin with; the text says why."""


class Software(NamedTuple):
    """A software package that is installed and active (object 9), or a component of firmware (33629)."""

    name: str
    version: str


class Host(NamedTuple):
    """The machine behind the modem (object 10299)."""

    make: str
    model: str
    firmware: str
    software: str


class Manner(Struct, frozen=True, kw_only=True):
    """How a client library takes updates where others do it differently (spec lwm2m.md 14)."""

    resumes: bool = True
    """Goes on with a broken download after a reboot, where it was."""
    remembers: bool = True
    """State and result outlive a reboot."""
    early_result: bool = False
    """Reports success before the reboot into the new version."""
    ignores_busy_uri: bool = False
    """A URI that comes at the wrong time is taken in silence instead of being refused."""
    phantom_download: bool = False
    """An empty package begins a download of nothing."""
    drops_query: bool = False
    one_error: bool = False
    """Every answer that is none of the file's is a lost connection."""
    exclusive_push: bool = False
    """Has no time for other requests while a package is pushed."""
    sends: bool = False
    """Tells state, result and version by Send, observed or not."""


USUAL: Final = Manner()
ZEPHYR: Final = Manner(
    resumes=False,
    remembers=False,
    early_result=True,
    ignores_busy_uri=True,
    phantom_download=True,
    drops_query=True,
    one_error=True,
)
ANJAY: Final = Manner(exclusive_push=True, sends=True)

COAP, COAPS, HTTP, HTTPS = range(4)
"""Resource 8 of object 5: what a package can be pulled over."""
PULL_ONLY, PUSH_ONLY, PULL_AND_PUSH = range(3)
"""Resource 9 of object 5."""


class Profile(Struct, frozen=True, kw_only=True):
    """A model of device. Times are seconds.

    `formats` are the content formats it reads and writes; where a request names none, the first that can
    carry the answer is used. `has_subscriber` adds object 10308, which holds the MDN. With `components` it
    has an instance of object 33629 for each of these instead of object 5; the first one is the main one.
    `spare_software` are instances of object 9 that hold no package yet. What a package is pulled over is in
    `protocols`, by the numbers of resource 5/0/8.
    """

    make: str
    model: str
    firmware: str
    formats: tuple[int, ...]
    hardware: str = "1.0"
    software: tuple[Software, ...] = ()
    host: Host | None = None
    has_subscriber: bool = False
    version: Version = "1.1"
    name_form: NameForm = "urn:imei:{imei}"
    binding: str = "U"
    lifetime_seconds: int = 86_400
    queue_mode: bool = False
    awake_seconds: float = AWAKE_WINDOW_SECONDS
    components: tuple[Software, ...] = ()
    spare_software: int = 0
    protocols: tuple[int, ...] = (COAP, COAPS)
    delivery: int = PULL_AND_PUSH
    auto_install: bool = False
    manner: Manner = USUAL
    block_bytes: int = 512
    """Largest block of a package, either way."""
    package_bytes_max: int = 16 << 20
    download_bytes_per_second: float = 32_000.0
    """How fast a package is pulled at best; a pushed one comes as fast as the server sends it."""
    flash_seconds: float = 4.0
    reboot_seconds: float = 2.0


_SINGLE: Final = (TEXT, OPAQUE)

TLV_ONLY: Final = Profile(
    make="QUECTEL",
    model="BG96",
    firmware="BG96MAR04A04M1G",
    version="1.0",
    name_form="urn:imei-msisdn:{imei}-{mdn}",
    formats=(TLV,),
)
SENML_CBOR_ONLY: Final = Profile(
    make="Nordic Semiconductor ASA",
    model="nRF9160-SICA",
    firmware="mfw_nrf9160_1.3.6",
    hardware="B1A",
    host=Host("Acme Metering", "AM-200", "2.4.1", "2.4.1+17"),
    lifetime_seconds=43_200,
    formats=(SENML_CBOR,),
)
TWO_COMPONENTS: Final = Profile(
    make="Nordic Semiconductor ASA",
    model="nRF9161-AFU",
    firmware="2.0.0",
    components=(Software("application", "2.0.0"), Software("modem", "mfw_nrf91x1_2.0.1")),
    formats=(TEXT, OPAQUE, SENML_CBOR),
)
"""Not among the models of a fleet: most services know object 5 alone."""
PROFILES: Final[tuple[Profile, ...]] = (
    Profile(
        make="SEQUANS COMMUNICATIONS",
        model="GM01Q",
        firmware="SR1.2.0.0-10657",
        software=(Software("VZ_MDM_IOT", "0.14"), Software("meter-app", "3.1.0")),
        version="1.0",
        name_form="urn:imei-msisdn:{imei}-{mdn}",
        binding="US",
        formats=(*_SINGLE, TLV),
    ),
    TLV_ONLY,
    SENML_CBOR_ONLY,
    Profile(
        make="u-blox",
        model="SARA-R410M-02B",
        firmware="L0.0.00.00.05.12",
        hardware="02B-03",
        software=(Software("tracker", "1.9.2"),),
        has_subscriber=True,
        formats=(*_SINGLE, TLV, SENML_JSON),
    ),
    Profile(
        make="Murata",
        model="LBAD0XX1SC",
        firmware="RK_02_01_02_00_10_41001",
        hardware="1SC",
        software=(Software("edge-agent", "5.0.3"), Software("modbus", "1.2.0")),
        has_subscriber=True,
        version="1.2",
        formats=(*_SINGLE, SENML_CBOR, LWM2M_CBOR, SENML_JSON),
    ),
)
"""The models a fleet is made of."""


class Identity(Struct, frozen=True, gc=False):
    """One device. `mdn` is a fictional number of 10 digits."""

    imei: str
    mdn: str
    profile: Profile

    @property
    def endpoint(self) -> str:
        """The endpoint name it registers by."""
        return self.profile.name_form.format(imei=self.imei, mdn=self.mdn)


def identities(count: int, *, first_imei: str = FIRST_IMEI, seed: int = 0) -> Iterator[Identity]:
    """Yield `count` devices with successive IMEIs from `first_imei` on, each with a valid check digit.

    Raises IdentityError if that is no IMEI, or the numbers do not suffice.
    """
    if not luhn_valid(first_imei):
        raise IdentityError(f"IMEI {first_imei[:20]!r}: must be 15 digits with the right check digit")
    first = int(first_imei[:14])
    if first + count - 1 > _IMEI14_MAX:
        raise IdentityError(f"IMEI {first_imei}: no {count} numbers follow")
    return (_identity(first + offset, seed) for offset in range(count))


def _identity(number: int, seed: int) -> Identity:
    first14 = f"{number:014d}"
    # In turn, so that even a handful of devices shows every model.
    profile = PROFILES[(number + seed) % len(PROFILES)]
    return Identity(first14 + luhn_digit(first14), _mdn(number), profile)


# What may stand before 555: N11 are service codes, N9X and 37X, 96X are reserved.
_AREA_CODES: Final = tuple(
    code
    for code in range(200, 990)
    if code % 100 != 11 and code // 10 % 10 != 9 and code // 10 not in (37, 96)
)


def _mdn(number: int) -> str:
    """Return a number between 555-0100 and 555-0199, which are set aside for fiction."""
    area, line = divmod(number, 100)
    return f"{_AREA_CODES[area % len(_AREA_CODES)]}55501{line:02d}"
