"""A day of virtual time in which nodes keep coming and going: does anything wear out or pile up?

Every node stays for a session of random length, and another joins when it leaves. Hour by hour the
network is asked what it finds and what it holds, so that decay, growth and standstill show as a
difference between the first hours and the last. Two clerks put to the test what has to be forgotten
in time: write tokens, and announces that nobody repeats.
"""

import gc
import sys
from collections.abc import Iterator
from heapq import heappop, heappush
from statistics import mean
from typing import Final, NamedTuple

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.engine import Engine
from dht.errors import ErrorResponse
from dht.inquiry import Call
from dht.keyspace import InfoHash, random_id
from dht.krpc import ANNOUNCE_PEER, GET_PEERS
from dht.search import Announcement
from dht.transactions import FAIL_MAX_S
from dht.upkeep import TICK_S
from scripts.options import exit_after, read_options
from scripts.simulations.network import VirtualNetwork

HOURS: Final = 24
HOUR_S: Final = 3_600.0

ROUTERS: Final = 3
JOINING_S: Final = 60.0
SETTLED_S: Final = 300.0
"""Age in virtual seconds from which a node's table is judged; also the rest before the first hour.
"""

SESSION_MEDIAN_S: Final = 7_200.0
SESSION_SIGMA: Final = 1.2
"""A session is lognormal, four hours on average: half last under two, one in fifty a day."""

LOOKUPS: Final = 30
ANNOUNCES: Final = 10
"""Searches for nodes, and announces, in an hour."""

TOKENS: Final = 5
"""Tokens tried at each age, in an hour."""

SEARCH_LIMIT_S: Final = 120.0
"""Virtual seconds, as in `churn`."""

TOKEN_YOUNG_S: Final = 540.0
TOKEN_OLD_S: Final = 960.0
"""Ages on either side of the 10 to 15 minutes that a token lives."""

ANNOUNCE_OLD_S: Final = 2_100.0
"""More than the half hour that an announce lasts."""

WAKES_WITHIN_S: Final = max(TICK_S * 1.2, FAIL_MAX_S)
"""The longest that an engine may sleep: upkeep never rests longer than a tick and its jitter."""

PEER_PORT: Final = 51_413


class Hour(NamedTuple):
    """What one hour showed.

    Attributes:
        recall: Share of the true K closest living nodes that a search found, on average.
        announces_found: Share of announces that another node found right afterwards.
        old_announces_found: Announces that were still found after they should have been forgotten.
        living: Share of the entries of settled nodes' tables that are alive.
        entries: Entries of a settled node's table, on average.
        swarms: Info-hashes kept by all nodes together.
        in_flight: Queries of all nodes that wait for an answer.
        young_tokens_taken: Tokens in their time that were accepted, of those that got an answer.
        young_tokens_tried: How many got an answer.
        old_tokens_taken: Tokens past their time that were accepted.
        late: Engines whose next deadline has passed or is too far off.
        objects: Objects in memory for each node, as the garbage collector counts them.
        datagrams: Datagrams that a node sent in the hour, on average.
    """

    recall: float
    announces_found: float
    old_announces_found: int
    living: float
    entries: float
    swarms: int
    in_flight: int
    young_tokens_taken: int
    young_tokens_tried: int
    old_tokens_taken: int
    late: int
    objects: float
    datagrams: float


class RevolvingNetwork(VirtualNetwork):
    """A network whose nodes leave after a session each, and are replaced."""

    def __init__(self, seed: int, nodes: int) -> None:
        """Let all nodes join, and settle."""
        super().__init__(seed)
        self._joined_at: dict[Endpoint, float] = {}
        self._departures: list[tuple[float, Endpoint]] = []
        self.add_routers(ROUTERS)
        for _ in range(nodes):
            self._admit(over_s=JOINING_S / nodes)
        self.revolve(SETTLED_S)

    def revolve(self, seconds: float) -> None:
        """Let time pass, and nodes come and go."""
        until = self.now + seconds
        while self._departures[0][0] <= until:
            leaves_at, leaver = heappop(self._departures)
            self.run(max(leaves_at - self.now, 0.0))
            self.remove_nodes([leaver])
            del self._joined_at[leaver]
            self._admit(over_s=0.0)
        self.run(max(until - self.now, 0.0))

    def settled(self) -> Iterator[Engine]:
        """Iterate over the nodes that have been here for a while, routers apart."""
        for at, joined_at in self._joined_at.items():
            if joined_at + SETTLED_S <= self.now:
                yield self.engines[at]

    def ask(
        self, asker: Endpoint, to: Endpoint, method: bytes, arguments: dict[bytes, BValue]
    ) -> Call:
        """Send one query from one node to another; the outcome is known some seconds later."""
        call = self.engines[asker].call(to, method, arguments, now=self.now)
        self._attend(asker)
        return call

    def _admit(self, *, over_s: float) -> None:
        self.add_nodes(1, over_s=over_s)
        newcomer = next(reversed(self.engines))
        self._joined_at[newcomer] = self.now
        stays_s = SESSION_MEDIAN_S * self.rng.lognormvariate(0.0, SESSION_SIGMA)
        heappush(self._departures, (self.now + stays_s, newcomer))


class TokenClerk:
    """Gets write tokens from a router, and uses them at a given age from where they were given."""

    def __init__(self, network: RevolvingNetwork) -> None:
        """Work in a network; routers stay, so they both ask and are asked."""
        self._network = network
        self._asker, self._keeper = network.routers[:2]

    def collect(self) -> list[tuple[InfoHash, Call]]:
        """Ask for tokens; the answers come within seconds."""
        hashes = [InfoHash(random_id(self._network.rng)) for _ in range(TOKENS)]
        return [
            (it, self._network.ask(self._asker, self._keeper, GET_PEERS, {b"info_hash": it}))
            for it in hashes
        ]

    def use(self, collected: list[tuple[InfoHash, Call]]) -> list[Call]:
        """Announce with what was collected; the answers come within seconds."""
        return [
            self._network.ask(
                self._asker,
                self._keeper,
                ANNOUNCE_PEER,
                {b"info_hash": it, b"port": PEER_PORT, b"token": call.answer.token},
            )
            for it, call in collected
            if call.answer is not None and call.answer.token is not None
        ]


class AnnounceClerk:
    """Lets nodes announce peers once, and looks for them now and when they should be forgotten."""

    def __init__(self, network: RevolvingNetwork) -> None:
        """Work in a network."""
        self._network = network

    def announce(self) -> dict[InfoHash, Endpoint]:
        """Announce one peer to each of some info-hashes."""
        announced = {}
        for writer in self._network.some_nodes(ANNOUNCES):
            info_hash = InfoHash(random_id(self._network.rng))
            self._network.get_peers(writer, info_hash, Announcement(PEER_PORT))
            announced[info_hash] = Endpoint(writer[:-2] + PEER_PORT.to_bytes(2))
        self._network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        return announced

    def count_found(self, announced: dict[InfoHash, Endpoint]) -> int:
        """Return how many of the peers a node finds, another one each time."""
        readers = self._network.some_nodes(len(announced))
        searches = [
            (self._network.get_peers(reader, info_hash), peer)
            for reader, (info_hash, peer) in zip(readers, announced.items(), strict=True)
        ]
        self._network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        return sum(peer in search.purpose.peers for search, peer in searches)


def simulate(seed: int, nodes: int, hours: int = HOURS) -> Iterator[Hour]:
    """Run the whole story, hour by hour; the same arguments give the same figures."""
    network = RevolvingNetwork(seed, nodes)
    for _ in range(hours):
        yield live_an_hour(network)


def live_an_hour(network: RevolvingNetwork) -> Hour:
    """Let an hour pass, and look at the network meanwhile and at its end."""
    began, sent = network.now, network.datagrams_sent
    tokens, announces = TokenClerk(network), AnnounceClerk(network)
    announced = announces.announce()
    found = announces.count_found(announced)
    collected = tokens.collect()
    collected_at = network.now
    pass_until(network, collected_at + TOKEN_YOUNG_S)
    young = tokens.use(collected)
    pass_until(network, collected_at + TOKEN_OLD_S)
    old = tokens.use(collected)
    pass_until(network, began + ANNOUNCE_OLD_S + 2 * SEARCH_LIMIT_S)
    still_found = announces.count_found(announced)
    pass_until(network, began + HOUR_S - SEARCH_LIMIT_S)
    recall = mean_recall(network)
    pass_until(network, began + HOUR_S)
    network.forget_searches()
    settled = list(network.settled())
    statistics = [it.statistics(now=network.now) for it in network.engines.values()]
    return Hour(
        recall=recall,
        announces_found=found / len(announced),
        old_announces_found=still_found,
        living=mean(living_share(network, it) for it in settled),
        entries=mean(len(it.table) for it in settled),
        swarms=sum(it.swarms for it in statistics),
        in_flight=sum(it.in_flight for it in statistics),
        young_tokens_taken=sum(was_taken(call) for call in young),
        young_tokens_tried=sum(was_taken(call) or was_refused(call) for call in young),
        old_tokens_taken=sum(was_taken(call) for call in old),
        late=sum(is_late(network, it) for it in network.engines.values()),
        objects=objects_in_memory() / len(network.engines),
        datagrams=(network.datagrams_sent - sent) / len(network.engines),
    )


def pass_until(network: RevolvingNetwork, moment: float) -> None:
    """Let nodes come and go until a moment, unless it has passed."""
    network.revolve(max(moment - network.now, 0.0))


def mean_recall(network: RevolvingNetwork) -> float:
    """Search for random targets, each from a random node; return what share of the truth it is."""
    searches = [
        network.find_node(network.some_node(), random_id(network.rng)) for _ in range(LOOKUPS)
    ]
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    return mean(network.recall_of(search) for search in searches)


def living_share(network: RevolvingNetwork, engine: Engine) -> float:
    """Return the share of a table's entries that are alive."""
    return mean([node.contact.endpoint in network.engines for node in engine.table] or [0])


def is_late(network: RevolvingNetwork, engine: Engine) -> bool:
    """Tell whether an engine has missed its deadline, or none would wake it."""
    wakes_in_s = engine.next_deadline(now=network.now) - network.now
    return not 0.0 <= wakes_in_s <= WAKES_WITHIN_S


def was_taken(call: Call) -> bool:
    """Tell whether an announce was accepted."""
    return call.answer is not None


def was_refused(call: Call) -> bool:
    """Tell whether an announce was refused, rather than lost on its way."""
    return isinstance(call.error, ErrorResponse)


def objects_in_memory() -> int:
    """Return how many objects the garbage collector knows, once it has collected."""
    gc.collect()
    return len(gc.get_objects())


def main(arguments: list[str]) -> None:
    """Run it and print a line an hour."""
    options = read_options(__doc__, size_flag="--nodes", size=300, arguments=arguments)
    print(f"seed {options.seed}, {options.size} nodes, {HOURS} hours", flush=True)
    exit_after(options.time_limit_s)
    for number, hour in enumerate(simulate(options.seed, options.size), 1):
        print(describe(number, hour), flush=True)


def describe(number: int, hour: Hour) -> str:
    """Put an hour in a line."""
    return (
        f"hour {number:2}: recall {hour.recall:.1%}, announces {hour.announces_found:.0%} "
        f"(old {hour.old_announces_found}), tables {hour.entries:.0f} entries, {hour.living:.1%} "
        f"alive, swarms {hour.swarms}, in flight {hour.in_flight}, tokens young "
        f"{hour.young_tokens_taken}/{hour.young_tokens_tried} old {hour.old_tokens_taken}, "
        f"late {hour.late}, {hour.objects:.0f} objects and {hour.datagrams:.0f} datagrams a node"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
