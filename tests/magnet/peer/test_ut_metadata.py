"""The messages of metadata exchange: malformed ones first, then exact bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.errors import RemoteProtocolError
from magnet.peer.ut_metadata import (
    MetadataMessage,
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    decode_metadata_message,
    encode_metadata_message,
    piece_count,
    piece_length,
)
from magnet.peer.wire import Extended


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ee",
        b"i1e",
        b"le",
        b"d8:msg_typei0e5:piecei0e",
        b"d8:msg_typei0e8:msg_typei1ee",
        b"d1:x2000:" + b"x" * 2000 + b"e",
        b"d1:x" + b"l" * 20 + b"e" * 21,
    ],
)
def test_what_starts_with_no_small_dictionary_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_metadata_message(content)


@pytest.mark.parametrize(
    "content",
    [
        b"de",
        b"d8:msg_typei3e5:piecei0ee",
        b"d8:msg_typei-1e5:piecei0ee",
        b"d8:msg_type1:05:piecei0ee",
        b"d8:msg_typei0ee",
        b"d8:msg_typei0e5:piece1:0e",
        b"d8:msg_typei0e5:pieceli0eee",
    ],
)
def test_unknown_type_and_odd_piece_are_ignored(content: bytes) -> None:
    assert decode_metadata_message(content) is None


# BEP 9 "request", "data", "reject", with its slips corrected: a reject has type 2.
VECTORS: list[tuple[bytes, MetadataMessage]] = [
    (b"d8:msg_typei0e5:piecei0ee", MetadataRequest(0)),
    (b"d8:msg_typei2e5:piecei0ee", MetadataReject(0)),
    (
        b"d8:msg_typei1e5:piecei0e10:total_sizei3425ee" + b"x" * 3425,
        MetadataPiece(0, 3425, b"x" * 3425),
    ),
]


@pytest.mark.parametrize(("raw", "message"), VECTORS)
def test_vector_both_ways(raw: bytes, message: MetadataMessage) -> None:
    assert encode_metadata_message(message) == raw
    assert decode_metadata_message(raw) == message


def test_whole_message_to_a_peer_whose_id_is_3() -> None:
    request = Extended(3, encode_metadata_message(MetadataRequest(0))).encode()
    assert request == bytes.fromhex("0000001b1403") + b"d8:msg_typei0e5:piecei0ee"


@pytest.mark.parametrize("data", [b"ee", b"d8:msg_typei0ee", b"e" * 100, b"d", b"", b"4:spam"])
def test_data_that_looks_like_bencoding_is_split_off_rightly(data: bytes) -> None:
    raw = b"d8:msg_typei1e5:piecei0e10:total_sizei3425ee" + data
    assert decode_metadata_message(raw) == MetadataPiece(0, 3425, data)


@pytest.mark.parametrize(
    "head",
    [
        b"d10:total_sizei5e8:msg_typei1e5:piecei0ee",
        b"d5:piecei0e8:msg_typei1e10:total_sizei5ee",
        b"d1:ai1e8:msg_typei1e5:piecei0e10:total_sizei5e1:zd1:yleee",
    ],
)
def test_extra_and_unsorted_keys_are_accepted(head: bytes) -> None:
    assert decode_metadata_message(head + b"hello") == MetadataPiece(0, 5, b"hello")


def test_total_size_in_other_messages_is_overlooked() -> None:
    raw = b"d8:msg_typei0e5:piecei4e10:total_sizei5ee"
    assert decode_metadata_message(raw) == MetadataRequest(4)


def test_missing_or_odd_total_size_is_none() -> None:
    assert decode_metadata_message(b"d8:msg_typei1e5:piecei0eex") == MetadataPiece(0, None, b"x")
    odd = b"d8:msg_typei1e5:piecei0e10:total_size1:5ex"
    assert decode_metadata_message(odd) == MetadataPiece(0, None, b"x")


def test_pieces_out_of_range_are_passed_on() -> None:
    assert decode_metadata_message(b"d8:msg_typei0e5:piecei-7ee") == MetadataRequest(-7)
    assert decode_metadata_message(b"d8:msg_typei0e5:piecei9999999999ee") is not None


@pytest.mark.parametrize(
    ("size", "count", "last"),
    [(1, 1, 1), (16383, 1, 16383), (16384, 1, 16384), (16385, 2, 1), (32768, 2, 16384)],
)
def test_pieces_of_a_size(size: int, count: int, last: int) -> None:
    assert piece_count(size) == count
    assert piece_length(size, count - 1) == last
    assert sum(piece_length(size, piece) for piece in range(count)) == size


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_nothing_or_the_one_error(content: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_metadata_message(content)


@given(
    st.builds(MetadataRequest, st.integers(0, 2**31))
    | st.builds(MetadataReject, st.integers(0, 2**31))
    | st.builds(MetadataPiece, st.integers(0, 2**31), st.integers(1, 2**25), st.binary())
)
def test_what_is_encoded_is_decoded(message: MetadataMessage) -> None:
    raw = encode_metadata_message(message)
    assert decode_metadata_message(raw) == message
    # Some clients look for the first "ee", others read no more than 128 bytes.
    head_end = len(raw) - len(message.data if isinstance(message, MetadataPiece) else b"")
    assert raw.index(b"ee") + 2 == head_end <= 128
