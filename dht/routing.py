"""The routing table: whom we know, kept so that much is known nearby and a little everywhere.

The table is a list of buckets. Bucket i holds nodes that share exactly i leading bits with our own
id; the last holds those that share at least as many as its index, and only it may split. So finding
a node's bucket is one XOR and one bit length.

Three levels of acquaintance are kept apart. A node *heard of* (named by others) does not enter at
all. A node that *queried us* may be worth a ping. Only a node that *answered us* is an entry.
Whether an entry is good, questionable or bad is never stored, but derived from its timestamps. The
table sends nothing: it says whom to ping and which range to refresh.

For the commonest work, answering find_node, answers are kept ready (`dht.prepared`).

Departures from the paper and BEP 5: a replacement cache per bucket (as in the Kademlia paper's
section 4.1) instead of pinging before each insertion; one entry per public address and one per /24
or /64 in a bucket, so that a party with many addresses gains little; a node whose id is tied to its
address goes before one that chose its id (BEP 42).

Spec: BEP 5 "Routing Table"; Maymounkov and Mazieres, "Kademlia" (2002), sections 2.4 and 4.1.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final

from dht.contact import (
    Contact,
    Endpoint,
    Family,
    address_of,
    is_global,
    network_of,
)
from dht.keyspace import ID_BITS, NodeId, is_secure, shared_prefix
from dht.prepared import PreparedNodes

K: Final = 8
"""Nodes in a bucket, and in an answer. Spec: BEP 5."""

REPLACEMENTS_MAX: Final = 8
"""Nodes that wait for a place in a full bucket."""

GOOD_FOR_S: Final = 900.0
"""Seconds without a sign of life that make a node questionable. Spec: BEP 5 "Routing Table"."""

FAILURES_BAD: Final = 2
"""Unanswered queries in a row that make a node bad."""

FAILURES_DROPPED: Final = 3
"""Unanswered queries in a row after which a node leaves, even if nobody waits for its place."""

NODES_PER_NETWORK_MAX: Final = 10
"""Nodes of one public /24 or /64 in the whole table."""


class Status(Enum):
    """How far a node can be relied on. Spec: BEP 5 "Routing Table"."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    BAD = "bad"


class Node:
    """An entry of the table: a node that has answered us.

    Attributes:
        contact: Its id and endpoint.
        key: Its id as an integer.
        identity: What an entry is unique by: its address if public, else its endpoint, for a local
            address may hold many nodes.
        network: Its network, if that is public.
        heard_at: When it last answered us or, having answered once, asked us something; in
            monotonic seconds.
        failures: Queries in a row that it left unanswered.
        rtt_s: Its last round trip in seconds.
        is_secure: Whether its id fits its address. Spec: BEP 42.
    """

    __slots__ = (
        "contact",
        "failures",
        "heard_at",
        "identity",
        "is_secure",
        "key",
        "network",
        "rtt_s",
    )

    def __init__(self, contact: Contact, *, heard_at: float, rtt_s: float) -> None:
        """Create the entry of a node that has just answered."""
        id, endpoint = contact
        self.contact = contact
        self.key = int.from_bytes(id)
        self.heard_at = heard_at
        self.failures = 0
        self.rtt_s = rtt_s
        self.identity: bytes = endpoint
        self.network: bytes | None = None
        self.is_secure = True
        if is_global(endpoint):
            self.identity, self.network = address_of(endpoint), network_of(endpoint)
            self.is_secure = is_secure(id, self.identity)

    def is_good(self, *, now: float) -> bool:
        """Tell whether the node was heard within 15 minutes and has not failed since."""
        return not self.failures and now < self.heard_at + GOOD_FOR_S

    def status(self, *, now: float) -> Status:
        """Derive how far the node can be relied on at `now`."""
        if self.failures >= FAILURES_BAD:
            return Status.BAD
        return Status.GOOD if self.is_good(now=now) else Status.QUESTIONABLE


class _Bucket:
    __slots__ = ("borrows", "changed_at", "nodes", "prepared", "replacements")

    def __init__(self, nodes: list[Node], *, changed_at: float) -> None:
        self.nodes = nodes
        self.replacements: dict[Endpoint, Node] = {}
        self.changed_at = changed_at
        self.prepared: PreparedNodes | None = None
        self.borrows = False  # Whether `prepared` holds nodes of other buckets.

    def good(self, now: float) -> list[Node]:
        return [node for node in self.nodes if node.is_good(now=now)]

    def not_bad(self) -> list[Node]:
        return [node for node in self.nodes if node.failures < FAILURES_BAD]


_Pick = Callable[[_Bucket], list[Node]]


class RoutingTable:
    """The nodes of one family that a node with one id knows."""

    def __init__(
        self, own_id: NodeId, family: Family, *, now: float, strict_ids: bool = False
    ) -> None:
        """Create an empty table.

        Args:
            own_id: The id around which knowledge is dense.
            family: Of all endpoints in the table. Spec: BEP 32.
            now: Monotonic seconds.
            strict_ids: Whether to enter only nodes whose id fits their address. Spec: BEP 42.
        """
        self.own_id = own_id
        self.family = family
        self._own_key = int.from_bytes(own_id)
        self._strict_ids = strict_ids
        self._buckets = [_Bucket([], changed_at=now)]
        self._by_identity: dict[bytes, Node] = {}
        self._per_network: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of entries, replacements not counted."""
        return len(self._by_identity)

    def __iter__(self) -> Iterator[Node]:
        """Iterate over the entries, far ones first."""
        for bucket in self._buckets:
            yield from bucket.nodes

    @property
    def depth(self) -> int:
        """Number of buckets."""
        return len(self._buckets)

    def find(self, endpoint: Endpoint) -> Node | None:
        """Return the entry at an endpoint, if there is one."""
        node = self._by_identity.get(_identity(endpoint))
        return node if node is not None and node.contact.endpoint == endpoint else None

    # What happened

    def answered(self, contact: Contact, *, rtt_s: float, now: float) -> bool:
        """Note that a node answered a query of ours; enter it if there is room.

        A known endpoint that shows a new id loses its entry first. A second endpoint at a known
        public address is turned away.

        Returns:
            Whether the node is now an entry of the table.
        """
        known = self._by_identity.get(_identity(contact.endpoint))
        if known is not None and known.contact == contact:
            self._refresh(known, rtt_s, now)
            return True
        if known is not None:
            if known.contact.endpoint != contact.endpoint and known.is_good(now=now):
                return False
            self._remove(known)
        if contact.id == self.own_id:
            return False
        node = Node(contact, heard_at=now, rtt_s=rtt_s)
        return (node.is_secure or not self._strict_ids) and self._insert(node, now)

    def queried(self, contact: Contact, *, now: float) -> bool:
        """Note that a node queried us.

        Returns:
            Whether to ping it, for only an answer makes it an entry: it is a stranger for whom
            there would be room, or seems to have another id than it had.
        """
        known = self._by_identity.get(_identity(contact.endpoint))
        if known is None:
            return contact.id != self.own_id and self._has_room(contact, now)
        if known.contact == contact:
            if not known.is_good(now=now):
                self._forget_prepared(self._bucket_of(known.key))
            known.heard_at = now
            return False
        return known.contact.endpoint == contact.endpoint and contact.id != self.own_id

    def failed(self, endpoint: Endpoint) -> None:
        """Note that a node left a query unanswered until its hard deadline."""
        node = self.find(endpoint)
        if node is None:
            return
        node.failures += 1
        bucket = self._bucket_of(node.key)
        self._forget_prepared(bucket)
        if node.failures >= FAILURES_BAD and bucket.replacements:
            self._replace(node, bucket)
        elif node.failures >= FAILURES_DROPPED:
            self._remove(node)

    def forget(self, endpoint: Endpoint) -> None:
        """Drop the entry at an endpoint, if there is one."""
        node = self.find(endpoint)
        if node is not None:
            self._remove(node)

    def recentre(self, own_id: NodeId, *, now: float) -> None:
        """Take another own id, and enter all nodes anew around it, as far as there is room."""
        nodes = list(self)
        self.own_id, self._own_key = own_id, int.from_bytes(own_id)
        self._buckets = [_Bucket([], changed_at=now)]
        self._by_identity.clear()
        self._per_network.clear()
        for node in nodes:
            self._insert(node, now)

    # Whom to tell of, whom to ask

    def closest(self, target: bytes, count: int = K, *, now: float) -> list[Contact]:
        """Return the contacts nearest to a target that are not bad, nearest first.

        Args:
            target: 20 bytes.
            count: How many at most.
            now: Monotonic seconds.
        """
        return [node.contact for node in self._nearest(target, count, _Bucket.not_bad)]

    def nearest_compact(self, target: bytes, *, now: float) -> bytes:
        """Return the nearest good contacts, at most K, in wire form.

        The nearest come first where there are more than K to choose from; else the order is any.

        Spec: BEP 5 "find_node": good nodes only.
        """
        key = int.from_bytes(target)
        bucket = self._bucket_of(key)
        prepared = bucket.prepared
        if prepared is None or now >= prepared.until:
            prepared = bucket.prepared = self._prepare(bucket, key, now)
        return prepared[key >> prepared.zone_shift]

    def questionable(self, *, now: float) -> list[Node]:
        """Return the entries that fell silent or failed and need a ping, longest silent first."""
        return sorted(self._doubtful(now), key=lambda node: node.heard_at)

    def stale_prefixes(self, *, now: float) -> list[int]:
        """Return the indices of buckets in which nothing changed for `GOOD_FOR_S`.

        Spec: BEP 5 "Routing Table".
        """
        return [
            index
            for index, bucket in enumerate(self._buckets)
            if bucket.changed_at + GOOD_FOR_S <= now
        ]

    def sparse_prefixes(self) -> list[int]:
        """Return the indices of buckets not even half full; never the last, which only splits."""
        return [
            index for index, bucket in enumerate(self._buckets[:-1]) if len(bucket.nodes) < K // 2
        ]

    def mark_refreshed(self, index: int, *, now: float) -> None:
        """Note that a refresh of bucket `index` was started: it is not stale again at once."""
        if index < len(self._buckets):
            self._buckets[index].changed_at = now

    def good_count(self, *, now: float) -> int:
        """Return how many entries are good."""
        return len(self) - len(self._doubtful(now))

    # Inside

    def _doubtful(self, now: float) -> list[Node]:
        """Return the entries that are not good; spelled out, for upkeep asks at every tick."""
        good_since = now - GOOD_FOR_S
        return [
            node
            for node in self._by_identity.values()
            if node.failures or node.heard_at <= good_since
        ]

    def _bucket_of(self, key: int) -> _Bucket:
        shared, buckets = ID_BITS - (key ^ self._own_key).bit_length(), self._buckets
        return buckets[shared] if shared < len(buckets) else buckets[-1]

    def _index_of(self, key: int) -> int:
        shared, last = ID_BITS - (key ^ self._own_key).bit_length(), len(self._buckets) - 1
        return shared if shared < last else last

    def _nearest(self, target: bytes, count: int, pick: _Pick) -> list[Node]:
        key = int.from_bytes(target)
        return sorted(self._around(key, count, pick), key=lambda node: node.key ^ key)[:count]

    def _around(self, key: int, count: int, pick: _Pick) -> list[Node]:
        """Return nodes among which are the `count` nearest of those that `pick` takes of a bucket.

        Every node of the target's own bucket is nearer than any in the deeper buckets, those are
        nearer than any in the bucket before, and so on; hence it is enough to take whole groups
        until there are `count`.
        """
        index = self._index_of(key)
        found = pick(self._buckets[index])
        if len(found) < count:
            for bucket in self._buckets[index + 1 :]:
                found += pick(bucket)
        while len(found) < count and index > 0:
            index -= 1
            found += pick(self._buckets[index])
        return found

    def _prepare(self, bucket: _Bucket, key: int, now: float) -> PreparedNodes:
        """Make answers ready for the targets in a bucket, that of `key`."""
        good = bucket.good(now)
        bucket.borrows = len(good) < K
        if bucket.borrows:
            good = self._around(key, K, lambda it: it.good(now))
        until = min((node.heard_at + GOOD_FOR_S for node in good), default=now)
        return PreparedNodes([(it.key, it.contact.compact()) for it in good], K, until=until)

    def _forget_prepared(self, changed: _Bucket) -> None:
        """Drop the prepared answers that name, or should name, a node of a changed bucket."""
        changed.prepared = None
        for bucket in self._buckets:
            if bucket.borrows:
                bucket.prepared = None

    def _refresh(self, node: Node, rtt_s: float, now: float) -> None:
        bucket = self._bucket_of(node.key)
        if not node.is_good(now=now):
            self._forget_prepared(bucket)
        node.heard_at, node.rtt_s, node.failures = now, rtt_s, 0
        bucket.changed_at = now

    def _insert(self, node: Node, now: float) -> bool:
        index = self._index_of(node.key)
        bucket = self._buckets[index]
        if self._crowds(node.network, bucket.nodes):
            return False
        if len(bucket.nodes) < K:
            self._add(node, bucket, now)
            return True
        if index == len(self._buckets) - 1 and index < ID_BITS - 1:
            self._split()
            return self._insert(node, now)
        return self._insert_into_full(node, bucket, now)

    def _insert_into_full(self, node: Node, bucket: _Bucket, now: float) -> bool:
        endpoint, waiting = node.contact.endpoint, bucket.replacements
        waiting.pop(endpoint, None)
        waiting[endpoint] = node
        if len(waiting) > REPLACEMENTS_MAX:
            del waiting[next(iter(waiting))]
        loser = _loser(bucket.nodes, node)
        if loser is None:
            return False
        self._replace(loser, bucket)
        bucket.changed_at = now
        return self._by_identity.get(node.identity) is node

    def _has_room(self, contact: Contact, now: float) -> bool:
        index = self._index_of(int.from_bytes(contact.id))
        bucket = self._buckets[index]
        if self._crowds(_network(contact.endpoint), bucket.nodes):
            return False
        splittable = index == len(self._buckets) - 1
        return (
            splittable
            or len(bucket.nodes) < K
            or any(not node.is_good(now=now) for node in bucket.nodes)
        )

    def _split(self) -> None:
        """Divide the last bucket, which has no replacements: it splits before anybody waits."""
        last = self._buckets[-1]
        index = len(self._buckets) - 1
        stay = [node for node in last.nodes if shared_prefix(node.contact.id, self.own_id) == index]
        move = [node for node in last.nodes if shared_prefix(node.contact.id, self.own_id) > index]
        last.nodes, last.prepared = stay, None
        self._buckets.append(_Bucket(move, changed_at=last.changed_at))

    def _add(self, node: Node, bucket: _Bucket, now: float) -> None:
        bucket.nodes.append(node)
        bucket.changed_at = now
        self._forget_prepared(bucket)
        self._by_identity[node.identity] = node
        if node.network is not None:
            self._per_network[node.network] = self._per_network.get(node.network, 0) + 1

    def _remove(self, node: Node) -> None:
        bucket = self._bucket_of(node.key)
        bucket.nodes.remove(node)
        self._forget_prepared(bucket)
        del self._by_identity[node.identity]
        network = node.network
        if network is not None:
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

    def _replace(self, node: Node, bucket: _Bucket) -> None:
        """Let a replacement take the place of a node: a secure one if possible, then the latest."""
        self._remove(node)
        waiting = sorted(bucket.replacements.values(), key=lambda it: it.is_secure)
        bucket.replacements = {it.contact.endpoint: it for it in waiting}
        for newcomer in reversed(waiting):
            del bucket.replacements[newcomer.contact.endpoint]
            known = newcomer.identity in self._by_identity
            if not known and not self._crowds(newcomer.network, bucket.nodes):
                self._add(newcomer, bucket, bucket.changed_at)
                return

    def _crowds(self, network: bytes | None, nodes: Iterable[Node]) -> bool:
        """Tell whether a party would hold two places in a bucket, or eleven in the table."""
        held = 0 if network is None else self._per_network.get(network, 0)
        if not held:
            return False
        return held >= NODES_PER_NETWORK_MAX or any(node.network == network for node in nodes)


def _loser(entries: list[Node], newcomer: Node) -> Node | None:
    """Return the entry of a full bucket that gives way to a newcomer, if one does.

    A bad one does, else one whose id is not secure if that of the newcomer is: the slowest of them.
    """
    slowest: Node | None = None
    for entry in entries:
        if entry.failures >= FAILURES_BAD:
            return entry
        if not entry.is_secure and (slowest is None or entry.rtt_s > slowest.rtt_s):
            slowest = entry
    return slowest if newcomer.is_secure else None


def _identity(endpoint: Endpoint) -> bytes:
    return address_of(endpoint) if is_global(endpoint) else endpoint


def _network(endpoint: Endpoint) -> bytes | None:
    return network_of(endpoint) if is_global(endpoint) else None
