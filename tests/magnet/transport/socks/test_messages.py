"""SOCKS5 messages: proxies that say no or nonsense first, then the bytes of RFC 1928 and 1929."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Endpoint, parse_endpoint
from magnet.errors import PeerDisconnected, ProxyError
from magnet.hosts import HostPort
from magnet.transport.socks.messages import (
    DATAGRAM_HEADER_BYTES_MAX,
    REPLY_HEAD_BYTES,
    Command,
    Credentials,
    Method,
    check_verdict,
    decode_choice,
    decode_datagram,
    decode_reply,
    encode_credentials,
    encode_datagram,
    encode_greeting,
    encode_request,
    reply_length,
)

PEER = parse_endpoint("192.0.2.1:6881")
PEER_V6 = parse_endpoint("[2001:db8::1]:6881")
NAMED = HostPort("tracker.example", 80)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [(b"\x04\x00", "SOCKS5"), (b"HT", "SOCKS5"), (b"\x05\xff", "who"), (b"\x05\x01", "who")],
)
def test_unfit_choice_is_refused(choice: bytes, reason: str) -> None:
    with pytest.raises(ProxyError, match=reason):
        decode_choice(choice)


def test_wrong_password_is_told() -> None:
    with pytest.raises(ProxyError, match="password"):
        check_verdict(b"\x01\x01")
    check_verdict(b"\x01\x00")


@pytest.mark.parametrize("credentials", [("", "x"), ("x", ""), ("x" * 256, "x"), ("x", "é" * 128)])
def test_credentials_out_of_bounds_are_our_error(credentials: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode_credentials(Credentials(*credentials))


def test_name_out_of_bounds_is_our_error() -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode_request(Command.CONNECT, HostPort("x" * 256, 80))


@pytest.mark.parametrize("reply", range(1, 10))
def test_refusal_is_told_whether_it_is_about_the_peer(reply: int) -> None:
    about_the_peer = reply in (3, 4, 5, 6)
    with pytest.raises(PeerDisconnected if about_the_peer else ProxyError):
        reply_length(bytes((5, reply, 0, 1, 0)))


def test_refused_connection_is_called_as_the_system_calls_it() -> None:
    with pytest.raises(PeerDisconnected, match="Connection refused"):
        reply_length(bytes.fromhex("0505000100"))


@pytest.mark.parametrize("head", ["0400000100", "0500000200", "0500000000", "4854545020"])
def test_nonsense_is_refused(head: str) -> None:
    with pytest.raises(ProxyError):
        reply_length(bytes.fromhex(head))


@pytest.mark.parametrize(
    "datagram",
    [
        "",
        "0000",
        "000000",
        "00000001",
        "00000001c00002011a",
        "00000101c00002011ae164",
        "00000002c00002011ae164",
        "0000000301611ae164",
        "00000003ff61",
    ],
)
def test_unfit_datagram_is_refused(datagram: str) -> None:
    with pytest.raises(ProxyError):
        decode_datagram(bytes.fromhex(datagram))


def test_greeting() -> None:
    assert encode_greeting(None).hex() == "050100"
    assert encode_greeting(Credentials("u", "p")).hex() == "05020002"
    assert decode_choice(b"\x05\x00") is Method.NONE
    assert decode_choice(b"\x05\x02") is Method.PASSWORD


def test_credentials() -> None:
    assert encode_credentials(Credentials("me", "pass")) == b"\x01\x02me\x04pass"


def test_requests() -> None:
    assert encode_request(Command.CONNECT, PEER).hex() == "05010001c00002011ae1"
    assert (
        encode_request(Command.CONNECT, PEER_V6).hex()
        == "0501000420010db80000000000000000000000011ae1"
    )
    assert encode_request(Command.CONNECT, NAMED) == b"\x05\x01\x00\x03\x0ftracker.example\x00\x50"
    assert encode_request(Command.CONNECT, HostPort("192.0.2.1", 6881))[3] == 1
    assert encode_request(Command.UDP_ASSOCIATE, Endpoint(bytes(6))).hex() == "05030001000000000000"


@pytest.mark.parametrize(
    ("reply", "address"),
    [
        ("05000001c00002011ae1", PEER),
        ("0500000420010db80000000000000000000000011ae1", PEER_V6),
        ("050000030f747261636b65722e6578616d706c650050", NAMED),
    ],
)
def test_replies(reply: str, address: Endpoint | HostPort) -> None:
    data = bytes.fromhex(reply)
    assert reply_length(data[:REPLY_HEAD_BYTES]) == len(data)
    assert decode_reply(data) == address


def test_datagram() -> None:
    assert encode_datagram(PEER, b"d").hex() == "00000001c00002011ae164"
    assert decode_datagram(bytes.fromhex("00000001c00002011ae164")) == (b"d", PEER)
    assert len(encode_datagram(PEER_V6, b"")) == DATAGRAM_HEADER_BYTES_MAX


@given(data=st.binary(max_size=100), to=st.sampled_from([PEER, PEER_V6]))
def test_datagrams_come_out_as_they_went_in(data: bytes, to: Endpoint) -> None:
    assert decode_datagram(encode_datagram(to, data)) == (data, to)


@given(st.binary(max_size=40))
def test_strangers_raise_nothing_else(data: bytes) -> None:
    for read in (decode_datagram, lambda it: reply_length(it[:5].ljust(5, b"\0"))):
        with suppress(ProxyError, PeerDisconnected):
            read(data)
