"""Who is tried, and in which order: strangers who offer too much first."""

from random import Random

import pytest

from dht.contact import Endpoint, endpoint
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import (
    LocalProtocolError,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    ProxyError,
    RemoteProtocolError,
)
from magnet.resolve.ranking import (
    BARE_PAUSE_S,
    BUSY_PAUSE_S,
    PEERS_MAX,
    PEERS_PER_ADDRESS_MAX,
    PEERS_PER_BLOCK_MAX,
    PEERS_PER_SOURCE_MAX,
    REJECTED_PAUSE_S,
    TRIES_MAX,
    UNREACHED_PAUSE_S,
    Ranking,
    block_of,
    pause_after,
)
from magnet.sources.source import LINK, PEX, Candidate, Hints

V1 = InfoHash(b"\x01" * ID_BYTES)
V2 = InfoHash(b"\x02" * ID_BYTES)
AT = endpoint("192.0.2.1", 6881)
HUNG_UP = PeerDisconnected("handshaking")


def found(
    at: Endpoint = AT, key: InfoHash = V1, source: str = "dht", hints: Hints | None = None
) -> Candidate:
    return Candidate(at, key, source, hints or Hints())


def nth(number: int) -> Endpoint:
    """Return an endpoint in a block of its own."""
    return endpoint(f"10.{number >> 8}.{number & 0xFF}.1", 6881)


def ranking_of(*candidates: Candidate) -> Ranking:
    ranking = Ranking(Random(1))
    for candidate in candidates:
        ranking.add(candidate)
    return ranking


def drained(ranking: Ranking, now: float = 0) -> list[Endpoint]:
    """Take everybody who is to be tried now."""
    return [it.endpoint for it in iter(lambda: ranking.take(now=now), None)]


# Bounds


def test_peer_is_listed_once_whoever_names_it_and_under_whatever_key() -> None:
    ranking = Ranking(Random(1))
    assert ranking.add(found())
    assert not ranking.add(found())
    assert not ranking.add(found(key=V2))
    assert not ranking.add(found(source=LINK))
    assert len(ranking) == 1
    assert drained(ranking) == [AT]


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_scan_of_one_address_is_not_lent_a_hand(host: str) -> None:
    ranking = Ranking(Random(1))
    added = [ranking.add(found(endpoint(host, port))) for port in range(1, 100)]
    assert sum(added) == PEERS_PER_ADDRESS_MAX
    assert all(added[:PEERS_PER_ADDRESS_MAX])
    assert ranking.add(found(endpoint("192.0.2.2", 1)))


@pytest.mark.parametrize("host", ["192.0.2.{}", "2001:db8:0:{}::1"])
def test_block_is_bounded(host: str) -> None:
    ranking = Ranking(Random(1))
    added = [ranking.add(found(endpoint(host.format(last), 6881))) for last in range(1, 200)]
    assert sum(added) == PEERS_PER_BLOCK_MAX


def test_one_source_does_not_keep_the_others_out() -> None:
    ranking = Ranking(Random(1))
    assert sum(ranking.add(found(nth(number))) for number in range(PEERS_MAX)) == (
        PEERS_PER_SOURCE_MAX
    )
    assert ranking.add(found(endpoint("192.0.2.1", 1), source=PEX))


def test_crowd_is_bounded() -> None:
    ranking = Ranking(Random(1))
    for number in range(2 * PEERS_MAX):
        ranking.add(found(nth(number), source=str(number % 2)))
    assert len(ranking) == PEERS_MAX
    assert not ranking.add(found(endpoint("192.0.2.1", 6881), source="link"))


# Second chances


@pytest.mark.parametrize(
    ("error", "pause_s"),
    [
        (RemoteProtocolError("not the BitTorrent protocol"), None),
        (LocalProtocolError("two conversations with one peer"), None),
        (PeerTimeout("connecting", 5.0), UNREACHED_PAUSE_S),
        (PeerTimeout("requesting", 30.0), UNREACHED_PAUSE_S),
        (PeerDisconnected("connecting", "Connection refused"), UNREACHED_PAUSE_S),
        (HUNG_UP, BUSY_PAUSE_S),
        (ProxyError("the proxy fails"), UNREACHED_PAUSE_S),
        (MetadataRejected(), BARE_PAUSE_S),
        (MetadataRejected(3), REJECTED_PAUSE_S),
    ],
    ids=str,
)
def test_pause_fits_the_reason(error: PeerError, pause_s: float | None) -> None:
    assert pause_after(error) == pause_s


def test_source_is_forgotten_with_all_that_nobody_else_names() -> None:
    ranking = Ranking(Random(1))
    for number, sources in enumerate(["a", "ab", "b"]):
        for source in sources:
            ranking.add(found(nth(number), source=source))
    ranking.forget("a")
    taken = {it.endpoint for it in iter(lambda: ranking.take(now=0), None)}
    assert taken == {nth(1), nth(2)}
    ranking.add(found(nth(0), source="b"))
    again = ranking.take(now=0)
    assert again is not None
    assert again.endpoint == nth(0)


def test_whoever_broke_the_protocol_is_not_tried_again() -> None:
    ranking = ranking_of(found())
    ranking.take(now=0)
    ranking.failed(AT, RemoteProtocolError("x"), now=0)
    assert ranking.ready_at(now=0) == float("inf")
    assert drained(ranking, now=1e6) == []


def test_liar_is_not_tried_again_even_if_it_was_to_rest() -> None:
    ranking = ranking_of(found())
    ranking.take(now=0)
    ranking.failed(AT, HUNG_UP, now=0)
    ranking.condemn(AT)
    assert drained(ranking, now=1e6) == []


def test_peer_with_something_else_to_give_need_not_rest_but_its_tries_are_bounded() -> None:
    ranking = ranking_of(found())
    for _ in range(TRIES_MAX):
        assert ranking.take(now=0) is not None
        ranking.failed(AT, MetadataRejected(), now=0, at_once=True)
    assert ranking.take(now=1e6) is None


def test_tries_are_bounded() -> None:
    ranking = ranking_of(found())
    now = 0.0
    for number in range(TRIES_MAX):
        assert ranking.take(now=now) is not None
        assert ranking.take(now=now) is None
        ranking.failed(AT, HUNG_UP, now=now)
        now += BUSY_PAUSE_S
        assert ranking.ready_at(now=now - 1) == (now if number < TRIES_MAX - 1 else float("inf"))
    assert ranking.take(now=now) is None


def test_strangers_come_before_second_chances() -> None:
    ranking = ranking_of(found(nth(1), source=LINK))
    ranking.take(now=0)
    ranking.failed(nth(1), HUNG_UP, now=0)
    ranking.add(found(nth(2)))
    assert drained(ranking, now=BUSY_PAUSE_S) == [nth(2), nth(1)]


# Order


def test_nobody_is_there_yet() -> None:
    ranking = Ranking(Random(1))
    assert ranking.take(now=5) is None
    assert ranking.ready_at(now=5) == float("inf")
    ranking.add(found())
    assert ranking.ready_at(now=5) == 5


def test_block_of_liars_holds_no_more_places_than_an_honest_peer() -> None:
    liars = [found(endpoint(f"192.0.2.{last}", 6881)) for last in range(1, 65)]
    honest = [found(nth(number)) for number in range(5)]
    first = drained(ranking_of(*liars, *honest))[:6]
    assert len({block_of(it) for it in first}) == 6


def test_neighbours_of_a_liar_come_last() -> None:
    ranking = ranking_of(
        *[found(endpoint(f"192.0.2.{last}", 6881)) for last in range(1, 4)],
        *[found(endpoint("203.0.113.1", port)) for port in range(1, 6)],
    )
    ranking.take(now=0)
    ranking.condemn(endpoint("192.0.2.1", 6881))
    order = drained(ranking)
    assert [block_of(it)[0] for it in order[-2:]] == [192, 192]


def test_peers_of_the_link_come_first_then_those_that_sources_agree_on_then_seeds() -> None:
    ranking = ranking_of(
        *[found(nth(number)) for number in range(20)],
        found(nth(20), hints=Hints(is_seed=True)),
        found(nth(21)),
        found(nth(22), source=LINK),
    )
    ranking.add(found(nth(21), source="udp://tracker.example:1337"))
    assert drained(ranking)[:3] == [nth(22), nth(21), nth(20)]


def test_hints_of_all_sources_are_kept() -> None:
    via = endpoint("192.0.2.9", 1)
    ranking = ranking_of(found(hints=Hints(supports_utp=True)))
    ranking.add(found(source=PEX, hints=Hints(prefers_encryption=True, via=via, is_seed=False)))
    taken = ranking.take(now=0)
    assert taken is not None
    assert taken.source == "dht"
    assert taken.hints == Hints(prefers_encryption=True, supports_utp=True, via=via, is_seed=False)


def test_lots_decide_among_equals() -> None:
    def order(seed: int) -> list[Endpoint]:
        ranking = Ranking(Random(seed))
        for number in range(20):
            ranking.add(found(nth(number)))
        return drained(ranking)

    assert order(1) == order(1) != order(2)
    assert set(order(1)) == set(order(2))
