"""Scrapes: a client asked for filters by us, and what it announces counted by us."""

from collections.abc import AsyncIterator

import pytest

from dht.bloom import AddressFilter
from dht.contact import Endpoint, Family, address_of
from dht.keyspace import InfoHash
from dht.krpc import GET_PEERS
from dht.measure.holdings import Estimate
from dht.measure.survey import scrape
from dht.node import Node, NodeSettings, open_node
from dht.scrape import Statement, read_statement
from dht.testnet import Testnet
from tests.interop.client import Client, open_client, until

pytestmark = pytest.mark.interop

KEY = InfoHash(b"\x5a" * 20)
PORT = 6_881
NOBODY = AddressFilter()


@pytest.fixture
async def client(host: str, testnet: Testnet) -> AsyncIterator[Client]:
    """A client that has joined our network."""
    async with open_client(host, testnet.entry_points(1)) as client:
        await client.wait_joined()
        yield client


@pytest.fixture
async def node(host: str, testnet: Testnet) -> AsyncIterator[Node]:
    """A node of ours that asks."""
    settings = NodeSettings(bind=[(host, 0)], bootstrap=testnet.entry_points(), read_only=True)
    async with open_node(settings) as node:
        await node.wait_joined()
        yield node


async def statement_of(client: Endpoint, node: Node) -> Statement | None:
    call = await node.call(client, GET_PEERS, {b"info_hash": KEY, b"scrape": 1})
    assert call.answer is not None
    return read_statement(call.answer)


async def test_a_client_gives_no_filter_of_a_swarm_that_it_does_not_know(
    client: Client, node: Node
) -> None:
    statement = await statement_of(client.endpoint, node)
    assert statement == Statement(None, None, frozenset())


@pytest.mark.parametrize("seed", [True, False])
async def test_a_client_answers_our_scrape(
    client: Client, testnet: Testnet, node: Node, seed: bool, family: Family
) -> None:
    announcing = testnet.nodes[0]
    call = await announcing.call(client.endpoint, GET_PEERS, {b"info_hash": KEY})
    assert call.answer is not None
    assert call.answer.token is not None
    await announcing.call(
        client.endpoint,
        b"announce_peer",
        {b"info_hash": KEY, b"port": PORT, b"seed": int(seed), b"token": call.answer.token},
    )
    here = AddressFilter.of([address_of(announcing.endpoints[family])])
    statement = await statement_of(client.endpoint, node)
    assert statement is not None
    assert (statement.seeds, statement.leechers) == ((here, NOBODY) if seed else (NOBODY, here))


async def test_what_a_client_announces_is_counted(
    client: Client, testnet: Testnet, node: Node, family: Family
) -> None:
    client.announce(KEY, PORT)

    def holders() -> int:
        return sum(it.statistics().engines[family].swarms for it in testnet.nodes)

    # The client itself may be one of the eight nearest.
    await until(lambda: holders() >= len(testnet.nodes) - 1)
    outcome = await scrape(node, KEY)
    assert outcome.size.peers == outcome.size.leechers == Estimate(1, 1, 1)
    assert outcome.size.seeds.estimate == 0
