"""The replay window against a plain set, and records with Connection IDs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.dtls import Association, AssociationStateError, codes
from overair.protocols.dtls.association import EPOCH_1, EPOCH_2, WINDOW
from overair.protocols.dtls.protection import new_protection
from overair.protocols.dtls.suites import PSK_AES_128_CCM_8, SUITES
from overair.protocols.dtls.wire import read_records


@given(st.lists(st.integers(0, 200) | st.integers(0, (1 << 48) - 1), max_size=80))
def test_window(sequences: list[int]) -> None:
    association, seen = Association("here"), set()
    for sequence in sequences:
        number = EPOCH_1 + sequence
        highest = max(seen, default=-1)
        expected = sequence not in seen and sequence > highest - WINDOW
        assert association.is_new(number) is expected
        if expected:
            assert association.mark(number) is (sequence > highest)
            seen.add(sequence)


def both(own: bytes = b"", peer: bytes = b"") -> tuple[Association, Association]:
    suite = SUITES[PSK_AES_128_CCM_8]
    client, server = Association("server"), Association("client")
    for association, is_server in ((client, False), (server, True)):
        association.protection = new_protection(
            suite, encrypt_then_mac=False, material=bytes(range(40)), is_server=is_server
        )
    server.own_cid = client.peer_cid = own
    server.peer_cid = client.own_cid = peer
    return client, server


@pytest.mark.parametrize("cid", [b"", b"12345678"])
@given(data=st.binary(max_size=100))
def test_records(cid: bytes, data: bytes) -> None:
    client, server = both(own=cid)
    for kind in (codes.APPLICATION_DATA, codes.ALERT):
        (record,) = read_records(client.seal(kind, data), len(cid))
        assert record.kind == (codes.TLS12_CID if cid else kind)
        assert server.open(record) == (kind, data)
        (record,) = read_records(server.seal(kind, data), 0)
        assert client.open(record) == (kind, data)


def test_numbers_go_up() -> None:
    client, _ = both()
    numbers = [next(read_records(client.seal(23, b""), 0)).number for _ in range(3)]
    assert numbers == [EPOCH_1, EPOCH_1 + 1, EPOCH_1 + 2]


def test_padding_of_inner_content_is_taken_off() -> None:
    client, server = both(own=b"12345678")
    for content, expected in ((b"x\x17\0\0\0", (23, b"x")), (b"\0\0", None), (b"", None)):
        fragment = client.protection.seal(codes.TLS12_CID, EPOCH_1, content, b"12345678")
        (record,) = read_records(client.seal(23, b"x"), 8)
        record = msgspec.structs.replace(record, number=EPOCH_1, fragment=fragment)
        assert server.open(record) == expected


def test_another_connection_id_opens_nothing() -> None:
    client, server = both(own=b"12345678")
    (record,) = read_records(client.seal(23, b"x"), 8)
    for cid in (b"", b"1234567x"):
        assert server.open(msgspec.structs.replace(record, cid=cid)) is None


def test_all_numbers_used() -> None:
    client, _ = both()
    client.set_counts(EPOCH_2 - 1, EPOCH_1 - 1, 0)
    client.seal(23, b"last")
    with pytest.raises(AssociationStateError):
        client.seal(23, b"one too many")


def test_nothing_secret_in_its_text() -> None:
    client, _ = both()
    client.material = b"secret key block"
    assert "secret" not in repr(client)
