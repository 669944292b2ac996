"""Framing: bad lengths first, then every message as exact bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.errors import RemoteProtocolError
from magnet.peer import wire
from magnet.peer.wire import Message, MessageDecoder

BLOCK = bytes(range(256)) * 64

HASH_RANGE = wire.HashRange(bytes(range(32)), 2, 512, 256, 9)
HASH_RANGE_RAW = bytes(range(32)).hex() + "00000002000002000000010000000009"

# BEP 3 "peer messages", BEP 5 "BitTorrent Protocol Extension", BEP 6, BEP 10, BEP 21, BEP 52 "new
# messages" and BEP 54.
VECTORS: list[tuple[str, Message]] = [
    ("00000000", wire.KeepAlive()),
    ("0000000100", wire.Choke()),
    ("0000000101", wire.Unchoke()),
    ("0000000102", wire.Interested()),
    ("0000000103", wire.NotInterested()),
    ("000000050400000009", wire.Have(9)),
    ("0000000305c040", wire.Bitfield(b"\xc0\x40")),
    ("0000000d06000000010000400000004000", wire.Request(1, 16384, 16384)),
    ("00004009070000000100004000" + BLOCK.hex(), wire.Piece(1, 16384, BLOCK)),
    ("0000000d08000000010000400000004000", wire.Cancel(1, 16384, 16384)),
    ("00000003091ae1", wire.Port(6881)),
    ("000000050d00000009", wire.Suggest(9)),
    ("000000051100000009", wire.AllowedFast(9)),
    ("000000010e", wire.HaveAll()),
    ("000000010f", wire.HaveNone()),
    ("0000000d10000000010000400000004000", wire.RejectRequest(1, 16384, 16384)),
    ("00000006140700000009", wire.Extended(7, b"\0\0\0\x09")),
    ("00000003140301", wire.Extended(3, b"\x01")),
    ("0000003115" + HASH_RANGE_RAW, wire.HashRequest(HASH_RANGE)),
    ("0000005116" + HASH_RANGE_RAW + "ab" * 32, wire.Hashes(HASH_RANGE, b"\xab" * 32)),
    ("0000003117" + HASH_RANGE_RAW, wire.HashReject(HASH_RANGE)),
    ("000000036301ff", wire.Unknown(0x63, b"\x01\xff")),
]
IDS = [type(message).__name__ for _, message in VECTORS]
STREAM = b"".join(message.encode() for _, message in VECTORS)


def read(decoder: MessageDecoder) -> list[Message]:
    messages = []
    while (message := decoder.next_message()) is not None:
        messages.append(message)
    return messages


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x00",  # choke with a payload
        b"\x04\x00\x00\x09",
        b"\x04\x00\x00\x00\x09\x00",
        b"\x06" + bytes(11),
        b"\x06" + bytes(13),
        b"\x07" + bytes(7),
        b"\x08",
        b"\x09\x1a",
        b"\x0d",
        b"\x0e\x00",
        b"\x0f\x00",
        b"\x10" + bytes(8),
        b"\x11" + bytes(3),
        b"\x14",
        b"\x15" + bytes(47),
        b"\x15" + bytes(49),
        b"\x16" + bytes(47),
        b"\x16" + bytes(79),
        b"\x16" + bytes(81),
        b"\x17" + bytes(80),
    ],
)
def test_payload_of_wrong_length_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong length"):
        wire.decode_body(body)


def test_too_long_is_refused_from_its_length_alone() -> None:
    decoder = MessageDecoder(message_bytes_max=100)
    decoder.feed((101).to_bytes(4))
    with pytest.raises(RemoteProtocolError, match="too long"):
        decoder.next_message()


def test_longest_allowed_is_read() -> None:
    decoder = MessageDecoder(message_bytes_max=100)
    decoder.feed(wire.Bitfield(bytes(99)).encode())
    assert decoder.next_message() == wire.Bitfield(bytes(99))


def test_a_declared_length_alone_yields_nothing() -> None:
    decoder = MessageDecoder()
    decoder.feed(wire.MESSAGE_BYTES_MAX.to_bytes(4))
    assert decoder.next_message() is None


def test_messages_of_one_shape_differ() -> None:
    assert len({wire.Have(9), wire.Suggest(9), wire.AllowedFast(9)}) == 3
    assert len({wire.Request(1, 2, 3), wire.Cancel(1, 2, 3), wire.RejectRequest(1, 2, 3)}) == 3
    assert len({wire.HashRequest(HASH_RANGE), wire.HashReject(HASH_RANGE)}) == 2


@pytest.mark.parametrize(("raw", "message"), VECTORS, ids=IDS)
def test_vector_is_encoded(raw: str, message: Message) -> None:
    assert message.encode().hex() == raw


@pytest.mark.parametrize(("raw", "message"), VECTORS, ids=IDS)
def test_vector_is_decoded(raw: str, message: Message) -> None:
    assert wire.decode_body(bytes.fromhex(raw)[4:]) == message


def test_stream_is_read_whole() -> None:
    decoder = MessageDecoder()
    decoder.feed(STREAM)
    assert read(decoder) == [message for _, message in VECTORS]


def test_stream_is_read_byte_by_byte() -> None:
    decoder = MessageDecoder()
    messages = []
    for value in STREAM:
        decoder.feed(bytes((value,)))
        messages += read(decoder)
    assert messages == [message for _, message in VECTORS]


def test_trailing_bytes_wait_for_the_rest() -> None:
    decoder = MessageDecoder()
    decoder.feed(STREAM + b"\0\0\0\x05\x04")
    assert len(read(decoder)) == len(VECTORS)
    decoder.feed(b"\0\0\0\x07")
    assert read(decoder) == [wire.Have(7)]


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes_yield_messages_or_one_error(chunks: list[bytes]) -> None:
    decoder = MessageDecoder(message_bytes_max=4096)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            read(decoder)
    except RemoteProtocolError:
        pass


@given(st.binary(max_size=60))
def test_what_is_decoded_is_encoded_to_the_same_bytes(body: bytes) -> None:
    try:
        message = wire.decode_body(body)
    except RemoteProtocolError:
        return
    assert message.body() == body
