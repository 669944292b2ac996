"""sample_infohashes between nodes of ours and libtorrent's."""

from collections.abc import AsyncIterator

import pytest

from dht.bencode import BValue
from dht.contact import Family
from dht.keyspace import InfoHash, NodeId
from dht.node import Node, NodeSettings, open_node
from dht.sampler import Sampler
from dht.sampling import INTERVAL_MAX_S, Samples
from dht.services.samples import SAMPLES_MAX, SUBSET_LIFETIME_S
from tests.interop.client import Client
from tests.interop.joining import node_knowing

pytestmark = pytest.mark.interop

TARGET = NodeId(b"\x5a" * 20)
PORT = 6_881
MANY = 21
"""More than one answer shows, of libtorrent's and of ours, yet not so many that announcing them at
once looks like a flood to either."""

ipv4_only = pytest.mark.parametrize("family", [Family.IPV4], indirect=True)
"""libtorrent asks no node at ::1: it goes by its external address, and on loopback has none."""


def key(serial: int) -> InfoHash:
    return InfoHash(serial.to_bytes(20))


@pytest.fixture
async def node(client: Client, host: str) -> AsyncIterator[Node]:
    """A node of ours that knows the client and nobody else."""
    async with node_knowing(host, client.as_bootstrap_host()) as node:
        yield node


async def test_it_says_that_it_stores_nothing(client: Client, node: Node) -> None:
    _, samples = await Sampler(node).sample(client.endpoint, TARGET)
    assert samples is not None
    assert (samples.info_hashes, samples.total) == ((), 0)


async def test_it_shows_what_we_announced(client: Client, node: Node) -> None:
    for serial in range(1, MANY + 1):
        await node.announce(key(serial), PORT)
    _, samples = await Sampler(node).sample(client.endpoint, TARGET)
    assert isinstance(samples, Samples)
    assert set(samples.info_hashes) <= {key(serial) for serial in range(1, MANY + 1)}
    assert len(samples.info_hashes) == SAMPLES_MAX
    assert samples.total == MANY
    assert samples.interval_s == INTERVAL_MAX_S


@ipv4_only
async def test_it_reads_that_we_store_nothing(client: Client, node: Node, family: Family) -> None:
    assert await client.sample(node.endpoints[family], TARGET) == ([], 0, 0)


@ipv4_only
async def test_it_reads_what_was_announced_to_us(
    client: Client, node: Node, family: Family, host: str
) -> None:
    at = node.endpoints[family]
    async with open_node(NodeSettings(bind=[(host, 0)], bootstrap=[])) as other:
        for serial in range(1, MANY + 1):
            reply = await other.call(at, b"get_peers", {b"info_hash": key(serial)})
            assert reply.answer is not None
            assert reply.answer.token is not None
            announcement: dict[bytes, BValue] = {
                b"info_hash": key(serial),
                b"port": PORT,
                b"token": reply.answer.token,
            }
            await other.call(at, b"announce_peer", announcement)
    samples, total, interval_s = await client.sample(at, TARGET)
    assert len(set(samples)) == SAMPLES_MAX
    assert set(samples) <= {key(serial) for serial in range(1, MANY + 1)}
    assert total == MANY
    assert 0 < interval_s <= SUBSET_LIFETIME_S
