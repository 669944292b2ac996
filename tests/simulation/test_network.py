"""The virtual network itself, and what a quiet network of engines costs."""

import pytest

from dht.contact import Endpoint
from dht.engine import Engine
from dht.keyspace import random_id
from scripts.simulations.network import Datagram, Stuck, VirtualNetwork, Weather

CALM = Weather(loss=0.0)


def small_network(seed: int, weather: Weather = CALM, *, nodes: int = 12) -> VirtualNetwork:
    network = VirtualNetwork(seed, weather)
    network.add_routers(1)
    network.add_nodes(nodes, over_s=5.0)
    network.run(30.0)
    return network


def test_a_search_that_does_not_end_is_no_success() -> None:
    network = small_network(1)
    network.find_node(network.some_node(), random_id(network.rng))
    with pytest.raises(Stuck, match="1 searches"):
        network.run_until_ended(limit_s=0.01)


def test_an_engine_that_would_wake_for_ever_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = small_network(1)
    monkeypatch.setattr(Engine, "next_deadline", lambda engine, *, now: now)
    with pytest.raises(Stuck, match="due for ever"):
        network.run(60.0)


def test_a_missed_deadline_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network(1)
    monkeypatch.setattr(Engine, "next_deadline", lambda engine, *, now: now - 1.0)
    with pytest.raises(Stuck, match="missed"):
        network.run(60.0)


def test_nothing_arrives_when_all_is_lost() -> None:
    network = small_network(1, Weather(loss=1.0))
    assert network.datagrams_sent > 0
    assert all(len(engine.table) == 0 for engine in network.engines.values())


def test_removed_nodes_say_nothing_more() -> None:
    network = small_network(1)
    gone = network.some_nodes(3)
    network.remove_nodes(gone)
    spoke: list[Datagram] = []
    network.tap = spoke.append
    network.run(900.0)
    assert spoke
    assert not {datagram.source for datagram in spoke} & set(gone)


def test_routers_stay_out_of_tables() -> None:
    network = small_network(1)
    (router,) = network.routers
    tables = [engine.table for at, engine in network.engines.items() if at != router]
    assert all(table.find(router) is None for table in tables)


def test_a_small_calm_network_knows_itself() -> None:
    network = small_network(1)
    searches = [
        network.find_node(at, random_id(network.rng))
        for at in network.engines
        if at not in network.routers
    ]
    network.run_until_ended(limit_s=30.0)
    assert [network.recall_of(search) for search in searches] == [1.0] * len(searches)


def test_acquainted_nodes_have_full_tables_and_need_no_router() -> None:
    network = VirtualNetwork(1, CALM)
    network.add_acquainted_nodes(60)
    search = network.find_node(network.some_node(), random_id(network.rng))
    network.run_until_ended(limit_s=30.0)
    assert network.recall_of(search) == 1.0
    assert min(len(engine.table) for engine in network.engines.values()) >= 16


def test_another_seed_gives_other_bytes() -> None:
    assert small_network(1).digest() != small_network(2).digest()


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert small_network(1).digest() == small_network(1).digest()


@pytest.mark.slow
def test_a_quiet_night_costs_little_and_loses_nobody() -> None:
    network = small_network(1)
    sent, known, night_s = network.datagrams_sent, acquaintances(network), 28_800.0
    network.run(night_s)
    assert (network.datagrams_sent - sent) / len(network.engines) < 0.2 * night_s
    assert acquaintances(network) >= known


def acquaintances(network: VirtualNetwork) -> set[tuple[Endpoint, Endpoint]]:
    return {
        (at, node.contact.endpoint)
        for at, engine in network.engines.items()
        for node in engine.table
    }
