import random
from collections import Counter
from collections.abc import Iterable

from dht.bloom import AddressFilter
from dht.contact import Endpoint, Family, address_of
from dht.keyspace import InfoHash
from dht.peerstore import PeerStore
from dht.swarm import PEER_LIFETIME_S, SwarmFilters
from tests.dht.samples import public, public6

HASH = InfoHash(b"mnopqrstuvwxyz123456")


def info_hash(serial: int) -> InfoHash:
    return InfoHash(serial.to_bytes(20))


def peers(store: PeerStore, *, now: float, family: Family = Family.IPV4) -> list[Endpoint]:
    return sample(store, 1_000, random.Random(1), now=now, family=family)


def sample(
    store: PeerStore,
    count: int,
    rng: random.Random,
    *,
    noseed: bool = False,
    now: float = 0.0,
    family: Family = Family.IPV4,
) -> list[Endpoint]:
    swarm = store.swarm(HASH, family, now=now)
    return [] if swarm is None else swarm.sample(count, rng, noseed=noseed)


def filters(store: PeerStore, *, now: float, family: Family = Family.IPV4) -> SwarmFilters | None:
    swarm = store.swarm(HASH, family, now=now)
    return None if swarm is None else swarm.filters()


def test_a_full_swarm_takes_no_stranger() -> None:
    store = PeerStore(peers_per_swarm_max=2)
    assert store.announce(HASH, public(1), seed=False, now=0.0)
    assert store.announce(HASH, public(2), seed=False, now=0.0)
    assert not store.takes(store.swarm(HASH, Family.IPV4, now=0.0), address_of(public(3)))
    assert not store.announce(HASH, public(3), seed=False, now=0.0)
    assert peers(store, now=0.0) == [public(1), public(2)]


def test_a_full_swarm_takes_a_repeated_announce() -> None:
    store = PeerStore(peers_per_swarm_max=2)
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public(2), seed=False, now=0.0)
    assert store.takes(store.swarm(HASH, Family.IPV4, now=0.0), address_of(public(1)))
    assert store.announce(HASH, public(1, port=7), seed=False, now=1.0)
    assert peers(store, now=1.0) == [public(2), public(1, port=7)]


def test_a_full_store_takes_no_new_swarm() -> None:
    store = PeerStore(swarms_max=2)
    assert store.announce(info_hash(1), public(1), seed=False, now=0.0)
    assert store.announce(info_hash(2), public(1), seed=False, now=0.0)
    assert not store.takes(store.swarm(info_hash(3), Family.IPV4, now=0.0), address_of(public(1)))
    assert not store.announce(info_hash(3), public(1), seed=False, now=0.0)
    assert store.announce(info_hash(2), public(2), seed=False, now=0.0)
    assert len(store) == 2


def test_a_full_store_has_room_again_when_a_swarm_has_expired() -> None:
    store = PeerStore(swarms_max=1)
    store.announce(info_hash(1), public(1), seed=False, now=0.0)
    assert store.announce(info_hash(2), public(1), seed=False, now=PEER_LIFETIME_S)
    assert len(store) == 1


def test_a_full_swarm_has_room_again_when_a_peer_has_expired() -> None:
    store = PeerStore(peers_per_swarm_max=2)
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public(2), seed=False, now=100.0)
    assert store.takes(store.swarm(HASH, Family.IPV4, now=PEER_LIFETIME_S), address_of(public(3)))
    assert store.announce(HASH, public(3), seed=False, now=PEER_LIFETIME_S + 1)
    assert peers(store, now=PEER_LIFETIME_S + 1) == [public(2), public(3)]


def test_a_peer_expires_after_half_an_hour() -> None:
    store = PeerStore()
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public(2), seed=False, now=100.0)
    assert peers(store, now=PEER_LIFETIME_S - 1) == [public(1), public(2)]
    assert peers(store, now=PEER_LIFETIME_S) == [public(2)]
    assert peers(store, now=PEER_LIFETIME_S + 100) == []
    assert len(store) == 0


def test_a_repeated_announce_starts_the_half_hour_again() -> None:
    store = PeerStore()
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public(2), seed=False, now=1.0)
    store.announce(HASH, public(1), seed=True, now=100.0)
    assert peers(store, now=PEER_LIFETIME_S + 50) == [public(1)]


def test_a_swarm_that_is_kept_alive_outlives_those_behind_it() -> None:
    store = PeerStore()
    store.announce(info_hash(1), public(1), seed=False, now=0.0)
    store.announce(info_hash(2), public(2), seed=False, now=1.0)
    store.announce(info_hash(1), public(3), seed=False, now=100.0)
    store.expire(now=PEER_LIFETIME_S + 50)
    assert len(store) == 1


def test_an_address_counts_once_and_its_newest_port_wins() -> None:
    """BEP 33: one entry an address."""
    store = PeerStore()
    for port in (1, 2, 3):
        store.announce(HASH, public(1, port=port), seed=False, now=0.0)
    assert peers(store, now=0.0) == [public(1, port=3)]


def test_the_families_are_swarms_of_their_own() -> None:
    store = PeerStore()
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public6(1), seed=False, now=0.0)
    assert peers(store, now=0.0) == [public(1)]
    assert peers(store, now=0.0, family=Family.IPV6) == [public6(1)]
    assert len(store) == 2


def test_a_sample_is_drawn_from_the_whole_swarm() -> None:
    store = PeerStore()
    for serial in range(100):
        store.announce(HASH, public(serial), seed=False, now=0.0)
    rng = random.Random(1)
    samples = [sample(store, 10, rng) for _ in range(100)]
    assert all(len(set(sample)) == 10 for sample in samples)
    assert len({peer for sample in samples for peer in sample}) == 100


def test_a_sample_has_as_many_as_were_asked_for_and_none_twice() -> None:
    rng, store = random.Random(1), PeerStore()
    for serial in range(1, 13):
        store.announce(HASH, public(serial), seed=False, now=0.0)
        for count in range(15):
            drawn = sample(store, count, rng)
            assert len(drawn) == len(set(drawn)) == min(count, serial)


def test_every_peer_is_drawn_equally_often() -> None:
    rng, store = random.Random(1), PeerStore()
    for serial in range(1, 61):
        store.announce(HASH, public(serial), seed=False, now=0.0)
    drawn = Counter(peer for _ in range(600) for peer in sample(store, 10, rng))
    assert 60 < min(drawn.values()) <= max(drawn.values()) < 140


def test_a_swarm_nobody_announced_is_empty() -> None:
    assert peers(PeerStore(), now=0.0) == []


def test_who_wants_no_seeds_gets_those_where_others_do_not_suffice() -> None:
    """BEP 33: noseed is best effort."""
    store = PeerStore()
    for serial in range(10):
        store.announce(HASH, public(serial), seed=serial >= 4, now=0.0)

    def drawn(count: int) -> set[Endpoint]:
        rng = random.Random(1)
        return set(sample(store, count, rng, noseed=True))

    others = {public(serial) for serial in range(4)}
    assert drawn(3) < others
    assert drawn(4) == others
    assert len(drawn(6)) == 6
    assert drawn(6) > others


def filters_of(*seeds: int, others: Iterable[int] = ()) -> SwarmFilters:
    """The filters of peers with these serials."""
    return SwarmFilters(
        AddressFilter.of(address_of(public(serial)) for serial in seeds),
        AddressFilter.of(address_of(public(serial)) for serial in others),
    )


def test_filters_follow_the_swarm() -> None:
    store = PeerStore()
    assert filters(store, now=0.0) is None
    store.announce(HASH, public(1), seed=False, now=0.0)
    assert filters(store, now=0.0) == filters_of(others=[1])
    store.announce(HASH, public(2), seed=True, now=100.0)
    assert filters(store, now=100.0) == filters_of(2, others=[1])
    store.announce(HASH, public(1), seed=True, now=200.0)
    assert filters(store, now=200.0) == filters_of(1, 2)
    assert filters(store, now=PEER_LIFETIME_S + 100) == filters_of(1)
    assert filters(store, now=PEER_LIFETIME_S + 200) is None


def test_filters_are_made_once_for_many_questions() -> None:
    store = PeerStore()
    store.announce(HASH, public(1), seed=False, now=0.0)
    assert filters(store, now=0.0) is filters(store, now=1.0)
    assert filters(store, now=0.0, family=Family.IPV6) is None


def test_what_is_held_can_be_listed_until_it_expires() -> None:
    store = PeerStore()
    assert store.info_hashes(Family.IPV4, now=0.0) == []
    store.announce(info_hash(1), public(1), seed=False, now=0.0)
    store.announce(info_hash(2), public6(1), seed=False, now=100.0)
    assert store.info_hashes(Family.IPV4, now=100.0) == [info_hash(1)]
    assert store.info_hashes(Family.IPV6, now=100.0) == [info_hash(2)]
    assert store.swarm(info_hash(1), Family.IPV4, now=100.0)
    assert not store.swarm(info_hash(1), Family.IPV6, now=100.0)
    assert not store.swarm(info_hash(1), Family.IPV4, now=PEER_LIFETIME_S)
    assert store.info_hashes(Family.IPV4, now=PEER_LIFETIME_S) == []
