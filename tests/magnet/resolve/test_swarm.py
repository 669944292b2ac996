"""Who is worth a try: strangers who offer too much first."""

from dht.contact import Endpoint, endpoint
from dht.keyspace import ID_BYTES, InfoHash
from magnet.resolve.swarm import PEERS_MAX, PEERS_PER_ADDRESS_MAX, Candidate, Swarm

V1 = InfoHash(b"\x01" * ID_BYTES)
V2 = InfoHash(b"\x02" * ID_BYTES)


def found(at: Endpoint, key: InfoHash = V1, source: str = "dht") -> Candidate:
    return Candidate(at, key, source)


def test_peer_is_tried_once_whoever_names_it_and_under_whatever_key() -> None:
    swarm = Swarm()
    at = endpoint("192.0.2.1", 6881)
    assert swarm.admit(found(at))
    assert not swarm.admit(found(at))
    assert not swarm.admit(found(at, V2))
    assert not swarm.admit(found(at, source="link"))
    assert len(swarm) == 1


def test_scan_of_one_address_is_not_lent_a_hand() -> None:
    for host in ("192.0.2.1", "2001:db8::1"):
        swarm = Swarm()
        admitted = [swarm.admit(found(endpoint(host, port))) for port in range(1, 100)]
        assert sum(admitted) == PEERS_PER_ADDRESS_MAX
        assert all(admitted[:PEERS_PER_ADDRESS_MAX])


def test_full_address_does_not_keep_others_out() -> None:
    swarm = Swarm()
    for port in range(1, 100):
        swarm.admit(found(endpoint("192.0.2.1", port)))
    assert swarm.admit(found(endpoint("192.0.2.2", 1)))


def test_crowd_is_bounded() -> None:
    swarm = Swarm()
    for number in range(PEERS_MAX + 100):
        swarm.admit(found(endpoint(f"10.1.{number >> 8}.{number & 0xFF}", 6881)))
    assert len(swarm) == PEERS_MAX
    assert not swarm.admit(found(endpoint("192.0.2.1", 6881)))
