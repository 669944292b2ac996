"""Packets on the wire."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.transport.utp.packet import (
    EXTENSIONS_MAX,
    HEADER_BYTES,
    MASK_BYTES_MAX,
    PADDING_MAX,
    MalformedPacket,
    Packet,
    PacketType,
    decode_packet,
    is_utp,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "vectors" / "utp.json").read_text("utf-8")
)

SHORT = st.integers(0, 0xFFFF)
LONG = st.integers(0, 0xFFFF_FFFF)
PACKETS = st.builds(
    Packet,
    st.sampled_from(PacketType),
    SHORT,
    LONG,
    LONG,
    LONG,
    SHORT,
    SHORT,
    st.integers(0, 2 ** (8 * MASK_BYTES_MAX) - 1),
    st.binary(max_size=100),
)

STATE = Packet(PacketType.STATE, 0x1234, 0x1770, 0xFA0, 0x100000, 0x8000, 2)


def with_chain(links: int) -> bytes:
    """Return a packet with so many empty extensions of a kind that nobody knows."""
    encoded = STATE.encode()
    chain = b"\x63\x00" * (links - 1) + b"\x00\x00"
    return encoded[:1] + b"\x63" + encoded[2:] + chain


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda vector: vector["why"])
def test_malformed_packets_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(MalformedPacket):
        decode_packet(bytes.fromhex(vector["packet"]))


def test_chains_are_bounded() -> None:
    assert decode_packet(with_chain(EXTENSIONS_MAX)) == STATE
    with pytest.raises(MalformedPacket, match="too many"):
        decode_packet(with_chain(EXTENSIONS_MAX + 1))


@pytest.mark.parametrize("length", [0, 1, 4, 7, 255])
def test_masks_may_have_any_length(length: int) -> None:
    """Libtorrent rounds up to bytes, whatever the specification says of multiples of four."""
    encoded = STATE.encode()
    odd = encoded[:1] + b"\x01" + encoded[2:] + bytes([0, length]) + b"\xff" * length
    assert decode_packet(odd) == STATE._replace(selective_ack=2 ** (8 * length) - 1)


@pytest.mark.parametrize("datagram", [b"d1:y1:qe" + bytes(20), b"", b"\x21" + bytes(18)])
def test_other_traffic_is_told_apart(datagram: bytes) -> None:
    assert not is_utp(datagram)


def test_a_connection_reads_as_it_was_laid_out() -> None:
    packets = [decode_packet(bytes.fromhex(it["packet"])) for it in VECTORS["connection"]]
    kinds = " ".join(it.type.name for it in packets)
    assert kinds == "SYN STATE DATA STATE DATA STATE FIN STATE FIN STATE"
    assert packets[0] == Packet(PacketType.SYN, 0x1234, 1_000, 0, 0x100000, 1, 0)
    assert packets[2] == Packet(
        PacketType.DATA, 0x1235, 2_000, 3_000, 0x100000, 2, 0x7FFF, 0, b"abc"
    )


def test_a_connection_is_written_as_it_was_laid_out() -> None:
    for vector in VECTORS["connection"]:
        encoded = bytes.fromhex(vector["packet"])
        assert is_utp(encoded)
        assert decode_packet(encoded).encode() == encoded


def test_a_selective_ack_counts_from_the_second_missing() -> None:
    encoded = bytes.fromhex(VECTORS["extensions"][0]["packet"])
    packet = decode_packet(encoded)
    assert packet.ack == 5
    assert packet.selective_ack == 0b101
    assert packet.encode() == encoded


@pytest.mark.parametrize("vector", VECTORS["extensions"][1:], ids=lambda vector: vector["what"])
def test_extensions_of_others_are_skipped(vector: dict[str, str]) -> None:
    packet = decode_packet(bytes.fromhex(vector["packet"]))
    assert (packet.selective_ack, packet.payload) == (0, b"")
    assert packet.ack == 2


@given(st.integers(2, PADDING_MAX))
def test_padding_says_nothing_and_is_as_long_as_wanted(size: int) -> None:
    packet = STATE._replace(type=PacketType.DATA, payload=b"abc")
    encoded = packet.encode(size)
    assert len(encoded) == HEADER_BYTES + size + 3
    assert decode_packet(encoded) == packet


@given(PACKETS)
def test_what_is_written_is_read(packet: Packet) -> None:
    assert decode_packet(packet.encode()) == packet


@given(st.binary(max_size=80))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    try:
        decode_packet(noise)
    except MalformedPacket:
        return
    assert is_utp(noise)
