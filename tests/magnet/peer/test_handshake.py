"""The 68 bytes: other protocols first, then the exact bytes."""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.peer.handshake import (
    HANDSHAKE_BYTES,
    Opening,
    PeerId,
    Reserved,
    decode_opening,
    encode_handshake,
    generate_peer_id,
)

PEER_ID = PeerId(b"-XX0001-abcdefghijkl")
# BEP 3 "peer protocol" with the reserved bits of BEP 6 and BEP 10.
RAW = bytes.fromhex(
    "13426974546f7272656e742070726f746f636f6c"
    "0000000000100004" + "aa" * 20 + "2d5858303030312d6162636465666768696a6b6c"
)
FEATURES = Reserved.EXTENSION_PROTOCOL | Reserved.FAST


@pytest.mark.parametrize(
    "data",
    [
        b"\x14",
        b"GET / HTTP/1.1",
        b"\x13BitTorrent protocoL",
        b"\x13bittorrent protocol" + bytes(48),
        bytes(68),
    ],
)
def test_another_protocol_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not the BitTorrent protocol"):
        decode_opening(data)


@pytest.mark.parametrize("length", range(48))
def test_fewer_than_48_bytes_are_not_enough(length: int) -> None:
    assert decode_opening(RAW[:length]) is None


@pytest.mark.parametrize("length", [48, 49, 67, 68])
def test_48_bytes_are_enough(length: int, info_hash: InfoHash) -> None:
    assert decode_opening(RAW[:length]) == Opening(FEATURES, info_hash)


def test_bytes_after_it_do_no_harm(info_hash: InfoHash) -> None:
    assert decode_opening(bytearray(RAW + bytes(1000))) == Opening(FEATURES, info_hash)


def test_encoded_as_the_bep_says(info_hash: InfoHash) -> None:
    assert encode_handshake(FEATURES, info_hash, PEER_ID) == RAW
    assert len(RAW) == HANDSHAKE_BYTES


@pytest.mark.parametrize(
    ("bit", "raw"),
    [
        (Reserved.EXTENSION_PROTOCOL, "0000000000100000"),
        (Reserved.DHT, "0000000000000001"),
        (Reserved.XBT_PEER_EXCHANGE, "0000000000000002"),
        (Reserved.FAST, "0000000000000004"),
        (Reserved.NAT_TRAVERSAL, "0000000000000008"),
        (Reserved.V2_UPGRADE, "0000000000000010"),
        (Reserved.AZUREUS_MESSAGING, "8000000000000000"),
        (FEATURES | Reserved.DHT, "0000000000100005"),
    ],
)
def test_reserved_bits_lie_where_bep_4_says(bit: Reserved, raw: str, info_hash: InfoHash) -> None:
    assert encode_handshake(bit, info_hash, PEER_ID)[20:28].hex() == raw


def test_unknown_reserved_bits_are_kept_and_ignored(info_hash: InfoHash) -> None:
    opening = decode_opening(RAW[:20] + b"\xff" * 8 + RAW[28:])
    assert opening is not None
    assert FEATURES in opening.reserved
    assert encode_handshake(opening.reserved, info_hash, PEER_ID)[20:28] == b"\xff" * 8


def test_peer_id_has_our_prefix_and_depends_on_the_dice_alone() -> None:
    first = generate_peer_id(Random(1))
    assert first.startswith(b"-TK0001-")
    assert len(first) == 20
    assert first == generate_peer_id(Random(1))
    assert first != generate_peer_id(Random(2))


@given(st.binary(max_size=80))
def test_any_bytes_are_an_opening_a_wait_or_the_one_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_opening(data)


@given(st.integers(0, 2**64 - 1), st.binary(min_size=20, max_size=20))
def test_what_is_encoded_is_decoded(bits: int, info_hash: bytes) -> None:
    raw = encode_handshake(Reserved(bits), InfoHash(info_hash), PEER_ID)
    assert decode_opening(raw) == Opening(Reserved(bits), InfoHash(info_hash))
