"""What a device answers: every operation, every format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.coap import Message, codes, encode_uint
from overair.protocols.lwm2m.content import decode, encode, encode_paths
from overair.protocols.lwm2m.links import parse_discover
from overair.protocols.lwm2m.paths import Path, parse_path
from overair.simulator import identities
from overair.simulator.operations import Action, Answer, answer
from overair.simulator.profile import SENML_CBOR_ONLY, TLV_ONLY
from overair.simulator.tree import LIFETIME, Tree, tree_of

TEXT, LINKS, OPAQUE, JSON, CBOR, TLV, LWM2M_CBOR = 0, 40, 42, 110, 112, 11542, 11544
ALL = (TEXT, OPAQUE, TLV, JSON, CBOR, LWM2M_CBOR)
IDENTITIES = list(identities(5))


class Special:
    """Stands behind the URI and the Update of object 5, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.code = codes.CHANGED

    def owns(self, path: Path) -> bool:
        return path in ((5, 0, 0), (5, 0, 1), (5, 0, 2))

    def write(self, path: Path, value: object, now: float) -> int:
        self.told.append((path, value, now))
        return self.code

    def execute(self, path: Path, arguments: tuple[object, ...], now: float) -> int:
        self.told.append((path, arguments, now))
        return self.code


SPECIAL = Special()


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    SPECIAL.told.clear()
    SPECIAL.code = codes.CHANGED


@pytest.fixture
def tree() -> Tree:
    """The tree of a 1.2 device, with all objects but the host's."""
    return tree_of(IDENTITIES[4])


def ask(
    tree: Tree,
    code: int,
    path: str,
    *,
    accept: int | None = None,
    given_format: int | None = None,
    payload: bytes = b"",
    formats: tuple[int, ...] = ALL,
    queries: tuple[str, ...] = (),
) -> Answer:
    options = [(codes.URI_PATH, segment.encode()) for segment in path.split("/") if segment]
    options += [(codes.URI_QUERY, query.encode()) for query in queries]
    if given_format is not None:
        options.append((codes.CONTENT_FORMAT, encode_uint(given_format)))
    if accept is not None:
        options.append((codes.ACCEPT, encode_uint(accept)))
    return answer(Message(codes.CON, code, 1, b"t", tuple(options), payload), tree, formats, SPECIAL, 7.0)


@pytest.mark.parametrize("accept", [TLV, JSON, CBOR, LWM2M_CBOR])
@pytest.mark.parametrize("path", ["/3", "/3/0", "/3/0/3", "/3/0/11", "/5/0", "/9", "/1/0", "/10308/0"])
def test_read_in_each_format_gives_the_values_of_the_tree(tree: Tree, accept: int, path: str) -> None:
    said = ask(tree, codes.GET, path, accept=accept)
    assert (said.code, said.content_format) == (codes.CONTENT, accept)
    assert decode(accept, said.payload, parse_path(path)) == tree.read(parse_path(path)) != {}


def test_read_of_one_resource_as_text(tree: Tree) -> None:
    assert ask(tree, codes.GET, "/3/0/3", accept=TEXT).payload == b"RK_02_01_02_00_10_41001"
    assert ask(tree, codes.GET, "/9/0/12", accept=TEXT).payload == b"1"
    assert ask(tree, codes.GET, "/5/0/8/1", accept=TEXT).payload == b"1"


@pytest.mark.parametrize(
    ("path", "accept"), [("/3/0", TEXT), ("/3/0/11", TEXT), ("/3/0/3", OPAQUE), ("/3/0", 60), ("/3/0", 9999)]
)
def test_a_format_that_cannot_carry_the_answer_is_not_acceptable(tree: Tree, path: str, accept: int) -> None:
    assert ask(tree, codes.GET, path, accept=accept).code == codes.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("formats", "path", "chosen"),
    [
        (TLV_ONLY.formats, "/3/0", TLV),
        (TLV_ONLY.formats, "/3/0/3", TLV),
        (SENML_CBOR_ONLY.formats, "/3/0", CBOR),
        (SENML_CBOR_ONLY.formats, "/3/0/3", CBOR),
        (ALL, "/3/0/3", TEXT),
        (ALL, "/3/0", TLV),
        (ALL, "/3/0/11", TLV),
        ((TEXT, OPAQUE, JSON), "/3/0", JSON),
    ],
)
def test_without_accept_the_device_chooses(
    tree: Tree, formats: tuple[int, ...], path: str, chosen: int
) -> None:
    assert ask(tree, codes.GET, path, formats=formats).content_format == chosen


def test_a_device_of_one_format_refuses_the_others(tree: Tree) -> None:
    for accept in (TEXT, CBOR, JSON):
        assert ask(tree, codes.GET, "/3/0/3", accept=accept, formats=(TLV,)).code == codes.NOT_ACCEPTABLE
    for accept in (TEXT, TLV, JSON):
        assert ask(tree, codes.GET, "/3/0/3", accept=accept, formats=(CBOR,)).code == codes.NOT_ACCEPTABLE
    written = ask(tree, codes.PUT, "/1/0/1", given_format=TEXT, payload=b"60", formats=(TLV,))
    assert written.code == codes.UNSUPPORTED_CONTENT_FORMAT


@pytest.mark.parametrize(
    ("code", "path", "expected"),
    [
        (codes.GET, "/99", codes.NOT_FOUND),
        (codes.GET, "/3/1", codes.NOT_FOUND),
        (codes.GET, "/3/0/99", codes.NOT_FOUND),
        (codes.GET, "/3/0/3/0", codes.NOT_FOUND),
        (codes.GET, "/x/y", codes.NOT_FOUND),
        (codes.GET, "/0/0", codes.NOT_FOUND),
        (codes.GET, "/", codes.METHOD_NOT_ALLOWED),
        (codes.GET, "/3/0/4", codes.METHOD_NOT_ALLOWED),
        (codes.GET, "/5/0/0", codes.METHOD_NOT_ALLOWED),
        (codes.DELETE, "/9/0", codes.METHOD_NOT_ALLOWED),
        (codes.POST, "/9", codes.METHOD_NOT_ALLOWED),
        (codes.POST, "/3/0/3", codes.METHOD_NOT_ALLOWED),
        (codes.POST, "/5/0/1", codes.METHOD_NOT_ALLOWED),
        (codes.PUT, "/3/0/3", codes.METHOD_NOT_ALLOWED),
        (codes.PUT, "/3/0/4", codes.METHOD_NOT_ALLOWED),
        (codes.PUT, "/3", codes.METHOD_NOT_ALLOWED),
        (codes.IPATCH, "/", codes.METHOD_NOT_ALLOWED),
        (codes.PUT, "/1/0/1", codes.BAD_REQUEST),
    ],
)
def test_what_is_not_there_and_what_is_not_allowed(tree: Tree, code: int, path: str, expected: int) -> None:
    before = tree.read((1,)) | tree.read((3,)) | tree.read((5,))
    assert ask(tree, code, path).code == expected
    assert tree.read((1,)) | tree.read((3,)) | tree.read((5,)) == before


def test_reading_an_object_without_instances_gives_an_empty_set() -> None:
    tree = tree_of(IDENTITIES[1])
    assert ask(tree, codes.GET, "/9", accept=TLV) == Answer(codes.CONTENT, TLV, b"")
    assert ask(tree, codes.GET, "/9", accept=JSON) == Answer(codes.CONTENT, JSON, b"[]")


@pytest.mark.parametrize("number", [TEXT, TLV, JSON, CBOR, LWM2M_CBOR])
def test_write_of_the_lifetime_in_each_format(tree: Tree, number: int) -> None:
    payload = encode(number, {LIFETIME: 3600}, LIFETIME)
    said = ask(tree, codes.PUT, "/1/0/1", given_format=number, payload=payload)
    assert said == Answer(codes.CHANGED, changed=(LIFETIME,), action=Action.UPDATE)
    assert tree.value(LIFETIME) == 3600


def test_writing_the_same_value_changes_nothing(tree: Tree) -> None:
    said = ask(tree, codes.PUT, "/1/0/1", given_format=TEXT, payload=b"86400")
    assert said == Answer(codes.CHANGED)


def test_write_of_mute_send_and_of_an_instance(tree: Tree) -> None:
    assert tree.value((1, 0, 23)) is True
    assert ask(tree, codes.PUT, "/1/0/23", given_format=TEXT, payload=b"0").code == codes.CHANGED
    assert tree.value((1, 0, 23)) is False
    values: dict[Path, int | bool] = {(1, 0, 6): False, LIFETIME: 60}
    payload = encode(CBOR, values, (1, 0))
    assert ask(tree, codes.POST, "/1/0", given_format=CBOR, payload=payload).code == codes.CHANGED
    assert (tree.value((1, 0, 6)), tree.value(LIFETIME)) == (False, 60)


def test_a_write_that_is_refused_in_part_is_refused_whole(tree: Tree) -> None:
    values: dict[Path, int] = {LIFETIME: 60, (1, 0, 0): 5}
    payload = encode(CBOR, values, (1, 0))
    assert ask(tree, codes.PUT, "/1/0", given_format=CBOR, payload=payload).code == codes.METHOD_NOT_ALLOWED
    assert tree.value(LIFETIME) == 86_400
    unknown = encode(CBOR, {(1, 0, 99): 1}, (1, 0))
    assert ask(tree, codes.PUT, "/1/0", given_format=CBOR, payload=unknown).code == codes.NOT_FOUND


@pytest.mark.parametrize("payload", [b"-5", b"soon", b"\xff"])
def test_a_lifetime_that_is_none_is_a_bad_request(tree: Tree, payload: bytes) -> None:
    assert ask(tree, codes.PUT, "/1/0/1", given_format=TEXT, payload=payload).code == codes.BAD_REQUEST
    assert tree.value(LIFETIME) == 86_400


def test_what_is_more_than_a_value_is_for_somebody_else(tree: Tree) -> None:
    assert ask(tree, codes.PUT, "/5/0/1", given_format=TEXT, payload=b"coap://h/f").code == codes.CHANGED
    assert ask(tree, codes.PUT, "/5/0/0", given_format=OPAQUE, payload=b"\0").code == codes.CHANGED
    assert ask(tree, codes.POST, "/5/0/2", payload=b"0='x'").code == codes.CHANGED
    assert SPECIAL.told == [
        ((5, 0, 1), "coap://h/f", 7.0),
        ((5, 0, 0), b"\0", 7.0),
        ((5, 0, 2), ((0, "x"),), 7.0),
    ]
    assert tree.value((5, 0, 1)) == ""


def test_what_somebody_else_refuses_is_refused_whole(tree: Tree) -> None:
    SPECIAL.code = codes.BAD_REQUEST
    values: dict[Path, str | int] = {(5, 0, 1): "coap://h/f", (5, 0, 13): 60}
    payload = encode(CBOR, values, (5, 0))
    assert ask(tree, codes.POST, "/5/0", given_format=CBOR, payload=payload).code == codes.BAD_REQUEST
    assert tree.value((5, 0, 13)) == 0
    assert ask(tree, codes.POST, "/5/0/2").code == codes.BAD_REQUEST


def test_write_attributes_are_not_implemented_and_say_so(tree: Tree) -> None:
    assert ask(tree, codes.PUT, "/3/0/3", queries=("pmin=10",)).code == codes.NOT_IMPLEMENTED


@pytest.mark.parametrize(("path", "action"), [("/1/0/8", Action.UPDATE), ("/3/0/4", Action.REBOOT)])
def test_execute(tree: Tree, path: str, action: Action) -> None:
    assert ask(tree, codes.POST, path) == Answer(codes.CHANGED, action=action)
    assert ask(tree, codes.POST, path, payload=b"0='now'").action is action
    wrong = ask(tree, codes.POST, path, payload=b"now!")
    assert (wrong.code, wrong.action) == (codes.BAD_REQUEST, Action.NOTHING)


def test_discover(tree: Tree) -> None:
    said = ask(tree, codes.GET, "/5", accept=LINKS)
    links = {link.path: dict(link.attributes) for link in parse_discover(said.payload)}
    assert said.content_format == LINKS
    assert links[5,] == {"ver": "1.2"}
    assert links[5, 0, 8] == {"dim": "2"}
    assert {(5, 0), (5, 0, 0), (5, 0, 2), (5, 0, 3)} < set(links)
    assert all(len(path) <= 3 for path in links)
    assert ask(tree, codes.GET, "/3", accept=LINKS).payload.startswith(b"</3>;ver=1.2,</3/0>,</3/0/0>")
    assert ask(tree, codes.GET, "/3/0/3", accept=LINKS).payload == b"</3/0/3>"
    assert ask(tree, codes.GET, "/5/0/8/1", accept=LINKS).code == codes.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("number", [JSON, CBOR])
def test_read_composite(tree: Tree, number: int) -> None:
    wanted: list[Path] = [(3, 0, 3), (5, 0, 3), (5, 0, 8), (99, 0, 0)]
    payload = encode_paths(number, wanted)
    said = ask(tree, codes.FETCH, "/", accept=number, given_format=number, payload=payload)
    values = decode(number, said.payload, ())
    assert values == tree.read((3, 0, 3)) | tree.read((5, 0, 3)) | tree.read((5, 0, 8))
    assert len(values) == 4


def test_read_composite_that_is_not_understood(tree: Tree) -> None:
    paths = encode_paths(CBOR, [(3, 0, 3)])
    assert ask(tree, codes.FETCH, "/", given_format=CBOR, payload=b"\xff").code == codes.BAD_REQUEST
    assert ask(tree, codes.FETCH, "/", payload=paths).code == codes.UNSUPPORTED_CONTENT_FORMAT
    only_json = ask(tree, codes.FETCH, "/", given_format=CBOR, payload=paths, formats=(JSON,))
    assert only_json.code == codes.UNSUPPORTED_CONTENT_FORMAT
    only_tlv = ask(tree, codes.FETCH, "/", given_format=CBOR, payload=paths, formats=(TLV,))
    assert only_tlv.code == codes.METHOD_NOT_ALLOWED


@given(
    code=st.integers(1, 31),
    segments=st.lists(st.sampled_from(["1", "3", "5", "0", "8", "23", "x", "", "/", "65536"]), max_size=5),
    accept=st.none() | st.sampled_from([0, 40, 42, 60, 110, 112, 11542, 11544, 65535]),
    given_format=st.none() | st.sampled_from([0, 42, 60, 110, 112, 11542, 11543, 11544, 322, 7]),
    payload=st.binary(max_size=40),
    formats=st.sampled_from([each.profile.formats for each in IDENTITIES]),
)
def test_any_request_gets_an_answer(
    code: int,
    segments: list[str],
    accept: int | None,
    given_format: int | None,
    payload: bytes,
    formats: tuple[int, ...],
) -> None:
    options = [(codes.URI_PATH, segment.encode()) for segment in segments]
    if given_format is not None:
        options.append((codes.CONTENT_FORMAT, encode_uint(given_format)))
    if accept is not None:
        options.append((codes.ACCEPT, encode_uint(accept)))
    message = Message(codes.CON, code, 1, b"t", tuple(options), payload)
    said = answer(message, tree_of(IDENTITIES[3]), formats, Special(), 0.0)
    assert said.code >> 5 in (2, 4, 5)
    assert (said.code == codes.CONTENT) == (said.content_format is not None)
