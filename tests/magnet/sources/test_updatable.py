"""Links that name a public key, and what the DHT says about it."""

from collections.abc import AsyncIterator

import pytest

from dht.bencode import encode
from dht.errors import NotBootstrapped
from dht.items import SigningKey, torrent_value
from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from dht.publishing import put_item
from dht.testnet import Testnet, open_testnet
from magnet.sources.updatable import follow_key
from magnet.uri import MagnetLink

KEY = SigningKey(bytes(range(32)))
OLD, NEW = InfoHash(b"\xaa" * 20), InfoHash(b"\xbb" * 20)


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    async with open_testnet(8) as opened:
        yield opened


async def test_link_without_a_key_is_refused(testnet: Testnet) -> None:
    with pytest.raises(ValueError, match="no public key"):
        await follow_key(testnet.nodes[1], MagnetLink(info_hash=OLD))


async def test_node_that_knows_nobody_says_so() -> None:
    async with open_node(NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())) as node:
        with pytest.raises(NotBootstrapped):
            await follow_key(node, MagnetLink(public_key=KEY.public_key))


@pytest.mark.parametrize("value", [b"7:nothing", encode({b"ih": bytes(19)}), b"de"])
async def test_item_that_names_no_torrent_leads_nowhere(testnet: Testnet, value: bytes) -> None:
    await put_item(testnet.nodes[1], KEY.sign(value, 1))
    assert await follow_key(testnet.nodes[2], MagnetLink(public_key=KEY.public_key)) is None


async def test_nothing_published_leads_nowhere(testnet: Testnet) -> None:
    assert await follow_key(testnet.nodes[1], MagnetLink(public_key=KEY.public_key)) is None


async def test_newest_torrent_of_a_key_is_found(testnet: Testnet) -> None:
    await put_item(testnet.nodes[1], KEY.sign(torrent_value(OLD), 1))
    await put_item(testnet.nodes[2], KEY.sign(torrent_value(NEW), 2))
    link = MagnetLink(info_hash=OLD, public_key=KEY.public_key, name="x")
    followed = await follow_key(testnet.nodes[3], link)
    assert followed is not None
    assert followed.link == MagnetLink(info_hash=NEW, public_key=KEY.public_key, name="x")
    assert followed.seq == 2


async def test_salt_tells_the_torrents_of_a_key_apart(testnet: Testnet) -> None:
    await put_item(testnet.nodes[1], KEY.sign(torrent_value(OLD), 1))
    await put_item(testnet.nodes[1], KEY.sign(torrent_value(NEW), 1, b"n"))
    link = MagnetLink(public_key=KEY.public_key, salt=b"n")
    followed = await follow_key(testnet.nodes[3], link)
    assert followed is not None
    assert followed.link.info_hash == NEW
