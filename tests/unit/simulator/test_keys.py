"""Keys and the file they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.simulator import Psk, PskError, parse_key, read_keys
from overair.simulator import keys as keys_module

HEAD = "imei,psk_identity,psk_key\n"


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "keys.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_other_columns_and_devices_without_keys_are_passed_over(tmp_path: Path) -> None:
    text = (
        "\ufeffIMEI,mdn, psk_key ,make,psk_identity\n"
        "990012340000006,1, 0a0B ,Acme,gerät\n"
        "\n"
        "990012340000014,2,,Acme,\n"
    )
    assert read_keys(write(tmp_path, text)) == {"990012340000006": Psk("gerät".encode(), b"\x0a\x0b")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the first line must name the column imei once"),
        ("imei,psk_key\n", "line 1: the first line must name the column psk_identity once"),
        ("imei,imei,psk_identity,psk_key\n", "line 1: .* imei once"),
        (HEAD + "1,me,0g\n", "line 2: psk_key: must be hexadecimal"),
        (HEAD + "1,me,000\n", "line 2: psk_key: must be hexadecimal"),
        (HEAD + "1,me,\n", "line 2: psk_key: missing"),
        (HEAD + "1,,00\n", "line 2: psk_identity: missing"),
        (HEAD + ",me,00\n", "line 2: imei: missing"),
        (HEAD + "1,me,00\n1,me,00\n", "line 3: imei 1: stands twice"),
        (HEAD + "1,me\n", "line 2: 2 cells are too few"),
        (HEAD + f"1,{'ä' * 65},00\n", "line 2: psk_identity: must be 1 to 128 bytes"),
        (HEAD + f"1,me,{'00' * 65}\n", "line 2: psk_key: must be 1 to 64 bytes"),
        (HEAD + '1,"me"x,00\n', "line 2: "),
        (b"imei\xff", r"keys\.csv: not UTF-8 text \(byte 4\)"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_field(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(PskError, match=message):
        read_keys(write(tmp_path, text))


def test_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "ROWS_MAX", 2)
    rows = [f"{number},me,00\n" for number in range(3)]
    assert len(read_keys(write(tmp_path, HEAD + "".join(rows[:2])))) == 2
    with pytest.raises(PskError, match="line 4: at most 2 devices"):
        read_keys(write(tmp_path, HEAD + "".join(rows)))


@given(st.binary(max_size=64))
def test_keys_come_back_from_hexadecimal(key: bytes) -> None:
    assert parse_key(key.hex()) == key


def test_no_key_is_ever_shown() -> None:
    assert repr(Psk(b"me", b"secret")) == "Psk(b'me')"
    assert str(Psk(b"me", b"secret")) == "Psk(b'me')"
    with pytest.raises(PskError) as caught:
        parse_key("secret")
    assert "secret" not in str(caught.value)
