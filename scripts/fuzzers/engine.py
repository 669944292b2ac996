"""Fuzzes a live engine: damaged queries from anybody, damaged answers to its own queries.

Meanwhile a neighbour with good manners asks it things and must always be answered rightly, whatever
is sent must be allowed to be sent, and what the engine holds in memory must not grow.
"""

import random
import sys
from collections import deque
from typing import Final

from dht.bencode import BValue
from dht.contact import Contact, Endpoint, Family, Scope, endpoint, is_allowed, parse_endpoint
from dht.engine import Engine
from dht.inquiry import Ended, Inquiry
from dht.keyspace import InfoHash, NodeId, random_id
from dht.krpc import (
    ANNOUNCE_PEER,
    DATAGRAM_MAX,
    FIND_NODE,
    GET_PEERS,
    PING,
    Message,
    Query,
    Response,
    decode_message,
    encode_query,
    encode_response,
)
from dht.ratelimit import FlowBudget
from dht.routing import K
from dht.search import Announcement
from scripts.footprint import Footprint
from scripts.fuzzers.corpus import vector_bytes
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

STEP_S: Final = 0.01
"""Virtual seconds between two datagrams."""

SEARCH_EVERY: Final = 50
CHECK_EVERY: Final = 100
MEASURE_EVERY: Final = 50_000
"""Datagrams between two searches, visits of the neighbour, and looks at the memory."""

PATIENCE_S: Final = 2.0
"""Virtual seconds between two questions of the neighbour, one in five of which is a write."""

SEARCHES_MAX: Final = 20
"""Searches at once; of the answers to them most are damaged or never come, so they last."""

ACQUAINTANCES: Final = 60
STRANGERS: Final = 300

INVENTED: Final = 30_000
"""Contacts that answers name: more than anything in an engine remembers."""

WARM_UP: Final = 500_000
"""Datagrams, and some 15 hours of virtual time, after which all that is remembered of addresses has
reached its bounds, in number or in time."""

GROWTH_MAX: Final = 250_000
"""Blocks of memory that may come on top of what there was at the first look. A leak of one block a
datagram passes this within seconds."""

GROWTH_SHARES_MAX: Final = (0.1, 0.1, 0.25)
"""Growth in blocks, objects and resident memory that is put up with after the warm-up, on top of
the most there was until then: searches under way differ from one moment to another, and what the
largest inputs took goes back to the system late and in pieces."""

_WARM_LOOKS: Final = WARM_UP // MEASURE_EVERY

NEIGHBOUR: Final = Contact(NodeId(b"a polite neighbour.."), endpoint("9.9.9.9", 6881))
ODD_SOURCES: Final = tuple(
    parse_endpoint(text)
    for text in ("127.0.0.1:6881", "0.0.0.0:1", "8.8.8.8:0", "255.255.255.255:9")
)


class Siege:
    """One engine, and everybody who talks to it."""

    def __init__(self, rng: random.Random) -> None:
        """Start with an engine that knows some nodes."""
        self._rng = rng = random.Random(rng.getrandbits(64))
        self._now = 0.0
        self._mutator = Mutator(vector_bytes("krpc_messages", "packet"), rng)
        self._strangers = [self._random_endpoint() for _ in range(STRANGERS)] + [*ODD_SOURCES]
        self._source = self._strangers[0]
        self._asked: deque[tuple[Query, Endpoint]] = deque(maxlen=STRANGERS)
        self._engine = Engine(
            random_id(rng),
            Family.IPV4,
            bound=Scope.GLOBAL,
            rng=random.Random(rng.random()),
            now=0.0,
            budget=FlowBudget(now=0.0),
        )
        for _ in range(ACQUAINTANCES):
            contact = Contact(random_id(rng), self._random_endpoint())
            self._engine.table.answered(contact, rtt_s=0.1, now=0.0)
        self._invented = [
            Contact(random_id(rng), self._random_endpoint()).compact() for _ in range(INVENTED)
        ]
        self._searches: dict[Inquiry, None] = {}
        self._fed = 0
        self._answered = 0
        self._footprints: list[Footprint] = []

    def next_input(self) -> bytes:
        """Return a datagram, damaged or sound: a query, or an answer to one of the engine's own."""
        if self._asked and self._rng.random() < 0.5:
            query, self._source = self._asked.popleft()
            if self._source == NEIGHBOUR.endpoint:
                return encode_response(query.transaction_id, {b"id": NEIGHBOUR.id}, self._source)
            answer = self._answer_to(query)
            return self._mutator.damage(answer) if self._rng.random() < 0.5 else answer
        self._source = self._rng.choice(self._strangers)
        return self._mutator.next_input()

    def feed(self, datagram: bytes) -> None:
        """Let the engine receive a datagram from where it is said to come, and look after it."""
        self._fed += 1
        self._now += STEP_S
        self._engine.receive_datagram(datagram, self._source, now=self._now)
        if self._engine.next_deadline(now=self._now) <= self._now:
            self._engine.handle_deadlines(now=self._now)
            assert self._engine.next_deadline(now=self._now) > self._now, "it would spin"
        if self._fed % SEARCH_EVERY == 0 and len(self._searches) < SEARCHES_MAX:
            self._search()
        self._take_output()
        if self._fed % CHECK_EVERY == 0:
            self._visit()
        if self._fed % MEASURE_EVERY == 0:
            self._measure()

    def remarks(self) -> str:
        """Tell of the neighbour, and of the memory as it was first, when warm, and last."""
        looks = self._footprints
        shown = [str(it) for it in (*looks[:1], *looks[_WARM_LOOKS - 1 : _WARM_LOOKS], *looks[-1:])]
        return f"{self._answered} sound queries answered rightly  memory: {' -> '.join(shown)}"

    # The engine's side

    def _take_output(self) -> list[tuple[bytes, Endpoint]]:
        """Check what the engine sends, and note its queries."""
        sent = self._engine.datagrams_to_send()
        for datagram, to in sent:
            assert is_allowed(to, Scope.GLOBAL), f"sent to {to.hex()}"
            assert len(datagram) <= DATAGRAM_MAX, "sent too large a datagram"
            message = decode_message(datagram)
            if isinstance(message, Query):
                self._asked.append((message, to))
        for event in self._engine.take_events():
            if isinstance(event, Ended):
                self._searches.pop(event.inquiry, None)
        return sent

    def _search(self) -> None:
        """Let the engine look for peers and announce one, so that it has questions to ask."""
        search = self._engine.get_peers(
            self._random_hash(), now=self._now, announcement=Announcement(1)
        )
        self._searches[search] = None

    def _measure(self) -> None:
        footprint = Footprint.measure()
        self._footprints.append(footprint)
        first, warm = self._footprints[0], self._footprints[:_WARM_LOOKS]
        assert footprint.blocks < first.blocks + GROWTH_MAX, f"{footprint}; at first {first}"
        for now, share, *until_warm in zip(footprint, GROWTH_SHARES_MAX, *warm, strict=True):
            assert now <= max(until_warm) * (1 + share), f"{footprint}; when warm {warm[-1]}"

    # The neighbour

    def _visit(self) -> None:
        """Ask everything there is to ask, and announce; all answers must be right."""
        info_hash, target = self._random_hash(), random_id(self._rng)
        self._ask(PING, {})
        nodes = self._ask(FIND_NODE, {b"target": target}).values[b"nodes"]
        assert isinstance(nodes, bytes)
        assert len(nodes) % Family.IPV4.contact_bytes == 0
        assert len(nodes) <= K * Family.IPV4.contact_bytes
        token = self._ask(GET_PEERS, {b"info_hash": info_hash}).values[b"token"]
        announcement: dict[bytes, BValue] = {
            b"info_hash": info_hash,
            b"port": 6881,
            b"token": token,
        }
        self._ask(ANNOUNCE_PEER, announcement)
        found = self._ask(GET_PEERS, {b"info_hash": info_hash})
        assert found.values[b"values"] == [NEIGHBOUR.endpoint]

    def _ask(self, method: bytes, arguments: dict[bytes, BValue]) -> Response:
        id = self._rng.randbytes(4)
        query = encode_query(id, method, {b"id": NEIGHBOUR.id, **arguments})
        # Patience keeps the neighbour within what one address may ask, and write.
        self._now += PATIENCE_S
        self._engine.receive_datagram(query, NEIGHBOUR.endpoint, now=self._now)
        answers = [
            message
            for datagram, to in self._take_output()
            if to == NEIGHBOUR.endpoint and _is_answer(message := decode_message(datagram), id)
        ]
        assert len(answers) == 1, f"{len(answers)} answers to {method.decode()}"
        (answer,) = answers
        assert isinstance(answer, Response), f"refused {method.decode()}"
        assert answer.sender == self._engine.own_id
        self._answered += 1
        return answer

    # Everybody else

    def _answer_to(self, query: Query) -> bytes:
        """Answer a query of the engine as an inventive node would."""
        rng, values = self._rng, dict[bytes, BValue]()
        values[b"id"] = random_id(rng)
        if query.method in (FIND_NODE, GET_PEERS):
            first = rng.randrange(INVENTED)
            values[b"nodes"] = b"".join(self._invented[first : first + rng.randrange(12)])
        if query.method == GET_PEERS:
            values[b"token"] = rng.randbytes(8)
            peers = rng.randbytes(6 * rng.randrange(60))
            values[b"values"] = [peers[at : at + 6] for at in range(0, len(peers), 6)]
        return encode_response(query.transaction_id, values, NEIGHBOUR.endpoint)

    def _random_endpoint(self) -> Endpoint:
        while not is_allowed(at := Endpoint(self._rng.randbytes(6)), Scope.GLOBAL):
            pass
        return at

    def _random_hash(self) -> InfoHash:
        return InfoHash(self._rng.randbytes(20))


def _is_answer(message: Message, id: bytes) -> bool:
    return message.transaction_id == id and not isinstance(message, Query)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    siege = Siege(rng)
    return [Subject("engine", siege.next_input, siege.feed, remarks=siege.remarks, is_traced=False)]


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
