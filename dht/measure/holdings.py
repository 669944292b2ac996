"""How many there are, from what several nodes hold, some of which may lie.

What a node holds is a part of the whole, and which part is chance. It may also be invented, so
first whoever does not fit in with the others is left out: a node that knows much that nobody else
has heard of, although the others know nearly all that they should between them. Then what nobody
holds is estimated from how much the rest agree, and the interval is widened by what filters blur
and by what the number would be if more nodes lied than were caught.

What is beyond measure is said to be: a number is only given if it can be stood by.

Spec: BEP 33 "Bloom filters" (filters are joined before they are counted); the rest is ours.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import or_
from statistics import median
from typing import Final, NamedTuple, Protocol, Self, TypeVar

from dht.bloom import SIZE_MAX
from dht.measure.recapture import credible_size, most_likely

OUTLIER_FACTOR: Final = 5
"""Times the median of the others that a node may know; nodes of one swarm know similar shares."""

OUTLIER_NODES_MIN: Final = 4
"""Nodes without which a median says little."""

DENIALS_MIN: Final = 4
"""Nodes that must know nobody before there is nobody: half of those that store a swarm."""

SUSPECTS_MAX: Final = 3
"""Liars looked for at once: with more of eight, the honest are no majority to go by."""

MEANINGLESS_FACTOR: Final = 50
"""From the low to the high end of an interval that says nothing; a lone node's word stays below."""

DISBELIEF: Final = 3.0
"""Standard errors by which a node may surprise the others before it is taken for a liar."""

_SPREAD: Final = 1.96
"""Standard errors on either side of a 95 % interval."""

_FRACTION: Final = 0.1
"""Of a peer: how far an interval may end beyond a whole number without including the next."""


class Estimate(NamedTuple):
    """How many there are, with the 95 % interval around it.

    Attributes:
        estimate: The number; None when it is unknown, or beyond what can be told.
        low: The least it is; None when unknown.
        high: The most it is; None when there is no telling.
    """

    estimate: int | None
    low: int | None
    high: int | None

    def plus(self, other: "Estimate") -> "Estimate":
        """Return the estimate of a sum of independent numbers; of one, if the other is unknown."""
        if self.low is None or other.low is None:
            return other if self.low is None else self
        if self.estimate is None or self.high is None:
            return Estimate(None, self.low + other.low, None)
        if other.estimate is None or other.high is None:
            return other.plus(self)
        total = self.estimate + other.estimate
        below = math.hypot(self.estimate - self.low, other.estimate - other.low)
        above = math.hypot(self.high - self.estimate, other.high - other.estimate)
        return Estimate(total, math.floor(total - below), math.ceil(total + above))


UNKNOWN: Final = Estimate(None, None, None)
"""Nobody has said anything that an estimate could rest on."""

SATURATED: Final = Estimate(None, SIZE_MAX, None)
"""More than filters can tell."""

NONE: Final = Estimate(0, 0, 0)
"""There are none."""


class Holding(Protocol):
    """The peers that one node knows, or that several know together."""

    def __or__(self, other: Self) -> Self:
        """Return what is in either."""

    @property
    def size(self) -> float:
        """How many peers it is."""

    @property
    def deviation(self) -> float:
        """The standard error of `size`."""

    @property
    def is_saturated(self) -> bool:
        """Whether it is more than can be told."""


HoldingT = TypeVar("HoldingT", bound=Holding)


@dataclass(frozen=True, slots=True)
class NamedAddresses:
    """Peers known by name, so that their number is exact."""

    addresses: frozenset[bytes]

    def __or__(self, other: Self) -> Self:
        """Return what is in either."""
        return type(self)(self.addresses | other.addresses)

    @property
    def size(self) -> float:
        """How many peers it is."""
        return len(self.addresses)

    @property
    def deviation(self) -> float:
        """Nothing: they were counted."""
        return 0.0

    @property
    def is_saturated(self) -> bool:
        """Never: they were counted."""
        return False


def union(holdings: Sequence[HoldingT]) -> HoldingT:
    """Return what at least one node holds; there must be a node."""
    return reduce(or_, holdings)


def estimate_size(holdings: Iterable[HoldingT]) -> Estimate:
    """Estimate how many peers there are.

    Args:
        holdings: What each node that was asked knows; of one family, at most K.

    Returns:
        `NONE` if all of them are empty, `SATURATED` if most are beyond measure, and `UNKNOWN` if
        they are too few to deny, or agree too little.
    """
    holdings = list(holdings)
    holders = [it for it in holdings if it.size]
    if not holders:
        return NONE if len(holdings) >= DENIALS_MIN else UNKNOWN
    # So few that all of them may be liars: then there may be none, whatever they say.
    is_doubtful = len(holders) <= _liars_possible(len(holdings))
    measurable = [it for it in holders if not it.is_saturated]
    if len(measurable) <= len(holders) / 2:
        return UNKNOWN if is_doubtful else SATURATED
    believed = _without_liars(_without_outliers(measurable))
    whole = union(believed)
    if whole.is_saturated:
        return SATURATED
    sizes = [it.size for it in believed]
    low, middle, high = credible_size(whole.size, sizes)
    blur = _SPREAD * whole.deviation * middle / whole.size
    uncaught = max(0, _liars_possible(len(holders)) - (len(holders) - len(believed)))
    low = min([middle - math.hypot(middle - low, blur), *_floors_without(believed, uncaught)])
    high = middle + math.hypot(high - middle, blur)
    if high > MEANINGLESS_FACTOR * max(low, 1):
        return UNKNOWN
    least = 0 if is_doubtful else max(0, math.floor(low + _FRACTION))
    return Estimate(round(middle), least, math.ceil(high - _FRACTION))


def _liars_possible(nodes: int) -> int:
    """Return how many of some nodes an interval allows to be liars: about a quarter."""
    return (nodes + 2) // 4


def _without_outliers(holders: Sequence[HoldingT]) -> list[HoldingT]:
    """Leave out who knows far more than the others do."""
    if len(holders) < OUTLIER_NODES_MIN:
        return list(holders)
    sizes = [it.size for it in holders]
    medians = [median(sizes[:i] + sizes[i + 1 :]) for i in range(len(sizes))]
    return [
        it for it, usual in zip(holders, medians, strict=True) if it.size <= OUTLIER_FACTOR * usual
    ]


def _without_liars(holders: Sequence[HoldingT]) -> list[HoldingT]:
    """Leave out the nodes, fewer than half, that surprise the others most, if they do too much."""
    most = min((len(holders) - 1) // 2, SUSPECTS_MAX)
    worst, believed = DISBELIEF, list(holders)
    for accused, rest in _splits(holders, most):
        # Each further suspect must be worth it, or the honest would be accused with the liars.
        surprise = _surprise(accused, rest) - (len(accused) - 1)
        if surprise > worst:
            worst, believed = surprise, rest
    return believed


def _splits(
    holders: Sequence[HoldingT], most: int
) -> Iterator[tuple[list[HoldingT], list[HoldingT]]]:
    """Divide holders into some, one to `most` of them, and the rest, in every way."""
    everyone = range(len(holders))
    for count in range(1, most + 1):
        for chosen in combinations(everyone, count):
            rest = [holders[i] for i in everyone if i not in chosen]
            yield [holders[i] for i in chosen], rest


def _surprise(accused: Sequence[HoldingT], rest: Sequence[HoldingT]) -> float:
    """Return how much more the accused know that is new to the rest than chance would have it.

    Returns:
        Standard errors.
    """
    theirs, known = union(accused), union(rest)
    together = theirs | known
    share_missed = 1 - known.size / most_likely(known.size, [it.size for it in rest])
    expected = theirs.size * share_missed
    # What was in doubt of the rest alone is in doubt on both sides, and cancels out. One is added
    # because a single peer is never a proof.
    blur = together.deviation**2 - known.deviation**2
    error = math.sqrt(1 + expected + blur)
    return (together.size - known.size - expected) / error


def _floors_without(holders: Sequence[HoldingT], most: int) -> Iterator[float]:
    """Yield the least the size would be without some of the holders, up to `most` of them."""
    for _, rest in _splits(holders, most):
        whole = union(rest)
        yield most_likely(whole.size, [it.size for it in rest]) - _SPREAD * whole.deviation
