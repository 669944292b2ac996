"""Messages of local discovery: noise and half messages first, then the bytes others send."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Family
from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.sources.lsd.message import (
    COOKIE_BYTES_MAX,
    DATAGRAM_BYTES_MAX,
    GROUPS,
    HASHES_MAX,
    LocalSearch,
    decode_local_search,
    encode_local_search,
)

HASH = InfoHash(b"\xaa" * 20)
OTHER = InfoHash(bytes(range(20)))

# BEP 14 "Protocol", in the form of libtorrent.
VECTOR = (
    b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n"
    b"Infohash: " + b"aa" * 20 + b"\r\ncookie: 0a0b0c0d\r\n\r\n\r\n"
)


def message(*lines: bytes, request: bytes = b"BT-SEARCH * HTTP/1.1") -> bytes:
    return b"\r\n".join([request, *lines, b"", b"", b""])


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\r\n\r\n",
        b"d1:ad2:id20:",
        b"GET / HTTP/1.1\r\nPort: 6881\r\n\r\n",
        message(b"Port: 6881", request=b"BT-SEARCH * HTTP/2.0"),
        message(b"Port: 6881", request=b"M-SEARCH * HTTP/1.1"),
        b"\r\n" + VECTOR,
    ],
)
def test_other_protocols_are_refused(datagram: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no local search"):
        decode_local_search(datagram)


@pytest.mark.parametrize("port", [b"", b"0", b"65536", b"-1", b"+1", b"6 881", b"1e3", b"0" * 500])
def test_message_without_a_port_is_refused(port: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="port"):
        decode_local_search(message(b"Port: " + port, b"Infohash: " + b"aa" * 20))
    with pytest.raises(RemoteProtocolError, match="port"):
        decode_local_search(message(b"Infohash: " + b"aa" * 20))


def test_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="long"):
        decode_local_search(VECTOR + bytes(DATAGRAM_BYTES_MAX))


@pytest.mark.parametrize(
    "value", [b"", b"aa" * 19, b"aa" * 21, b"aa" * 32, b"zz" * 20, b"a " * 20, b"\xff" * 40]
)
def test_what_is_no_hash_is_left_out(value: bytes) -> None:
    lines = [b"Port: 1", b"Infohash: " + value, b"Infohash: " + OTHER.hex().encode()]
    assert decode_local_search(message(*lines)).info_hashes == (OTHER,)


def test_hash_named_twice_counts_once() -> None:
    line = b"Infohash: " + HASH.hex().encode()
    assert decode_local_search(message(b"Port: 1", line, line.upper())).info_hashes == (HASH,)


def test_long_cookie_is_cut() -> None:
    search = decode_local_search(message(b"Port: 1", b"cookie: " + b"x" * 500))
    assert search == LocalSearch(1, (), b"x" * COOKIE_BYTES_MAX)


def test_message_as_clients_send_it_is_understood() -> None:
    assert decode_local_search(VECTOR) == LocalSearch(6881, (HASH,), b"0a0b0c0d")
    unusual = message(
        b"x-more: 1", b"COOKIE:c", b"port:6881", b"no header", b"INFOHASH:" + b"AA" * 20
    )
    assert decode_local_search(unusual.replace(b"BT-SEARCH", b"bt-search")) == LocalSearch(
        6881, (HASH,), b"c"
    )


def test_message_has_these_bytes() -> None:
    search = LocalSearch(6881, (HASH,), b"0a0b0c0d")
    datagram = encode_local_search(search, GROUPS[Family.IPV4])
    assert datagram == VECTOR
    assert hashlib.sha1(datagram).hexdigest() == "6c883dc4c8be67a72b8aa4ddb01159ffabd35e75"
    assert b"Host: [ff15::efc0:988f]:6771\r\n" in encode_local_search(search, GROUPS[Family.IPV6])


def test_largest_message_of_ours_fits() -> None:
    hashes = tuple(InfoHash(bytes([number]) * 20) for number in range(HASHES_MAX))
    search = LocalSearch(65535, hashes, b"c" * COOKIE_BYTES_MAX)
    datagram = encode_local_search(search, GROUPS[Family.IPV6])
    assert len(datagram) <= DATAGRAM_BYTES_MAX
    assert decode_local_search(datagram) == search


hashes = st.binary(min_size=20, max_size=20).map(InfoHash)
searches = st.builds(
    LocalSearch,
    st.integers(1, 65535),
    st.lists(hashes, max_size=HASHES_MAX, unique=True).map(tuple),
    st.none() | st.from_regex(rb"\A[0-9a-zA-Z]{1,64}\Z"),
)


@given(searches, st.sampled_from(list(GROUPS.values())))
def test_messages_survive_the_wire(search: LocalSearch, group: bytes) -> None:
    assert decode_local_search(encode_local_search(search, group)) == search  # type: ignore[arg-type]


@given(st.binary(max_size=200) | st.binary(max_size=99).map(lambda tail: VECTOR[:90] + tail))
def test_noise_is_refused_or_read(datagram: bytes) -> None:
    try:
        search = decode_local_search(datagram)
    except RemoteProtocolError:
        return
    assert 1 <= search.port <= 65535
