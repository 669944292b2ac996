import pytest

from dht.contact import Endpoint, address_of, parse_endpoint
from dht.external import VOTE_LIFETIME_S, VOTERS_MAX, VOTERS_MIN, ExternalAddress
from tests.dht.samples import public6

US = parse_endpoint("8.8.4.4:6881")
OTHER = parse_endpoint("9.9.9.9:6881")


def reporter(network: int, host: int = 1) -> Endpoint:
    """Return a node; each network, up to 255, has a /16 of its own."""
    return Endpoint(bytes([60, network, host, 1]) + b"\x1a\xe1")


def vote_of(claims: list[Endpoint], *, now: float = 0.0) -> ExternalAddress:
    vote = ExternalAddress()
    for network, claimed in enumerate(claims):
        vote.heard(reporter(network), claimed, now=now)
    return vote


def test_few_networks_decide_nothing() -> None:
    assert vote_of([US] * (VOTERS_MIN - 1)).decided(now=0.0) is None
    assert vote_of([US] * VOTERS_MIN).decided(now=0.0) == address_of(US)


@pytest.mark.parametrize(("liars", "decided"), [(5, True), (6, False), (8, False)])
def test_a_third_that_disagrees_keeps_the_vote_open(liars: int, decided: bool) -> None:
    vote = vote_of([US] * (VOTERS_MIN - liars) + [OTHER] * liars)
    assert vote.decided(now=0.0) == (address_of(US) if decided else None)


def test_a_network_has_one_vote_however_many_addresses_it_has() -> None:
    vote = vote_of([US] * VOTERS_MIN)
    for host in range(255):
        vote.heard(reporter(200, host), OTHER, now=0.0)
    assert vote.decided(now=0.0) == address_of(US)
    assert len(vote) == VOTERS_MIN + 1


def test_the_port_does_not_matter() -> None:
    claims = [Endpoint(address_of(US) + port.to_bytes(2)) for port in range(1, VOTERS_MIN + 1)]
    assert vote_of(claims).decided(now=0.0) == address_of(US)


@pytest.mark.parametrize("claimed", ["192.168.1.1:1", "127.0.0.1:1", "0.0.0.0:1", "[2a00::1]:1"])
def test_an_address_that_cannot_be_ours_is_no_vote(claimed: str) -> None:
    assert len(vote_of([parse_endpoint(claimed)] * VOTERS_MIN)) == 0


def test_a_local_reporter_has_no_vote() -> None:
    vote = ExternalAddress()
    vote.heard(parse_endpoint("192.168.1.1:1"), US, now=0.0)
    assert len(vote) == 0


def test_ipv6_networks_vote_too() -> None:
    vote = ExternalAddress()
    for serial in range(VOTERS_MIN):
        vote.heard(public6(serial), public6(9_999), now=0.0)
    assert vote.decided(now=0.0) == address_of(public6(9_999))


def test_votes_fade_and_a_new_address_wins() -> None:
    vote = vote_of([US] * VOTERS_MIN)
    assert vote.decided(now=VOTE_LIFETIME_S) is None
    for network in range(VOTERS_MIN):
        vote.heard(reporter(network), OTHER, now=100.0)
    assert vote.decided(now=100.0) == address_of(OTHER)


def test_memory_is_bounded() -> None:
    vote = vote_of([US] * 255)
    assert len(vote) == VOTERS_MAX
