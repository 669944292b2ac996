"""How a command reaches others: directly or by way of a proxy, plain or encrypted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from dht.contact import Scope
from dht.node import Node, NodeSettings, open_node
from magnet.resolve.resolver import Resolver, open_resolver
from magnet.sources.reach import Reach
from magnet.sources.usual import relayed_sources
from magnet.transport.dial import DialPolicy
from magnet.transport.socks.address import parse_proxy
from magnet.transport.socks.proxy import SocksProxy
from magnet.transport.ways import open_dialer


@asynccontextmanager
async def open_proxied_node(
    settings: NodeSettings, proxy: str | None, scope: Scope
) -> AsyncIterator[Node]:
    """Run a node for the time of the block, whose datagrams go by way of a proxy if there is one.

    Then it does not use what an unproxied node remembers, its id above all, which would tell that
    both are one.

    Args:
        settings: Of the node.
        proxy: As users write it.
        scope: How far the proxy reaches.

    Raises:
        ProxyError: The proxy cannot be used.
    """
    if proxy is None:
        async with open_node(settings) as node:
            yield node
        return
    hidden = replace(settings, state=None, map_ports=False)
    async with (
        SocksProxy(*parse_proxy(proxy)).open_relay(scope=scope) as relay,
        open_node(hidden, sockets=[relay]) as node,
    ):
        yield node


@asynccontextmanager
async def open_proxied_resolver(
    node: Node, proxy: str | None, policy: DialPolicy
) -> AsyncIterator[Resolver]:
    """Give a resolver for the time of the block.

    Args:
        node: Whose datagrams go by way of the proxy, if there is one.
        proxy: As users write it. With it, trackers, web servers and neighbours are not asked.
        policy: How to dial.
    """
    if proxy is None:
        async with (
            open_dialer(node, policy=policy) as dialer,
            open_resolver(node, dialer=dialer) as resolver,
        ):
            yield resolver
        return
    (relay,) = node.sockets.values()
    reach = Reach.by_proxy(relay.scope)
    async with (
        open_dialer(node, proxy=SocksProxy(*parse_proxy(proxy)), policy=policy) as dialer,
        open_resolver(node, dialer=dialer, sources=relayed_sources(node), reach=reach) as resolver,
    ):
        yield resolver
