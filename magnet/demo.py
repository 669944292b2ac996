"""The whole way from a magnet link to a torrent, on this machine alone.

A test network of real nodes runs on loopback, a seeder announces a torrent in it, and a newcomer
who knows one node and a link finds the metadata: real datagrams, real connections, nothing beyond
this machine. It needs no network and leaves nothing behind.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import trio

from dht.contact import Family, format_endpoint
from dht.keyspace import InfoHash
from dht.node import Node, NodeSettings, open_node
from dht.ratelimit import Budget
from dht.testnet import LOOPBACK, Testnet, open_testnet
from magnet.metainfo.create import create_directory_info
from magnet.metainfo.info import parse_info
from magnet.resolve.report import Report
from magnet.resolve.resolver import Resolved, open_resolver
from magnet.seeder import open_seeder
from magnet.uri import MagnetLink, format_magnet

NODES: Final = 40
"""Nodes of the demonstration's network: enough that a lookup takes several hops."""

TIMEOUT_S: Final = 15.0
"""Seconds for the resolve, which takes a few hundredths of one."""

_PIECE_LENGTH: Final = 16_384
_SEED: Final = 1
_FAMILIES: Final = (Family.IPV4,)

Say = Callable[[str], None]
"""Tells the user of one step."""


async def run_demo(say: Say) -> tuple[Resolved, Report]:
    """Run the demonstration.

    Args:
        say: Is given a line for each step.

    Returns:
        What was resolved, and how.

    Raises:
        CannotListen: Loopback addresses cannot be bound.
        ResolveError: The demonstration failed, which would be a bug.
    """
    raw_info = make_torrent()
    info_hash = _info_hash_of(raw_info)
    async with open_testnet(NODES, _FAMILIES) as testnet:
        say(f"started {NODES} DHT nodes on {LOOPBACK[Family.IPV4]}, each on a UDP port of its own")
        async with open_seeder(
            {info_hash: raw_info}, hosts=[LOOPBACK[Family.IPV4]], rng=Random(_SEED)
        ) as seeder:
            holders = await testnet.nodes[-1].announce(info_hash, seeder.port)
            say(f"a peer on TCP port {seeder.port} announced itself to {len(holders)} of them")
            return await _resolve(testnet, MagnetLink(info_hash=info_hash), say)


def make_torrent() -> bytes:
    """Return the info dictionary of a small torrent with three files, always the same."""
    files = [
        (("README.txt",), [b"Metadata found without any tracker.\n"]),
        (("data", "noise.bin"), _noise(1_500_000)),
        (("data", "more", "noise.bin"), _noise(250_000)),
    ]
    return create_directory_info("trackerless-demo", files, _PIECE_LENGTH)


async def _resolve(testnet: Testnet, link: MagnetLink, say: Say) -> tuple[Resolved, Report]:
    settings = NodeSettings(
        bind=[(LOOPBACK[family], 0) for family in _FAMILIES],
        bootstrap=testnet.entry_points(1),
        budget=Budget.SERVER,
        read_only=True,
    )
    async with open_node(settings) as newcomer, open_resolver(newcomer) as resolver:
        say(f"a newcomer at {_addresses(newcomer)} knows one node, and this link:")
        say(f"  {format_magnet(link)}")
        report = Report()
        begun_at = trio.current_time()
        resolved = await resolver.resolve(link, timeout_s=TIMEOUT_S, report=report)
        say(
            f"{report.nodes_asked} nodes asked, {report.peers_found} peer found, metadata of "
            f"{len(resolved.raw_info)} bytes fetched and verified, "
            f"in {trio.current_time() - begun_at:.2f} s"
        )
        return resolved, report


def _info_hash_of(raw_info: bytes) -> InfoHash:
    info_hash = parse_info(raw_info).info_hash
    if info_hash is None:
        raise ValueError("the demonstration's torrent is one of version 1")
    return info_hash


def _addresses(node: Node) -> str:
    return " and ".join(format_endpoint(it) for it in node.endpoints.values())


def _noise(size: int) -> Iterator[bytes]:
    yield Random(_SEED).randbytes(size)
