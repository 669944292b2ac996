"""Examines how a node is connected: `dht.diagnosis` judges, this collects the evidence.

    async with open_node(settings) as node:
        findings = await examine(node)
    print(is_healthy(findings))

The node may have run for long, and the longer the better; one that was just opened joins first.
Nothing is sent beyond what any search sends: the examination looks for a random id, pings a few of
the nodes it knows for their word on our address, and waits whether a stranger comes.
"""

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Final, NamedTuple

import trio

from dht.bootstrap import HostFate
from dht.contact import (
    Contact,
    Endpoint,
    Family,
    Scope,
    address_of,
    endpoint,
    family_of,
    host_of,
    network_of,
    port_of,
    scope_of,
)
from dht.diagnosis import Evidence, FamilyEvidence, Finding, HostEvidence, diagnose
from dht.errors import NotBootstrapped, QueryRefused
from dht.keyspace import random_id
from dht.mapping.status import Phase
from dht.node import Node, NodeStatistics

LISTEN_S: Final = 20.0
"""Seconds to wait for a stranger; in the public DHT the first comes within seconds."""

LOOK_S: Final = 0.5
"""Seconds between two looks whether one has come."""

REPORTERS_MAX: Final = 16
"""Nodes of a family that are asked how they see us, each in a network of its own."""

Reports = Mapping[Endpoint, Endpoint]


class _Clocks(NamedTuple):
    """Two clocks, read at once: the one on the wall and the steady one."""

    wall_s: float
    steady_s: float


async def examine(node: Node, *, listen_s: float = LISTEN_S) -> list[Finding]:
    """Examine a node's connection to the network.

    Takes as long as the join, if that is not over, a second or two, and up to `listen_s` more.

    Args:
        node: Any running node. Only one that answers queries can find out whether strangers come.
        listen_s: Seconds to wait for that, at most.

    Returns:
        Findings of each family that the node has a socket for, and then of the machine.

    Raises:
        NodeClosed: The node was closed meanwhile.
    """
    before = _read_clocks()
    with suppress(NotBootstrapped):
        await node.wait_joined()
        await node.find_node(random_id(SystemRandom()))
    reports = {family: await _ask_reports(node, family) for family in node.endpoints}
    with trio.move_on_after(listen_s):
        met = [family for family, heard in reports.items() if heard]
        await _watch(node, [it for it in met if _scope(node, it) is Scope.GLOBAL])
    after = _read_clocks()
    watched_s = after.steady_s - before.steady_s
    statistics = node.statistics()
    return diagnose(
        Evidence(
            families=[
                _evidence_of(node, statistics, family, seen, watched_s)
                for family, seen in reports.items()
            ],
            hosts=_evidence_of_hosts(statistics),
            wall_s=after.wall_s,
            drift_s=after.wall_s - before.wall_s - watched_s,
            mapping=statistics.mapping,
            endpoints_per_s=node.budget.endpoints_per_s,
            flows=statistics.flows,
        )
    )


async def _ask_reports(node: Node, family: Family) -> Reports:
    """Ask nodes at once, each in another network, at which endpoint they see us."""
    reports: dict[Endpoint, Endpoint] = {}

    async def ask(at: Endpoint) -> None:
        with suppress(QueryRefused):
            call = await node.ping(at)
            if call.answer is not None and call.answer.response.external is not None:
                reports[at] = call.answer.response.external

    saved = node.state().get(family)
    async with trio.open_nursery() as nursery:
        for at in _one_a_network(saved.contacts if saved is not None else ()):
            nursery.start_soon(ask, at)
    return {at: seen for at, seen in reports.items() if len(at) == len(seen)}


def _one_a_network(contacts: Iterable[Contact]) -> list[Endpoint]:
    """Return some of the contacts' endpoints, of public ones one a network."""
    chosen: dict[bytes, Endpoint] = {}
    for contact in contacts:
        is_public = scope_of(contact.endpoint) is Scope.GLOBAL
        chosen.setdefault(
            network_of(contact.endpoint) if is_public else contact.endpoint, contact.endpoint
        )
    return list(chosen.values())[:REPORTERS_MAX]


async def _watch(node: Node, families: Sequence[Family]) -> None:
    """Wait until a stranger has come in each of some families, and the router has answered."""
    while True:
        statistics = node.statistics()
        have_come = all(statistics.engines[it].uninvited_queries for it in families)
        if have_come and statistics.mapping.phase is not Phase.TRYING:
            return
        await trio.sleep(LOOK_S)


def _evidence_of(
    node: Node, statistics: NodeStatistics, family: Family, reports: Reports, watched_s: float
) -> FamilyEvidence:
    engine, counts = statistics.engines[family], statistics.sockets[family]
    return FamilyEvidence(
        family=family,
        bound=_scope(node, family),
        local=_local_endpoint(node.endpoints[family], next(iter(reports), _NO_HOST[family])),
        sent=counts["datagrams sent"],
        answers=engine.counts.get("answers received", 0),
        unsent={it: number for it, number in counts.items() if it.startswith("error ")},
        nodes=engine.nodes,
        reports=reports,
        uninvited=engine.uninvited_queries,
        is_read_only=engine.is_read_only,
        watched_s=watched_s,
    )


_NO_HOST: Final = {
    Family.IPV4: endpoint("192.0.2.1", 9),
    Family.IPV6: endpoint("2001:db8::1", 9),
}
"""Where no host is; the system has the same route there as to most of the world."""


def _local_endpoint(at: Endpoint, towards: Endpoint) -> Endpoint | None:
    """Return where datagrams of a socket leave from; connecting a UDP socket sends none."""
    if any(address_of(at)):
        return at
    kind = socket.AF_INET if family_of(at) is Family.IPV4 else socket.AF_INET6
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.connect((host_of(towards), port_of(towards)))
            return endpoint(sock.getsockname()[0], port_of(at))
    except OSError:
        return None


def _scope(node: Node, family: Family) -> Scope:
    """Return how far a bound address reaches; no address in particular reaches everywhere."""
    at = node.endpoints[family]
    return scope_of(at) if any(address_of(at)) else Scope.GLOBAL


def _evidence_of_hosts(statistics: NodeStatistics) -> list[HostEvidence]:
    return [
        HostEvidence(str(it.host), it.fate, it.rtt_s, it.fate is not HostFate.NOT_ASKED)
        for it in statistics.bootstrap
    ]


def _read_clocks() -> _Clocks:
    # Not trio's clock: what is examined is the machine's, in tests, too.
    return _Clocks(time.time(), time.monotonic())  # noqa: TID251
