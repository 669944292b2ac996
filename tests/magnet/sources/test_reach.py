"""Whom we may reach, by what we are bound to."""

import pytest

from dht.contact import Family, Scope, endpoint, family_of
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


@pytest.mark.parametrize(
    ("hosts", "scope"),
    [
        (["127.0.0.1", "::1"], Scope.LOOPBACK),
        (["127.0.0.1", "::"], Scope.GLOBAL),
        (["0.0.0.0"], Scope.GLOBAL),
        (["192.168.1.2", "::"], Scope.PRIVATE),
    ],
)
def test_scope_by_which_a_link_is_read(hosts: list[str], scope: Scope) -> None:
    ends = [endpoint(host, 0) for host in hosts]
    assert Reach({family_of(at): at for at in ends}).scope is scope


def test_proxy_reaches_both_families() -> None:
    reach = Reach.by_proxy(Scope.GLOBAL)
    assert reach.scope is Scope.GLOBAL
    assert [reach.allows(endpoint(it, 1)) for it in ("8.8.8.8", "2600::1")] == [True, True]
    assert not reach.allows(endpoint("127.0.0.1", 1))
    assert Reach.by_proxy(Scope.LOOPBACK).allows(endpoint("127.0.0.1", 1))


def test_own_addresses() -> None:
    assert EVERYWHERE.families == (Family.IPV4,)
    assert MIXED.families == (Family.IPV4, Family.IPV6)
    assert MIXED.host(Family.IPV4) == "192.168.1.2"
