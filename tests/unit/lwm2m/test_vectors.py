"""The vectors of spec lwm2m.md 6, 8, 11.2 and the payloads of 15; in both directions where they are ours."""

import struct

import pytest

from overair.protocols.lwm2m.content import decode, decode_paths, decode_samples, encode, encode_paths
from overair.protocols.lwm2m.senml import absolute_seconds
from overair.protocols.lwm2m.values import NULL_LINK, ObjectLink, Sample

DEVICE = {
    (3, 0, 0): "Open Mobile Alliance",
    (3, 0, 1): "Lightweight M2M Client",
    (3, 0, 2): "345000123",
    (3, 0, 3): "1.0",
    (3, 0, 6, 0): 1,
    (3, 0, 6, 1): 5,
    (3, 0, 7, 0): 3800,
    (3, 0, 7, 1): 5000,
    (3, 0, 8, 0): 125,
    (3, 0, 8, 1): 900,
    (3, 0, 9): 100,
    (3, 0, 10): 15,
    (3, 0, 11, 0): 0,
    (3, 0, 13): 1367491215,
    (3, 0, 14): "+02:00",
    (3, 0, 16): "U",
}
FIRMWARE = {
    (5, 0, 3): 2,
    (5, 0, 5): 0,
    (5, 0, 7): "1.4.2",
    (5, 0, 8, 0): 0,
    (5, 0, 8, 1): 1,
    (5, 0, 9): 2,
}
V1 = (
    "C800144F70656E204D6F62696C6520416C6C69616E6365 C801164C69676874776569676874204D324D20436C69656E74"
    "C80209333435303030313233 C303312E30 8606 41 00 01 41 01 05 8807 08 42 00 0ED8 42 01 1388"
    "8708 41 00 7D 42 01 0384 C10964 C10A0F 830B 41 00 00 C40D5182428F C60E2B30323A3030 C11055"
)
URI = "coap://fota.example/f/8Kq2"
IDENTITY = b"urn:imei:490154203237518"
KEY = bytes(range(16))
SECURITY = {
    (0, 1, 0): "coaps://fota.example:5684",
    (0, 1, 1): False,
    (0, 1, 2): 0,
    (0, 1, 3): IDENTITY,
    (0, 1, 4): b"",
    (0, 1, 5): KEY,
    (0, 1, 10): 123,
}
SERVER = {(1, 0, 0): 123, (1, 0, 1): 43200, (1, 0, 6): True, (1, 0, 7): "U", (1, 0, 23): False}
PUT_SECURITY = (
    "c80019636f6170733a2f2f666f74612e6578616d706c653a35363834 c10100 c10200"
    "c8031875726e3a696d65693a343930313534323033323337353138 c004"
    "c80510000102030405060708090a0b0c0d0e0f c10a7b"
)


@pytest.mark.parametrize(
    ("path", "text", "cbor", "value"),
    [
        ((5, 0, 7), "1.4.2", "65312e342e32", "1.4.2"),
        ((5, 0, 3), "2", "02", 2),
        ((4, 0, 2), "-1", "20", -1),
        ((1, 0, 1), "86400", "1a00015180", 86400),
        ((1, 0, 17), "5", "05", 5),
        ((6, 0, 0), "1.5", "fb3ff8000000000000", 1.5),
        ((9, 0, 12), "0", "f4", False),
        ((9, 0, 12), "1", "f5", True),
        ((3, 0, 13), "1367491215", "1a5182428f", 1367491215),
        ((10, 0, 3), "66:0", "6436363a30", ObjectLink(66, 0)),
        ((10, 0, 3), "65535:65535", "6b36353533353a3635353335", NULL_LINK),
        ((0, 0, 3), "q83v", "43abcdef", b"\xab\xcd\xef"),
    ],
)
def test_single_values(path: tuple[int, ...], text: str, cbor: str, value: object) -> None:
    for content_format, payload in ((0, text.encode()), (60, bytes.fromhex(cbor)), (1541, text.encode())):
        if content_format == 1541:
            assert decode(content_format, payload, path) == {path: value}
            continue
        decoded = decode(content_format, payload, path)
        assert decoded == {path: value}
        assert type(decoded[path]) is type(value)
        assert encode(content_format, {path: value}, path) == payload


@pytest.mark.parametrize(
    ("path", "content_format", "payload", "value"),
    [
        ((9, 0, 12), 0, b"true", True),
        ((9, 0, 12), 0, b"False", False),
        ((5, 0, 3), 0, b"1.0", 1),
        ((5, 0, 3), 0, b"2\0", 2),
        ((5, 0, 7), 0, b"1.4.2\0", "1.4.2"),
        ((3, 0, 13), 0, b"1.638435E9", 1638435000),
        ((6, 0, 0), 0, b"-4.35e1", -43.5),
        ((6, 0, 0), 0, b"44", 44.0),
        ((4321, 0, 1), 0, b"free text", "free text"),
        ((0, 0, 3), 0, b"q83v", b"\xab\xcd\xef"),
        ((6, 0, 0), 60, bytes.fromhex("f93e00"), 1.5),
        ((6, 0, 0), 60, bytes.fromhex("fa3fc00000"), 1.5),
        ((6, 0, 0), 60, bytes.fromhex("02"), 2.0),
        ((3, 0, 13), 60, bytes.fromhex("c11a5182428f"), 1367491215),
        ((5, 0, 3), 60, bytes.fromhex("f94000"), 2),
        ((0, 0, 3), 42, b"\xab\xcd\xef", b"\xab\xcd\xef"),
        ((5, 0, 0), 42, b"\0", b"\0"),
        ((5, 0, 3), None, b"2", 2),
        ((5, 0, 3), None, bytes.fromhex("c10302"), 2),
        ((0, 0, 3), None, b"abc", b"abc"),
        ((3, 0, 6, 1), 0, b"5", 5),
    ],
)
def test_accepted_spellings(
    path: tuple[int, ...], content_format: int, payload: bytes, value: object
) -> None:
    decoded = decode(content_format, payload, path)
    assert decoded == {path: value}
    assert type(decoded[path]) is type(value)


def test_opaque_is_written_as_it_is() -> None:
    assert encode(42, {(5, 0, 0): b"\0"}, (5, 0, 0)) == b"\0"


@pytest.mark.parametrize(
    ("path", "value", "payload"),
    [
        ((1, 0, 1), 86400, "c40100015180"),
        ((5, 0, 1), URI, "c8011a636f61703a2f2f666f74612e6578616d706c652f662f384b7132"),
        ((3, 0, 13), 0, "c10d00"),
        ((3, 0, 13), 1, "c10d01"),
        ((3, 0, 13), -1, "c10dff"),
        ((3, 0, 13), 127, "c10d7f"),
        ((3, 0, 13), 128, "c20d0080"),
        ((3, 0, 13), -128, "c10d80"),
        ((3, 0, 13), -129, "c20dff7f"),
        ((3, 0, 13), 32768, "c40d00008000"),
        ((3, 0, 13), 2147483648, "c80d080000000080000000"),
        ((3, 0, 13), 1367491215, "c40d5182428f"),
        ((6, 0, 0), 153.2176, "c80008406326f694467382"),
        ((6, 0, 0), struct.unpack(">f", bytes.fromhex("c22e4a09"))[0], "c400c22e4a09"),
        ((10241, 0, 5905), "ACME", "e4171141434d45"),
    ],
)
def test_tlv_samples(path: tuple[int, ...], value: object, payload: str) -> None:
    assert decode(11542, bytes.fromhex(payload), path) == {path: value}
    assert encode(11542, {path: value}, path).hex() == payload


def test_tlv_multiple_with_wide_id() -> None:
    values = {(10241, 0, 5905, 0): "ACME"}
    payload = bytes.fromhex("a61711440041434d45")
    assert decode(11542, payload, (10241, 0, 5905)) == values
    assert decode(11542, payload, (10241, 0)) == values
    assert encode(11542, values, (10241, 0)) == payload


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (7, "c700"),
        (8, "c80008"),
        (255, "c800ff"),
        (256, "d0000100"),
        (300, "d000012c"),
        (70000, "d800011170"),
    ],
)
def test_tlv_headers(size: int, header: str) -> None:
    path, value = (5, 0, 0), bytes(size)
    payload = encode(11542, {path: value}, path)
    assert payload == bytes.fromhex(header) + value
    assert decode(11542, payload, path) == {path: value}


@pytest.mark.parametrize(
    ("path", "values", "payload"),
    [
        ((3, 0), DEVICE, V1),
        ((3,), DEVICE, "080079" + V1),
        ((9,), {(9, 3, 0): "app"}, "0503c300617070"),
        ((5, 0), FIRMWARE, "c10302c10500c507312e342e328608410000410101c10902"),
        (
            (2,),
            {
                (2, 0, 0): 1,
                (2, 0, 1): 0,
                (2, 0, 2, 127): 7,
                (2, 0, 3): 127,
                (2, 2, 0): 3,
                (2, 2, 1): 0,
                (2, 2, 2, 127): 7,
                (2, 2, 2, 310): 1,
                (2, 2, 3): 127,
            },
            "08000EC10001C101008302417F07C1037F 080212C10003C101008702417F0761013601C1037F",
        ),
        (
            (1,),
            {(1, 0, 0): 1, (1, 0, 1): 86400, (1, 0, 6): True, (1, 0, 7): "U"},
            "08000FC10001C40100015180C10601C10755",
        ),
        ((0, 1), SECURITY, PUT_SECURITY),
        ((0,), SECURITY, "080155" + PUT_SECURITY),
        ((1, 0), SERVER, "c1007b c4010000a8c0 c10601 c10755 c11700"),
    ],
    ids=["V1", "V2", "instance", "firmware", "V3", "V4", "security", "security-object", "server"],
)
def test_tlv_objects(path: tuple[int, ...], values: dict[tuple[int, ...], object], payload: str) -> None:
    raw = bytes.fromhex(payload)
    decoded = decode(11542, raw, path)
    assert decoded == values
    assert [type(value) for value in decoded.values()] == [type(value) for value in values.values()]
    assert decode(1542, raw, path) == values
    # Round trip through our own table order, which the vectors share.
    assert encode(11542, values, path) == raw


def test_tlv_instance_around_the_resources_of_an_instance_read() -> None:
    assert decode(11542, bytes.fromhex("080079" + V1), (3, 0)) == DEVICE


def test_tlv_bare_resources_of_an_object_read() -> None:
    assert decode(11542, bytes.fromhex(V1), (3,)) == DEVICE


def test_tlv_multiple_resource_read_alone() -> None:
    values = {(3, 0, 6, 0): 1, (3, 0, 6, 1): 5}
    assert decode(11542, bytes.fromhex("8606410001410105"), (3, 0, 6)) == values
    assert decode(11542, bytes.fromhex("410001410105"), (3, 0, 6)) == values
    assert decode(11542, bytes.fromhex("410105"), (3, 0, 6, 1)) == {(3, 0, 6, 1): 5}


def test_tlv_object_links() -> None:
    """V5 and V6 are of an example object without table: read here through resources of the same type."""
    links = {(9, 0, 17, 0): ObjectLink(66, 0), (9, 0, 17, 1): ObjectLink(66, 1)}
    payload = bytes.fromhex("88110C440000420000440100420001")
    assert decode(11542, payload, (9, 0)) == links
    assert encode(11542, links, (9, 0)) == payload
    null = {(10, 0, 3): NULL_LINK}
    assert decode(11542, bytes.fromhex("c403ffffffff"), (10, 0)) == null
    assert encode(11542, null, (10, 0)).hex() == "c403ffffffff"


def test_tlv_of_an_unknown_object_stays_bytes() -> None:
    v5 = bytes.fromhex("88000C440000420000440100420001C8010D38363133383030373535353030C40212345678")
    values = {
        (65, 0, 0, 0): bytes.fromhex("00420000"),
        (65, 0, 0, 1): bytes.fromhex("00420001"),
        (65, 0, 1): b"8613800755500",
        (65, 0, 2): bytes.fromhex("12345678"),
    }
    assert decode(11542, v5, (65, 0)) == values
    assert encode(11542, values, (65, 0)) == v5
    v6 = bytes.fromhex(
        "080026C8000B6D79536572766963652031C8010F496E7465726E65742E31352E323334C40200430000"
        "080126C8000B6D79536572766963652032C8010F496E7465726E65742E31352E323335C402FFFFFFFF"
    )
    decoded = decode(11542, v6, (66,))
    assert decoded[66, 0, 2] == bytes.fromhex("00430000")
    assert decoded[66, 1, 1] == b"Internet.15.235"
    assert encode(11542, decoded, (66,)) == v6


@pytest.mark.parametrize(
    ("path", "payload", "value"),
    [
        ((3, 0, 13), "c00d", 0),
        ((3, 0, 13), "c30d010000", 65536),
        ((3, 0, 13), "c50dffffffffff", -1),
        ((3, 0, 13), "c70d00000000000001", 1),
        ((1, 0, 17), "c111c8", 200),
        ((1, 0, 17), "c21100c8", 200),
        ((1, 0, 17), "c81108ffffffffffffffff", 2**64 - 1),
        ((6, 0, 0), "c60034332e353732", 43.572),
        ((6, 0, 0), "c8000834332e3537323333", 43.57233),
        ((3, 0, 99), "c263ffff", b"\xff\xff"),
    ],
)
def test_tlv_tolerance(path: tuple[int, ...], payload: str, value: object) -> None:
    assert decode(11542, bytes.fromhex(payload), path) == {path: value}


SENML_DEVICE = (
    b'[{"bn":"/3/0/","n":"0","vs":"Open Mobile Alliance"},{"n":"1","vs":"Lightweight M2M Client"},'
    b'{"n":"2","vs":"345000123"},{"n":"3","vs":"1.0"},{"n":"6/0","v":1},{"n":"6/1","v":5},{"n":"7/0","v":3800},'
    b'{"n":"7/1","v":5000},{"n":"8/0","v":125},{"n":"8/1","v":900},{"n":"9","v":100},{"n":"10","v":15},'
    b'{"n":"11/0","v":0},{"n":"13","v":1367491215},{"n":"14","vs":"+02:00"},{"n":"16","vs":"U"}]'
)


@pytest.mark.parametrize(
    ("content_format", "path", "values", "payload"),
    [
        (110, (3, 0), DEVICE, SENML_DEVICE),
        (110, (0, 0, 3), {(0, 0, 3): b"\xab\xcd\xef"}, b'[{"bn":"/0/0/3","vd":"q83v"}]'),
        (110, (5, 0, 3), {(5, 0, 3): 2}, b'[{"bn":"/5/0/3","v":2}]'),
        (110, (3, 0), {}, b"[]"),
        (112, (0, 0, 3), {(0, 0, 3): b"\xab\xcd\xef"}, "81a221662f302f302f330843abcdef"),
        (112, (3, 0, 3), {(3, 0, 3): "1.4.2"}, "81a221662f332f302f330365312e342e32"),
        (
            112,
            (5, 0),
            {(5, 0, 3): 2, (5, 0, 5): 0, (5, 0, 8, 0): 0, (5, 0, 8, 1): 1},
            "84a321652f352f302f0061330202a20061350200a20063382f300200a20063382f310201",
        ),
        (112, (1, 0, 23), {(1, 0, 23): False}, "81a221672f312f302f323304f4"),
        (112, (5, 0, 1), {(5, 0, 1): URI}, "81a221662f352f302f3103781a" + URI.encode().hex()),
        (
            112,
            (),
            {**SECURITY, **SERVER},
            "8ca321652f302f312f006130037819636f6170733a2f2f666f74612e6578616d706c653a35363834a200613104f4a200613202"
            "00a200613308581875726e3a696d65693a343930313534323033323337353138a20061340840a2006135085000010203040506"
            "0708090a0b0c0d0e0fa20062313002187ba321652f312f302f00613002187ba20061310219a8c0a200613604f5a20061370361"
            "55a20062323304f4",
        ),
        (112, (3, 0), {}, "80"),
        (
            11544,
            (3, 0),
            {(3, 0, 3): "1.4.2", (3, 0, 6, 0): 1, (3, 0, 6, 1): 5},
            "a103a100a20365312e342e3206a200010105",
        ),
        (11544, (5, 0), {(5, 0, 3): 2, (5, 0, 5): 0}, "a105a100a203020500"),
        (
            11543,
            (3, 0),
            {(3, 0, 0): "Open Mobile Alliance", (3, 0, 9): 100, (3, 0, 6, 0): 1},
            b'{"bn":"/3/0/","e":[{"n":"0","sv":"Open Mobile Alliance"},{"n":"9","v":100},{"n":"6/0","v":1}]}',
        ),
        (11543, (3, 0, 0), {(3, 0, 0): "x"}, b'{"bn":"/3/0/0","e":[{"sv":"x"}]}'),
    ],
)
def test_packs(
    content_format: int, path: tuple[int, ...], values: dict[tuple[int, ...], object], payload: bytes | str
) -> None:
    raw = bytes.fromhex(payload) if isinstance(payload, str) else payload
    decoded = decode(content_format, raw, path)
    assert decoded == values
    assert [type(value) for value in decoded.values()] == [type(value) for value in values.values()]
    assert encode(content_format, values, path) == raw


def test_link_in_senml_cbor() -> None:
    """The vector's resource 11/0/22 is typed as a link in the tables."""
    payload = bytes.fromhex("81a221682f31312f302f323263766c6f6436363a30")
    assert decode(112, payload, (11, 0, 22)) == {(11, 0, 22): ObjectLink(66, 0)}
    assert encode(112, {(11, 0, 22): ObjectLink(66, 0)}, (11, 0, 22)) == payload


@pytest.mark.parametrize(
    ("content_format", "path", "payload", "values"),
    [
        (
            110,
            (),
            b'[{"bn":"/4/0/0","v":45},{"bn":"/4/0/1","v":30},{"bn":"/6/0/","n":"0","v":43.918998},'
            b'{"n":"1","v":2.351149},{"n":"5","v":1610029880}]',
            {(4, 0, 0): 45, (4, 0, 1): 30, (6, 0, 0): 43.918998, (6, 0, 1): 2.351149, (6, 0, 5): 1610029880},
        ),
        (110, (3, 0), b"", {}),
        (112, (3, 0), b"", {}),
        (11542, (3, 0), b"", {}),
        (11544, (3, 0), b"", {}),
        (110, (3, 0), b'[{"n":"3/0/3","vs":"1"}]', {(3, 0, 3): "1"}),
        (110, (3, 0), b'[{"bn":"/lwm2m/3/0/","n":"3","vs":"1"}]', {(3, 0, 3): "1"}),
        (320, (3, 0), b'[{"n":"/3/0/3","vs":"1"},{"n":"/3/0/9","v":null}]', {(3, 0, 3): "1"}),
        (110, (0, 0, 3), b'[{"n":"/0/0/3","vd":"+/8="}]', {(0, 0, 3): b"\xfb\xff"}),
        (110, (0, 0, 3), b'[{"n":"/0/0/3","vd":"-_8"}]', {(0, 0, 3): b"\xfb\xff"}),
        (110, (3, 0, 13), b'[{"n":"/3/0/13","v":1.638435E9}]', {(3, 0, 13): 1638435000}),
        (110, (10, 0, 3), b'[{"n":"/10/0/3","vlo":"66:0"}]', {(10, 0, 3): ObjectLink(66, 0)}),
        (110, (3, 0, 9), b'[{"n":"/3/0/9","v":9223372036854775800}]', {(3, 0, 9): 9223372036854775800}),
        (110, (1, 0, 17), b'[{"n":"/1/0/17","v":18446744073709551615}]', {(1, 0, 17): 18446744073709551615}),
        (110, (3, 0, 9), b'[{"n":"/3/0/9","v":1,"u":"%","x":{"y":[1]}}]', {(3, 0, 9): 1}),
        (
            110,
            (),
            bytes.fromhex(
                "5b7b22626e223a222f222c226e223a22352f302f33222c2276223a307d2c7b226e223a22352f302f35222c2276223a317d2c"
                "7b226e223a22332f302f33222c227673223a22312e342e32227d5d"
            ),
            {(5, 0, 3): 0, (5, 0, 5): 1, (3, 0, 3): "1.4.2"},
        ),
        (112, (3, 0, 9), bytes.fromhex("81a2021864") + bytes.fromhex("00662f332f302f39"), {(3, 0, 9): 100}),
        (112, (3, 0, 9), bytes.fromhex("9fbf007f622f33632f302f6139ff02f95640ffff"), {(3, 0, 9): 100}),
        (112, (6, 0, 0), bytes.fromhex("81a200662f362f302f3002c48220190f77"), {(6, 0, 0): 395.9}),
        (112, (3, 0, 9), bytes.fromhex("81a200662f332f302f3902c482201903e8"), {(3, 0, 9): 100}),
        (322, (3, 0, 9), bytes.fromhex("81a200662f332f302f3902c4820201"), {(3, 0, 9): 100}),
        (11543, (3, 0, 0), b'{"bn":"/3/0/0","e":[{"n":"","sv":"x"}]}', {(3, 0, 0): "x"}),
        (11543, (3, 0), b'{"e":[{"n":"0","sv":"x"},{"n":"9","v":1}]}', {(3, 0, 0): "x", (3, 0, 9): 1}),
        (1543, (3, 0, 0), b'{"e":[{"sv":"x"}]}', {(3, 0, 0): "x"}),
        (11543, (3, 0, 6), b'{"e":[{"n":"1","v":5}]}', {(3, 0, 6, 1): 5}),
        (11543, (3, 0, 6), b"", {}),
        (11543, (9, 0), b'{"bn":"/9/0/","e":[{"n":"12","bv":true},{"n":"5","ov":"66:0"}]}',
         {(9, 0, 12): True, (9, 0, 5): ObjectLink(66, 0)}),
        (11543, (0, 0, 3), b'{"bn":"/0/0/3","e":[{"sv":"q83v"}]}', {(0, 0, 3): b"\xab\xcd\xef"}),
        (11544, (13, 26), bytes.fromhex("a1830d181a01182a"), {(13, 26, 1): 42}),
        (11544, (13, 26), bytes.fromhex("a1820d181aa201182a0215"), {(13, 26, 1): 42, (13, 26, 2): 21}),
        (11544, (13, 26), bytes.fromhex("a1810da181181aa18101182a"), {(13, 26, 1): 42}),
        (11544, (13, 26), bytes.fromhex("bf9f0d181a01ff182aff"), {(13, 26, 1): 42}),
        (11544, (0, 0), bytes.fromhex("a1830000035f41ab42cdefff"), {(0, 0, 3): b"\xab\xcd\xef"}),
        (11544, (10, 0), bytes.fromhex("a1830a00036436363a30"), {(10, 0, 3): ObjectLink(66, 0)}),
        (11544, (3, 0), bytes.fromhex("a1820300a20361310900"), {(3, 0, 3): "1", (3, 0, 9): 0}),
        (11544, (3, 0), bytes.fromhex("a1820300a203613109f6"), {(3, 0, 3): "1"}),
    ],
)  # fmt: skip
def test_packs_of_others(
    content_format: int, path: tuple[int, ...], payload: bytes, values: dict[tuple[int, ...], object]
) -> None:
    decoded = decode(content_format, payload, path)
    assert decoded == values
    assert [type(value) for value in decoded.values()] == [type(value) for value in values.values()]


PATHS = ((3, 0, 3), (5, 0, 3), (5, 0, 5))


def test_read_composite_paths() -> None:
    payload = bytes.fromhex("83a100662f332f302f33a100662f352f302f33a100662f352f302f35")
    assert encode_paths(112, PATHS) == payload
    assert decode_paths(112, payload) == PATHS
    assert encode_paths(110, PATHS) == b'[{"n":"/3/0/3"},{"n":"/5/0/3"},{"n":"/5/0/5"}]'
    assert decode_paths(110, b'[{"bn":"/5/0/","n":"3"},{"n":"5"},{"bn":"/3"}]') == (
        (5, 0, 3),
        (5, 0, 5),
        (3,),
    )


def test_times_of_json() -> None:
    payload = b'[{"bn":"/3303/0/5700","bt":268500000,"v":22.9},{"v":22.4,"t":-5},{"v":24.1,"t":-50}]'
    path = (3303, 0, 5700)
    assert decode_samples(110, payload, path) == [
        Sample(path, 22.9, 268500000),
        Sample(path, 22.4, 268499995),
        Sample(path, 24.1, 268499950),
    ]
    assert decode(110, payload, path) == {path: 22.9}


def test_times_of_cbor() -> None:
    payload = bytes.fromhex(
        "82a3216c2f333330332f302f35373030221a655213ad02fb4035800000000000a206383b02fb4035400000000000"
    )
    path = (3303, 0, 5700)
    assert decode_samples(112, payload, path) == [
        Sample(path, 21.5, 1699877805),
        Sample(path, 21.25, 1699877745),
    ]


def test_latest_value_counts_whatever_the_order() -> None:
    payload = b'[{"bn":"/5/0/3","bt":1699877805,"t":1,"v":2},{"t":0,"v":1}]'
    assert decode(110, payload, (5, 0, 3)) == {(5, 0, 3): 2}
    relative = b'[{"n":"/5/0/3","v":3},{"n":"/5/0/3","t":-10,"v":2},{"n":"/5/0/3","t":1699877805,"v":1}]'
    assert decode(110, relative, (5, 0, 3)) == {(5, 0, 3): 3}
    old = b'{"bn":"/5/0/3","bt":1699877805,"e":[{"t":5,"v":2},{"v":1}]}'
    assert decode(11543, old, (5, 0, 3)) == {(5, 0, 3): 2}


@pytest.mark.parametrize(("time", "expected"), [(None, 1e9), (-5, 1e9 - 5), (2**28, 2**28), (1.5e9, 1.5e9)])
def test_absolute_time(time: float | None, expected: float) -> None:
    assert absolute_seconds(Sample((3, 0, 9), 1, time), now=1e9) == expected
