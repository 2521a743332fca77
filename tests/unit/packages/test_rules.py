"""What may be said of a package."""

from dataclasses import replace
from typing import Any

import pytest

from overair.packages import rules
from overair.packages.model import InvalidPackage, Kind, NewPackage, State
from overair.platform.limits import Limits

from .world import FIRMWARE, NAME

LIMITS = Limits()


def test_a_package_without_a_name_gets_the_published_pattern() -> None:
    assert rules.checked(FIRMWARE, LIMITS).name == NAME
    assert rules.checked(replace(FIRMWARE, name="mine"), LIMITS).name == "mine"


def test_a_file_needs_no_version_before() -> None:
    file = replace(FIRMWARE, kind=Kind.FILE, version_from="")
    assert rules.checked(file, LIMITS).name == "AcmeTelematics_AT-410_AT410-1.5.0"


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"make": ""}, "make"),
    ({"model": ""}, "model"),
    ({"version_from": ""}, "version_from"),
    ({"version_to": ""}, "version_to"),
    ({"version_to": FIRMWARE.version_from}, "version_to"),
    ({"make": " Acme"}, "make"),
    ({"model": "AT\n410"}, "model"),
    ({"name": "a\x00b"}, "name"),
    ({"name": "é" * 128}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"protocol": "MQTT"}, "protocol"),
    ({"protocol": "lwm2m"}, "protocol"),
    ({"size_bytes": 0}, "size"),
    ({"size_bytes": LIMITS.image_bytes + 1}, "size"),
    ({"sha256": b"x" * 31}, "sha256"),
    ({"release_note": "x" * 1001}, "release_note"),
    ({"release_note": "\x1b[2J"}, "release_note"),
    ({"certificates": b"x"}, "signature"),
    ({"signature": b"x" * 1025}, "signature"),
    ({"signature": b"x", "certificates": b"x" * 65_537}, "certificates"),
]


@pytest.mark.parametrize(("said", "field"), BROKEN, ids=str)
def test_what_breaks_a_rule_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidPackage) as refused:
        rules.checked(replace(FIRMWARE, **said), LIMITS)
    assert refused.value.field == field
    assert refused.value.rule


def test_what_is_at_a_bound_is_taken() -> None:
    wide = replace(
        FIRMWARE,
        name="x" * 255,
        size_bytes=LIMITS.image_bytes,
        sha256=bytes(32),
        release_note="first line\n\tsecond" + "x" * 900,
        signature=b"x" * 1024,
        certificates=b"x" * 65_536,
    )
    assert rules.checked(wide, LIMITS) == wide


def test_secrets_and_bulk_stay_out_of_what_is_printed() -> None:
    shown = repr(
        NewPackage(**{**_fields(FIRMWARE), "signature": b"sig-bytes", "certificates": b"cert-bytes"})
    )
    assert "sig-bytes" not in shown
    assert "cert-bytes" not in shown


def _fields(new: NewPackage) -> dict[str, Any]:
    return {name: getattr(new, name) for name in NewPackage.__dataclass_fields__}


def test_states() -> None:
    assert rules.WITHDRAWAL == {State.READY: State.WITHDRAWN, State.DAMAGED: State.WITHDRAWN}
    assert rules.DAMAGE == {State.READY: State.DAMAGED, State.WITHDRAWN: State.WITHDRAWN}
    assert State.DAMAGED not in rules.SERVED
    assert State.UPLOADING not in rules.SERVED
