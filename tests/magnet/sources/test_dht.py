"""The DHT and the link as sources: nobody there, nothing found, and what is found."""

import pytest
import trio
import trio.testing

from dht.contact import endpoint, host_of
from dht.errors import NodeClosed
from dht.keyspace import ID_BYTES, InfoHash
from dht.node import NodeSettings, open_node
from dht.testnet import open_testnet
from magnet.hosts import HostPort
from magnet.sources.dht import PAUSE_MIN_S, DhtSource
from magnet.sources.link import LinkSource
from magnet.sources.source import LINK, Candidate, SourceRecord, Wanted
from magnet.uri import MagnetLink

KEY = InfoHash(b"\xaa" * ID_BYTES)
WANTED = Wanted(MagnetLink(info_hash=KEY), (KEY,))
ALONE = NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())


class Finder:
    """Keeps what is found."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []

    def peer(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)

    def metadata(self, raw_info: bytes, piece_layers: object = None) -> bool:
        raise AssertionError("the DHT has no metadata")


async def test_closed_node_ends_the_source() -> None:
    async with open_node(ALONE) as node:
        pass
    with pytest.raises(NodeClosed):
        await DhtSource(node, KEY).run(WANTED, Finder(), SourceRecord("dht"))


async def test_node_that_knows_nobody_is_no_fault_and_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    record = SourceRecord("dht")
    async with open_node(ALONE) as node:
        with trio.move_on_after(PAUSE_MIN_S / 2):
            await DhtSource(node, KEY).run(WANTED, Finder(), record)
    assert record.error == "no node is known to ask"
    assert record.next_at == PAUSE_MIN_S
    assert record.asked == 0


async def test_peers_are_reported_under_the_key_and_the_name() -> None:
    finder, record = Finder(), SourceRecord("dht v2")
    async with open_testnet(6) as testnet:
        await testnet.nodes[1].announce(KEY, 6881)
        (at,) = testnet.nodes[1].endpoints.values()
        source = DhtSource(testnet.nodes[-1], KEY, "dht v2")
        with trio.move_on_after(0.3):
            await source.run(WANTED, finder, record)
    assert finder.candidates == [Candidate(endpoint(host_of(at), 6881), KEY, "dht v2")]
    assert (record.answered, record.failed, record.peers) == (record.asked, 0, 1)
    assert record.error is None
    assert record.next_at is not None


async def test_link_names_peers_by_address_and_under_its_first_key() -> None:
    finder, record = Finder(), SourceRecord(LINK)
    peers = (HostPort("a.name.example", 1), HostPort("192.0.2.1", 6881), HostPort("2001:db8::1", 2))
    link = MagnetLink(info_hash=KEY, info_hash_v2=bytes(32), peers=peers)
    await LinkSource().run(Wanted(link, link.swarm_keys()), finder, record)
    assert finder.candidates == [
        Candidate(endpoint("192.0.2.1", 6881), KEY, LINK),
        Candidate(endpoint("2001:db8::1", 2), KEY, LINK),
    ]
    assert record.peers == 2
