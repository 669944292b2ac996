"""Whom we may reach, by what we are bound to."""

import pytest

from dht.contact import Family, Scope, endpoint
from magnet.sources.reach import Reach

LOOPBACK = Reach({Family.IPV4: endpoint("127.0.0.1", 0), Family.IPV6: endpoint("::1", 0)})
EVERYWHERE = Reach({Family.IPV4: endpoint("0.0.0.0", 6881)})
MIXED = Reach({Family.IPV4: endpoint("192.168.1.2", 0), Family.IPV6: endpoint("::1", 0)})


@pytest.mark.parametrize(
    ("reach", "host"),
    [
        (LOOPBACK, "8.8.8.8"),
        (LOOPBACK, "192.168.1.1"),
        (EVERYWHERE, "127.0.0.1"),
        (EVERYWHERE, "192.168.1.1"),
        (EVERYWHERE, "169.254.169.254"),
        (EVERYWHERE, "2600::1"),
        (MIXED, "127.0.0.1"),
        (MIXED, "2600::1"),
    ],
)
def test_out_of_reach(reach: Reach, host: str) -> None:
    assert not reach.allows(endpoint(host, 6881))


@pytest.mark.parametrize(
    ("reach", "host"),
    [(LOOPBACK, "127.0.0.1"), (LOOPBACK, "::1"), (EVERYWHERE, "8.8.8.8"), (MIXED, "192.168.1.1")],
)
def test_within_reach(reach: Reach, host: str) -> None:
    assert reach.allows(endpoint(host, 6881))
    assert not reach.allows(endpoint(host, 0))


def test_scope_by_which_a_host_is_judged() -> None:
    assert LOOPBACK.scope_towards("localhost") is Scope.LOOPBACK
    assert EVERYWHERE.scope_towards("localhost") is Scope.GLOBAL
    assert MIXED.scope_towards("localhost") is Scope.GLOBAL
    assert MIXED.scope_towards("192.168.1.1") is Scope.PRIVATE
    assert EVERYWHERE.scope_towards("::1") is Scope.GLOBAL


def test_own_addresses() -> None:
    assert EVERYWHERE.families == (Family.IPV4,)
    assert MIXED.families == (Family.IPV4, Family.IPV6)
    assert MIXED.host(Family.IPV4) == "192.168.1.2"
