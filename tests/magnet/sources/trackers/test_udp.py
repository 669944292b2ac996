"""The datagrams of UDP trackers: what is wrong with them first, then what they say."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Endpoint, Family, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import (
    INTERVAL_MAX_S,
    INTERVAL_MIN_S,
    INTERVAL_S,
    WANTED_MAX,
    Announce,
    Announced,
    Counts,
    Event,
)
from magnet.sources.trackers.udp import (
    ERROR_BYTES_MAX,
    SCRAPED_MAX,
    Connected,
    Refused,
    Scraped,
    decode_response,
    encode_announce,
    encode_connect,
    encode_scrape,
    transaction_of,
    url_data,
)

HASH = InfoHash(b"\xaa" * 20)
PEER_ID = b"-XX0001-abcdefghijkl"
CONNECTION = 0x1122334455667788
TRANSACTION = 0x01020305
ANNOUNCE = Announce(HASH, PEER_ID, 0x0A0B0C0D, 6881, Event.STARTED)
ANNOUNCED_HEAD = bytes.fromhex("00000001 01020305 00000708 00000001 00000002")


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0" * 7,
        bytes.fromhex("00000000 01020304 11223344556677"),
        ANNOUNCED_HEAD[:-1],
        bytes.fromhex("00000004 01020305"),
        bytes.fromhex("00000417271019800000000001020304"),
    ],
    ids=["empty", "7 bytes", "15 byte connect", "19 byte announce", "action 4", "a request"],
)
def test_what_is_no_answer_is_malformed(datagram: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        decode_response(datagram, Family.IPV4)
    assert caught.value.fault is SourceFault.MALFORMED


def test_datagram_without_transaction_has_none() -> None:
    assert transaction_of(b"\0" * 7) is None
    assert transaction_of(ANNOUNCED_HEAD) == TRANSACTION


@pytest.mark.parametrize("count", [0, SCRAPED_MAX + 1])
def test_scrape_of_too_few_or_many_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 74"):
        encode_scrape(CONNECTION, TRANSACTION, [HASH] * count)


def test_error_is_shown_short_and_without_controls() -> None:
    datagram = bytes.fromhex("0000000301020305")
    assert decode_response(datagram + b"bad", Family.IPV4) == Refused("bad")
    assert decode_response(datagram, Family.IPV4) == Refused("no reason given")
    refused = decode_response(datagram + b"\x1b[2J" + b"x" * 1_000, Family.IPV4)
    assert isinstance(refused, Refused)
    assert len(refused.reason) == ERROR_BYTES_MAX
    assert refused.reason.startswith("[2Jx")


def test_partial_last_peer_is_left_out() -> None:
    answer = decode_response(ANNOUNCED_HEAD + bytes(5), Family.IPV4)
    assert answer == Announced((), 1_800.0)


def test_no_more_peers_than_asked_for_are_taken() -> None:
    answer = decode_response(ANNOUNCED_HEAD + bytes(6 * 10_000), Family.IPV4)
    assert isinstance(answer, Announced)
    assert len(answer.peers) == WANTED_MAX


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(0, INTERVAL_S), (1, INTERVAL_MIN_S), (1_800, 1_800.0), (2**32 - 1, INTERVAL_MAX_S)],
)
def test_interval_is_kept_within_bounds(interval: int, seconds: float) -> None:
    datagram = ANNOUNCED_HEAD[:8] + interval.to_bytes(4) + ANNOUNCED_HEAD[12:]
    answer = decode_response(datagram, Family.IPV4)
    assert isinstance(answer, Announced)
    assert answer.interval_s == seconds


def test_counts_are_kept_within_bounds() -> None:
    answer = decode_response(bytes.fromhex("0000000201020306") + b"\xff" * 12, Family.IPV4)
    assert answer == Scraped((Counts(2**31 - 1, 2**31 - 1, 2**31 - 1),))


# BEP 15; the bytes as its tables lay them out


def test_connect() -> None:
    assert encode_connect(0x01020304).hex() == "00000417271019800000000001020304"
    answer = bytes.fromhex("00000000 01020304 1122334455667788")
    assert decode_response(answer, Family.IPV4) == Connected(CONNECTION)
    assert decode_response(answer + b"more", Family.IPV4) == Connected(CONNECTION)


def test_announce() -> None:
    expected = (
        "1122334455667788"
        "00000001"
        "01020305" + "aa" * 20 + PEER_ID.hex() + "0000000000000000"
        "0000000000004000"
        "0000000000000000"
        "00000002"
        "00000000"
        "0a0b0c0d"
        "000000c8"
        "1ae1"
    )
    datagram = encode_announce(CONNECTION, TRANSACTION, ANNOUNCE, b"")
    assert datagram.hex() == expected
    assert len(datagram) == 98


def test_who_stops_wants_no_peers() -> None:
    stopped = ANNOUNCE._replace(event=Event.STOPPED)
    datagram = encode_announce(CONNECTION, TRANSACTION, stopped, b"")
    assert datagram[80:84] == bytes([0, 0, 0, 3])
    assert datagram[92:96] == bytes(4)


@pytest.mark.parametrize("event", Event)
def test_we_are_never_a_seed(event: Event) -> None:
    datagram = encode_announce(CONNECTION, TRANSACTION, ANNOUNCE._replace(event=event), b"")
    assert int.from_bytes(datagram[64:72]) > 0


def test_announced_in_both_families() -> None:
    four = decode_response(ANNOUNCED_HEAD + bytes.fromhex("c00002011ae1"), Family.IPV4)
    assert four == Announced((endpoint("192.0.2.1", 6881),), 1_800.0)
    six = bytes.fromhex("20010db8000000000000000000000001") + b"\x1a\xe1"
    assert decode_response(ANNOUNCED_HEAD + six, Family.IPV6) == Announced(
        (endpoint("2001:db8::1", 6881),), 1_800.0
    )


def test_scrape() -> None:
    expected = "11223344556677880000000201020306" + "aa" * 20
    assert encode_scrape(CONNECTION, 0x01020306, [HASH]).hex() == expected
    answer = bytes.fromhex("00000002 01020306 00000002 0000000d 00000001")
    assert decode_response(answer, Family.IPV4) == Scraped(
        (Counts(seeds=2, leechers=1, completed=13),)
    )


# BEP 41


def test_path_and_query_are_told_in_chunks() -> None:
    assert url_data("udp://h:80") == b""
    assert url_data("udp://h:80/dir?a=b&c=d") == bytes.fromhex("020c2f6469723f613d6226633d64")
    long = url_data("udp://h:80/" + "x" * 299)
    assert long[:2] == bytes([2, 255])
    assert long[257:259] == bytes([2, 45])
    assert len(long) == 304


@given(st.binary(max_size=200), st.sampled_from(Family))
def test_any_datagram_is_read_or_malformed(datagram: bytes, family: Family) -> None:
    with contextlib.suppress(SourceError):
        answer = decode_response(datagram, family)
        if isinstance(answer, Announced):
            assert all(len(it) == family.endpoint_bytes for it in answer.peers)
            assert INTERVAL_MIN_S <= answer.interval_s <= INTERVAL_MAX_S


@given(st.lists(st.binary(min_size=6, max_size=6), max_size=WANTED_MAX))
def test_peers_survive_the_wire(peers: list[bytes]) -> None:
    answer = decode_response(ANNOUNCED_HEAD + b"".join(peers), Family.IPV4)
    assert answer == Announced(tuple(map(Endpoint, peers)), 1_800.0)
