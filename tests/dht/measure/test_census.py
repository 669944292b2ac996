"""Counting the nodes of real, small networks."""

import random

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, Family
from dht.errors import NotBootstrapped
from dht.measure.census import PILOT_LOOKUPS, count_nodes, effort_within
from dht.measure.population import Estimate
from dht.node import NodeSettings, open_node
from dht.ratelimit import Budget
from dht.testnet import Testnet, as_bootstrap_host, open_testnet


async def test_a_node_that_knows_nobody_cannot_count(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    hosts = [as_bootstrap_host(silent_end)]
    settings = NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=hosts)
    async with open_node(settings) as node:
        with pytest.raises(NotBootstrapped):
            await count_nodes(node, random.Random(1))


@pytest.mark.slow
async def test_a_small_network_is_counted_to_the_node(testnet: Testnet) -> None:
    censuses = await count_nodes(testnet.nodes[0], random.Random(1))
    assert [it.family for it in censuses] == list(Family)
    for census in censuses:
        assert census.nodes == census.by_zone == Estimate(9.0, 0.0)
        assert census.by_distance is None
        assert (census.zone_bits, census.zone_nodes) == (0, 9)
        assert census.lookups == PILOT_LOOKUPS + 2
        assert 0 < census.queries <= 500
        assert census.elapsed_s > 0


@pytest.mark.slow
async def test_of_a_pair_each_counts_the_other() -> None:
    async with open_testnet(2) as testnet:
        (census,) = await count_nodes(testnet.nodes[0], random.Random(1))
    assert census.nodes == Estimate(1.0, 0.0)


def test_the_effort_goes_with_the_budget() -> None:
    gentle, home, server = (effort_within(it.endpoints_per_s) for it in Budget)
    assert all(a <= b for a, b in zip(gentle, home, strict=True))
    assert all(a <= b for a, b in zip(home, server, strict=True))
    assert gentle.lookups >= PILOT_LOOKUPS


@pytest.mark.slow
async def test_of_a_family_without_nodes_nothing_is_said() -> None:
    async with open_testnet(4) as testnet:
        bind = [("127.0.0.1", 0), ("::1", 0)]
        settings = NodeSettings(bind=bind, bootstrap=testnet.entry_points(1), read_only=True)
        async with open_node(settings) as node:
            ipv4, ipv6 = await count_nodes(node, random.Random(1))
    assert ipv4.nodes == Estimate(4.0, 0.0)
    assert (ipv6.nodes, ipv6.by_zone, ipv6.zone_nodes) == (None, None, 0)
