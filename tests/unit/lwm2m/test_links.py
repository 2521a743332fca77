"""Link format: object lists with every leniency of spec lwm2m.md 3.2, Discover answers of 5.5 and 11.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.links import (
    NO_OBJECTS,
    Link,
    ObjectList,
    format_discover,
    format_links,
    parse_discover,
    parse_links,
)

TYPICAL = b'</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</1>;ver=1.1,</1/0>,</3/0>,</4/0>,</5/0>'


def test_typical_list() -> None:
    objects = parse_links(TYPICAL)
    assert objects == ObjectList(
        root="",
        content_formats=(60, 110, 112, 11542, 11543),
        instances=((1, 0), (3, 0), (4, 0), (5, 0)),
        objects=(1, 3, 4, 5),
        versions=((1, "1.1"),),
    )
    assert format_links(objects) == TYPICAL


def test_equal_payloads_give_the_same_object() -> None:
    assert parse_links(bytes(bytearray(TYPICAL))) is parse_links(bytes(bytearray(TYPICAL)))


def test_questions() -> None:
    objects = parse_links(b"</5>;ver=1.1,</5/0>,</9/2>,</9/0>,</20>")
    assert objects.has(20)
    assert not objects.has(3)
    assert objects.instances_of(9) == (0, 2)
    assert objects.instances_of(20) == ()
    assert (objects.version_of(5), objects.version_of(9)) == ("1.1", "1.0")


@pytest.mark.parametrize(
    ("payload", "versions"),
    [
        (b'</1>;ver="1.1"', ((1, "1.1"),)),
        (b"</1>;ver=1.1", ((1, "1.1"),)),
        (b"</1/0>;ver=1.1", ((1, "1.1"),)),
        (b'</1> ; ver = "1.1"', ((1, "1.1"),)),
        (b"</1>;ver=1.10", ((1, "1.10"),)),
        (b"</1>;ver=banana", ()),
        (b"</1>;ver", ()),
    ],
)
def test_version_spellings(payload: bytes, versions: tuple[tuple[int, str], ...]) -> None:
    assert parse_links(payload).versions == versions


@pytest.mark.parametrize(
    ("attributes", "formats"),
    [
        (b'ct="60 110 112"', (60, 110, 112)),
        (b"ct=60", (60,)),
        (b'ct="60"', (60,)),
        (b"ct=60 110", (60, 110)),
        (b"ct=60 110;obs", (60, 110)),
        (b"ct=", ()),
        (b"ct=x", ()),
        (b"obs", ()),
    ],
)
def test_content_format_spellings(attributes: bytes, formats: tuple[int, ...]) -> None:
    assert parse_links(b'</>;rt="oma.lwm2m";' + attributes + b",</3/0>").content_formats == formats
    assert parse_links(b"</>;" + attributes + b",</3/0>").content_formats == formats


@pytest.mark.parametrize(
    ("payload", "instances"),
    [
        (b"<1/1>", ((1, 1),)),
        (b"</1/0/>", ((1, 0),)),
        (b"</1/0>, </3/0>,  </5/0>", ((1, 0), (3, 0), (5, 0))),
        (b"</1/0>,</3/0>\0", ((1, 0), (3, 0))),
        (b"</3/0/9>", ((3, 0),)),
        (b"</3/0>,</3/0>", ((3, 0),)),
        (b'</3/0>;title="a,</9/9>,b",</5/0>', ((3, 0), (5, 0))),
        (b'</3/0>;title="open,</5/0>', ((3, 0), (5, 0))),
        (b"</1/0>,\r\n</3/0>", ((1, 0), (3, 0))),
    ],
)
def test_accepted_without_loss(payload: bytes, instances: tuple[tuple[int, int], ...]) -> None:
    objects = parse_links(payload)
    assert (objects.instances, objects.dropped) == (instances, 0)


@pytest.mark.parametrize(
    ("payload", "dropped"),
    [
        (b"</3/0>,</1/2/3/4/5>,</5/0>", 1),
        (b"</3/0>,</70000>,</5/0>", 1),
        (b"</3/0>,</3/x>,</5/0>", 1),
        (b"</3/0>,</light>,</5/0>", 1),
        (b"</3/0>,rubbish,</5/0>", 1),
        (b"</3/0>,</9/0,</5/0>", 1),
        (b"</3/0>,</elsewhere/9/0>,</5/0>", 1),
        (b"\xff\xfe,</3/0>,</5/0>,</x>>", 2),
        (b"</3/0>,</5/0>,</9", 1),
    ],
)
def test_unreadable_link_is_dropped_and_counted(payload: bytes, dropped: int) -> None:
    objects = parse_links(payload)
    assert (objects.instances, objects.dropped) == (((3, 0), (5, 0)), dropped)


@pytest.mark.parametrize("payload", [b"", b"\0", b" "])
def test_empty_payload_is_an_unknown_list(payload: bytes) -> None:
    assert parse_links(payload) is NO_OBJECTS


@pytest.mark.parametrize(
    "payload",
    [
        b'</lwm2m>;rt="oma.lwm2m";ct=112,</lwm2m/3/0>,</lwm2m/5>',
        b"</lwm2m>;rt=oma.lwm2m;ct=112,</lwm2m/3/0>,</lwm2m/5>",
        b'</3/0>,</5>,</lwm2m>;rt="other oma.lwm2m";ct=112',
    ],
)
def test_alternate_root(payload: bytes) -> None:
    objects = parse_links(payload)
    assert objects == ObjectList("/lwm2m", (112,), ((3, 0),), (3, 5))


def test_bounds() -> None:
    assert len(parse_links(b",".join(b"</9/%d>" % i for i in range(2000))).instances) == 2000
    with pytest.raises(ContentError, match="2000 links"):
        parse_links(b"</9/1>," * 2001)
    with pytest.raises(ContentError, match="65536 bytes"):
        parse_links(b" " * 65537)


def test_discover_answer_and_back() -> None:
    payload = b"</5>;ver=1.1,</5/0>;pmin=10,</5/0/1>,</5/0/3>,</5/0/8>;dim=2"
    links = parse_discover(payload)
    assert links[0] == Link("", (5,), (("ver", "1.1"),))
    assert links[1].attribute("pmin") == "10"
    assert [link.path for link in links[2:]] == [(5, 0, 1), (5, 0, 3), (5, 0, 8)]
    assert links[4].attribute("dim") == "2"
    assert format_discover(links) == payload


def test_bootstrap_discover_answer() -> None:
    payload = b'</>;lwm2m=1.0,</0/0>;uri="coap://a.example:5683",</0/1>;ssid=2222;uri="coap://b.example",</2>,</3/0>'
    links = parse_discover(payload)
    assert links[0].attribute("lwm2m") == "1.0"
    assert (links[2].attribute("ssid"), links[2].attribute("uri")) == ("2222", "coap://b.example")
    assert format_discover(links) == payload


def test_flag_attribute() -> None:
    assert parse_discover(b"</3/0>;obs;pmin=1")[0].attributes == (("obs", None), ("pmin", "1"))
    assert format_discover([Link("", (3,), (("obs", None),))]) == b"</3>;obs"


def test_value_with_a_quote_is_not_written() -> None:
    with pytest.raises(ContentError, match="title"):
        format_discover([Link("", (3,), (("title", 'a"b'),))])


ids = st.integers(0, 65535)


@st.composite
def object_lists(draw: st.DrawFn) -> ObjectList:
    instances = draw(st.sets(st.tuples(ids, ids), max_size=20))
    objects = draw(st.sets(ids, max_size=5)) | {number for number, _ in instances}
    versioned = draw(st.sets(st.sampled_from(sorted(objects)))) if objects else set()
    root = draw(st.sampled_from(["", "/lwm2m", "/a/b"]))
    return ObjectList(
        root=root,
        content_formats=tuple(draw(st.lists(ids, max_size=5))),
        instances=tuple(sorted(instances)),
        objects=tuple(sorted(objects)),
        versions=tuple((number, draw(st.sampled_from(["1.0", "1.10"]))) for number in sorted(versioned)),
    )


@given(object_lists())
def test_round_trip(objects: ObjectList) -> None:
    assert parse_links(format_links(objects)) == objects


@given(st.one_of(st.binary(max_size=300), st.text('</>;,="139 vercta\\\0', max_size=200).map(str.encode)))
def test_any_bytes_give_a_list(payload: bytes) -> None:
    objects = parse_links(payload)
    assert {number for number, _ in objects.instances} <= set(objects.objects)
    parse_discover(payload)
