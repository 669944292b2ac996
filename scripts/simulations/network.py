"""A network of engines in one thread of virtual time, in which datagrams take a while or get lost.

Whatever is going to happen stands in one heap: a datagram arrives, or an engine's alarm goes off.
Running the network means taking the earliest entry again and again; nobody sleeps, and an hour of
a quiet network passes in seconds. All chance comes from one seed, so a run can be repeated byte for
byte: `digest` covers every datagram sent, with its time, source and destination.

An engine has one alarm. It is put forward when a deadline comes nearer, and left where it is when
one is put off, as happens with every answer; if it then goes off too early it is set anew.

Nodes are engines as the library makes them, with default limits, at public IPv4 addresses of their
own /24, since a node counts a second one there as the same party.
"""

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from heapq import heappop, heappush, nsmallest
from itertools import count
from math import inf
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from dht.contact import Contact, Endpoint, Family, Scope, is_allowed, network_of
from dht.engine import Engine
from dht.inquiry import Ended, Inquiry
from dht.itemsearch import FindItem
from dht.keyspace import ID_BITS, ID_BYTES, InfoHash, NodeId, distance, secure_id
from dht.ratelimit import FlowBudget
from dht.routing import K
from dht.search import Announcement, FindNodes, FindPeers, Purpose, PurposeT, Search

PORT: Final = 6881
"""Every node's port; addresses are plentiful."""

_PACK_TIME: Final = Struct("!d").pack

_Entry: TypeAlias = tuple[float, int, Endpoint, Endpoint | None, bytes]
"""What will happen: when, in which order at one moment, and to whom.

A datagram arrives from the endpoint that follows; without one, an alarm goes off.
"""


class Weather(NamedTuple):
    """What happens to datagrams on their way.

    Attributes:
        loss: Share of datagrams that never arrive.
        delay_min_s: Shortest way, in seconds.
        delay_max_s: Longest way; datagrams overtake one another.
    """

    loss: float = 0.05
    delay_min_s: float = 0.02
    delay_max_s: float = 0.2


class Datagram(NamedTuple):
    """One datagram under way."""

    source: Endpoint
    to: Endpoint
    data: bytes


class Stuck(Exception):
    """A real network would hang.

    An engine wakes itself for ever or has missed a deadline, or a search does not end.
    """


class VirtualNetwork:
    """Engines, the datagrams between them, and a clock.

    Attributes:
        now: Virtual time in seconds.
        rng: All chance in this world, for scenarios to use as well.
        engines: The living nodes by endpoint, oldest first.
        routers: Nodes that others join through and never keep in their tables.
        datagrams_sent: How many, lost ones included.
        ended_at: When the searches ended that were started here.
        tap: Sees every datagram as it is sent, if set.
    """

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        """Begin at time 0 without nodes."""
        self.now = 0.0
        self.rng = random.Random(seed)
        self._chance = self.rng.random
        self.engines: dict[Endpoint, Engine] = {}
        self.routers: list[Endpoint] = []
        self.datagrams_sent = 0
        self.ended_at: dict[Inquiry, float] = {}
        self.tap: Callable[[Datagram], None] | None = None
        self._weather = weather if weather is not None else Weather()
        self._agenda: list[_Entry] = []
        self._serial = count()
        self._alarms: dict[Endpoint, float] = {}
        self._networks_used: set[bytes] = set()
        self._seekers: dict[Search[Purpose], Endpoint] = {}
        self._awaited: dict[Inquiry, None] = {}
        self._hash = sha256()

    # Nodes

    def add_routers(self, number: int) -> None:
        """Start nodes that know one another, for all later ones to join through."""
        self.routers += [self._create_node() for _ in range(number)]
        for router in self.routers:
            self._join(router, [other for other in self.routers if other != router])

    def add_nodes(self, number: int, *, over_s: float) -> None:
        """Let nodes join through the routers, one after the other, while `over_s` seconds pass."""
        for _ in range(number):
            self._join(self._create_node(), self.routers, routers=self.routers)
            self.run(over_s / number)

    def add_acquainted_nodes(self, number: int) -> None:
        """Start nodes that have known one another for long: every bucket is as full as can be."""
        added = [self._create_node() for _ in range(number)]
        nodes = {int.from_bytes(self.engines[at].own_id): at for at in added}
        keys = sorted(nodes)
        for key, at in nodes.items():
            for other in self._acquaintances(key, keys):
                contact = Contact(NodeId(other.to_bytes(ID_BYTES)), nodes[other])
                self.engines[at].table.answered(contact, rtt_s=0.2, now=self.now)
            self._attend(at)

    def remove_nodes(self, endpoints: Iterable[Endpoint]) -> None:
        """Let nodes fall silent, without a farewell."""
        for endpoint in endpoints:
            del self.engines[endpoint]
            self._alarms.pop(endpoint, None)

    def some_nodes(self, number: int) -> list[Endpoint]:
        """Choose that many living nodes at random, routers excepted."""
        return self.rng.sample([it for it in self.engines if it not in self.routers], number)

    def some_node(self) -> Endpoint:
        """Choose a living node at random, routers excepted."""
        return self.some_nodes(1)[0]

    def recall_of(self, search: Search[Purpose]) -> float:
        """Return which share of the K living nodes nearest to its target a search has found.

        The seeker itself is not among them, nor are routers, whom nobody names to others.
        """
        unfindable = {self._seekers[search], *self.routers}
        ids = [engine.own_id for at, engine in self.engines.items() if at not in unfindable]
        truth = nsmallest(K, ids, key=lambda own_id: distance(own_id, search.target))
        found = {contact.id for contact in search.lookup.closest()[:K]}
        return len(found.intersection(truth)) / K

    # Searches

    def find_node(self, at: Endpoint, target: NodeId) -> Search[FindNodes]:
        """Start a search at a node."""
        return self._started(at, self.engines[at].find_node(target, now=self.now))

    def get_peers(
        self, at: Endpoint, info_hash: InfoHash, announcement: Announcement | None = None
    ) -> Search[FindPeers]:
        """Start a search for peers at a node, which may announce at its end."""
        engine = self.engines[at]
        search = engine.get_peers(info_hash, now=self.now, announcement=announcement)
        return self._started(at, search)

    def get_item(self, at: Endpoint, target: bytes) -> Search[FindItem]:
        """Start a search for an item at a node."""
        return self._started(at, self.engines[at].search(target, FindItem(target), now=self.now))

    def run_until_ended(self, *, limit_s: float) -> None:
        """Let time pass until all searches started here have ended.

        Raises:
            Stuck: Some have not after `limit_s` virtual seconds.
        """
        until = self.now + limit_s
        while self._awaited:
            if self.now > until:
                raise Stuck(f"{len(self._awaited)} searches, after {limit_s} s")
            self._step()

    def forget_searches(self) -> None:
        """Drop the searches that have ended: a long run would keep them all."""
        self._seekers.clear()
        self.ended_at.clear()

    # Time

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        until = self.now + seconds
        while self._agenda and self._agenda[0][0] <= until:
            self._step()
        self.now = until

    def digest(self) -> str:
        """Return the SHA-256, in hex, over all datagrams sent so far."""
        return self._hash.hexdigest()

    # Inside

    def _create_node(self) -> Endpoint:
        at = self._unused_endpoint()
        own_id = secure_id(at[:-2], self.rng)
        dice = random.Random(self.rng.getrandbits(64))
        budget = FlowBudget(now=self.now)
        self.engines[at] = Engine(
            own_id, Family.IPV4, bound=Scope.GLOBAL, rng=dice, now=self.now, budget=budget
        )
        return at

    def _acquaintances(self, key: int, keys: list[int]) -> Iterator[int]:
        """Choose K of the sorted keys, or all there are, from the range of each possible bucket."""
        for below in range(ID_BITS):
            first = (key >> below ^ 1) << below
            others = keys[bisect_left(keys, first) : bisect_left(keys, first + (1 << below))]
            yield from self.rng.sample(others, min(K, len(others)))

    def _join(
        self, at: Endpoint, entry_points: Iterable[Endpoint], routers: Iterable[Endpoint] = ()
    ) -> None:
        self.engines[at].join(entry_points, routers=routers, now=self.now)
        self._attend(at)

    def _started(self, at: Endpoint, search: Search[PurposeT]) -> Search[PurposeT]:
        self._seekers[search] = at
        self._awaited[search] = None
        self._attend(at)
        return search

    def _unused_endpoint(self) -> Endpoint:
        while True:
            at = Endpoint(self.rng.randbytes(4) + PORT.to_bytes(2))
            if is_allowed(at, Scope.GLOBAL) and network_of(at) not in self._networks_used:
                self._networks_used.add(network_of(at))
                return at

    def _step(self) -> None:
        """Let the next thing happen, unless its node is gone."""
        self.now, _, at, source, data = heappop(self._agenda)
        engine = self.engines.get(at)
        if engine is None:
            return
        if source is not None:
            engine.receive_datagram(data, source, now=self.now)
            self._attend(at)
        elif self._alarms[at] == self.now:
            self._ring(at, engine)

    def _ring(self, at: Endpoint, engine: Engine) -> None:
        """Wake an engine whose alarm goes off, unless its deadline was put off meanwhile."""
        del self._alarms[at]
        if engine.next_deadline(now=self.now) > self.now:
            self._attend(at)
            return
        engine.handle_deadlines(now=self.now)
        self._attend(at)
        if self._alarms[at] <= self.now:
            raise Stuck(f"a deadline that is due for ever, at {self.now} s")

    def _attend(self, at: Endpoint) -> None:
        """Do after each call of an engine what a shell does: send, take events, set the alarm."""
        engine = self.engines[at]
        for data, to in engine.datagrams_to_send():
            self._send(at, to, data)
        for event in engine.take_events():
            if isinstance(event, Ended) and event.inquiry in self._awaited:
                del self._awaited[event.inquiry]
                self.ended_at[event.inquiry] = self.now
        wakes_at = engine.next_deadline(now=self.now)
        if wakes_at < self.now:
            raise Stuck(f"a deadline missed {self.now - wakes_at} s ago, at {self.now} s")
        if wakes_at < self._alarms.get(at, inf):
            self._alarms[at] = wakes_at
            self._schedule(wakes_at, at)

    def _send(self, source: Endpoint, to: Endpoint, data: bytes) -> None:
        self.datagrams_sent += 1
        self._hash.update(_PACK_TIME(self.now) + source + to + data)
        if self.tap is not None:
            self.tap(Datagram(source, to, data))
        loss, delay_min_s, delay_max_s = self._weather
        if self._chance() >= loss:
            delay_s = delay_min_s + (delay_max_s - delay_min_s) * self._chance()
            self._schedule(self.now + delay_s, to, source, data)

    def _schedule(
        self, moment: float, at: Endpoint, source: Endpoint | None = None, data: bytes = b""
    ) -> None:
        heappush(self._agenda, (moment, next(self._serial), at, source, data))
