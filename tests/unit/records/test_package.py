"""What other parts build on: the public names, the schema, the fuzz entry."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import overair
from overair import records
from overair.records.times import T1_PATTERN, T2_PATTERN

TESTS = Path(__file__).parents[2]
DEVICE_FIELDS = (
    "deviceId,requestStatus,resultReason,mdn,model,make,firmware,fotaEligible,status,licenseAssigned,protocol,"
    "softwareList,fileList,createTime,statusTime,updateTime,refreshTime,lastConnectionTime"
)
TYPES = [
    value for value in vars(records).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)
]


def load_fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_records", TESTS / "fuzz" / "fuzz_records.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = load_fuzz()
SEEDS = [path.read_bytes() for path in sorted((TESTS / "vectors").glob("*.json"))]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(0, len(body)))
    return body[:start] + draw(st.binary(max_size=6)) + body[start + draw(st.integers(0, 6)) :]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400)
@given(
    st.integers(0, 255),
    st.binary(max_size=200) | spoilt() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_any_bytes_give_a_sound_record_or_the_one_error(pick: int, body: bytes) -> None:
    fuzz.one_input(bytes([pick]) + body)


def test_the_fuzz_entry_reaches_every_record_type_with_its_example() -> None:
    good = 0
    for pick in range(len(fuzz.TARGETS)):
        for seed in SEEDS:
            try:
                fuzz.TARGETS[pick](seed)
                good += 1
            except records.RecordError:
                continue
    assert good >= 12


def test_the_names_of_the_package() -> None:
    assert overair.V3Device is records.V3Device
    assert overair.V3SoftwareInfo is records.V3SoftwareInfo
    assert overair.__version__
    with pytest.raises(AttributeError, match="no attribute 'V4Device'"):
        overair.V4Device


def test_importing_the_package_alone_loads_no_codec() -> None:
    program = "import overair, sys; print('msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_record_has_a_schema_with_its_own_description() -> None:
    _, components = msgspec.json.schema_components(TYPES)
    assert set(components) == {record_type.__name__ for record_type in TYPES}
    for name, schema in components.items():
        assert schema["description"], name


def test_the_schema_gives_order_bounds_and_forms() -> None:
    _, components = msgspec.json.schema_components(TYPES)
    device = components["V3Device"]
    assert list(device["properties"]) == [
        "deviceId",
        "requestStatus",
        "resultReason",
        "mdn",
        "model",
        "make",
        "firmware",
        "fotaEligible",
        "status",
        "licenseAssigned",
        "protocol",
        "softwareList",
        "fileList",
        "createTime",
        "statusTime",
        "updateTime",
        "refreshTime",
        "lastConnectionTime",
    ]
    assert device["required"] == ["deviceId"]
    assert device["properties"]["deviceId"]["pattern"] == "^[0-9]{15}$"
    text = json.dumps(device["properties"])
    for pattern, count in ((T1_PATTERN, 4), (T2_PATTERN, 1)):
        assert text.count(json.dumps(pattern)) == count
    listed = components["V3DeviceListQueryRequest"]["properties"]["deviceList"]
    assert (listed["minItems"], listed["maxItems"]) == (1, 1000)
    assert "V3FirmwareSyncRow" in components
    assert "deviceFirmwarVersionList" in components["V3FirmwareSyncResult"]["properties"]
