"""A DHT of real nodes on loopback: sockets, datagrams and all, but no traffic beyond this machine.

For demonstrations and tests of programs that need a network to talk to. Each node is complete; they
differ from nodes in the wild only in being neighbours.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from dht.bootstrap import BootstrapHost
from dht.contact import Endpoint, Family, host_of, port_of
from dht.node import Node, NodeSettings, open_node
from dht.ratelimit import Budget

NODES_MAX: Final = 1_000
"""Nodes in one process: each has a socket, three tasks and a routing table."""

LOOPBACK: Final = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
"""Where the nodes of a test network live."""


class Testnet:
    """A running test network.

    Attributes:
        nodes: Its nodes; the first is the one through which the others joined.
    """

    __test__ = False  # Not a test case, whatever its name suggests to pytest.

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Made by `open_testnet`."""
        self.nodes = tuple(nodes)

    def entry_points(self, count: int = 3) -> list[BootstrapHost]:
        """Return the first nodes as bootstrap hosts, one entry an address family."""
        return [
            as_bootstrap_host(it) for node in self.nodes[:count] for it in node.endpoints.values()
        ]


@asynccontextmanager
async def open_testnet(
    count: int, families: Sequence[Family] = (Family.IPV4,)
) -> AsyncIterator[Testnet]:
    """Run a network of nodes on loopback for the time of the block.

    All nodes have joined when the block begins.

    Args:
        count: How many nodes, 1 to `NODES_MAX`.
        families: Of every node; with two, there are two DHTs of `count` nodes each.

    Raises:
        ValueError: `count` is out of range.
        CannotListen: A loopback address cannot be bound.
    """
    if not 1 <= count <= NODES_MAX:
        raise ValueError(f"a test network has 1 to {NODES_MAX} nodes, not {count}")
    bind = [(LOOPBACK[family], 0) for family in families]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_node(_settings(bind, [])))
        hosts = [as_bootstrap_host(it) for it in first.endpoints.values()]
        nodes = [first]
        for _ in range(count - 1):
            node = await stack.enter_async_context(open_node(_settings(bind, hosts)))
            # One after another, as networks grow: whoever joins an empty network learns nobody.
            await node.wait_joined()
            nodes.append(node)
        yield Testnet(nodes)


def as_bootstrap_host(endpoint: Endpoint) -> BootstrapHost:
    """Return a node's endpoint as a host to begin with; an ordinary node, not a router."""
    return BootstrapHost(host_of(endpoint), port_of(endpoint), is_router=False)


def _settings(bind: Sequence[tuple[str, int]], bootstrap: Sequence[BootstrapHost]) -> NodeSettings:
    return NodeSettings(bind=bind, bootstrap=bootstrap, budget=Budget.SERVER)
