"""Items of BEP 44 between libtorrent and us: each keeps, returns and changes the other's."""

import json
from pathlib import Path
from typing import Any

import pytest

from dht.bencode import encode
from dht.items import GET, ImmutableItem, MutableItem, SigningKey, immutable_target, mutable_target
from dht.node import Node
from dht.publishing import get_item, put_item, update_item
from tests.interop.client import Client
from tests.interop.joining import node_knowing

pytestmark = pytest.mark.interop

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bep44.json").read_text()
)
THEIR_KEY = bytes.fromhex(VECTORS["public_key"])
THEIR_SECRET = bytes.fromhex(VECTORS["expanded_key"])
OUR_KEY = SigningKey(bytes(range(32)))
SALTS = [b"", b"foobar"]
TEXT = b"Hello World!"


async def test_what_nobody_put_it_does_not_have(node: Node) -> None:
    assert await get_item(node, bytes(20)) is None


async def test_it_keeps_our_text(client: Client, node: Node) -> None:
    item = ImmutableItem(encode(TEXT))
    report = await put_item(node, item)
    assert [it.endpoint for it in report.stored_by] == [client.endpoint]
    found = await get_item(node, item.target)
    assert found is not None
    assert found.item == item
    assert await client.get_text(item.target) == TEXT


async def test_we_keep_its_text(client: Client, node: Node, host: str) -> None:
    target = await client.put_text(TEXT)
    assert target == immutable_target(encode(TEXT))
    async with node_knowing(host, client.as_bootstrap_host()) as other:
        assert await kept_by(node, target, other) == TEXT
    assert await client.get_text(target) == TEXT


async def kept_by(node: Node, target: bytes, other: Node) -> object:
    """Let one node ask another for what that keeps itself."""
    (at,) = node.endpoints.values()
    call = await other.call(at, GET, {b"target": target})
    assert call.answer is not None
    return call.answer.response.values.get(b"v")


@pytest.mark.parametrize("salt", SALTS)
async def test_it_keeps_our_signed_items(client: Client, node: Node, salt: bytes) -> None:
    first, second = encode(b"first"), encode(b"second")
    await update_item(node, OUR_KEY, lambda _: first, salt=salt)
    report = await update_item(node, OUR_KEY, lambda _: second, salt=salt)
    assert [it.endpoint for it in report.stored_by] == [client.endpoint]
    target = mutable_target(OUR_KEY.public_key, salt)
    found = await get_item(node, target, salt=salt)
    assert found is not None
    assert found.item == OUR_KEY.sign(second, 2, salt)
    assert await get_item(node, target, salt=salt, newer_than=2) is None
    assert await client.get_signed(OUR_KEY.public_key, salt) == (2, b"second")


@pytest.mark.parametrize("salt", SALTS)
async def test_we_keep_its_signed_items(client: Client, node: Node, host: str, salt: bytes) -> None:
    target = mutable_target(THEIR_KEY, salt)
    # The other node stays: the client would wait for one that has left.
    async with node_knowing(host, client.as_bootstrap_host()) as other:
        for text in (b"first", b"second"):
            await client.put_signed(THEIR_SECRET, THEIR_KEY, text, salt)
            assert await kept_by(node, target, other) == text
        found = await get_item(other, target, salt=salt)
        assert found is not None
        assert isinstance(found.item, MutableItem)
        assert found.item.value == encode(b"second")
        assert await client.get_signed(THEIR_KEY, salt) == (found.item.seq, b"second")
