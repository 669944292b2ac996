"""The `dht` application: where its commands are registered, and what most of them begin with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import trio

from dht.bootstrap import BootstrapHost, resolve_hosts
from dht.commandline import (
    CommandFailed,
    CommonOptions,
    OutputOptions,
    Terminal,
    explained,
    make_app,
)
from dht.contact import Endpoint
from dht.node import Node, NodeStatistics, open_node

TIMEOUT_S: Final = 60.0
"""Seconds that a query may take unless told otherwise; a search on the public DHT takes five to
fifteen, and one that meets only dead bootstrap hosts half a minute."""

app = make_app(
    "dht", "A node of the BitTorrent DHT: run one, ask others, start a network for tests."
)

COMMON: Final = CommonOptions()
OUTPUT: Final = OutputOptions()
"""The options as they are when none is given."""


@asynccontextmanager
async def asking(options: CommonOptions, terminal: Terminal) -> AsyncIterator[Node]:
    """Run a short-lived node for the time of the block, and show how it is.

    Raises:
        CommandFailed: The block took too long, or the node met nobody.
    """
    timeout_s = options.timeout or TIMEOUT_S
    async with open_node(options.node_settings(read_only=True)) as node:
        with trio.move_on_after(timeout_s) as deadline:
            async with terminal.progress(lambda: describe(node.statistics())):
                with explained(node):
                    yield node
        if deadline.cancelled_caught:
            state = describe(node.statistics())
            raise CommandFailed(f"not done within {timeout_s:g} s ({state})")


@asynccontextmanager
async def asking_host(
    host: BootstrapHost, options: CommonOptions
) -> AsyncIterator[tuple[Node, tuple[Endpoint, ...]]]:
    """Run a node for the time of the block that asks one host, and nobody else.

    Yields:
        The node, and the addresses of the host, at least one.

    Raises:
        CommandFailed: The host has no address that can be asked.
    """
    # The host that is asked tells where to bind.
    asking = replace(options, bootstrap=(host,)).node_settings(read_only=True)
    async with open_node(replace(asking, bootstrap=(), state=None)) as node:
        (resolved,) = await resolve_hosts([host], list(node.endpoints))
        if not resolved.endpoints:
            raise CommandFailed(f"{host} has no address that can be asked from here")
        yield node, resolved.endpoints


def describe(statistics: NodeStatistics) -> str:
    """Return how a node is, in one line."""
    families = [
        f"{family.name.replace('V', 'v')}: {count(engine.nodes, 'node')}, "
        f"asked {engine.counts.get('queries sent', 0)}, "
        f"served {engine.counts.get('queries answered', 0)}"
        for family, engine in statistics.engines.items()
    ]
    return "; ".join(families)


def count(number: int, thing: str) -> str:
    """Return `1 node`, `2 nodes` and the like."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def since(started: float) -> float:
    """Return the seconds since a trio time, rounded to milliseconds."""
    return round(trio.current_time() - started, 3)
