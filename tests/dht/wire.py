"""Engines joined by a wire in virtual time, which can drop, delay, repeat and reroute datagrams."""

import heapq
import random
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

from dht.bencode import BValue, decode, encode
from dht.contact import Contact, Endpoint, Family, Scope, address_of
from dht.engine import Engine
from dht.inquiry import Event
from dht.keyspace import NodeId, secure_id
from tests.dht.samples import public, public6

HERE = public(50_000)
"""Where the engine stands that a test is about, if it is not said."""

LATENCY_S = 0.05
STEPS_PER_INSTANT_MAX = 10_000
"""Steps without the clock moving that make a busy loop."""


class Datagram(NamedTuple):
    """What is on its way."""

    data: bytes
    source: Endpoint
    to: Endpoint
    arrives_at: float

    @property
    def fields(self) -> dict[bytes, Any]:
        """The message as a dictionary."""
        value = decode(self.data)
        assert isinstance(value, dict)
        return value

    def is_query(self, method: bytes | None = None) -> bool:
        """Tell whether this is a query, and of that method."""
        fields = self.fields
        return fields[b"y"] == b"q" and method in (None, fields[b"q"])


Stranger = Callable[[Datagram], "dict[bytes, BValue] | None"]
"""Somebody who is no engine: given a datagram, returns the message to answer with, or None."""

Fault = Callable[[Datagram], Iterable[Datagram]]
"""What becomes of a datagram: the datagrams that arrive in its stead."""


def faithfully(datagram: Datagram) -> Iterable[Datagram]:
    """Deliver it as it is."""
    return [datagram]


class Wire:
    """A network of engines.

    Attributes:
        now: Virtual seconds.
        fault: What the network does to datagrams; may be replaced at any time.
        engines: By endpoint; take one out to kill it.
        strangers: Those who are no engines, by endpoint.
        carried: Every datagram sent, in order.
        events: What the engines reported, in order.
    """

    def __init__(self, seed: int = 1) -> None:
        """Create a network without nodes."""
        self.now = 0.0
        self.rng = random.Random(seed)
        self.fault: Fault = faithfully
        self.engines: dict[Endpoint, Engine] = {}
        self.strangers: dict[Endpoint, Stranger] = {}
        self.carried: list[Datagram] = []
        self.events: list[Event] = []
        self._in_flight: list[tuple[float, int, Datagram]] = []
        self._serial = count()

    def add(
        self, at: Endpoint | None = None, own_id: NodeId | None = None, **options: Any
    ) -> Engine:
        """Add a node that knows nobody."""
        at = at if at is not None else HERE
        family = Family.IPV4 if len(at) == 6 else Family.IPV6
        engine = Engine(
            own_id if own_id is not None else secure_id(address_of(at), self.rng),
            family,
            bound=options.pop("bound", Scope.GLOBAL),
            rng=random.Random(self.rng.random()),
            now=self.now,
            own_endpoint=at,
            **options,
        )
        self.engines[at] = engine
        return engine

    def add_network(
        self, size: int, *, family: Family = Family.IPV4, **options: Any
    ) -> list[Engine]:
        """Add nodes that join through the first of them, and let them get to know each other."""
        place = public if family is Family.IPV4 else public6
        first = len(self.engines) + 1
        added = [self.add(place(serial), **options) for serial in range(first, first + size)]
        for engine in added:
            engine.join([place(first)], now=self.now)
            self.run_for(1.0)
        self.run_for(60.0)
        return added

    def endpoint_of(self, engine: Engine) -> Endpoint:
        """Return where an engine is."""
        return next(at for at, it in self.engines.items() if it is engine)

    def contact_of(self, engine: Engine) -> Contact:
        """Return an engine as others name it."""
        return Contact(engine.own_id, self.endpoint_of(engine))

    def transfer(self) -> None:
        """Take what the engines want sent and put it on its way."""
        for source, engine in list(self.engines.items()):
            for data, to in engine.datagrams_to_send():
                self.send(Datagram(data, source, to, self.now + LATENCY_S))
            self.events += engine.take_events()

    def send(self, datagram: Datagram) -> None:
        """Put a datagram on its way, through whatever the network does to it."""
        self.carried.append(datagram)
        for arriving in self.fault(datagram):
            heapq.heappush(self._in_flight, (arriving.arrives_at, next(self._serial), arriving))

    def say(self, fields: dict[bytes, BValue], source: Endpoint, to: Endpoint) -> None:
        """Send a message of somebody who is no engine."""
        self.send(Datagram(encode(fields), source, to, self.now + LATENCY_S))

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        until, steps, instant = self.now + seconds, 0, self.now
        self.transfer()
        while (at := self._next_at()) <= until:
            self.now = max(self.now, at)
            steps = steps + 1 if self.now == instant else 0
            instant = self.now
            assert steps < STEPS_PER_INSTANT_MAX, "a busy loop"
            self._step()
            self.transfer()
        self.now = until

    def sent_by(self, source: Endpoint, method: bytes | None = None) -> list[Datagram]:
        """Return the queries that somebody sent."""
        return [it for it in self.carried if it.source == source and it.is_query(method)]

    def _next_at(self) -> float:
        deadlines = [engine.next_deadline(now=self.now) for engine in self.engines.values()]
        arrivals = [self._in_flight[0][0]] if self._in_flight else []
        return min([*deadlines, *arrivals], default=float("inf"))

    def _step(self) -> None:
        while self._in_flight and self._in_flight[0][0] <= self.now:
            self._deliver(heapq.heappop(self._in_flight)[2])
        for engine in self.engines.values():
            if engine.next_deadline(now=self.now) <= self.now:
                engine.handle_deadlines(now=self.now)

    def _deliver(self, datagram: Datagram) -> None:
        if (engine := self.engines.get(datagram.to)) is not None:
            engine.receive_datagram(datagram.data, datagram.source, now=self.now)
        elif (stranger := self.strangers.get(datagram.to)) is not None:
            fields = stranger(datagram)
            if fields is not None:
                self.say(fields, datagram.to, datagram.source)
