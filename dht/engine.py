"""One DHT node on one socket, as a step function.

Datagrams and time go in; datagrams, events and the next deadline come out.

The engine owns the parts (table, transactions, responder, upkeep, limits) and no algorithm: it
reads a datagram, hands it to the part it concerns, and sends what the parts want sent. It never
waits, reads no clock and opens nothing, so a thousand engines can run in one thread of virtual
time, and the same seed gives the same bytes.

Spec: BEP 5; BEP 32 (one family, one table), BEP 43 (read-only), BEP 45 (one id a socket).
"""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from dht.bencode import BValue
from dht.contact import Contact, Endpoint, Family, Scope, contact_of
from dht.errors import ErrorResponse, MalformedBencode, MalformedMessage, QueryRefused
from dht.figures import EngineStatistics
from dht.identity import Identity
from dht.inquirer import INQUIRIES_MAX, Inquirer
from dht.inquiry import Call, Event, Inquiry, InquiryT, JoinEnded, ping
from dht.itemstore import ItemStore
from dht.keyspace import InfoHash, NodeId
from dht.krpc import (
    PING,
    WRITES,
    Answer,
    ErrorMessage,
    Query,
    Response,
    decode_message,
    read_answer,
)
from dht.lookup import Lookup
from dht.peerstore import PeerStore
from dht.ratelimit import FlowBudget, SourceLimiter
from dht.reach import Reach
from dht.responder import Responder
from dht.routing import RoutingTable
from dht.search import Announcement, FindNodes, FindPeers, Purpose, PurposeT, Search
from dht.services.items import ItemService
from dht.services.nodes import Directory, NodeService
from dht.services.peers import PeerService
from dht.services.samples import SampleService
from dht.suspicion import Suspicion
from dht.tokens import Tokens
from dht.transactions import Transaction
from dht.upkeep import FindNearby, Join, PingNode, RefreshBucket, Task, Upkeep

SEEDS: Final = 16
"""Contacts of the table that a search starts from: the K closest, and K more in case of deaths."""

NODES_TO_START: Final = 4
"""Nodes that let a search start before the first join is over: as many as are asked at once."""


class Engine:
    """A Kademlia node for one family, without a socket.

    Attributes:
        own_id: What we call ourselves.
        family: Of our socket.
        table: Whom we know.
        store: The peers announced to us.
    """

    def __init__(
        self,
        own_id: NodeId,
        family: Family,
        *,
        bound: Scope,
        rng: random.Random,
        now: float,
        store: PeerStore | None = None,
        budget: FlowBudget | None = None,
        limiter: SourceLimiter | None = None,
        read_only: bool = False,
        own_endpoint: Endpoint | None = None,
        suspicion: Suspicion | None = None,
    ) -> None:
        """Create a node that knows nobody.

        Args:
            own_id: Our 20-byte id.
            family: The address family of the socket.
            bound: Scope of the address it is bound to; decides which addresses are believed.
            rng: All randomness, secrets included; cryptographically strong outside simulations.
            now: Monotonic seconds.
            store: Announced peers; shared by the two engines of a dual-stack node.
            budget: Bounds new flows; shared by everything behind one router. None for no bound.
            limiter: Bounds queries answered per source. None for the default limit.
            read_only: Whether to answer no queries and to say so in ours; else that depends on
                whether strangers reach us. Spec: BEP 43.
            own_endpoint: Where we are bound, if to a specific address; we do not talk to ourselves.
            suspicion: Which rules apply against liars. None for the default ones.
        """
        self.own_id = own_id
        self.family = family
        self._suspicion = suspicion if suspicion is not None else Suspicion()
        self.table = RoutingTable(own_id, family, now=now, strict_ids=self._suspicion.strict_ids)
        self.store = store if store is not None else PeerStore()
        self._reach = Reach(bound)
        self._identity = Identity(
            own_id, rng, is_public=bound is Scope.GLOBAL, read_only=read_only, now=now
        )
        self._own_endpoint = own_endpoint
        self._limiter = limiter if limiter is not None else SourceLimiter()
        self._inquirer = Inquirer(
            own_id,
            rng,
            budget if budget is not None else FlowBudget(float("inf"), now=now),
            read_only=read_only,
        )
        self._directory = Directory(self.table)
        self._items = ItemStore(own_id)
        tokens = Tokens(rng, now=now)
        self._responder = Responder(
            own_id,
            NodeService(self._directory),
            PeerService(self._directory, self.store, tokens, rng),
            ItemService(self._directory, self._items, tokens),
            SampleService(self._directory, self.store, rng),
        )
        self._upkeep = Upkeep(self.table, rng, now=now)
        self._entry_points: list[Endpoint] = []
        self._routers: frozenset[Endpoint] = frozenset()
        self._known: list[Contact] = []
        self._join: Search[FindNodes] | None = None
        self._has_joined = False
        self._held: list[Search[Purpose]] = []
        self._outbox: list[tuple[bytes, Endpoint]] = []
        self._join_events: list[JoinEnded] = []
        self._counts: Counter[str] = Counter()
        self._received_count = self._answered_count = 0
        self._heard_at = now

    # Configuration

    def lend(self, sibling: RoutingTable) -> None:
        """Give read access to the table of the other family's engine. Spec: BEP 32 "nodes6"."""
        self._directory.lend(sibling)

    def join(
        self,
        entry_points: Iterable[Endpoint] = (),
        *,
        routers: Iterable[Endpoint] = (),
        known: Iterable[Contact] = (),
        now: float,
    ) -> None:
        """Get to know the network; `JoinEnded` events tell when an attempt is over.

        Repeats itself as needed from then on. May be called again when more entry points are known.

        Args:
            entry_points: Hosts to ask for nodes when too few are known.
            routers: Those of them, usually public bootstrap hosts, that must never enter the table.
            known: Contacts from a saved state, asked before any host.
            now: Monotonic seconds.

        Spec: BEP 5 "Routing Table" (own id looked up at the start; routers not stored).
        """
        self._entry_points = [it for it in entry_points if self._is_usable(it)]
        self._routers = frozenset(routers)
        self._known += [it for it in known if self._is_usable(it.endpoint) and it.id != self.own_id]
        if self._join is not None:
            self._join.add_routers(self._entry_points)
            self._inquirer.pump(self._join, now=now)
            self._notice_join_end(now)
        elif not len(self.table):
            self._upkeep.want_join(now=now)

    # Calls

    def call(
        self,
        endpoint: Endpoint,
        method: bytes,
        arguments: dict[bytes, BValue] | None = None,
        *,
        now: float,
    ) -> Call:
        """Send one query; an `Ended` event tells when its outcome is known.

        Raises:
            QueryRefused: The address is not allowed, or too much is going on.
        """
        if not self._is_usable(endpoint):
            raise QueryRefused("address not allowed")
        self._refuse_if_crowded()
        call = Call(endpoint, method, arguments)
        self._inquirer.start(call, now=now)
        return call

    def ping(self, endpoint: Endpoint, *, now: float) -> Call:
        """Start a ping; as `call`."""
        return self.call(endpoint, PING, now=now)

    def search(self, target: bytes, purpose: PurposeT, *, now: float) -> Search[PurposeT]:
        """Start a search: `Found` events as things are found, `Ended` at the end.

        Args:
            target: 20 bytes.
            purpose: What it is for.
            now: Monotonic seconds.

        Raises:
            QueryRefused: Too much is going on.
        """
        self._refuse_if_crowded()
        search = Search(purpose, self._lookup(target))
        self._start_search(search, now)
        return search

    def find_node(self, target: NodeId, *, now: float) -> Search[FindNodes]:
        """Start a search for the nodes nearest to `target`; as `search`."""
        return self.search(target, FindNodes(), now=now)

    def get_peers(
        self, info_hash: InfoHash, *, now: float, announcement: Announcement | None = None
    ) -> Search[FindPeers]:
        """Start a search for peers, which may announce at its end; as `search`."""
        return self.search(info_hash, FindPeers(announcement), now=now)

    def inquire(self, inquiry: InquiryT, *, now: float) -> InquiryT:
        """Start an inquiry of the caller's, which may ask whom answers named to it; as `search`."""
        self._refuse_if_crowded()
        self._inquirer.start(inquiry, now=now)
        return inquiry

    def cancel(self, inquiry: Inquiry) -> None:
        """Forget an inquiry; no further event will name it."""
        self._held = [search for search in self._held if search is not inquiry]
        self._inquirer.cancel(inquiry)

    # Input

    def receive_datagram(self, data: bytes, source: Endpoint, *, now: float) -> None:
        """Take a datagram from anyone; whatever it holds, nothing is raised."""
        self._received_count += 1
        if not self._reach[source]:
            return self._drop("source not allowed")
        if self._suspicion.ignores(source, now=now):
            return self._drop("source ignored")
        try:
            message = decode_message(data)
        except MalformedBencode:
            return self._drop("not bencoding")
        except MalformedMessage as error:
            return self._drop(error.fault)
        self._heard_at = now
        if isinstance(message, Query):
            self._receive_query(message, source, now)
        else:
            self._receive_answer(message, source, now)

    def handle_deadlines(self, *, now: float) -> None:
        """Do what is due: slow and failed queries, upkeep, inquiries held up by the budget."""
        for transaction in self._inquirer.handle_deadlines(now=now):
            # Silence speaks against a node only if somebody else was heard meanwhile; else it may
            # be our own line.
            if self._heard_at > transaction.sent_at:
                self.table.failed(transaction.endpoint)
        self._inquirer.read_only = self._identity.reconsider(now=now)
        for task in self._upkeep.due(now=now):
            self._perform(task, now)
        if self._join is not None:
            self._notice_join_end(now)

    # Output

    def datagrams_to_send(self) -> list[tuple[bytes, Endpoint]]:
        """Take the datagrams that are to be sent: answers to others first, then our queries."""
        answers, self._outbox = self._outbox, []
        return answers + self._inquirer.take_datagrams()

    def take_events(self) -> list[Event]:
        """Take what has happened: to inquiries, in order, and then to joins."""
        joins, self._join_events = self._join_events, []
        return [*self._inquirer.take_events(), *joins]

    def next_deadline(self, *, now: float) -> float:
        """Return when `handle_deadlines` is to be called, in monotonic seconds."""
        return min(self._inquirer.next_deadline(now=now), self._upkeep.next_deadline())

    def statistics(self, *, now: float) -> EngineStatistics:
        """Return a snapshot of sizes and counts."""
        return EngineStatistics(
            nodes=len(self.table),
            good_nodes=self.table.good_count(now=now),
            buckets=self.table.depth,
            in_flight=self._inquirer.in_flight,
            swarms=len(self.store),
            counts=self._all_counts(),
            slow_after_s=self._inquirer.slow_after_s,
            external_address=self._identity.external_address(now=now),
            is_read_only=self._identity.is_read_only,
            uninvited_queries=self._identity.uninvited_queries,
        )

    # Queries of others

    def _receive_query(self, query: Query, source: Endpoint, now: float) -> None:
        if self._identity.is_judged:
            invited_at = self._inquirer.courtesy.asked_at(source)
            self._identity.queried(source, invited_at=invited_at, now=now)
        if self._identity.is_read_only:
            return self._drop("query to a read-only node")
        if not self._limiter.admits(source, now=now):
            return self._drop("rate limit")
        if query.method in WRITES and not self._limiter.admits_write(source, now=now):
            return self._drop("token flood")
        reply = self._responder.answer(query, source, now=now)
        if reply is None:
            return self._drop("method never answered")
        self._answered_count += 1
        self._outbox.append((reply, source))
        if not query.read_only:
            self._meet(query, source, now)

    def _meet(self, query: Query, source: Endpoint, now: float) -> None:
        """Consider pinging the sender of a query: only an answer would make it an acquaintance."""
        sender_id = query.arguments.get(b"id")
        if not isinstance(sender_id, bytes) or len(sender_id) != len(self.own_id):
            return
        sender = Contact(NodeId(sender_id), source)
        if source in self._routers or not self.table.queried(sender, now=now):
            return
        if self._upkeep.greets(sender, now=now):
            self._inquirer.start(ping(source), now=now)

    # Answers to our queries

    def _receive_answer(
        self, message: Response | ErrorMessage, source: Endpoint, now: float
    ) -> None:
        transaction = self._inquirer.match(source, message.transaction_id, now=now)
        if transaction is None:
            expected = self._inquirer.awaits(message.transaction_id)
            return self._drop("wrong address" if expected else "answer to nothing asked")
        if isinstance(message, ErrorMessage):
            self._counts["errors received"] += 1
            error = ErrorResponse(message.code, message.text)
            self._inquirer.refused(transaction, error, now=now)
        else:
            self._counts["answers received"] += 1
            self._take_answer(message, transaction, now)
        if self._join is not None:
            self._notice_join_end(now)

    def _take_answer(
        self, response: Response, transaction: Transaction[Inquiry], now: float
    ) -> None:
        sender = contact_of((response.sender, transaction.endpoint))
        inquiry = transaction.owner
        target = inquiry.target if isinstance(inquiry, Search) else None
        answer = self._usable(read_answer(response, self.family))
        if sender.endpoint not in self._routers:
            answer = self._suspicion.believable(answer, sender, target, now=now)
            self._meet_again(sender, transaction.sent_at, now)
        self._inquirer.answered(transaction, sender, answer, now=now)
        if self._identity.answered(sender.endpoint, response.external, now=now):
            self._change_id(self._identity.own_id, now)

    def _meet_again(self, sender: Contact, asked_at: float, now: float) -> None:
        """Note who answered, unless that has shown it to be a liar."""
        if self._suspicion.ignores(sender.endpoint, now=now):
            return self.table.forget(sender.endpoint)
        self.table.answered(sender, rtt_s=now - asked_at, now=now)
        if self._held:
            self._release_held(now)

    def _change_id(self, own_id: NodeId, now: float) -> None:
        """Take another id, and meet its neighbours with the help of all who are known."""
        known = [node.contact for node in self.table]
        self.own_id = self._inquirer.own_id = self._responder.own_id = own_id
        self._items.own_id = own_id
        self.table.recentre(own_id, now=now)
        self._inquirer.start(Search(FindNodes(), self._lookup(own_id, known)), now=now)
        self._counts["own id changed"] += 1

    def _usable(self, answer: Answer) -> Answer:
        """Leave out of an answer whatever must not be sent to."""
        own_id, own_endpoint, reach = self.own_id, self._own_endpoint, self._reach
        contacts, peers = answer.contacts, answer.peers
        ids, endpoints = zip(*contacts, strict=True) if contacts else ((), ())
        if own_id in ids or own_endpoint in endpoints or not reach.has_all(endpoints):
            contacts = [
                it
                for it in contacts
                if reach[it.endpoint] and it.id != own_id and it.endpoint != own_endpoint
            ]
        if peers and not reach.has_all(peers):
            peers = [peer for peer in peers if reach[peer]]
        if contacts is answer.contacts and peers is answer.peers:
            return answer  # Nearly always.
        return answer._replace(contacts=contacts, peers=peers)

    # Inquiries

    def _refuse_if_crowded(self) -> None:
        """Bound what our user starts; what upkeep starts is bounded there and not refused."""
        if len(self._inquirer) + len(self._held) >= INQUIRIES_MAX:
            raise QueryRefused("too many inquiries at once")

    def _start_search(self, search: Search[Purpose], now: float) -> None:
        """Start a search, or hold it back while the first join has yet to bring somebody to ask."""
        if self._knows_enough:
            search.lookup.add(self._seeds(search.target, now))
            self._inquirer.start(search, now=now)
        else:
            self._held.append(search)

    def _release_held(self, now: float) -> None:
        if self._knows_enough:
            held, self._held = self._held, []
            for search in held:
                self._start_search(search, now)

    @property
    def _knows_enough(self) -> bool:
        return self._has_joined or len(self.table) >= NODES_TO_START

    # Upkeep

    def _perform(self, task: Task, now: float) -> None:
        match task:
            case Join():
                self._start_join(now)
            case FindNearby():
                self._start_search(self._node_search(self.own_id), now)
            case RefreshBucket(target):
                self._start_search(self._node_search(target), now)
            case PingNode(endpoint):
                self._inquirer.start(ping(endpoint), now=now)

    def _start_join(self, now: float) -> None:
        """Search for ourselves: ask whoever is known, bootstrap hosts if that does not suffice."""
        seeds, self._known = self._seeds(self.own_id, now) + self._known, []
        lookup = self._lookup(self.own_id, seeds)
        self._join = Search(FindNodes(), lookup, routers=self._entry_points)
        self._inquirer.start(self._join, now=now)

    def _notice_join_end(self, now: float) -> None:
        if self._join is None or not self._join.is_done:
            return
        join, self._join, self._has_joined = self._join, None, True
        event = JoinEnded(join.answers_from_routers, tuple(join.silent_routers))
        self._join_events.append(event)
        self._upkeep.join_ended(now=now)
        self._release_held(now)

    def _seeds(self, target: bytes, now: float) -> list[Contact]:
        """Return where to begin: the nearest, but rather not those asked too much just now."""
        near = self.table.closest(target, 2 * SEEDS, now=now)
        ready_at = self._inquirer.courtesy.ready_at
        ready = (it for it in near if ready_at(it.endpoint, now=now) <= now)
        return list(islice(ready, SEEDS)) or near[:SEEDS]

    def _lookup(self, target: bytes, seeds: Iterable[Contact] = ()) -> Lookup:
        return Lookup(target, seeds, scrutiny=self._suspicion.scrutiny())

    def _node_search(self, target: bytes) -> Search[FindNodes]:
        return Search(FindNodes(), self._lookup(target))

    def _is_usable(self, endpoint: Endpoint) -> bool:
        """Tell whether a query may go to an endpoint: allowed, of our family, and not ourselves."""
        return (
            len(endpoint) == self.family.endpoint_bytes
            and endpoint != self._own_endpoint
            and self._reach[endpoint]
        )

    def _all_counts(self) -> dict[str, int]:
        counts = Counter(self._counts)
        counts["received"] = self._received_count
        counts["queries answered"] = self._answered_count
        counts["queries sent"] = self._inquirer.sent_count
        counts["queries unanswered"] = self._inquirer.unanswered_count
        counts.update({f"lies: {rule.value}": n for rule, n in self._suspicion.counts.items()})
        return {name: count for name, count in sorted(counts.items()) if count}

    def _drop(self, reason: str) -> None:
        self._counts[f"dropped: {reason}"] += 1
