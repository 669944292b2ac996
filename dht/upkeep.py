"""Keeps a routing table alive: joins, bucket refreshes, the neighbourhood, pings to the silent.

Upkeep sends nothing. It is asked for the tasks that are due and told when a join has ended; the
engine turns tasks into inquiries. A join that did not bring enough nodes is repeated, at growing
intervals: without that, a few lost datagrams at the start split a network for good.

Spec: BEP 5 "Routing Table" (refresh after 15 minutes, ping before replacing). Intervals of the
neighbourhood and of joins are libtorrent's order of magnitude.
"""

import random
from typing import Final, NamedTuple

from dht.contact import Contact, Endpoint
from dht.keyspace import NodeId, random_id_sharing, random_id_with_prefix, shared_prefix
from dht.ratelimit import TokenBucket
from dht.recollection import Recollection
from dht.routing import K, Node, RoutingTable

TICK_S: Final = 30.0
"""Seconds between looks at the table: little beside the 15 minutes after which a node needs a ping,
and enough that several are pinged at once, of whom one that answers shows that our line is not to
blame for the silence of the others."""

FILL_S: Final = 10.0
"""The same while there are buckets to fill after a join."""

NEIGHBOURHOOD_S: Final = 600.0
"""Seconds between searches for our own id."""

JOIN_RETRY_MIN_S: Final = 5.0
JOIN_RETRY_MAX_S: Final = 600.0
"""Bounds of the pause between joins, which doubles each time."""

PING_AGAIN_S: Final = 15.0
"""Seconds before upkeep pings the same node again: longer than any hard deadline."""

PINGED_PART: Final = 16
"""The part of the table that is pinged at once, and two nodes more: half as many would do to reach
all in 15 minutes."""

NEWCOMER_AGAIN_S: Final = 600.0
"""Seconds before a stranger who queries us is pinged again."""

NEWCOMERS_PER_S: Final = 5.0
NEWCOMERS_BURST: Final = 20.0
"""Strangers pinged per second; whoever is passed over will query us again."""

_REMEMBERED_MAX: Final = 2_000
"""Endpoints pinged lately; at most 3,000 strangers are pinged in `NEWCOMER_AGAIN_S`."""


class Join(NamedTuple):
    """Search for our own id, with the help of the bootstrap hosts if nobody else is known."""


class FindNearby(NamedTuple):
    """Search for our own id, through the table alone."""


class RefreshBucket(NamedTuple):
    """Search for a random id of a bucket in which nothing has changed for long."""

    target: NodeId


class PingNode(NamedTuple):
    """Ping an entry of the table that has been silent or has failed."""

    endpoint: Endpoint


Task = Join | FindNearby | RefreshBucket | PingNode


class Upkeep:
    """Decides when a routing table needs which attention."""

    def __init__(self, table: RoutingTable, rng: random.Random, *, now: float) -> None:
        """Begin without a join: `want_join` makes one due at once, else the first tick does.

        Args:
            table: The table to keep alive; only read, apart from noting refreshes.
            rng: Spreads the work in time and chooses ids within buckets.
            now: Monotonic seconds.
        """
        self._table = table
        self._rng = rng
        self._tick_at = now + self._jittered(TICK_S)
        self._nearby_at = now + self._jittered(NEIGHBOURHOOD_S)
        self._join_at = float("inf")
        self._join_pause_s = JOIN_RETRY_MIN_S
        self._joining = False
        self._to_fill: list[int] = []
        self._newcomers = TokenBucket(NEWCOMERS_PER_S, NEWCOMERS_BURST, now=now)
        self._pinged: Recollection[Endpoint, None] = Recollection(
            lifetime_s=NEWCOMER_AGAIN_S, entries_max=_REMEMBERED_MAX
        )

    def next_deadline(self) -> float:
        """Return when `due` has something to say, in monotonic seconds."""
        tick_at, join_at = self._tick_at, self._join_at
        return tick_at if self._joining or tick_at < join_at else join_at

    def due(self, *, now: float) -> list[Task]:
        """Return the tasks that are due."""
        tasks: list[Task] = []
        if now >= self._tick_at:
            tasks += self._look_at_table(now)
            self._tick_at = now + self._jittered(FILL_S if self._to_fill else TICK_S)
        if not self._joining and now >= self._join_at:
            self._joining = True
            tasks.append(Join())
        return tasks

    def want_join(self, *, now: float) -> None:
        """Make a join due at once, unless one is running."""
        self._join_at = now

    def join_ended(self, *, now: float) -> None:
        """Note that a join is over.

        The next is due after a pause, or when the table has become too small. What it brought lies
        around our own id, so the buckets it left sparse are filled next, one a tick.

        Spec: Maymounkov and Mazieres, "Kademlia" (2002), section 2.3, on joining.
        """
        self._joining = False
        self._to_fill = self._table.sparse_prefixes()
        if self._to_fill:
            self._tick_at = min(self._tick_at, now + self._jittered(FILL_S))
        if self._is_lonely(now):
            self._join_at = now + self._jittered(self._join_pause_s)
            self._join_pause_s = min(self._join_pause_s * 2, JOIN_RETRY_MAX_S)
        else:
            self._join_at, self._join_pause_s = float("inf"), JOIN_RETRY_MIN_S

    def greets(self, stranger: Contact, *, now: float) -> bool:
        """Tell whether to ping a stranger who queried us; at most once in `NEWCOMER_AGAIN_S`."""
        if self._pinged_within(stranger.endpoint, NEWCOMER_AGAIN_S, now):
            return False
        if not self._newcomers.take(now=now):
            return False
        self._pinged.note(stranger.endpoint, None, now=now)
        return True

    def _look_at_table(self, now: float) -> list[Task]:
        silent = self._table.questionable(now=now)
        pinged = self._choose_to_ping(silent, now)
        tasks: list[Task] = [PingNode(node.contact.endpoint) for node in pinged]
        index = self._bucket_to_refresh(pinged, now)
        if index is not None:
            self._table.mark_refreshed(index, now=now)
            tasks.append(RefreshBucket(self._target_in(index)))
        if now >= self._nearby_at and len(self._table):
            self._nearby_at = now + self._jittered(NEIGHBOURHOOD_S)
            tasks.append(FindNearby())
        if self._join_at == float("inf") and len(self._table) - len(silent) < K:
            self._join_at = now
        return tasks

    def _bucket_to_refresh(self, pinged: list[Node], now: float) -> int | None:
        """Return a bucket that the join left sparse and nothing has filled, or a stale one.

        A stale one of which a node is being pinged has to wait: if that answers, all is well.
        """
        sparse = self._table.sparse_prefixes() if self._to_fill else []
        while self._to_fill:
            index = self._to_fill.pop(0)
            if index in sparse:
                return index
        stale = self._table.stale_prefixes(now=now)
        waiting = {self._index_of(node) for node in pinged} if stale else ()
        return next((index for index in stale if index not in waiting), None)

    def _index_of(self, node: Node) -> int:
        """Return the index of an entry's bucket."""
        return min(shared_prefix(node.contact.id, self._table.own_id), self._table.depth - 1)

    def _choose_to_ping(self, silent: list[Node], now: float) -> list[Node]:
        """Choose the nodes silent longest: enough to reach the whole table in 15 minutes.

        Those pinged before go behind those not pinged yet: else a few dead nodes, always the ones
        silent longest, would keep the living from being pinged.
        """
        waiting = [
            node
            for node in silent
            if not self._pinged_within(node.contact.endpoint, PING_AGAIN_S, now)
        ]
        waiting.sort(key=lambda node: self._pinged.noted_at(node.contact.endpoint))
        chosen = waiting[: 2 + len(self._table) // PINGED_PART]
        for node in chosen:
            self._pinged.note(node.contact.endpoint, None, now=now)
        return chosen

    def _target_in(self, index: int) -> NodeId:
        """Return a random id that belongs into bucket `index`."""
        if index == self._table.depth - 1:
            return random_id_with_prefix(self._table.own_id, index, self._rng)
        return random_id_sharing(self._table.own_id, index, self._rng)

    def _is_lonely(self, now: float) -> bool:
        return self._table.good_count(now=now) < K

    def _pinged_within(self, endpoint: Endpoint, seconds: float, now: float) -> bool:
        return self._pinged.noted_at(endpoint) + seconds > now

    def _jittered(self, seconds: float) -> float:
        """Return about `seconds`, so that nodes started together do not work in step."""
        return seconds * self._rng.uniform(0.8, 1.2)
