"""How large packets may be."""

from itertools import pairwise

import pytest

from dht.contact import Endpoint, parse_endpoint
from magnet.transport.utp.mtu import LOOPBACK_PLATEAUS, PROBES_MAX, RAISE_S, PathMtu
from magnet.transport.utp.packet import PADDING_MAX

V4 = parse_endpoint("9.9.9.9:1")
V6 = parse_endpoint("[2620:fe::fe]:1")
LOOPBACK = parse_endpoint("127.0.0.1:1")


def climb(mtu: PathMtu) -> list[int]:
    """Let every probe arrive; return the sizes on the way."""
    sizes = [mtu.size]
    while (probe := mtu.next_probe(now=0.0)) is not None:
        mtu.arrived(probe)
        sizes.append(mtu.size)
    return sizes


def test_a_size_that_is_lost_twice_is_left_alone_for_a_while() -> None:
    mtu = PathMtu(V4)
    before = mtu.size
    for _ in range(PROBES_MAX):
        assert mtu.next_probe(now=0.0)
        mtu.lost(now=0.0)
    assert mtu.next_probe(now=RAISE_S - 1) is None
    assert mtu.size == before
    assert mtu.next_probe(now=RAISE_S)


def test_one_loss_is_forgiven_by_an_arrival() -> None:
    mtu = PathMtu(V4)
    mtu.lost(now=0.0)
    mtu.arrived(mtu.next_probe(now=0.0) or 0)
    mtu.lost(now=0.0)
    assert mtu.next_probe(now=0.0) is not None


@pytest.mark.parametrize(
    ("to", "first", "last"), [(V4, 1_252, 1_472), (V6, 1_232, 1_452)], ids=["IPv4", "IPv6"]
)
def test_it_climbs_to_what_ethernet_takes(to: Endpoint, first: int, last: int) -> None:
    sizes = climb(PathMtu(to))
    assert sizes[0] == first
    assert sizes[-1] == last


def test_on_loopback_it_climbs_higher() -> None:
    assert climb(PathMtu(LOOPBACK))[-1] == LOOPBACK_PLATEAUS[-1] - 28


def test_padding_bridges_every_step() -> None:
    sizes = climb(PathMtu(LOOPBACK))
    steps = [second - first for first, second in pairwise(sizes)]
    assert all(2 <= step <= PADDING_MAX for step in steps)
