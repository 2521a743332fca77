"""The message codec: vectors of spec lwm2m.md 15, format errors, and aiocoap as a second opinion."""

from __future__ import annotations

import aiocoap
import aiocoap.error
import pytest
from aiocoap.message import Direction
from hypothesis import example, given
from hypothesis import strategies as st

from overair.protocols.coap import Message, MessageFieldError, MessageFormatError, codes, decode, encode
from overair.protocols.coap.options import Block

REGISTER = (
    "41021001a1b2726411283d0e65703d75726e3a696d65693a343930313534323033323337353138086c743d3836343030096c"
    "776d326d3d312e3103623d550151ff3c2f3e3b72743d226f6d612e6c776d326d223b63743d22363020313130203131322031"
    "31353432203131353433222c3c2f313e3b7665723d312e312c3c2f312f303e2c3c2f332f303e2c3c2f342f303e2c3c2f352f"
    "303e"
)
SEND = (
    "41021005a5b26470116eff5b7b22626e223a222f222c226e223a22352f302f33222c2276223a307d2c7b226e223a22352f30"
    "2f35222c2276223a317d2c7b226e223a22332f302f33222c227673223a22312e342e32227d5d"
)
VECTORS = {
    "register": REGISTER,
    "registered": "61411001a18272640435613366",
    "update": "41021002a2b272640435613366",
    "updated": "61441002a2",
    "update lifetime": "41021003a3b272640435613366476c743d33363030",
    "de-register": "41041004a4b272640435613366",
    "de-registered": "61421004a4",
    "observe": "42012001b1016051350130013360",
    "observed": "62452001b101610160ff30",
    "notify": "42453001b101610260ff31",
    "notify ack": "60003001",
    "notify senml": "42453002b1016103616eff5b7b22626e223a222f352f302f33222c2276223a327d5d",
    "write uri": "41032004b2b1350130013110ff636f61703a2f2f666f74612e6578616d706c652f662f384b7132",
    "execute": "41022003b3b13501300132",
    "reset uri": "41032004b4b1350130013110",
    "reset package": "41032005b5b13501300130112aff00",
    "push": "41032006b6b13501300130112ad1020dd314011170ff" + "5a" * 512,
    "pushed": "615f2006b6d10e0d",
    "read composite": "41052007b7c1705170ff83a100662f332f302f33a100662f352f302f33a100662f352f302f35",
    "send": SEND,
    "write attributes": "41032009b9b1330130013347706d696e3d313009706d61783d33363030",
    "bootstrap request": (
        "41021006a6b262734d0e65703d75726e3a696d65693a343930313534323033323337353138077063743d313132"
    ),
    "bootstrap finish": "41022008b8b26273",
}


@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
def test_vectors_decode_and_encode_again(text: str) -> None:
    datagram = bytes.fromhex(text)
    assert encode(decode(datagram)) == datagram


@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
def test_aiocoap_reads_the_vectors_alike(text: str) -> None:
    datagram = bytes.fromhex(text)
    _assert_alike(aiocoap.Message.decode(datagram), decode(datagram))


def test_register_vector_in_words() -> None:
    message = decode(bytes.fromhex(REGISTER))
    assert (message.type, message.code, message.message_id) == (codes.CON, codes.POST, 0x1001)
    assert message.token == b"\xa1"
    assert message.uri_path == ("rd",)
    assert message.uri_queries == ("ep=urn:imei:490154203237518", "lt=86400", "lwm2m=1.1", "b=U", "Q")
    assert message.content_format == 40
    assert message.payload.startswith(b'</>;rt="oma.lwm2m"')


def test_other_vectors_in_words() -> None:
    observe = decode(bytes.fromhex(VECTORS["observe"]))
    assert (observe.observe, observe.accept, observe.uri_path) == (0, 0, ("5", "0", "3"))
    push = decode(bytes.fromhex(VECTORS["push"]))
    assert push.block1 == Block(0, True, 5)
    assert push.block1.size_bytes == 512
    assert (push.uint_option(codes.SIZE1), push.content_format, push.block2) == (70000, 42, None)
    assert decode(bytes.fromhex(VECTORS["pushed"])).block1 == Block(0, True, 5)
    assert decode(bytes.fromhex(VECTORS["registered"])).location_path == ("rd", "5a3f")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", (None, None)),
        ("410110", (None, None)),
        ("81011001a1", (None, None)),
        ("49011001" + "00" * 9, (0, 0x1001)),
        ("4f011001" + "00" * 15, (0, 0x1001)),
        ("44011001aabb", (0, 0x1001)),
        ("41001001a1", (0, 0x1001)),
        ("60001001ff", (2, 0x1001)),
        ("50011001ff", (1, 0x1001)),
        ("40011001b272", (0, 0x1001)),
        ("40011001f0", (0, 0x1001)),
        ("400110010f", (0, 0x1001)),
        ("40011001d0", (0, 0x1001)),
        ("40011001e000", (0, 0x1001)),
        ("40011001e0ffff", (0, 0x1001)),
        ("400110010d", (0, 0x1001)),
        ("400110010effff", (0, 0x1001)),
    ],
)
def test_format_errors_say_what_to_reset(text: str, known: tuple[int | None, int | None]) -> None:
    with pytest.raises(MessageFormatError) as caught:
        decode(bytes.fromhex(text))
    assert (caught.value.type, caught.value.message_id) == known


@pytest.mark.parametrize(
    "message",
    [
        Message(4, codes.GET, 1),
        Message(-1, codes.GET, 1),
        Message(codes.CON, 256, 1),
        Message(codes.CON, codes.GET, 65536),
        Message(codes.CON, codes.GET, 1, b"123456789"),
        Message(codes.CON, codes.EMPTY, 1, b"1"),
        Message(codes.CON, codes.EMPTY, 1, b"", ((11, b"a"),)),
        Message(codes.CON, codes.EMPTY, 1, b"", (), b"x"),
        Message(codes.CON, codes.GET, 1, b"", ((65536, b""),)),
        Message(codes.CON, codes.GET, 1, b"", ((-1, b""),)),
        Message(codes.CON, codes.GET, 1, b"", ((11, bytes(65536 + 269)),)),
    ],
)
def test_fields_out_of_range_do_not_encode(message: Message) -> None:
    with pytest.raises(MessageFieldError):
        encode(message)


def test_options_are_put_in_order_and_equal_ones_keep_theirs() -> None:
    message = Message(codes.CON, codes.GET, 1, b"", ((15, b"q"), (11, b"z"), (11, b"a"), (6, b"")))
    assert decode(encode(message)).options == ((6, b""), (11, b"z"), (11, b"a"), (15, b"q"))


def test_accessors_without_their_option() -> None:
    message = Message(codes.CON, codes.GET, 1)
    assert message.uri_path == message.uri_queries == message.option_values(codes.ETAG) == ()
    assert message.content_format is message.accept is message.observe is message.etag is None
    assert message.block1 is message.block2 is None


def test_an_option_longer_than_its_format_has_no_value() -> None:
    message = Message(codes.CON, codes.GET, 1, b"", ((codes.CONTENT_FORMAT, b"123"), (codes.BLOCK2, b"1234")))
    assert message.content_format is None
    assert message.block2 is None


def test_text_that_is_not_utf8_is_a_format_error() -> None:
    with pytest.raises(MessageFormatError):
        _ = Message(codes.CON, codes.GET, 1, b"", ((codes.URI_PATH, b"\xff"),)).uri_path


def test_names_of_codes() -> None:
    assert codes.code_text(codes.CONTENT) == "2.05"
    assert codes.code_name(codes.NOT_FOUND) == "4.04 Not Found"
    assert codes.code_name(0x1F) == "0.31"


option_values = st.binary(max_size=20) | st.integers(260, 300).map(bytes)
messages = st.builds(
    Message,
    st.integers(0, 3),
    st.integers(1, 255),
    st.integers(0, 65535),
    st.binary(max_size=8),
    st.lists(st.tuples(st.integers(0, 65535) | st.integers(0, 300), option_values), max_size=8).map(
        lambda pairs: tuple(sorted(pairs, key=lambda pair: pair[0]))
    ),
    st.binary(max_size=40),
)


@given(messages)
def test_encode_then_decode_is_identity(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: b"\x41\x02\x10\x01\xa1" + tail))
@example(bytes.fromhex("40011001d000"))
def test_any_bytes_parse_to_one_encoding_or_raise_the_one_error(datagram: bytes) -> None:
    try:
        message = decode(datagram)
    except MessageFormatError:
        return
    assert encode(message) == datagram


# -- aiocoap -------------------------------------------------------------------------------------


def _assert_alike(theirs: aiocoap.Message, ours: Message) -> None:
    assert (int(theirs.mtype), int(theirs.code), theirs.mid) == (ours.type, ours.code, ours.message_id)
    assert (theirs.token, theirs.payload) == (ours.token, ours.payload)
    pairs = [(int(option.number), option.encode()) for option in theirs.opt.option_list()]
    assert pairs == list(ours.options)


# Only options whose values aiocoap keeps as they are: text, and unsigned integers in shortest form.
_texts = st.text(max_size=20).map(lambda text: text.encode())
_uints = st.integers(0, 65535).map(lambda number: number.to_bytes((number.bit_length() + 7) // 8, "big"))
aiocoap_options = st.lists(
    st.tuples(st.sampled_from([codes.LOCATION_PATH, codes.URI_PATH, codes.URI_QUERY]), _texts)
    | st.tuples(st.sampled_from([codes.SIZE2, codes.SIZE1, codes.OBSERVE]), _uints)
    | st.tuples(st.just(codes.ETAG), st.binary(min_size=1, max_size=8))
    | st.tuples(st.sampled_from([2049, 65001]), st.binary(max_size=300)),
    max_size=8,
).map(lambda pairs: tuple(sorted(pairs, key=lambda pair: pair[0])))


@given(
    st.integers(0, 3),
    st.sampled_from([codes.GET, codes.POST, codes.FETCH, codes.CONTENT, codes.CONTINUE, codes.NOT_FOUND]),
    st.integers(0, 65535),
    st.binary(max_size=8),
    aiocoap_options,
    st.binary(max_size=40),
)
def test_aiocoap_reads_and_writes_the_same_bytes(kind, code, message_id, token, options, payload) -> None:
    ours = Message(kind, code, message_id, token, options, payload)
    datagram = encode(ours)
    theirs = aiocoap.Message.decode(datagram)
    _assert_alike(theirs, ours)
    theirs.direction = Direction.OUTGOING
    assert theirs.encode() == datagram


@given(st.binary(max_size=40).map(lambda tail: b"\x41\x02\x10\x01\xa1" + tail))
def test_what_we_parse_aiocoap_parses(datagram: bytes) -> None:
    try:
        decode(datagram)
    except MessageFormatError:
        return
    try:
        theirs = aiocoap.Message.decode(datagram)
    except (aiocoap.error.UnparsableMessage, UnicodeDecodeError, ValueError):
        # It decodes values of known options, too, which are the endpoint's affair here.
        return
    assert theirs.payload == decode(datagram).payload
