"""Drive the fuzz entry with hypothesis, raw and with payloads that are nearly right."""

import importlib.util
from pathlib import Path

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

_FILE = Path(__file__).parents[2] / "fuzz" / "fuzz_lwm2m.py"
_spec = importlib.util.spec_from_file_location("fuzz_lwm2m", _FILE)
fuzz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz)

targets = st.integers(0, len(fuzz.TARGETS) - 1).map(lambda number: bytes((number,)))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.integers(-4, 66000) | st.text(max_size=3) | st.tuples(st.integers(0, 20)), inner, max_size=4
        )
        | st.builds(cbor2.CBORTag, st.integers(0, 300), inner)
    ),
    max_leaves=8,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        -2: st.sampled_from(["/3/0/", "/", "/9/0/12"]),
        -3: st.integers() | st.floats(),
        0: st.sampled_from(["0", "13", "/6/0/0", "x", ""]),
        2: plain,
        3: plain,
        4: plain,
        6: st.integers() | st.floats(),
        8: plain,
        "vlo": plain,
    },
)


def _encodable(item: object) -> bytes:
    try:
        return cbor2.dumps(item)
    except (cbor2.CBOREncodeError, UnicodeEncodeError):
        return b""


nearly = st.one_of(
    st.lists(fields, max_size=4).map(_encodable),
    plain.map(_encodable),
    st.text('[]{}":,bnevstlo0123456789./-', max_size=60).map(str.encode),
    st.lists(
        st.sampled_from([b"\xc1\x0d", b"\x08\x00", b"\x86\x06", b"A\x00", b"\x01", b"\xe1\x17", b"\x00"])
    ).map(b"".join),
)


@settings(max_examples=1000)
@given(targets, st.binary(max_size=200) | nearly)
def test_any_bytes_parse_or_raise_the_documented_error(target: bytes, data: bytes) -> None:
    fuzz.one_input(target + data)


def test_every_target_takes_the_empty_input() -> None:
    fuzz.one_input(b"")
    for number in range(len(fuzz.TARGETS)):
        fuzz.one_input(bytes((number,)))
