"""Who is this device: what an endpoint name says about it (spec lwm2m.md 2; RFC 7254 for `urn:gsma:imei`).

The forms are tried from the most to the least explicit. A 15-digit IMEI is never repaired: one with a wrong
check digit is kept as written and flagged, because test and pre-production hardware does carry such numbers.
"""

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Confidence = Literal["explicit", "embedded", "none"]

NAME_CHARS_MAX = 255
IMEI_DIGITS = 15
MSISDN_DIGITS_MAX = 15
_NANP_DIGITS = 10

# Digit d as ASCII -> its doubled digit sum as ASCII.
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
# In the order of trial; groups are named after the fields they fill.
_URN_FORMS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"urn:gsma:imei:(?P<tac>\d{8})-(?P<serial>\d{6})-\d(?:;.*)?",
        r"urn:(?:dev:)?imei-msisdn:(?P<imei>\d{14,16})-\+?(?P<msisdn>\d{1,20})",
        r"urn:(?:dev:)?imei-imsi:(?P<imei>\d{14,16})-(?P<imsi>\d{5,15})",
        r"urn:(?:dev:)?imei:(?P<imei>\d{14,16})",
        r"urn:(?:dev:)?esn:(?P<esn>[0-9a-f]{8})",
        r"urn:(?:dev:)?meid:(?P<meid>[0-9a-f]{14})",
    )
)
_RUN_OF_15 = re.compile(r"(?<!\d)\d{15}(?!\d)", re.ASCII)
_FAST_PREFIX = "urn:imei:"
_FAST_CHARS = len(_FAST_PREFIX) + IMEI_DIGITS


class EndpointName(Struct, frozen=True, gc=False):
    """What one endpoint name (or DTLS identity) tells.

    `imei` is 15 digits; `luhn_valid` says whether its check digit holds (False also when there is no IMEI).
    `confidence` is "explicit" for a form that names its content, "embedded" for a run of digits found inside.
    """

    text: str
    imei: str | None = None
    luhn_valid: bool = False
    confidence: Confidence = "none"
    msisdn: str | None = None
    imsi: str | None = None
    esn: str | None = None
    meid: str | None = None


def parse_endpoint_name(text: str, known: Callable[[str], bool] | None = None) -> EndpointName:
    """Extract the identifiers of an endpoint name by the steps of spec lwm2m.md 2.2.

    `known` tells whether 15 digits are a deviceId on record: it lets a bare number with a wrong check digit
    pass. A name over 255 characters yields none.
    """
    if len(text) == _FAST_CHARS and text.startswith(_FAST_PREFIX):
        digits = text[len(_FAST_PREFIX) :]
        if digits.isdigit() and digits.isascii():
            return EndpointName(text, digits, luhn_valid(digits), "explicit")
    name = text.strip().strip("\"'<>").strip()
    if len(name) > NAME_CHARS_MAX:
        return EndpointName(name)
    return _parse_urn(name) or _parse_bare(name, known) or _parse_embedded(name)


def _parse_urn(name: str) -> EndpointName | None:
    lower = name.lower()
    if not lower.startswith("urn:"):
        return None
    matches = (form.fullmatch(lower) for form in _URN_FORMS)
    match = next(filter(None, matches), None)
    return _explicit(name, match.groupdict()) if match else None


def _parse_bare(name: str, known: Callable[[str], bool] | None) -> EndpointName | None:
    if len(name) != IMEI_DIGITS or not (name.isdigit() and name.isascii()):
        return None
    valid = luhn_valid(name)
    if valid or (known is not None and known(name)):
        return EndpointName(name, name, valid, "explicit")
    return None


def _parse_embedded(name: str) -> EndpointName:
    runs = {run for run in _RUN_OF_15.findall(name) if luhn_valid(run)}
    if len(runs) != 1:
        return EndpointName(name)
    return EndpointName(name, runs.pop(), True, "embedded")


def _explicit(name: str, found: dict[str, str]) -> EndpointName:
    imei = _complete(found.get("imei") or found.get("tac", "") + found.get("serial", ""))
    return EndpointName(
        text=name,
        imei=imei,
        luhn_valid=imei is not None and luhn_valid(imei),
        confidence="explicit",
        msisdn=normalise_msisdn(found.get("msisdn", "")),
        imsi=found.get("imsi"),
        esn=found.get("esn", "").upper() or None,
        meid=found.get("meid", "").upper() or None,
    )


def _complete(digits: str) -> str | None:
    """14 digits lack the check digit, 16 are an IMEISV: both get the computed one; 15 stay as they are."""
    if len(digits) in {0, IMEI_DIGITS}:
        return digits or None
    return digits[:14] + luhn_digit(digits[:14])


def luhn_valid(imei15: str) -> bool:
    """Whether the text is 15 ASCII digits and the last one is their Luhn check digit."""
    if len(imei15) != IMEI_DIGITS or not (imei15.isdigit() and imei15.isascii()):
        return False
    digits = imei15.encode()
    # The 15 ASCII offsets add up to 15 * 48 = 720, which vanishes modulo 10.
    return (sum(digits[::2]) + sum(digits[1::2].translate(_DOUBLED))) % 10 == 0


def luhn_digit(first14: str) -> str:
    """Return the check digit for the first 14 digits of an IMEI.

    Raises ValueError if the text is not 14 ASCII digits.
    """
    if len(first14) != IMEI_DIGITS - 1 or not (first14.isdigit() and first14.isascii()):
        raise ValueError("first14: an IMEI without check digit has 14 digits")
    digits = first14.encode()
    # 14 ASCII offsets add up to 672: 2 modulo 10.
    total = sum(digits[::2]) + sum(digits[1::2].translate(_DOUBLED)) - 2
    return str(-total % 10)


def normalise_msisdn(text: str) -> str | None:
    """Return the digits of a phone number: 10 for a NANP number, else E.164 digits without `+`.

    None when there is no number: empty, "zero", all zeros, other characters, or over 15 digits.
    """
    digits = text.strip("\0 \t\r\n").removeprefix("+").lstrip("0")
    if not (digits.isdigit() and digits.isascii()):
        return None
    if len(digits) == _NANP_DIGITS + 1 and digits[0] == "1":
        digits = digits[1:]
    return digits if len(digits) <= MSISDN_DIGITS_MAX else None
