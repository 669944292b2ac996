import random

from dht.contact import Endpoint, Family, address_of
from dht.keyspace import InfoHash
from dht.peerstore import PEER_LIFETIME_S, PeerStore
from tests.dht.samples import public, public6

HASH = InfoHash(b"mnopqrstuvwxyz123456")


def info_hash(serial: int) -> InfoHash:
    return InfoHash(serial.to_bytes(20))


def peers(store: PeerStore, *, now: float, family: Family = Family.IPV4) -> list[Endpoint]:
    return store.sample(HASH, family, 1_000, random.Random(1), now=now)


def test_a_full_swarm_takes_no_stranger() -> None:
    store = PeerStore(peers_per_swarm_max=2)
    assert store.announce(HASH, public(1), seed=False, now=0.0)
    assert store.announce(HASH, public(2), seed=False, now=0.0)
    assert not store.has_room(HASH, address_of(public(3)), Family.IPV4, now=0.0)
    assert not store.announce(HASH, public(3), seed=False, now=0.0)
    assert peers(store, now=0.0) == [public(1), public(2)]


def test_a_full_swarm_takes_a_repeated_announce() -> None:
    store = PeerStore(peers_per_swarm_max=2)
    store.announce(HASH, public(1), seed=False, now=0.0)
    store.announce(HASH, public(2), seed=False, now=0.0)
    assert store.has_room(HASH, address_of(public(1)), Family.IPV4, now=0.0)
    assert store.announce(HASH, public(1, port=7), seed=False, now=1.0)
    assert peers(store, now=1.0) == [public(2), public(1, port=7)]


def test_a_full_store_takes_no_new_swarm() -> None:
    store = PeerStore(swarms_max=2)
    assert store.announce(info_hash(1), public(1), seed=False, now=0.0)
    assert store.announce(info_hash(2), public(1), seed=False, now=0.0)
    assert not store.has_room(info_hash(3), address_of(public(1)), Family.IPV4, now=0.0)
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
    assert store.has_room(HASH, address_of(public(3)), Family.IPV4, now=PEER_LIFETIME_S)
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
    samples = [store.sample(HASH, Family.IPV4, 10, rng, now=0.0) for _ in range(100)]
    assert all(len(set(sample)) == 10 for sample in samples)
    assert len({peer for sample in samples for peer in sample}) == 100


def test_a_swarm_nobody_announced_is_empty() -> None:
    assert peers(PeerStore(), now=0.0) == []
