"""A DHT node for programs: open it, search, announce, ping.

    async with open_node() as node:
        with node.find_peers(info_hash) as peers:
            async for peer in peers:
                ...

A node is one engine a family, each on its own socket, with one store of announced peers and one
flow budget between them. Calls search both DHTs at once. They may be made at once, too: what is
asked before the node knows anybody starts as soon as it does.

Spec: BEP 5; BEP 32 (two DHTs), BEP 45 (one id a socket).
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Final

import trio

from dht.background import open_background
from dht.bencode import BValue
from dht.bootstrap import (
    PUBLIC_HOSTS,
    BootstrapHost,
    BootstrapOutcome,
    HostFate,
    ResolvedHost,
    judge,
    resolve_hosts,
)
from dht.contact import Contact, Endpoint, Family, Scope, port_of
from dht.driver import EngineDriver
from dht.engine import Engine
from dht.errors import CannotListen, NodeClosed, NotBootstrapped, QueryRefused
from dht.figures import EngineStatistics
from dht.inquiry import Call, InquiryT
from dht.joint import JointSearch, PeerStream, search_all, stream_peers
from dht.keyspace import InfoHash, NodeId, distance, random_id
from dht.krpc import PING
from dht.logs import get_logger
from dht.mapping.keeper import MappingKeeper
from dht.mapping.lease import Transport
from dht.mapping.status import NOT_MAPPED, MappingStatus
from dht.memory import keep_saved, load_state, save_state
from dht.peerstore import PeerStore
from dht.ratelimit import Budget, FlowBudget, SourceLimiter
from dht.routing import K
from dht.search import Announcement, FindNodes, FindPeers, PurposeT
from dht.state import SavedNode, State
from dht.suspicion import Suspicion
from dht.udp import DatagramProtocol, UdpSocket

_log = get_logger(__name__)

ANNOUNCE_MIN_S: Final = 900.0
ANNOUNCE_MAX_S: Final = 1_500.0
"""Bounds of the pause between announces; other nodes forget one after 30 minutes or more."""

_UNSPECIFIED: Final = (("0.0.0.0", 0), ("::", 0))


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How a node is set up.

    Attributes:
        bind: Literal addresses and ports, at most one a family; port 0 for any. Empty for both
            families on any port.
        bootstrap: Hosts to begin with when no saved state helps.
        state: File for ids and contacts between runs; None to forget.
        budget: How many new remote endpoints a second.
        read_only: Whether to answer no queries, as befits a short-lived process; else the node
            does so by itself for as long as strangers do not reach it. Spec: BEP 43.
        strict_ids: Whether to know, and write to, only nodes with secure ids. Spec: BEP 42.
        limit_sources: Whether to bound the queries answered per source; off only for measurements.
        map_ports: Whether to have routers let strangers in; never where we are bound to loopback,
            and where no router can be in between.
    """

    bind: Sequence[tuple[str, int]] = ()
    bootstrap: Sequence[BootstrapHost] = PUBLIC_HOSTS
    state: Path | None = None
    budget: Budget = Budget.HOME
    read_only: bool = False
    strict_ids: bool = False
    limit_sources: bool = True
    map_ports: bool = False


DEFAULT_SETTINGS: Final = NodeSettings()


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """A snapshot of a node.

    Attributes:
        engines: Sizes and counts of each engine, by family.
        sockets: Datagrams, bytes, drops and errors of each socket, by family.
        bootstrap: What became of the bootstrap hosts.
        flows: Remote endpoints spoken to within half a minute: what a router holds for us now.
        flows_opened: New remote endpoints since the start.
        mapping: How it goes with having our IPv4 port mapped by the router.
    """

    engines: dict[Family, EngineStatistics]
    sockets: dict[Family, dict[str, int]]
    bootstrap: tuple[BootstrapOutcome, ...]
    flows: int
    flows_opened: int
    mapping: MappingStatus = NOT_MAPPED


class Node:
    """A running DHT node; made by `open_node`."""

    def __init__(
        self,
        drivers: Sequence[EngineDriver],
        budget: FlowBudget,
        hosts: Sequence[BootstrapHost],
        remembered: State,
        mapping: MappingKeeper | None = None,
    ) -> None:
        """Made by `open_node`."""
        self._drivers = tuple(drivers)
        self.budget = budget
        self._hosts = tuple(hosts)
        self._resolved_hosts: list[ResolvedHost] | None = None
        self._remembered = remembered
        self._mapping = mapping

    @property
    def endpoints(self) -> dict[Family, Endpoint]:
        """Where the node is bound, by family, with real ports."""
        return {it.engine.family: it.socket.endpoint for it in self._drivers}

    @property
    def sockets(self) -> dict[Family, UdpSocket]:
        """The sockets, by family, for whoever shares them."""
        return {it.engine.family: it.socket for it in self._drivers}

    @property
    def ids(self) -> dict[Family, NodeId]:
        """The node's ids, by family."""
        return {it.engine.family: it.engine.own_id for it in self._drivers}

    async def wait_joined(self) -> None:
        """Wait until the node knows the network: K nodes, or all that the first attempt found.

        Raises:
            NotBootstrapped: No family knows anybody.
            NodeClosed: The node is closed, or was meanwhile.
        """
        async with trio.open_nursery() as nursery:
            # One family that knows enough will do: in the other all hosts may be dead.
            async def wait_for(driver: EngineDriver) -> None:
                await driver.joined.wait()
                if len(driver.engine.table) >= K:
                    nursery.cancel_scope.cancel()

            for driver in self._drivers:
                nursery.start_soon(wait_for, driver)
        if any(it.is_closed for it in self._drivers):
            raise NodeClosed("the node was closed")
        if not any(len(it.engine.table) for it in self._drivers):
            raise NotBootstrapped("no node answered")

    async def ping(self, endpoint: Endpoint) -> Call:
        """Ping a node.

        Returns:
            Who answered and how fast, or the reason why not.

        Raises:
            QueryRefused: The address is not allowed, or we have no socket of its family.
            NodeClosed: The node was closed meanwhile.
        """
        return await self.call(endpoint, PING)

    async def find_node(self, target: NodeId) -> list[Contact]:
        """Search for the nodes nearest to a target.

        Returns:
            Up to K living nodes of each family, nearest first.

        Raises:
            NotBootstrapped: Nobody could be asked.
            NodeClosed: The node was closed meanwhile.
        """
        joint = await self.search(target, FindNodes)
        found = [contact for search in joint.searches for contact in search.closest()[:K]]
        return sorted(found, key=lambda it: distance(it.id, target))

    @contextmanager
    def find_peers(self, info_hash: InfoHash) -> Iterator[PeerStream]:
        """Search for the peers of an info-hash; leaving the block ends the search.

        Raises:
            QueryRefused: Too much is going on.
            NodeClosed: The node is closed.
        """
        with stream_peers(self._drivers, info_hash) as peers:
            yield peers

    async def announce(
        self, info_hash: InfoHash, port: int, *, seed: bool = False, implied_port: bool = False
    ) -> list[Contact]:
        """Tell the nodes nearest to an info-hash that we are a peer for it.

        Args:
            info_hash: 20 bytes.
            port: TCP port on which peers are really accepted for this info-hash.
            seed: Whether we have everything. Spec: BEP 33.
            implied_port: Whether nodes shall take our UDP port instead; only if peers are accepted
                there (uTP).

        Returns:
            The nodes that accepted.

        Raises:
            NotBootstrapped: Nobody could be asked.
            NodeClosed: The node was closed meanwhile.
        """
        announcement = Announcement(port, implied_port=implied_port, seed=seed)
        joint = await self.search(info_hash, lambda: FindPeers(announcement))
        return [holder for purpose in joint.purposes for holder in purpose.announced_to]

    async def keep_announced(self, info_hash: InfoHash, port: int, *, seed: bool = False) -> None:
        """Announce now and every 15 to 25 minutes, until cancelled.

        A failed round is repeated with the next.
        """
        rng = SystemRandom()
        while True:
            try:
                holders = await self.announce(info_hash, port, seed=seed)
                _log.info("announced", info_hash=info_hash.hex(), nodes=len(holders))
            except NotBootstrapped:
                _log.warning("not announced: no node known", info_hash=info_hash.hex())
            await trio.sleep(rng.uniform(ANNOUNCE_MIN_S, ANNOUNCE_MAX_S))

    async def search(
        self, target: bytes, make_purpose: Callable[[], PurposeT]
    ) -> JointSearch[PurposeT]:
        """Search in every family, to the end, for a purpose of the caller's.

        Args:
            target: 20 bytes.
            make_purpose: Called once for each family.

        Raises:
            NotBootstrapped: Nobody could be asked.
            NodeClosed: The node was closed meanwhile.
            QueryRefused: Too much is going on.
        """
        return await search_all(self._drivers, target, make_purpose)

    async def call(
        self, endpoint: Endpoint, method: bytes, arguments: dict[bytes, BValue] | None = None
    ) -> Call:
        """Send one query to one node.

        Returns:
            Who answered what and how fast, or the reason why not.

        Raises:
            QueryRefused: The address is not allowed, or we have no socket of its family.
            NodeClosed: The node was closed meanwhile.
        """
        driver = self._driver_for(endpoint)
        return await driver.finish(
            lambda now: driver.engine.call(endpoint, method, arguments, now=now)
        )

    async def inquire(self, family: Family, inquiry: InquiryT) -> InquiryT:
        """Carry out an inquiry of the caller's in a family that we have a socket for, to its end.

        Raises:
            NodeClosed: The node was closed meanwhile.
            QueryRefused: Too much is going on.
        """
        (driver,) = (it for it in self._drivers if it.engine.family is family)
        return await driver.finish(lambda now: driver.engine.inquire(inquiry, now=now))

    @contextmanager
    def share_sockets(self, protocol: DatagramProtocol) -> Iterator[None]:
        """Let another protocol receive what is not for the DHT, for the time of the block.

        Args:
            protocol: Is given the datagrams of all `sockets` that it recognises.

        Raises:
            NodeClosed: The node is closed.

        Spec: BEP 29 on sharing the port.
        """
        if any(it.is_closed for it in self._drivers):
            raise NodeClosed("the node is closed")
        for driver in self._drivers:
            driver.protocols.append(protocol)
        try:
            yield
        finally:
            for driver in self._drivers:
                driver.protocols.remove(protocol)

    def statistics(self) -> NodeStatistics:
        """Return a snapshot of sizes, counts and the fate of the bootstrap hosts."""
        now = trio.current_time()
        return NodeStatistics(
            engines={it.engine.family: it.engine.statistics(now=now) for it in self._drivers},
            sockets={it.engine.family: it.socket.statistics() for it in self._drivers},
            bootstrap=self._bootstrap_outcomes(),
            flows=self.budget.live_flows(now=now),
            flows_opened=self.budget.opened,
            mapping=self._mapping.status if self._mapping is not None else NOT_MAPPED,
        )

    def state(self) -> State:
        """Return what is worth remembering: ids, and the contacts nearest to them.

        A family in which nobody is known now keeps what was remembered at the start.
        """
        now = trio.current_time()
        state = dict(self._remembered)
        for engine in (it.engine for it in self._drivers):
            good = tuple(node.contact for node in engine.table if node.is_good(now=now))
            if good:
                state[engine.family] = SavedNode(engine.own_id, good)
        return state

    async def _join(self) -> None:
        """Begin with remembered contacts at once, with bootstrap hosts once they are resolved."""
        for driver in self._drivers:
            saved = self._remembered.get(driver.engine.family)
            if saved is not None and saved.contacts:
                driver.engine.join(known=saved.contacts, now=trio.current_time())
                driver.settle()
        hosts = await resolve_hosts(self._hosts, [it.engine.family for it in self._drivers])
        self._resolved_hosts = hosts
        entry_points = [it for host in hosts for it in host.endpoints]
        routers = [it for host in hosts if host.host.is_router for it in host.endpoints]
        for driver in self._drivers:
            driver.engine.join(entry_points, routers=routers, now=trio.current_time())
            driver.settle()

    def _bootstrap_outcomes(self) -> tuple[BootstrapOutcome, ...]:
        if self._resolved_hosts is None:
            return tuple(BootstrapOutcome(it, (), HostFate.NOT_ASKED) for it in self._hosts)
        joins = [it.last_join for it in self._drivers if it.last_join is not None]
        answered = {it: rtt_s for join in joins for it, rtt_s in join.answered.items()}
        silent = [it for join in joins for it in join.silent]
        bound = {it.engine.family: it.socket.scope for it in self._drivers}
        return tuple(judge(it, answered, silent, bound) for it in self._resolved_hosts)

    def _driver_for(self, endpoint: Endpoint) -> EngineDriver:
        for driver in self._drivers:
            if driver.engine.family.endpoint_bytes == len(endpoint):
                return driver
        raise QueryRefused("no socket of this address family")


@asynccontextmanager
async def open_node(
    settings: NodeSettings = DEFAULT_SETTINGS, *, sockets: Sequence[UdpSocket] = ()
) -> AsyncIterator[Node]:
    """Run a node for the time of the block.

    The node joins the network in the background; `Node.wait_joined` waits for that, and searches
    need not.

    Args:
        settings: How to run it.
        sockets: Opened by the caller, one a family, and closed here; they take the place of
            `settings.bind`, for instance where a proxy relays all datagrams.

    Raises:
        CannotListen: A socket cannot be bound.
    """
    remembered = await load_state(settings.state)
    budget = FlowBudget(settings.budget.endpoints_per_s, now=trio.current_time())
    drivers = _make_drivers(settings, sockets, remembered, budget)
    mapping = _make_keeper(drivers) if settings.map_ports else None
    node = Node(drivers, budget, settings.bootstrap, remembered, mapping)
    try:
        async with open_background() as background:
            for driver in drivers:
                background.start_soon(driver.run)
            background.start_soon(node._join)
            background.start_soon(keep_saved, settings.state, node.state)
            if mapping is not None:
                background.start_soon(mapping.run)
            yield node
    finally:
        for driver in drivers:
            driver.socket.close()
        await save_state(settings.state, node.state())


def _make_drivers(
    settings: NodeSettings,
    sockets: Sequence[UdpSocket],
    remembered: State,
    budget: FlowBudget,
) -> list[EngineDriver]:
    store = PeerStore()
    drivers = [
        EngineDriver(_make_engine(socket, settings, remembered, store, budget), socket)
        for socket in sockets or _bind_all(settings.bind)
    ]
    for driver in drivers:
        for sibling in drivers:
            if sibling is not driver:
                driver.engine.lend(sibling.engine.table)
    return drivers


def _make_engine(
    socket: UdpSocket,
    settings: NodeSettings,
    remembered: State,
    store: PeerStore,
    budget: FlowBudget,
) -> Engine:
    rng = SystemRandom()
    saved = remembered.get(socket.family)
    return Engine(
        saved.own_id if saved is not None else random_id(rng),
        socket.family,
        bound=socket.scope,
        rng=rng,
        now=trio.current_time(),
        store=store,
        budget=budget,
        limiter=SourceLimiter() if settings.limit_sources else SourceLimiter(rate=float("inf")),
        read_only=settings.read_only,
        own_endpoint=None if socket.is_unspecified else socket.endpoint,
        suspicion=Suspicion(strict_ids=settings.strict_ids),
    )


def _make_keeper(drivers: Sequence[EngineDriver]) -> MappingKeeper | None:
    """Return who keeps the IPv4 port mapped; None where a router cannot be in between."""
    for socket in (it.socket for it in drivers if it.engine.family is Family.IPV4):
        if socket.is_unspecified or socket.scope is Scope.PRIVATE:
            return MappingKeeper(Transport.UDP, port_of(socket.endpoint))
    return None


def _bind_all(wanted: Sequence[tuple[str, int]]) -> list[UdpSocket]:
    """Bind all that was asked for, or else any port in each family that the machine has."""
    sockets: list[UdpSocket] = []
    try:
        for host, port in wanted or _UNSPECIFIED:
            try:
                sockets.append(UdpSocket.bind(host, port))
            except CannotListen as error:
                if wanted:
                    raise
                _log.warning("address family not available", reason=str(error))
    except CannotListen:
        for socket in sockets:
            socket.close()
        raise
    if not sockets:
        raise CannotListen("any address", "neither IPv4 nor IPv6 is available")
    return sockets
