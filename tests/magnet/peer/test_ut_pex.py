"""Peer exchange: what strangers may not do first, then what both sides agree on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht import bencode
from dht.contact import Endpoint, parse_endpoint
from magnet.errors import RemoteProtocolError
from magnet.peer.ut_pex import (
    BURST_MAX,
    INTERVAL_S,
    NAMED_MAX,
    TAKEN_PER_MESSAGE_MAX,
    TAKEN_PER_PEER_MAX,
    PexFlags,
    PexIntake,
    PexLog,
    PexMessage,
    PexPeer,
    decode_pex_message,
    encode_pex_message,
)

NO_FLAGS = PexFlags(0)
GIVER = parse_endpoint("8.8.8.8:6881")
LAN = parse_endpoint("192.168.1.2:6881")

# BEP 11 "Message", with drops; flags as libtorrent, Transmission and others set them.
VECTOR = (
    b"d5:added12:\xc0\x00\x02\x01\x1a\xe1\xc63d\x07\x1a\xe27:added.f2:\x12\x04"
    b"6:added618: \x01\r\xb8" + bytes(11) + b"\x01\x1a\xe18:added6.f1:\x10"
    b"7:dropped6:\xcb\x00q\x05\x1a\xe38:dropped60:e"
)


def public(number: int) -> Endpoint:
    """Return one of many global endpoints."""
    return parse_endpoint(f"9.{number >> 8}.{number & 255}.1:6881")


def naming(*peers: Endpoint) -> PexMessage:
    return PexMessage(tuple(PexPeer(peer) for peer in peers))


def crowd(count: int, start: int = 0) -> PexMessage:
    return naming(*(public(number) for number in range(start, start + count)))


def present(*peers: Endpoint) -> dict[Endpoint, PexFlags]:
    return dict.fromkeys(peers, NO_FLAGS)


@pytest.mark.parametrize(
    "content", [b"", b"?", b"i1e", b"le", b"d5:added", b"d5:added6:abcdef", bytes(70_000)]
)
def test_what_is_no_dictionary_is_the_peers_fault(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pex_message(content)


def test_dictionary_larger_than_any_honest_one_is_the_peers_fault() -> None:
    content = bencode.encode({b"added": bytes(6) * 10_000})
    with pytest.raises(RemoteProtocolError):
        decode_pex_message(content)


@pytest.mark.parametrize(
    "lists",
    [
        {},
        {b"added": b"12345"},
        {b"added": b"1234567"},
        {b"added6": b"1" * 17},
        {b"added": 6},
        {b"added": [b"123456"]},
        {b"dropped": b"12345", b"dropped6": 3},
        {b"added": b"\x08\x08\x08\x08\x00\x00"},
        {b"dropped": b"\x08\x08\x08\x08\x00\x00"},
    ],
)
def test_list_that_makes_no_sense_counts_as_empty(lists: dict[bytes, bencode.BValue]) -> None:
    assert decode_pex_message(bencode.encode(lists)) == PexMessage()


@pytest.mark.parametrize("flags", [b"", b"\x01\x01", 1, [b"\x01"], None])
def test_flags_that_do_not_match_the_endpoints_count_as_none(flags: bencode.BValue | None) -> None:
    lists: dict[bytes, bencode.BValue] = {b"added": GIVER}
    if flags is not None:
        lists[b"added.f"] = flags
    assert decode_pex_message(bencode.encode(lists)) == naming(GIVER)


def test_of_a_peer_named_twice_the_first_mention_counts() -> None:
    content = bencode.encode({b"added": GIVER * 2, b"added.f": b"\x02\x04", b"dropped": LAN * 3})
    expected = PexMessage((PexPeer(GIVER, PexFlags.SEED),), (LAN,))
    assert decode_pex_message(content) == expected


def test_unknown_flags_are_dropped() -> None:
    content = bencode.encode({b"added": GIVER, b"added.f": b"\xe8"})
    assert decode_pex_message(content).added == (PexPeer(GIVER, PexFlags.HOLEPUNCH),)


def test_message_as_clients_send_it_is_understood() -> None:
    assert decode_pex_message(VECTOR + b"tail") == PexMessage(
        (
            PexPeer(parse_endpoint("192.0.2.1:6881"), PexFlags.SEED | PexFlags.REACHABLE),
            PexPeer(parse_endpoint("198.51.100.7:6882"), PexFlags.UTP),
            PexPeer(parse_endpoint("[2001:db8::1]:6881"), PexFlags.REACHABLE),
        ),
        (parse_endpoint("203.0.113.5:6883"),),
    )


def test_message_is_written_without_empty_lists() -> None:
    message = PexMessage((PexPeer(GIVER, PexFlags.UTP),))
    assert encode_pex_message(message) == b"d5:added6:\x08\x08\x08\x08\x1a\xe17:added.f1:\x04e"


endpoints = st.one_of(st.binary(min_size=6, max_size=6), st.binary(min_size=18, max_size=18))
places = endpoints.filter(lambda at: at[-2:] != b"\0\0").map(Endpoint)


@given(st.dictionaries(places, st.integers(0, 31).map(PexFlags)), st.sets(places))
def test_messages_survive_the_wire(added: dict[Endpoint, PexFlags], dropped: set[Endpoint]) -> None:
    message = PexMessage(tuple(PexPeer(*it) for it in added.items()), tuple(dropped))
    again = decode_pex_message(encode_pex_message(message))
    assert set(again.added) == set(message.added)
    assert set(again.dropped) == dropped


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"d5:added6:" + tail))
def test_noise_is_refused_or_read(content: bytes) -> None:
    try:
        message = decode_pex_message(content)
    except RemoteProtocolError:
        return
    assert decode_pex_message(encode_pex_message(message)) == message


def test_flood_is_the_peers_fault() -> None:
    intake = PexIntake(GIVER)
    for number in range(BURST_MAX):
        intake.take(crowd(1, number), now=1000.0 + number)
    with pytest.raises(RemoteProtocolError, match="flood"):
        intake.take(PexMessage(), now=1000.0 + INTERVAL_S - 0.1)


def test_messages_that_were_held_up_are_no_flood() -> None:
    intake = PexIntake(GIVER)
    for number in range(5 * BURST_MAX):
        assert intake.take(crowd(1, number), now=number * INTERVAL_S / BURST_MAX)


def test_only_so_many_peers_are_taken_of_a_message_and_of_a_giver() -> None:
    intake = PexIntake(GIVER)
    assert len(intake.take(crowd(500), now=0.0)) == TAKEN_PER_MESSAGE_MAX
    rest = TAKEN_PER_PEER_MAX - TAKEN_PER_MESSAGE_MAX
    assert len(intake.take(crowd(500, 1000), now=60.0)) == rest
    assert intake.take(crowd(500, 2000), now=120.0) == []


def test_only_what_is_news_is_passed_on() -> None:
    intake = PexIntake(GIVER)
    assert intake.take(naming(public(1), GIVER), now=0.0) == [PexPeer(public(1))]
    again = PexMessage(naming(public(1), public(2)).added, dropped=(public(1),))
    assert intake.take(again, now=60.0) == [PexPeer(public(2))]


@pytest.mark.parametrize(
    "address",
    ["192.168.1.7", "10.0.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "239.1.1.1", "192.0.2.1"],
)
def test_public_peer_cannot_name_local_addresses(address: str) -> None:
    peer = parse_endpoint(f"{address}:6881")
    assert PexIntake(GIVER).take(naming(peer), now=0.0) == []


@pytest.mark.parametrize("address", ["::1", "fe80::1", "fc00::1", "ff02::1", "::", "2002::1"])
def test_public_peer_cannot_name_local_ipv6_addresses(address: str) -> None:
    peer = parse_endpoint(f"[{address}]:6881")
    assert PexIntake(GIVER).take(naming(peer), now=0.0) == []


def test_neighbour_may_name_neighbours_and_the_world() -> None:
    other = parse_endpoint("192.168.1.3:6881")
    taken = PexIntake(LAN).take(naming(other, public(1)), now=0.0)
    assert [peer.endpoint for peer in taken] == [other, public(1)]


def test_peer_on_loopback_may_name_loopback_only() -> None:
    here, there = parse_endpoint("127.0.0.2:1"), parse_endpoint("127.0.0.3:1")
    assert PexIntake(here).take(naming(there, public(1)), now=0.0) == [PexPeer(there)]


def test_nothing_new_is_not_told() -> None:
    log = PexLog(GIVER)
    assert log.next_message({}, now=0.0) is None
    assert log.next_message(present(public(1)), now=0.0) is not None
    assert log.next_message(present(public(1)), now=600.0) is None


def test_nobody_is_told_more_than_once_a_minute() -> None:
    log = PexLog(GIVER)
    assert log.next_message(present(public(1)), now=0.0) == naming(public(1))
    both = present(public(1), public(2))
    assert log.next_message(both, now=INTERVAL_S - 0.1) is None
    assert log.next_message(both, now=INTERVAL_S) == naming(public(2))


def test_message_has_bounds_and_the_rest_follows() -> None:
    log = PexLog(GIVER)
    everybody = present(*(public(number) for number in range(120)))
    sizes = []
    for minute in range(4):
        message = log.next_message(everybody, now=minute * INTERVAL_S)
        sizes.append(0 if message is None else len(message.added))
    assert sizes == [NAMED_MAX, NAMED_MAX, 20, 0]
    message = log.next_message({}, now=600.0)
    assert message is not None
    assert len(message.dropped) == NAMED_MAX


def test_who_leaves_is_dropped_and_may_come_again() -> None:
    log = PexLog(GIVER)
    log.next_message(present(public(1), public(2)), now=0.0)
    dropped = log.next_message(present(public(2)), now=60.0)
    assert dropped == PexMessage(dropped=(public(1),))
    assert log.next_message(present(public(1), public(2)), now=120.0) == naming(public(1))


def test_who_was_never_told_of_a_peer_is_not_told_that_it_left() -> None:
    log = PexLog(GIVER)
    log.next_message(present(public(1)), now=0.0)
    assert log.next_message(present(public(1)), now=60.0) is None
    assert log.next_message(present(public(1), LAN), now=120.0) is None
    assert log.next_message(present(public(1)), now=180.0) is None


def test_neighbours_are_named_to_neighbours_only() -> None:
    other = parse_endpoint("192.168.1.3:6881")
    assert PexLog(GIVER).next_message(present(other), now=0.0) is None
    assert PexLog(LAN).next_message(present(other), now=0.0) == naming(other)


def test_each_message_of_a_log_is_taken_by_an_intake() -> None:
    log, intake = PexLog(GIVER), PexIntake(GIVER)
    everybody = present(*(public(number) for number in range(TAKEN_PER_PEER_MAX)))
    taken: list[PexPeer] = []
    for minute in range(5):
        message = log.next_message(everybody, now=minute * INTERVAL_S)
        if message is not None:
            received = decode_pex_message(encode_pex_message(message))
            taken += intake.take(received, now=minute * INTERVAL_S)
    assert {peer.endpoint for peer in taken} == set(everybody)
