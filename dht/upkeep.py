"""Keeps a routing table alive: joins, bucket refreshes, the neighbourhood, pings to the silent.

Upkeep sends nothing. It is asked for the tasks that are due and told when a join has ended; the
engine turns tasks into inquiries. A join that did not bring enough nodes is repeated, at growing
intervals: without that, a few lost datagrams at the start split a network for good.

Spec: BEP 5 "Routing Table" (refresh after 15 minutes, ping before replacing). Intervals of the
neighbourhood and of joins are libtorrent's order of magnitude.
"""

import random
from collections import OrderedDict
from typing import Final, NamedTuple

from dht.contact import Contact, Endpoint
from dht.keyspace import NodeId, random_id_sharing, random_id_with_prefix
from dht.ratelimit import TokenBucket
from dht.routing import K, Node, RoutingTable

TICK_S: Final = 10.0
"""Seconds between looks at the table."""

NEIGHBOURHOOD_S: Final = 600.0
"""Seconds between searches for our own id."""

JOIN_RETRY_MIN_S: Final = 5.0
JOIN_RETRY_MAX_S: Final = 600.0
"""Bounds of the pause between joins, which doubles each time."""

PING_AGAIN_S: Final = 15.0
"""Seconds before upkeep pings the same node again: longer than any hard deadline."""

NEWCOMER_AGAIN_S: Final = 600.0
"""Seconds before a stranger who queries us is pinged again."""

NEWCOMERS_PER_S: Final = 5.0
NEWCOMERS_BURST: Final = 20.0
"""Strangers pinged per second; whoever is passed over will query us again."""

_REMEMBERED_MAX: Final = 2_000


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
        self._pinged: OrderedDict[Endpoint, float] = OrderedDict()

    def next_deadline(self) -> float:
        """Return when `due` has something to say, in monotonic seconds."""
        return min(self._tick_at, float("inf") if self._joining else self._join_at)

    def due(self, *, now: float) -> list[Task]:
        """Return the tasks that are due."""
        tasks: list[Task] = []
        if now >= self._tick_at:
            self._tick_at = now + self._jittered(TICK_S)
            tasks += self._look_at_table(now)
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
        self._note_ping(stranger.endpoint, now)
        return True

    def _look_at_table(self, now: float) -> list[Task]:
        silent = self._table.questionable(now=now)
        tasks: list[Task] = list(self._pings(silent, now))
        index = self._bucket_to_refresh(now)
        if index is not None:
            self._table.mark_refreshed(index, now=now)
            tasks.append(RefreshBucket(self._target_in(index)))
        if now >= self._nearby_at and len(self._table):
            self._nearby_at = now + self._jittered(NEIGHBOURHOOD_S)
            tasks.append(FindNearby())
        if self._join_at == float("inf") and len(self._table) - len(silent) < K:
            self._join_at = now
        return tasks

    def _bucket_to_refresh(self, now: float) -> int | None:
        """Return a bucket that the join left sparse and nothing has filled, or a stale one."""
        sparse = self._table.sparse_prefixes() if self._to_fill else []
        while self._to_fill:
            index = self._to_fill.pop(0)
            if index in sparse:
                return index
        return next(iter(self._table.stale_prefixes(now=now)), None)

    def _pings(self, silent: list[Node], now: float) -> list[PingNode]:
        """Return pings for the nodes silent longest: enough to reach the whole table in 15 min.

        Those pinged before go behind those not pinged yet: else a few dead nodes, always the ones
        silent longest, would keep the living from being pinged.
        """
        waiting = [
            node.contact.endpoint
            for node in silent
            if not self._pinged_within(node.contact.endpoint, PING_AGAIN_S, now)
        ]
        waiting.sort(key=lambda endpoint: self._pinged.get(endpoint, float("-inf")))
        chosen = waiting[: 1 + len(self._table) // 32]
        for endpoint in chosen:
            self._note_ping(endpoint, now)
        return [PingNode(endpoint) for endpoint in chosen]

    def _target_in(self, index: int) -> NodeId:
        """Return a random id that belongs into bucket `index`."""
        if index == self._table.depth - 1:
            return random_id_with_prefix(self._table.own_id, index, self._rng)
        return random_id_sharing(self._table.own_id, index, self._rng)

    def _is_lonely(self, now: float) -> bool:
        return self._table.good_count(now=now) < K

    def _pinged_within(self, endpoint: Endpoint, seconds: float, now: float) -> bool:
        return self._pinged.get(endpoint, float("-inf")) + seconds > now

    def _note_ping(self, endpoint: Endpoint, now: float) -> None:
        self._pinged[endpoint] = now
        self._pinged.move_to_end(endpoint)
        if len(self._pinged) > _REMEMBERED_MAX:
            self._pinged.popitem(last=False)

    def _jittered(self, seconds: float) -> float:
        """Return about `seconds`, so that nodes started together do not work in step."""
        return seconds * self._rng.uniform(0.8, 1.2)
