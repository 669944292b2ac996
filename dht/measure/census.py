"""Counts the nodes of the DHT with the help of a node: the queries that feed `population`.

First lookups for random targets, a few and then more if the DHT is large; then two passes through a
zone of a size that goes with what the lookups say; then lookups within that zone, which show how
much lookups miss. A small DHT is a single zone, and is simply counted. Both families are measured
at once.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from dht.contact import Contact, Family
from dht.keyspace import NodeId, random_id
from dht.measure.population import (
    Estimate,
    ZoneCount,
    by_distance,
    by_zone,
    combine,
    correct_radii,
    radius,
)
from dht.measure.zone import Zone, ZoneWalk
from dht.node import Node
from dht.routing import K
from dht.search import FindNodes

PILOT_LOOKUPS: Final = 16
"""Lookups that tell a small DHT from a large one."""

LOOKUPS_AT_ONCE: Final = 64
"""Lookups at once: some 250 queries in flight."""

_ENDPOINTS_PER_LOOKUP: Final = 25
"""New endpoints that a lookup speaks to, as a rule."""


class Effort(NamedTuple):
    """How much to ask, so that it takes about a minute whatever the budget.

    Attributes:
        lookups: For random targets.
        zone_nodes: Nodes to be expected in the zone; up to twice as many, since a zone cannot be
            enlarged by less than that.
        zone_lookups: For targets within the zone.
    """

    lookups: int
    zone_nodes: int
    zone_lookups: int


def effort_within(endpoints_per_s: float) -> Effort:
    """Return what a budget allows: 20 s of it for lookups, twice 7 to 14 s for the zone.

    More than 3,000 nodes or 200 lookups are not needed: the standard error is below 2 % then.
    """
    lookups = max(PILOT_LOOKUPS, min(200, endpoints_per_s * 20 / _ENDPOINTS_PER_LOOKUP))
    zone_nodes = max(200, min(3_000, endpoints_per_s * 7))
    return Effort(int(lookups), int(zone_nodes), int(max(PILOT_LOOKUPS, lookups / 3)))


@dataclass(frozen=True, slots=True)
class Census:
    """The size of one family's DHT, and how it was measured.

    Attributes:
        family: The DHT.
        nodes: How many nodes answer; None when too little was found to tell.
        by_distance: What the lookups alone say, corrected by the zone; None if they say nothing.
        by_zone: What the zone alone says; None if they could not be counted.
        zone_bits: The zone's size: one in 2 to the power of this many nodes; 0 for all.
        zone_nodes: Distinct nodes met in it.
        lookups: Lookups made.
        queries: Queries sent meanwhile, upkeep included.
        elapsed_s: Seconds it took.
    """

    family: Family
    nodes: Estimate | None
    by_distance: Estimate | None
    by_zone: Estimate | None
    zone_bits: int
    zone_nodes: int
    lookups: int
    queries: int
    elapsed_s: float


class _Sighting(NamedTuple):
    """The nodes nearest to a target, as a lookup found them."""

    target: NodeId
    nearest: list[Contact]


_Sightings = dict[Family, list[_Sighting]]


async def count_nodes(node: Node, rng: random.Random) -> list[Census]:
    """Measure the DHT of each family.

    Args:
        node: Asks; its budget decides how much.
        rng: Chooses targets and zone; unpredictable, or else somebody could prepare for them.

    Raises:
        NotBootstrapped: The node knows nobody.
        NodeClosed: The node was closed meanwhile.
        QueryRefused: The node has too much to do.
    """
    await node.wait_joined()
    count = _Count(node, rng)
    await count.run()
    return [count.census(family) for family in node.endpoints]


class _Count:
    """One run of `count_nodes`."""

    def __init__(self, node: Node, rng: random.Random) -> None:
        self._node = node
        self._rng = rng
        self._started = trio.current_time()
        self._sent_before = {family: self._sent(family) for family in node.endpoints}
        self._effort = effort_within(node.budget.endpoints_per_s)
        self._origin = random_id(rng)
        self._everywhere: _Sightings = {family: [] for family in node.endpoints}
        self._inside: _Sightings = {family: [] for family in node.endpoints}
        self._counts: dict[Family, ZoneCount] = {}
        self._zones: dict[Family, Zone] = {}
        self._lookups = 0

    async def run(self) -> None:
        """Make all lookups and passes."""
        await self._look_around(Zone(self._origin, 0), PILOT_LOOKUPS, self._everywhere)
        if any(zone.bits for zone in self._choose_zones().values()):
            more = self._effort.lookups - PILOT_LOOKUPS
            await self._look_around(Zone(self._origin, 0), more, self._everywhere)
        self._zones = self._choose_zones()
        narrowest = max(self._zones.values(), key=lambda zone: zone.bits)
        passes = [await self._pass_through(narrowest.random_id(self._rng)) for _ in range(2)]
        for family, zone in self._zones.items():
            first, second = (walks[family] for walks in passes)
            if first.is_complete and second.is_complete:
                self._counts[family] = ZoneCount(zone.bits, first.living, second.living)
        if narrowest.bits:
            await self._look_around(narrowest, self._effort.zone_lookups, self._inside)

    def census(self, family: Family) -> Census:
        """Return what follows for one family."""
        zone, count = self._zones[family], self._counts.get(family)
        zone_estimate = by_zone(count) if count is not None else None
        distance_estimate = self._by_distance(family)
        if zone_estimate is not None and not zone.bits:
            # Of a DHT that was counted as a whole, distances could only tell less.
            distance_estimate = None
        parts = [it for it in (distance_estimate, zone_estimate) if it is not None]
        return Census(
            family,
            combine(parts),
            distance_estimate,
            zone_estimate,
            zone.bits,
            len(count.first | count.second) if count is not None else 0,
            self._lookups,
            self._sent(family) - self._sent_before[family],
            trio.current_time() - self._started,
        )

    def _by_distance(self, family: Family) -> Estimate | None:
        radii = _radii(self._everywhere[family])
        count, inside = self._counts.get(family), self._inside[family]
        if count is None or not inside:
            return by_distance(radii, K)
        known = list(count.first | count.second)
        found = _radii(inside)
        true = _radii([_Sighting(it.target, known) for it in inside])
        if len(found) != len(true):
            return by_distance(radii, K)
        return by_distance(radii, K, correct_radii(found, true))

    def _choose_zones(self) -> dict[Family, Zone]:
        """Choose zones around one point, so that a lookup may serve both families."""
        return {family: Zone(self._origin, self._bits(family)) for family in self._node.endpoints}

    def _bits(self, family: Family) -> int:
        estimate = by_distance(_radii(self._everywhere[family]), K)
        if estimate is None:
            return 0
        return max(0, math.floor(math.log2(estimate.value / self._effort.zone_nodes)))

    async def _look_around(self, zone: Zone, lookups: int, into: _Sightings) -> None:
        limiter = trio.CapacityLimiter(LOOKUPS_AT_ONCE)

        async def look() -> None:
            async with limiter:
                for family, sighting in (await self._look(zone.random_id(self._rng))).items():
                    into[family].append(sighting)

        async with trio.open_nursery() as nursery:
            for _ in range(lookups):
                nursery.start_soon(look)

    async def _look(self, target: NodeId) -> dict[Family, _Sighting]:
        self._lookups += 1
        joint = await self._node.search(target, FindNodes)
        return {
            driver.engine.family: _Sighting(target, search.lookup.closest())
            for driver, search in joint.running
        }

    async def _pass_through(self, entry: NodeId) -> dict[Family, ZoneWalk]:
        seeds = await self._look(entry)
        levels = math.ceil(math.log2(self._effort.zone_nodes))
        walks = {
            family: ZoneWalk(zone, seeds[family].nearest, self._rng, levels=levels)
            for family, zone in self._zones.items()
        }
        async with trio.open_nursery() as nursery:
            for family, walk in walks.items():
                nursery.start_soon(self._node.inquire, family, walk)
        return walks

    def _sent(self, family: Family) -> int:
        return self._node.statistics().engines[family].counts.get("queries sent", 0)


def _radii(sightings: Sequence[_Sighting]) -> list[float]:
    found = (radius(it.target, it.nearest, K) for it in sightings)
    return [it for it in found if it is not None]
