"""A network of real nodes on loopback."""

import pytest

from dht.contact import Family, Scope, scope_of
from dht.testnet import NODES_MAX, open_testnet


@pytest.mark.parametrize("count", [-1, 0, NODES_MAX + 1])
async def test_sizes_that_make_no_sense_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {NODES_MAX}"):
        await start(count)


async def start(count: int) -> None:
    async with open_testnet(count):
        raise AssertionError("running")


async def test_one_node_is_a_network() -> None:
    async with open_testnet(1) as network:
        assert len(network.nodes) == len(network.entry_points()) == 1


async def test_all_have_joined_when_the_block_begins() -> None:
    async with open_testnet(12) as network:
        nodes = [it.statistics().engines[Family.IPV4].nodes for it in network.nodes]
        assert len(nodes) == 12
        assert min(nodes) >= 8


async def test_both_families_stay_on_loopback() -> None:
    async with open_testnet(3, tuple(Family)) as network:
        ends = [it for node in network.nodes for it in node.endpoints.values()]
        assert {scope_of(it) for it in ends} == {Scope.LOOPBACK}
        assert [str(it)[0] for it in network.entry_points(2)] == ["1", "[", "1", "["]
        assert not any(it.is_router for it in network.entry_points())
