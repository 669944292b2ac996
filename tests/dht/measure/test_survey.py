"""Scrapes of nodes on loopback; those that know no filters are played by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from dht.background import open_background
from dht.bencode import BValue, decode, encode
from dht.bootstrap import BootstrapHost
from dht.contact import endpoint
from dht.errors import NotBootstrapped, QueryRefused
from dht.keyspace import InfoHash
from dht.measure.holdings import NONE, UNKNOWN, Estimate
from dht.measure.survey import ROUNDS, scrape
from dht.node import Node, NodeSettings, open_node
from dht.testnet import Testnet, as_bootstrap_host

HASH = InfoHash(b"mnopqrstuvwxyz123456")
TWO = Estimate(2, 2, 2)
SWARM = [endpoint(f"127.1.0.{serial}", 6881) for serial in range(1, 101)]


@asynccontextmanager
async def asking(*hosts: BootstrapHost) -> AsyncIterator[Node]:
    settings = NodeSettings(bind=[("127.0.0.1", 0), ("::1", 0)], bootstrap=hosts, read_only=True)
    async with open_node(settings) as node:
        yield node


async def serve_legacy(sock: trio.socket.SocketType, asked: list[bytes]) -> None:
    """Answer as a node that knows no filters: fifty other peers of the hundred each time."""
    while True:
        data, source = await sock.recvfrom(2_048)
        query = decode(data)
        assert isinstance(query, dict)
        values: dict[bytes, BValue] = {b"id": bytes(range(20)), b"nodes": b""}
        if query[b"q"] == b"get_peers":
            first = 25 * len(asked) % 100
            values[b"values"] = [*(SWARM + SWARM)[first : first + 50]]
            asked.append(data)
        await sock.sendto(encode({b"t": query[b"t"], b"y": b"r", b"r": values}), source)


async def test_without_a_network_nothing_is_measured(patient_clock: trio.testing.MockClock) -> None:
    async with asking() as node:
        with pytest.raises(NotBootstrapped):
            await scrape(node, HASH)


async def test_a_swarm_nobody_knows_is_none(testnet: Testnet) -> None:
    async with asking(*testnet.entry_points(1)) as node:
        outcome = await scrape(node, HASH)
    assert outcome.size == (NONE, NONE, NONE)
    assert outcome.nodes_asked >= outcome.nodes_answered >= 16


async def test_both_families_are_measured(testnet: Testnet) -> None:
    await testnet.nodes[0].announce(HASH, 6881, seed=True)
    async with asking(*testnet.entry_points(1)) as node:
        outcome = await scrape(node, HASH)
    assert outcome.info_hash == HASH
    assert outcome.size == (TWO, NONE, TWO)


@asynccontextmanager
async def beside_legacy(asked: list[bytes]) -> AsyncIterator[Node]:
    """A node that knows nobody but one without filters."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        async with open_background() as background:
            background.start_soon(serve_legacy, sock, asked)
            async with asking(as_bootstrap_host(endpoint(*sock.getsockname()))) as node:
                yield node


async def test_a_node_without_filters_is_asked_for_more(
    patient_clock: trio.testing.MockClock,
) -> None:
    asked: list[bytes] = []
    async with beside_legacy(asked) as node:
        outcome = await scrape(node, HASH)
    assert len(asked) == 1 + ROUNDS
    assert outcome.size.seeds == outcome.size.leechers == UNKNOWN
    assert outcome.size.peers.low is not None
    assert outcome.size.peers.low >= 100


async def test_what_was_said_must_do_if_no_more_can_be_asked(
    patient_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise QueryRefused("too much")

    async with beside_legacy([]) as node:
        monkeypatch.setattr(node, "call", refuse)
        outcome = await scrape(node, HASH)
    assert outcome.size.peers.low is not None
    assert 50 <= outcome.size.peers.low < 60
