"""Content formats: round trips over all formats and types, wrong types, and hostile bytes."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m import cbor
from overair.protocols.lwm2m.content import decode, decode_paths, encode, encode_paths
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.values import ObjectLink

SINGLE = (0, 60, 110, 112, 11542, 11543, 11544)
SEVERAL = (110, 112, 11542, 11543, 11544)
ids = st.integers(0, 65535)
links = st.builds(ObjectLink, ids, ids)
strings = st.text(max_size=30).filter(lambda text: not text.endswith("\0"))
floats = st.floats(allow_nan=False, allow_infinity=False)
BY_TYPE = {
    (3, 0, 3): strings,
    (3, 0, 9): st.integers(-(2**63), 2**63 - 1),
    (1, 0, 17): st.integers(0, 2**64 - 1),
    (3, 0, 13): st.integers(0, 2**40),
    (6, 0, 2): floats,
    (9, 0, 12): st.booleans(),
    (0, 0, 3): st.binary(max_size=300),
    (10, 0, 3): links,
}
INSTANCE = {
    (9, 1, 0): strings,
    (9, 1, 7): st.integers(0, 4),
    (9, 1, 12): st.booleans(),
    (9, 1, 13): links,
    (9, 1, 2): st.binary(max_size=300),
    (9, 1, 17, 0): links,
    (9, 1, 17, 300): links,
}


@pytest.mark.parametrize("content_format", SINGLE)
@pytest.mark.parametrize("path", BY_TYPE, ids=str)
def test_round_trip_of_single_values(content_format: int, path: tuple[int, ...]) -> None:
    @given(BY_TYPE[path])
    def check(value: object) -> None:
        decoded = decode(content_format, encode(content_format, {path: value}, path), path)
        assert decoded == {path: value}
        assert type(decoded[path]) is type(value)

    check()


@pytest.mark.parametrize("content_format", SEVERAL)
@given(values=st.fixed_dictionaries({}, optional=INSTANCE))
def test_round_trip_of_instances(content_format: int, values: dict[tuple[int, ...], object]) -> None:
    for path in ((9, 1), (9,)):
        assert decode(content_format, encode(content_format, values, path), path) == values


@pytest.mark.parametrize("content_format", [110, 112, 11544])
def test_round_trip_of_composites(content_format: int) -> None:
    values = {(3, 0, 3): "1.4.2", (5, 0, 3): 2, (5, 0, 8, 1): 1, (1, 1, 23): False}
    assert decode(content_format, encode(content_format, values, ()), ()) == values


@pytest.mark.parametrize("content_format", [60, 110, 112, 11544])
@given(value=st.one_of(st.booleans(), st.integers(-(2**63), 2**64 - 1), floats, strings))
def test_unknown_resources_keep_the_type_of_the_notation(content_format: int, value: object) -> None:
    path = (4321, 0, 1)
    decoded = decode(content_format, encode(content_format, {path: value}, path), path)
    assert decoded == {path: value}
    assert type(decoded[path]) is type(value)


@given(st.lists(st.lists(ids, max_size=4).map(tuple), max_size=10).map(tuple))
def test_round_trip_of_paths(paths: tuple[tuple[int, ...], ...]) -> None:
    for content_format in (110, 112):
        assert decode_paths(content_format, encode_paths(content_format, paths)) == paths


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((3, 0, 3), 1),
        ((3, 0, 3), b"x"),
        ((3, 0, 9), "1"),
        ((3, 0, 9), 1.5),
        ((3, 0, 9), True),
        ((3, 0, 9), 2**63),
        ((3, 0, 9), float("inf")),
        ((1, 0, 17), -1),
        ((1, 0, 17), 2**64),
        ((6, 0, 0), "north"),
        ((6, 0, 0), True),
        ((9, 0, 12), "1"),
        ((9, 0, 12), 2),
        ((0, 0, 3), "x"),
        ((10, 0, 3), "66"),
        ((10, 0, 3), "65536:0"),
        ((10, 0, 3), ObjectLink(65536, 0)),
        ((10, 0, 3), 66),
        ((4321, 0, 1), 2**64),
        ((4321, 0, 1), None),
    ],
)
def test_wrong_type_names_the_path(path: tuple[int, ...], value: object) -> None:
    with pytest.raises(ContentError, match="/{}/{}/{}: ".format(*path)):
        encode(112, {path: value}, path)
    if isinstance(value, str | int | float | bytes):
        with pytest.raises(ContentError, match="/{}/{}/{}: |bignum|tag 2".format(*path)):
            decode(60, cbor2.dumps(value), path)


@pytest.mark.parametrize(
    ("content_format", "values", "path", "rule"),
    [
        (112, {(3, 0, 3): "x"}, (5,), "under /5"),
        (112, {(3, 0): "x"}, (), "resource"),
        (112, {(3, 0, 70000): "x"}, (3,), "65535"),
        (0, {}, (3, 0, 3), "one value"),
        (0, {(3, 0, 0): "x", (3, 0, 1): "y"}, (3, 0), "one value"),
        (42, {(3, 0, 3): "x"}, (3, 0, 3), "cannot carry"),
        (40, {(3, 0, 3): "x"}, (3, 0, 3), "cannot carry"),
        (11542, {(3, 0, 3): "x"}, (), "path of an object"),
        (11543, {(3, 0, 3): "x"}, (), "path of an object"),
        (11542, {(3, 0, 6): 1, (3, 0, 6, 1): 1}, (3, 0), "stand together"),
        (11544, {(3, 0, 6): 1, (3, 0, 6, 1): 1}, (3, 0), "stand together"),
        (11544, {(3, 0, 6, 1): 1, (3, 0, 6): 1}, (3, 0), "stand together"),
        (11542, {(5, 0, 0): bytes(2**24)}, (5, 0, 0), "2\\^24"),
        (0, {(6, 0, 0): float("nan")}, (6, 0, 0), "NaN"),
        (110, {(6, 0, 0): float("inf")}, (6, 0, 0), "NaN"),
        (11543, {(6, 0, 0): float("inf")}, (6, 0, 0), "NaN"),
        *((number, {(3, 0, 3): "\ud800"}, (3, 0, 3), "UTF-8|CBOR") for number in SINGLE),
    ],
)
def test_what_cannot_be_written(
    content_format: int, values: dict[tuple[int, ...], object], path: tuple[int, ...], rule: str
) -> None:
    with pytest.raises(ContentError, match=rule):
        encode(content_format, values, path)


@pytest.mark.parametrize("content_format", [0, 42, 60, 11542, None])
def test_lists_of_paths_are_senml(content_format: int | None) -> None:
    with pytest.raises(ContentError, match="list of paths"):
        decode_paths(content_format, b"")


def test_list_of_paths_in_text_cannot_be_written() -> None:
    with pytest.raises(ContentError, match="list of paths"):
        encode_paths(0, [(3,)])


@pytest.mark.parametrize("payload", [b'[{"n":"/3","v":1}]', b'[{"n":"/3","t":1}]', b'[{"bn":"/3","bt":1}]'])
def test_list_of_paths_holds_names_only(payload: bytes) -> None:
    with pytest.raises(ContentError, match="names only"):
        decode_paths(110, payload)


def nested(head: bytes, tail: bytes = b"") -> bytes:
    return head * 30_000 + tail


HOSTILE = [
    # text, opaque
    (0, (3, 0, 3), b"\xff"),
    (0, (3, 0, 9), b""),
    (0, (3, 0, 9), b"1e"),
    (0, (3, 0, 9), b"9" * 5000),
    (0, (3, 0, 9), b"1e9999"),
    (0, (3, 0, 9), "٣".encode()),
    (0, (6, 0, 0), b"nan"),
    (0, (9, 0, 12), b"maybe"),
    (0, (0, 0, 3), b"!"),
    (0, (3, 0), b"x"),
    (42, (3, 0, 3), b"x"),
    (42, (5, 0, 0), bytes(2**24 + 1)),
    # cbor
    (60, (3, 0, 9), b""),
    (60, (3, 0, 9), b"\x01\x01"),
    (60, (3, 0, 9), b"\x1c"),
    (60, (3, 0, 9), b"\xff"),
    (60, (4321, 0, 1), b"\xf6"),
    (60, (4321, 0, 1), b"\xf7"),
    (60, (4321, 0, 1), b"\xf8\xff"),
    (60, (4321, 0, 1), b"\x80"),
    (60, (3, 0, 9), nested(b"\x81", b"\0")),
    (60, (3, 0, 9), nested(b"\xc1", b"\0")),
    (60, (3, 0, 9), nested(b"\xd8\x64", b"\0")),
    (60, (3, 0, 9), bytes.fromhex("9bffffffffffffffff")),
    (60, (0, 0, 3), bytes.fromhex("5bffffffffffffffff")),
    (60, (3, 0, 9), bytes.fromhex("c2490100000000000000 00")),
    (60, (3, 0, 9), bytes.fromhex("c4821a7fffffff01")),
    (60, (3, 0, 9), bytes.fromhex("c40100")),
    (60, (3, 0, 13), bytes.fromhex("c16131")),
    (60, (3, 0, 9), bytes(65537)),
    # senml cbor
    (112, (), b"\xa0"),
    (112, (), b"\x81\x01"),
    (112, (), bytes.fromhex("81a100a0")),
    (112, (), bytes.fromhex("81a200662f332f302f39026131")),
    (112, (), bytes.fromhex("81a200662f332f302f3908f5")),
    (112, (), bytes.fromhex("81a300662f332f302f39020003 6131")),
    (112, (), b"\x99\xff\xff" + b"\xa0" * 60_000),
    (112, (), b"\x99\x13\x89" + b"\xa0" * 5001),
    (112, (), nested(b"\x81")),
    (112, (), nested(b"\x9f")),
    (112, (), b"\x81\xd8\x1c\x81\xd8\x1d\x00"),
    # senml json
    (110, (), b"{}"),
    (110, (), b"["),
    (110, (), b"[1]"),
    (110, (), b'[{"n":"/3/0/9","v":"1"}]'),
    (110, (), b'[{"n":"/3/0/9","v":1,"vb":true}]'),
    (110, (), b'[{"n":"/3/0","v":1}]'),
    (110, (), b'[{"n":"/3/0/1/2/3","v":1}]'),
    (110, (), b'[{"n":"/3/0/x","v":1}]'),
    (110, (), b'[{"v":1}]'),
    (110, (3,), b'[{"n":"/5/0/3","v":1}]'),
    (110, (), b'[{"n":"/0/0/3","vd":"!"}]'),
    (110, (), b'[{"n":"/0/0/3","vd":"q"}]'),
    (110, (), b'[{"n":"/10/0/3","vlo":"x"}]'),
    (110, (), b'[{"n":"/3/0/9","v":NaN}]'),
    (110, (), b'[{"n":"/3/0/9","v":1e400}]'),
    (110, (), b'[{"n":"/3/0/9","v":' + b"9" * 5000 + b"}]"),
    (110, (), b'[{"n":"\xff"}]'),
    (110, (), b'[{"x":' + nested(b"[") + b"}]"),
    (110, (), nested(b"[")),
    (110, (), nested(b'[{"n":')[:60_000]),
    (110, (), b"[" + b",".join([b"{}"] * 5001) + b"]"),
    (110, (), b" " * 65537),
    # lwm2m json
    (11543, (3, 0), b"[]"),
    (11543, (3, 0), b"{}"),
    (11543, (3, 0), b'{"e":[{"n":"9","v":1,"sv":"x"}]}'),
    (11543, (3, 0), b'{"bn":"/5/0/","e":[{"n":"3","v":1}]}'),
    (11543, (3, 0), b'{"e":' + nested(b"[")),
    (11543, (0, 0), b'{"e":[{"n":"3","sv":"!"}]}'),
    (11543, (3, 0), b" " * 65537),
    # lwm2m cbor
    (11544, (), b"\x80"),
    (11544, (), bytes.fromhex("a10301")),
    (11544, (), bytes.fromhex("a1613301")),
    (11544, (), bytes.fromhex("a1f501")),
    (11544, (), bytes.fromhex("a18001")),
    (11544, (), bytes.fromhex("a12001")),
    (11544, (), bytes.fromhex("a1830300 1a00010000 01")),
    (11544, (), bytes.fromhex("a18503000601 0001")),
    (11544, (), bytes.fromhex("a18403000600a10001")),
    (11544, (), bytes.fromhex("a1a001")),
    (11544, (), bytes.fromhex("a18303000980")),
    (11544, (5,), bytes.fromhex("a18303000901")),
    (11544, (), nested(b"\xa1\x01", b"\x01")),
    (11544, (), b"\xa1\x01\xa1\x01\xa1\x01\xa1\x01\xa1\x01\x01"),
    # tlv
    (11542, (), b"\xc1\0\0"),
    (11542, (3, 0), b"\xc1"),
    (11542, (3, 0), b"\xc1\x09"),
    (11542, (3, 0), b"\xc8\x09"),
    (11542, (3, 0), b"\xd8\x09\xff\xff\xff"),
    (11542, (3, 0), b"\xe1\x09"),
    (11542, (3, 0), b"\xc3\x09\x01\x02"),
    (11542, (3, 0), bytes.fromhex("8206c10001")),
    (11542, (3, 0), bytes.fromhex("41 00 01")),
    (11542, (3, 0), bytes.fromhex("0300410301")),
    (11542, (3, 0), bytes.fromhex("0301c10301")),
    (11542, (3, 0), bytes.fromhex("c809 09") + bytes(9)),
    (11542, (3, 0), bytes.fromhex("c203ffff")),
    (11542, (6, 0), bytes.fromhex("c200ffff")),
    (11542, (6, 0), bytes.fromhex("c000")),
    (11542, (9, 0), bytes.fromhex("c10c02")),
    (11542, (10, 0), bytes.fromhex("c2030042")),
    (11542, (3, 0, 9), bytes.fromhex("c10a01")),
    (11542, (3, 0), b"\xc0\xff" * 10_001),
    (11542, (5, 0, 0), bytes(2**24 + 9)),
    # others
    (40, (3,), b"</3/0>"),
    (50, (3,), b"{}"),
]


@pytest.mark.parametrize(("content_format", "path", "payload"), HOSTILE)
def test_hostile_payloads(content_format: int, path: tuple[int, ...], payload: bytes) -> None:
    with pytest.raises(ContentError):
        decode(content_format, payload, path)


def test_error_says_where_and_which_rule() -> None:
    with pytest.raises(ContentError) as caught:
        decode(60, b"\x61x", (3, 0, 9))
    assert (caught.value.where, caught.value.rule) == ("/3/0/9", "must be an integer")


def test_tags_of_cbor2_are_all_known_here() -> None:
    """What cbor2 would resolve by itself is either read by us or refused."""
    resolved = set()
    for tag in [*range(1300), 43000, 55799, 65535]:
        for content in (b"\x00", b"\x40", b"\x60", b"\x80", b"\xa0"):
            try:
                item = cbor2.loads(b"\xd9" + tag.to_bytes(2, "big") + content)
            except cbor2.CBORDecodeError:
                resolved.add(tag)
            else:
                resolved |= set() if isinstance(item, cbor2.CBORTag) else {tag}
    assert resolved <= {*cbor.BUILT_IN_TAGS, 55799}


@pytest.mark.parametrize("tag", [*sorted(set(cbor.BUILT_IN_TAGS) - {1, 2, 3, 4}), 6, 24, 999])
@pytest.mark.parametrize("content", [b"\x00", b"\x40", b"\x61a", b"\x80", b"\xa0"])
def test_other_tags_are_refused(tag: int, content: bytes) -> None:
    with pytest.raises(ContentError):
        cbor.load(b"\xd9" + tag.to_bytes(2, "big") + content)


def test_bignums_of_64_bits() -> None:
    assert cbor.load(bytes.fromhex("c248ffffffffffffffff")) == 2**64 - 1
    assert cbor.load(bytes.fromhex("c34100")) == -1
