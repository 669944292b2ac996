"""What HTTP trackers answer: nonsense and refusals first, then peers; and what they are asked."""

import contextlib
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import encode
from dht.contact import Endpoint, endpoint
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
from magnet.sources.trackers.http import (
    RESPONSE_BYTES_MAX,
    SCRAPED_MAX,
    TRACKER_ID_BYTES_MAX,
    announce_url,
    decode_announced,
    decode_scraped,
    scrape_url,
)

HASH = InfoHash(b"\xaa" * 20)
PEER_ID = b"-XX0001-abcdefghijkl"
ANNOUNCE = Announce(HASH, PEER_ID, 0x0A0B0C0D, 6881, Event.STARTED)
PEER = endpoint("192.0.2.1", 6881)
PEER6 = endpoint("2001:db8::1", 6881)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>It works!</body></html>",
        b"i1e",
        b"le",
        b"d8:interval",
        b"d5:peers" + b"l" * 20 + b"e" * 21,
        b"d5:peers%d:" % RESPONSE_BYTES_MAX + bytes(RESPONSE_BYTES_MAX) + b"e",
    ],
    ids=["empty", "page", "number", "list", "cut", "deep", "long"],
)
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    for decode in (decode_announced, decode_scraped):
        with pytest.raises(SourceError, match="no tracker's answer") as caught:
            decode(body)
        assert caught.value.fault is SourceFault.MALFORMED


@pytest.mark.parametrize(
    ("fields", "words", "retry_in_s"),
    [
        ({b"failure reason": b"Overloaded", b"retry in": 5}, "Overloaded", 300.0),
        ({b"failure reason": b"Overloaded", b"retry in": b"5"}, "Overloaded", 300.0),
        ({b"failure reason": b"Gone", b"retry in": b"never"}, "Gone", float("inf")),
        ({b"failure reason": b"Gone", b"retry in": -1}, "Gone", None),
        ({b"failure reason": b"Gone", b"retry in": 10**12}, "Gone", 86_400.0),
        ({b"failure reason": b"Gone", b"retry in": b"9" * 4_000}, "Gone", None),
        ({b"failure reason": 7, b"interval": 1_800}, "no reason given", None),
        ({b"failure reason": b"\x1b[31mno\r\n"}, "[31mno", None),
    ],
)
def test_refusal_has_the_words_of_the_tracker(
    fields: dict[bytes, bytes | int], words: str, retry_in_s: float | None
) -> None:
    with pytest.raises(SourceError) as caught:
        decode_announced(encode(dict(fields)))
    assert caught.value.fault is SourceFault.REFUSED
    assert caught.value.detail == words
    assert caught.value.retry_in_s == retry_in_s


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {b"ip": b"192.0.2.1"},
        {b"ip": b"192.0.2.1", b"port": 0},
        {b"ip": b"192.0.2.1", b"port": 65_536},
        {b"ip": b"192.0.2.1", b"port": b"6881"},
        {b"ip": b"peer.example", b"port": 6881},
        {b"ip": b"\xff\xfe", b"port": 6881},
    ],
)
def test_peer_that_makes_no_sense_is_left_out(entry: int | dict[bytes, bytes | int]) -> None:
    good: dict[bytes, bytes | int] = {b"ip": b"192.0.2.1", b"port": 6881}
    body = encode({b"peers": [entry if isinstance(entry, int) else dict(entry), dict(good)]})
    assert decode_announced(body).peers == (PEER,)


def test_partial_last_peer_is_left_out() -> None:
    assert decode_announced(b"d5:peers7:\xc0\x00\x02\x01\x1a\xe1\0e").peers == (PEER,)


def test_no_more_peers_than_asked_for_are_taken() -> None:
    compact = b"".join(number.to_bytes(6) for number in range(10_000))
    assert len(decode_announced(encode({b"peers": compact})).peers) == WANTED_MAX
    listed = [{b"ip": b"192.0.2.1", b"port": port} for port in range(1, 1_000)]
    assert len(decode_announced(encode({b"peers": listed})).peers) == WANTED_MAX  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        (b"i-5e", INTERVAL_S),
        (b"i0e", INTERVAL_S),
        (b"i1e", INTERVAL_MIN_S),
        (b"i1000000000000e", INTERVAL_MAX_S),
        (b"2:60", INTERVAL_S),
    ],
)
def test_interval_is_kept_within_bounds(interval: bytes, seconds: float) -> None:
    answer = decode_announced(b"d8:interval" + interval + b"12:min interval" + interval + b"e")
    assert answer.interval_s == seconds
    assert answer.min_interval_s in (None, seconds)


def test_long_tracker_id_is_not_sent_back() -> None:
    body = encode({b"tracker id": bytes(TRACKER_ID_BYTES_MAX + 1)})
    assert decode_announced(body).tracker_id is None


@pytest.mark.parametrize(
    "body",
    [b"de", b"d5:filesi1ee", b"d5:filesd3:abcdeee", b"d5:filesd20:aaaaaaaaaaaaaaaaaaaai1eee"],
)
def test_scrape_without_sense_knows_nothing(body: bytes) -> None:
    assert decode_scraped(body) == {}


def test_counts_of_a_scrape_are_kept_within_bounds() -> None:
    row = b"d8:completei-1e10:downloaded1:x10:incompletei9999999999999ee"
    assert decode_scraped(b"d5:filesd20:" + HASH + row + b"ee") == {HASH: Counts(0, 2**31 - 1, 0)}


# BEP 7, 23 and 24 together


def test_answer_in_compact_form() -> None:
    body = (
        b"d8:completei2e11:external ip4:\xc0\x00\x02\x0110:incompletei1e8:intervali1800e"
        b"12:min intervali900e5:peers6:\xc0\x00\x02\x01\x1a\xe16:peers618: \x01\r\xb8"
        b"\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe110:tracker id1:x15:warning message4:slowe"
    )
    assert decode_announced(body) == Announced((PEER, PEER6), 1_800.0, 900.0, b"x", "slow")


def test_answer_in_dictionary_form() -> None:
    body = (
        b"d8:intervali1800e5:peersld2:ip9:192.0.2.17:peer id20:-XX0001-abcdefghijkl"
        b"4:porti6881eed2:ip11:2001:db8::14:porti6881eeee"
    )
    assert decode_announced(body).peers == (PEER, PEER6)


def test_answer_with_ipv6_peers_only() -> None:
    body = b"d8:intervali1800e5:peers6:iiiipp6:peers618:iiiiiiiiiiiiiiiippe"
    assert decode_announced(body).peers == (Endpoint(b"iiiipp"), Endpoint(b"i" * 16 + b"pp"))


def test_answer_to_a_scrape() -> None:
    # BEP 48, with the ends of its dictionaries in place.
    body = (
        b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee"
        b"20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20eeee"
    )
    assert decode_scraped(body) == {
        InfoHash(b"x" * 20): Counts(11, 19, 13_772),
        InfoHash(b"y" * 20): Counts(21, 20, 206),
    }


# What is asked


def test_announce_says_everything_and_escapes_bytes() -> None:
    assert announce_url("http://t.example/announce", ANNOUNCE) == (
        "http://t.example/announce?info_hash=%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA%AA"
        "%AA%AA%AA&peer_id=-XX0001-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=16384"
        "&compact=1&no_peer_id=1&numwant=200&key=0A0B0C0D&event=started"
    )


def test_regular_announce_has_no_event() -> None:
    regular = announce_url("http://t.example/a", ANNOUNCE._replace(event=Event.REGULAR))
    assert "event=" not in regular


def test_who_stops_wants_no_peers_and_sends_the_tracker_id_back() -> None:
    stopped = ANNOUNCE._replace(event=Event.STOPPED, tracker_id=b"\0 &")
    url = announce_url("http://t.example/a", stopped)
    assert url.endswith("&numwant=0&key=0A0B0C0D&event=stopped&trackerid=%00%20%26")


@pytest.mark.parametrize(
    ("url", "begins"),
    [
        ("http://t.example", "http://t.example?info_hash="),
        ("http://t.example/a?", "http://t.example/a?info_hash="),
        ("http://t.example/a?passkey=%41b", "http://t.example/a?passkey=%41b&info_hash="),
    ],
)
def test_query_of_the_tracker_is_kept(url: str, begins: str) -> None:
    assert announce_url(url, ANNOUNCE).startswith(begins)


@given(st.binary(min_size=20, max_size=20))
def test_every_hash_survives_the_url(info_hash: bytes) -> None:
    url = announce_url("http://t.example/a", ANNOUNCE._replace(info_hash=InfoHash(info_hash)))
    query = dict(part.split("=") for part in urlsplit(url).query.split("&"))
    assert unquote_to_bytes(query["info_hash"]) == info_hash


# BEP 48 "Implementation"
@pytest.mark.parametrize(
    ("url", "scrape"),
    [
        ("http://t.example/announce", "http://t.example/scrape"),
        ("http://t.example/x/announce", "http://t.example/x/scrape"),
        ("http://t.example/announce.php", "http://t.example/scrape.php"),
        ("http://t.example/announce?x2%0644", "http://t.example/scrape?x2%0644"),
        ("http://t.example/announce?x=2/4", "http://t.example/scrape?x=2/4"),
        ("http://t.example/a", None),
        ("http://t.example/x%064announce", None),
        ("http://t.example", None),
    ],
)
def test_url_of_a_scrape(url: str, scrape: str | None) -> None:
    if scrape is None:
        assert scrape_url(url, [HASH]) is None
    else:
        separator = "&" if "?" in scrape else "?"
        assert scrape_url(url, [HASH]) == f"{scrape}{separator}info_hash={'%AA' * 20}"


def test_scrape_of_many_repeats_the_parameter() -> None:
    hashes = [InfoHash(bytes([number]) * 20) for number in range(SCRAPED_MAX)]
    url = scrape_url("http://t.example/announce", hashes)
    assert url is not None
    names = [name for name, _ in parse_qsl(urlsplit(url).query, encoding="latin-1")]
    assert names == ["info_hash"] * SCRAPED_MAX
    assert len(url) < 4_096


_VALUES = st.recursive(
    st.integers() | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([b"ip", b"port", b"complete", HASH]), inner)
    ),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        b"peers",
        b"peers6",
        b"interval",
        b"min interval",
        b"tracker id",
        b"warning message",
        b"files",
        b"retry in",
    ]
)


@given(st.dictionaries(_KEYS, _VALUES))
def test_any_dictionary_is_read(fields: dict[bytes, bytes]) -> None:
    body = encode(dict(fields))
    answer = decode_announced(body)
    assert all(len(it) in (6, 18) for it in answer.peers)
    assert INTERVAL_MIN_S <= answer.interval_s <= INTERVAL_MAX_S
    assert all(count.peers >= 0 for count in decode_scraped(body).values())


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for decode in (decode_announced, decode_scraped):
        with contextlib.suppress(SourceError):
            decode(body)
