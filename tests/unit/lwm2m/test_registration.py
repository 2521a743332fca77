"""Register and Update (spec lwm2m.md 3.1-3.4, 4, packets of 15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m.errors import RegistrationError
from overair.protocols.lwm2m.links import NO_OBJECTS, parse_links
from overair.protocols.lwm2m.registration import (
    RegisterRequest,
    UpdateRequest,
    parse_register,
    parse_update,
    register_queries,
    update_queries,
)
from overair.protocols.lwm2m.versions import enabler_version, parse_version

EP = "urn:imei:490154203237518"
LINKS = b'</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</1>;ver=1.1,</1/0>,</3/0>,</4/0>,</5/0>'
# The Register packet of spec 15, from its Uri-Query options on.
REGISTER_PACKET = bytes.fromhex(
    "41021001a1b2726411283d0e65703d75726e3a696d65693a343930313534323033323337353138086c743d3836343030"
    "096c776d326d3d312e3103623d550151ff3c2f3e3b72743d226f6d612e6c776d326d223b63743d223630203131302031313220"
    "3131353432203131353433222c3c2f313e3b7665723d312e312c3c2f312f303e2c3c2f332f303e2c3c2f342f303e2c3c2f352f303e"
)


def code_of(queries: list[str], payload: bytes = b"") -> int:
    with pytest.raises(RegistrationError) as caught:
        parse_register(queries, payload, 40)
    return caught.value.code


def test_register_packet() -> None:
    queries = [f"ep={EP}", "lt=86400", "lwm2m=1.1", "b=U", "Q"]
    assert all(query.encode() in REGISTER_PACKET for query in queries)
    payload = REGISTER_PACKET.split(b"\xff", 1)[1]
    assert payload == LINKS
    request = parse_register(queries, payload, 40)
    assert request == RegisterRequest(EP, 86400, "1.1", "U", True, objects=parse_links(LINKS))
    assert register_queries(EP, lifetime_seconds=86400, queue_mode=True) == tuple(queries)


def test_defaults() -> None:
    assert parse_register([f"ep={EP}"], b"", None) == RegisterRequest(EP)
    assert RegisterRequest(EP).lifetime_seconds == 86400
    assert parse_register([], b"", None).endpoint is None
    assert parse_register(["ep="], b"", None).endpoint is None


def test_every_parameter_in_any_order() -> None:
    queries = ["x=1", "Q", "pid=p1", "sms=5551234567", "b=UT", "lwm2m=1.2", "lt=0", f"ep={EP}", "flag"]
    request = parse_register(queries, b"", 40)
    assert request == RegisterRequest(
        EP, 0, "1.2", "UT", True, "5551234567", "p1", (("x", "1"), ("flag", "")), NO_OBJECTS
    )


@pytest.mark.parametrize(
    ("query", "queue_mode"),
    [("Q", True), ("Q=", True), ("Q=true", True), ("Q=false", False), ("q", False), ("b=U", False)],
)
def test_queue_flag(query: str, queue_mode: bool) -> None:
    assert parse_register([f"ep={EP}", "lwm2m=1.1", query], b"", 40).queue_mode is queue_mode


@pytest.mark.parametrize(
    ("binding", "letters", "queue_mode"),
    [
        ("U", "U", False),
        ("UQ", "U", True),
        ("S", "S", False),
        ("SQ", "S", True),
        ("US", "US", False),
        ("UQS", "US", True),
        ("uq", "U", True),
        ("", "U", False),
        ("Q", "U", True),
    ],
)
def test_bindings(binding: str, letters: str, queue_mode: bool) -> None:
    request = parse_register([f"b={binding}"], b"", 40)
    assert (request.binding, request.queue_mode) == (letters, queue_mode)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.0", "1.0"),
        ("1.0.2", "1.0"),
        ("1.1", "1.1"),
        ("1.1.1", "1.1"),
        ("1.2", "1.2"),
        ("1.2.10", "1.2"),
        ("1", "1.0"),
        ("", "1.0"),
        ("1.3", None),
        ("1.10", None),
        ("2.0", None),
        ("1.1.1.1", None),
        ("x", None),
        ("1.1x", None),
    ],
)
def test_enabler_versions(text: str, version: str | None) -> None:
    assert enabler_version(text) == version
    if version is None:
        assert code_of([f"lwm2m={text}"]) == 0x8C
    else:
        assert parse_register([f"lwm2m={text}"], b"", 40).version == version


def test_versions_compare_as_numbers() -> None:
    assert parse_version("1.10") > parse_version("1.9")
    assert parse_version("1.1.1") != parse_version("1.1.10")
    assert parse_version("1.") is None


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "+1", " 1", "1_0", "٣", "9" * 21])
def test_malformed_lifetime(value: str) -> None:
    assert code_of([f"lt={value}"]) == 0x80
    with pytest.raises(RegistrationError, match=r"4\.00 lt: "):
        parse_update([f"lt={value}"], b"", None)


def test_lifetime_is_clamped() -> None:
    assert parse_register(["lt=4294967295"], b"", 40).lifetime_seconds == 2**31 - 1


@pytest.mark.parametrize("binding", ["U Q", "U1", "UUUUUUUUU", "Ü"])
def test_malformed_binding(binding: str) -> None:
    assert code_of([f"b={binding}"]) == 0x80


def test_bounds() -> None:
    assert code_of(["x=1"] * 33) == 0x80
    assert code_of(["ep=" + "x" * 253]) == 0x80
    assert code_of([], b" " * 65537) == 0x8D
    assert len(parse_register(["x=1"] * 32, b"", 40).attributes) == 32


def test_percent_encoded_endpoint() -> None:
    assert parse_register(["ep=urn%3Aimei%3A490154203237518"], b"", 40).endpoint == EP


def test_payload_without_or_with_foreign_content_format() -> None:
    assert parse_register([], b"</3/0>", None).objects.has(3)
    assert parse_register([], b"</3/0>", 112).objects is NO_OBJECTS


def test_same_list_is_shared_by_the_fleet() -> None:
    first, second = (parse_register([], bytes(bytearray(LINKS)), 40).objects for _ in range(2))
    assert first is second


def test_update() -> None:
    assert parse_update([], b"", None) == UpdateRequest()
    assert parse_update(["lt=3600"], b"", None) == UpdateRequest(lifetime_seconds=3600)
    assert parse_update(["ep=other", "lwm2m=9", "sms=1"], b"", None) == UpdateRequest(sms="1")
    assert parse_update(["b=UQ"], b"", None) == UpdateRequest(binding="U", queue_mode=True)
    assert parse_update(["Q", "b=U"], b"", None) == UpdateRequest(binding="U", queue_mode=True)
    assert parse_update(["Q=false", "b=U"], b"", None) == UpdateRequest(binding="U", queue_mode=False)
    assert parse_update([], LINKS, 40).objects is parse_links(LINKS)
    with pytest.raises(RegistrationError, match=r"4\.13"):
        parse_update([], b" " * 65537, 40)


def test_queue_mode_after_an_update() -> None:
    assert UpdateRequest(queue_mode=True).queue_mode_after(False, "1.1")
    assert UpdateRequest().queue_mode_after(True, "1.0")
    assert UpdateRequest(binding="U").queue_mode_after(True, "1.1")
    assert not UpdateRequest(binding="U").queue_mode_after(True, "1.0")
    assert not UpdateRequest().queue_mode_after(False, "1.1")


def test_update_queries() -> None:
    assert update_queries() == ()
    assert update_queries(lifetime_seconds=3600) == ("lt=3600",)
    assert update_queries(binding="U", queue_mode=True, version="1.0") == ("b=UQ",)
    assert update_queries(binding="U", queue_mode=True, sms="1") == ("b=U", "Q", "sms=1")


def test_queue_mode_is_spelled_by_version() -> None:
    assert register_queries(EP, version="1.0", binding="US", queue_mode=True)[-1] == "b=UQS"
    assert register_queries(None, version="1.2", queue_mode=True) == ("lwm2m=1.2", "b=U", "Q")


words = st.text(
    st.characters(codec="ascii", exclude_characters="%\0 ", categories=["L", "N", "P"]), min_size=1
)


@given(
    endpoint=st.none() | words,
    lifetime_seconds=st.integers(0, 2**31 - 1),
    version=st.sampled_from(["1.0", "1.1", "1.2"]),
    binding=st.sampled_from(["U", "S", "US", "UT"]),
    queue_mode=st.booleans(),
    sms=st.none() | words,
    profile=st.none() | words,
)
def test_round_trip(**fields: object) -> None:
    queries = register_queries(attributes=[("vendor", "x=1")], **fields)
    assert parse_register(queries, b"", 40) == RegisterRequest(attributes=(("vendor", "x=1"),), **fields)


queries = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.tuples(st.sampled_from(["ep", "lt", "lwm2m", "b", "Q", "sms", "pid"]), st.text(max_size=8)).map(
            "=".join
        ),
    ),
    max_size=8,
)


@given(queries, st.binary(max_size=60), st.none() | st.integers(0, 200))
def test_anything_parses_or_is_refused(
    queries: list[str], payload: bytes, content_format: int | None
) -> None:
    for parse in (parse_register, parse_update):
        try:
            parse(queries, payload, content_format)
        except RegistrationError as error:
            refused = error.code
        else:
            refused = 0x80
        assert refused in {0x80, 0x8C, 0x8D}
