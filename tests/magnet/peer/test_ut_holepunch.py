"""Holepunch messages: what is too short or unknown first, then the bytes others send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Endpoint, parse_endpoint
from magnet.errors import RemoteProtocolError
from magnet.peer.ut_holepunch import (
    CALLS_MAX,
    CALLS_S,
    CallLimit,
    Connect,
    HolepunchError,
    HolepunchFailed,
    HolepunchMessage,
    Rendezvous,
    decode_holepunch_message,
    encode_holepunch_message,
)

RELAY = parse_endpoint("8.8.8.8:6881")
IPV4 = parse_endpoint("192.0.2.1:6881")
IPV6 = parse_endpoint("[2001:db8::1]:6881")

# BEP 55 "Message format", with the error code that libtorrent leaves out where there is none.
VECTORS: dict[str, HolepunchMessage] = {
    "0000c00002011ae100000000": Rendezvous(IPV4),
    "000120010db80000000000000000000000011ae100000000": Rendezvous(IPV6),
    "0100c00002011ae100000000": Connect(IPV4),
    "0200c00002011ae100000002": HolepunchFailed(IPV4, HolepunchError.NOT_CONNECTED),
    "020120010db80000000000000000000000011ae100000004": HolepunchFailed(
        IPV6, HolepunchError.NO_SELF
    ),
}


@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_short_message_is_the_peers_fault(length: int) -> None:
    content = encode_holepunch_message(Rendezvous(IPV4))
    with pytest.raises(RemoteProtocolError):
        decode_holepunch_message(content[:length])


def test_short_message_with_an_ipv6_address_is_the_peers_fault() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_holepunch_message(encode_holepunch_message(Connect(IPV6))[:19])


@pytest.mark.parametrize("head", [b"\x03\x00", b"\xff\x01", b"\x00\x02", b"\x01\xff"])
def test_unknown_types_are_ignored(head: bytes) -> None:
    assert decode_holepunch_message(head + bytes(22)) is None


@pytest.mark.parametrize(("raw", "message"), VECTORS.items())
def test_message_has_these_bytes(raw: str, message: HolepunchMessage) -> None:
    assert encode_holepunch_message(message).hex() == raw
    assert decode_holepunch_message(bytes.fromhex(raw)) == message


@pytest.mark.parametrize("message", [Rendezvous(IPV4), Connect(IPV6)])
def test_message_without_error_code_is_understood(message: HolepunchMessage) -> None:
    assert decode_holepunch_message(encode_holepunch_message(message)[:-4]) == message


def test_failure_without_error_code_is_a_failure() -> None:
    content = encode_holepunch_message(HolepunchFailed(IPV4, HolepunchError.NO_SUPPORT))
    assert decode_holepunch_message(content[:-4]) == HolepunchFailed(IPV4, 0)


def test_error_code_that_nobody_knows_is_kept() -> None:
    content = encode_holepunch_message(HolepunchFailed(IPV4, 77))
    assert decode_holepunch_message(content + b"tail") == HolepunchFailed(IPV4, 77)


def call(port: int, host: str = "9.9.9.9") -> Connect:
    return Connect(parse_endpoint(f"{host}:{port}"))


def test_only_so_many_calls_are_heeded() -> None:
    limit = CallLimit()
    heeded = [port for port in range(1, 100) if limit.admits(call(port), RELAY, now=0.0)]
    assert heeded == list(range(1, CALLS_MAX + 1))
    assert not limit.admits(call(1), RELAY, now=CALLS_S - 0.1)
    assert limit.admits(call(1), RELAY, now=CALLS_S)


@pytest.mark.parametrize(
    "unwanted", [call(0), call(1, "127.0.0.1"), call(1, "192.168.1.1"), call(1, "239.1.1.1")]
)
def test_calls_that_lead_elsewhere_are_not_heeded_and_do_not_count(unwanted: Connect) -> None:
    limit = CallLimit()
    assert not any(limit.admits(unwanted, RELAY, now=0.0) for _ in range(CALLS_MAX))
    assert limit.admits(call(1), RELAY, now=0.0)


endpoints = st.one_of(st.binary(min_size=6, max_size=6), st.binary(min_size=18, max_size=18)).map(
    Endpoint
)
messages = st.one_of(
    st.builds(Rendezvous, endpoints),
    st.builds(Connect, endpoints),
    st.builds(HolepunchFailed, endpoints, st.integers(0, 2**32 - 1)),
)


@given(messages)
def test_messages_survive_the_wire(message: HolepunchMessage) -> None:
    assert decode_holepunch_message(encode_holepunch_message(message)) == message


@given(st.binary(max_size=40))
def test_noise_is_refused_ignored_or_read(content: bytes) -> None:
    try:
        message = decode_holepunch_message(content)
    except RemoteProtocolError:
        return
    if message is not None:
        assert decode_holepunch_message(encode_holepunch_message(message)) == message
