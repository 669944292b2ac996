"""NAT-PMP, byte for byte. Layouts: RFC 6886, sections 3.2 to 3.5."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.errors import MalformedReply
from dht.mapping.lease import Transport, Wish
from dht.mapping.natpmp import (
    AddressReply,
    MapReply,
    Refusal,
    Result,
    decode_reply,
    encode_address_request,
    encode_map_request,
)

ADDRESS = bytes.fromhex("00 80 0000 00000e10 2d090002")
GRANT_UDP = bytes.fromhex("00 81 0000 00000e10 1ae1 1b58 00001c20")
GRANT_TCP = bytes.fromhex("00 82 0000 00000e10 1ae1 1b58 00001c20")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GRANT_UDP[:3],
        GRANT_UDP[:-1],
        ADDRESS[:-1],
        b"\x01" + GRANT_UDP[1:],
        b"\x00\x01" + GRANT_UDP[2:],
        b"\x00\x83" + GRANT_UDP[2:],
        encode_address_request(),
        encode_map_request(Wish(Transport.UDP, 6881, 7000)),
    ],
    ids=[
        "nothing",
        "3 bytes",
        "cut",
        "cut address",
        "version",
        "request",
        "operation",
        "echo",
        "own",
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedReply):
        decode_reply(data)


@pytest.mark.parametrize("result", [*range(1, 7), 0xFFFF])
@pytest.mark.parametrize("length", [4, 8, 12, 16])
def test_a_refusal_may_have_any_length(result: int, length: int) -> None:
    data = b"\0\x81" + result.to_bytes(2) + bytes(12)
    assert decode_reply(data[:length]) == Refusal(result)


def test_requests() -> None:
    assert encode_address_request() == b"\0\0"
    udp = encode_map_request(Wish(Transport.UDP, 6881, 7000))
    assert udp == bytes.fromhex("00 01 0000 1ae1 1b58 00001c20")
    tcp = encode_map_request(Wish(Transport.TCP, 6881, 7000, lifetime_s=60))
    assert tcp == bytes.fromhex("00 02 0000 1ae1 1b58 0000003c")


def test_a_mapping_ends_with_a_lifetime_and_a_port_of_zero() -> None:
    ending = encode_map_request(Wish(Transport.UDP, 6881, 7000, lifetime_s=0))
    assert ending == bytes.fromhex("00 01 0000 1ae1 0000 00000000")


def test_replies() -> None:
    assert decode_reply(ADDRESS) == AddressReply(bytes([45, 9, 0, 2]))
    assert decode_reply(GRANT_UDP) == MapReply(Transport.UDP, 6881, 7000, 7200)
    assert decode_reply(GRANT_TCP) == MapReply(Transport.TCP, 6881, 7000, 7200)
    assert decode_reply(GRANT_TCP + b"more") == decode_reply(GRANT_TCP)
    assert decode_reply(b"\0\x80\0\2" + bytes(8)) == Refusal(Result.NOT_AUTHORISED)


@given(st.binary(max_size=40) | st.builds(bytes.__add__, st.just(b"\0"), st.binary(max_size=20)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        reply = decode_reply(data)
    except MalformedReply:
        return
    if isinstance(reply, MapReply):
        assert 0 <= reply.external_port < 65_536
        assert reply.lifetime_s < 2**32
    elif isinstance(reply, AddressReply):
        assert len(reply.address) == 4
