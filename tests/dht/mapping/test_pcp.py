"""PCP, byte for byte. Layouts: RFC 6887, sections 7.1, 7.2 and 11.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import endpoint
from dht.errors import MalformedReply
from dht.mapping import natpmp
from dht.mapping.lease import Transport, Wish
from dht.mapping.pcp import MapReply, Refusal, Result, decode_reply, encode_map_request

NONCE = bytes(range(12))
CLIENT = bytes([192, 168, 1, 2])
MAPPED = "00000000000000000000ffff"
REQUEST = bytes.fromhex(
    f"02 01 0000 00001c20 {MAPPED} c0a80102 {NONCE.hex()} 11 000000 1ae1 1b58 {MAPPED} 00000000"
)
GRANT = bytes.fromhex(
    f"02 81 00 00 00001c20 00000e10 {'00' * 12} {NONCE.hex()} 11 000000 1ae1 1b58 {MAPPED} 2d090002"
)
UDP = Wish(Transport.UDP, 6881, 7000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GRANT[:3],
        GRANT[:23],
        GRANT[:-1],
        REQUEST,
        b"\x02\x82" + GRANT[2:],
        GRANT[:36] + b"\x01" + GRANT[37:],
        GRANT[:44] + b"\x20" + GRANT[45:],
    ],
    ids=["nothing", "3 bytes", "cut head", "cut body", "request", "PEER", "ICMP", "IPv6"],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedReply):
        decode_reply(data)


@pytest.mark.parametrize("result", [*range(1, 14), 200])
def test_a_refusal_need_not_repeat_the_request(result: int) -> None:
    refusal = b"\x02\x81\x00" + bytes([result]) + GRANT[4:]
    assert decode_reply(refusal) == decode_reply(refusal[:24]) == Refusal(result, 7200)


def test_a_router_of_another_version_says_so() -> None:
    old = bytes([natpmp.VERSION, 0x81]) + natpmp.Result.UNSUPPORTED_VERSION.to_bytes(2) + bytes(4)
    assert decode_reply(old) == Refusal(Result.UNSUPPORTED_VERSION, 0)


def test_a_request() -> None:
    assert encode_map_request(UDP, CLIENT, NONCE) == REQUEST
    tcp = encode_map_request(Wish(Transport.TCP, 6881, 7000), CLIENT, NONCE)
    assert tcp == REQUEST[:36] + b"\x06" + REQUEST[37:]


def test_a_mapping_ends_with_a_lifetime_and_a_port_of_zero() -> None:
    ending = encode_map_request(UDP._replace(lifetime_s=0), CLIENT, NONCE)
    assert ending == REQUEST[:4] + bytes(4) + REQUEST[8:42] + bytes(2) + REQUEST[44:]


def test_a_grant() -> None:
    expected = MapReply(NONCE, Transport.UDP, 6881, endpoint("45.9.0.2", 7000), 7200)
    assert decode_reply(GRANT) == expected
    assert decode_reply(GRANT + b"options") == expected


@given(st.binary(max_size=100) | st.builds(bytes.__add__, st.just(b"\2\x81\0\0"), st.binary()))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        reply = decode_reply(data)
    except MalformedReply:
        return
    assert reply.lifetime_s < 2**32
    if isinstance(reply, MapReply):
        assert len(reply.external) == 6
