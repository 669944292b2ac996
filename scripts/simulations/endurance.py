"""A day of virtual time in which nodes keep coming and going: does anything wear out or pile up?

Every node stays for a session of random length, and another joins when it leaves. Hour by hour the
network is asked what it finds and what it holds, so that decay, growth and standstill show as a
difference between the first hours and the last. Clerks put to the test what has to be forgotten in
time: write tokens, announces that nobody repeats, and items that nobody puts again.

No deadline is missed without the network noticing, since it serves them all in order of time.
"""

import gc
import sys
from collections.abc import Iterator
from statistics import mean
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakSet

from dht.engine import Engine
from dht.keyspace import random_id
from dht.search import Purpose, Search
from dht.transactions import FAIL_MAX_S
from dht.upkeep import TICK_S
from scripts.footprint import Footprint
from scripts.options import exit_after, read_options
from scripts.simulations.clerks import (
    ANNOUNCES,
    ITEMS_KEPT,
    ITEMS_LEFT,
    AnnounceClerk,
    ItemClerk,
    TokenClerk,
    was_refused,
    was_taken,
)
from scripts.simulations.lookups import SEARCH_LIMIT_S
from scripts.simulations.revolving import RevolvingNetwork

HOURS: Final = 24
HOUR_S: Final = 3_600.0

LOOKUPS: Final = 30
"""Searches for nodes in an hour."""

TOKEN_YOUNG_S: Final = 540.0
TOKEN_OLD_S: Final = 960.0
"""Ages on either side of the 10 to 15 minutes that a token lives."""

ANNOUNCE_OLD_S: Final = 2_100.0
"""More than the half hour that an announce lasts."""

WAKES_WITHIN_S: Final = max(TICK_S * 1.2, FAIL_MAX_S)
"""The longest that an engine may sleep: upkeep never rests longer than a tick and its jitter."""

Searches: TypeAlias = WeakSet[Search[Purpose]]
"""Searches, none of them kept alive."""


class Hour(NamedTuple):
    """What one hour showed.

    Attributes:
        recall: Share of the true K closest living nodes that a search found, on average.
        announces_found: Announces that another node found right afterwards, of `ANNOUNCES`.
        old_announces_found: Announces that were still found after they should have been forgotten.
        kept_items_found: Items that were found an hour after their owners put them, of
            `ITEMS_KEPT`.
        left_items_found: Items that were found an hour after they were put once, of `ITEMS_LEFT`.
        old_items_found: Items that were still found after they should have been forgotten.
        living: Share of the entries of settled nodes' tables that are alive.
        entries: Entries of a settled node's table, on average.
        swarms: Info-hashes kept by all nodes together.
        in_flight: Queries of all nodes that wait for an answer.
        young_tokens_taken: Tokens in their time that were accepted, of those that got an answer.
        young_tokens_tried: How many got an answer.
        old_tokens_taken: Tokens past their time that were accepted.
        late: Engines whose next deadline has passed or is too far off.
        endless: Searches of any node, those of upkeep included, that outlived `SEARCH_LIMIT_S`.
        datagrams: Datagrams that a node sent in the hour, on average.
        footprint: Memory of all nodes together, and of the simulation.
        digest: SHA-256 over all datagrams so far.
    """

    recall: float
    announces_found: int
    old_announces_found: int
    kept_items_found: int
    left_items_found: int
    old_items_found: int
    living: float
    entries: float
    swarms: int
    in_flight: int
    young_tokens_taken: int
    young_tokens_tried: int
    old_tokens_taken: int
    late: int
    endless: int
    datagrams: float
    footprint: Footprint
    digest: str


def simulate(seed: int, nodes: int, hours: int = HOURS) -> Iterator[Hour]:
    """Run the whole story, hour by hour; the same arguments give the same figures.

    Memory excepted, which depends on what else the process does.
    """
    elsewhere = searches_under_way()
    network = RevolvingNetwork(seed, nodes)
    items = ItemClerk(network)
    for _ in range(hours):
        yield live_an_hour(network, items, elsewhere)


def live_an_hour(network: RevolvingNetwork, items: ItemClerk, elsewhere: Searches) -> Hour:
    """Let an hour pass, and look at the network meanwhile and at its end.

    Args:
        network: The network.
        items: Looks after items in it.
        elsewhere: Searches in this process that are none of the network's.
    """
    began, sent = network.now, network.datagrams_sent
    tokens, announces = TokenClerk(network), AnnounceClerk(network)
    items.put()
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
    pass_until(network, began + HOUR_S - 4 * SEARCH_LIMIT_S)
    items.look()
    recall = mean_recall(network)
    under_way = searches_under_way() - elsewhere
    network.forget_searches()
    pass_until(network, max(began + HOUR_S, network.now + SEARCH_LIMIT_S))
    footprint = Footprint.measure()
    settled = list(network.settled())
    statistics = [it.statistics(now=network.now) for it in network.engines.values()]
    return Hour(
        recall=recall,
        announces_found=found,
        old_announces_found=still_found,
        kept_items_found=items.kept_found,
        left_items_found=items.left_found,
        old_items_found=items.old_found,
        living=mean(living_share(network, it) for it in settled),
        entries=mean(len(it.table) for it in settled),
        swarms=sum(it.swarms for it in statistics),
        in_flight=sum(it.in_flight for it in statistics),
        young_tokens_taken=sum(was_taken(call) for call in young),
        young_tokens_tried=sum(was_taken(call) or was_refused(call) for call in young),
        old_tokens_taken=sum(was_taken(call) for call in old),
        late=sum(is_late(network, it) for it in network.engines.values()),
        endless=sum(not search.is_done for search in under_way),
        datagrams=(network.datagrams_sent - sent) / len(network.engines),
        footprint=footprint,
        digest=network.digest(),
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


def searches_under_way() -> Searches:
    """Return every search in this process that goes on, without keeping it alive.

    Engines do not name what upkeep searches for, but the garbage collector does.
    """
    searches = (it for it in gc.get_objects() if isinstance(it, Search))
    return WeakSet(search for search in searches if not search.is_done)


def living_share(network: RevolvingNetwork, engine: Engine) -> float:
    """Return the share of a table's entries that are alive."""
    return mean([node.contact.endpoint in network.engines for node in engine.table] or [0])


def is_late(network: RevolvingNetwork, engine: Engine) -> bool:
    """Tell whether an engine has missed its deadline, or none would wake it."""
    wakes_in_s = engine.next_deadline(now=network.now) - network.now
    return not 0.0 <= wakes_in_s <= WAKES_WITHIN_S


def main(arguments: list[str]) -> None:
    """Run it and print a line an hour."""
    options = read_options(__doc__, size_flag="--nodes", size=300, arguments=arguments)
    print(f"seed {options.seed}, {options.size} nodes, {HOURS} hours", flush=True)
    exit_after(options.time_limit_s)
    for number, hour in enumerate(simulate(options.seed, options.size), 1):
        print(describe(number, hour), flush=True)
    print(f"digest: {hour.digest}")


def describe(number: int, hour: Hour) -> str:
    """Put an hour in a line."""
    return (
        f"hour {number:2}: recall {hour.recall:.1%}, tables {hour.entries:.0f} entries, "
        f"{hour.living:.1%} alive, announces {hour.announces_found}/{ANNOUNCES} "
        f"(old {hour.old_announces_found}), items kept {hour.kept_items_found}/{ITEMS_KEPT} "
        f"left {hour.left_items_found}/{ITEMS_LEFT} (old {hour.old_items_found}), tokens "
        f"{hour.young_tokens_taken}/{hour.young_tokens_tried} (old {hour.old_tokens_taken}), "
        f"swarms {hour.swarms}, in flight {hour.in_flight}, late {hour.late}, "
        f"endless {hour.endless}, {hour.datagrams:.0f} datagrams a node, {hour.footprint}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
