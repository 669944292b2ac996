"""How many there are, from how much the samples of several observers overlap.

Each observer knows some members of a population, and which ones is chance. If two of them know
mostly the same, there are few more; if they share little, there are many. The number of distinct
members together with the number that each observer knows is all that matters for it.

Sizes may be fractions, since they may be estimates themselves.

Spec: Darroch, "The multiple-recapture census" (1958), model with an own capture rate each occasion.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise, takewhile
from typing import Final, NamedTuple

_STEP: Final = 1.03
"""Ratio of one size considered to the next: 3 % is finer than any interval that matters."""

_UNSEEN_MAX: Final = 1_000
"""How many times more than were seen there may be: the prior leaves 0.1 % beyond that."""

_ROUNDS: Final = 60
"""Halvings of an interval; more than a double can tell apart."""

_TAIL: Final = 0.025
"""What each end of a 95 % interval leaves out."""


class Credible(NamedTuple):
    """What the size of a population may be: its median, and the 95 % around it."""

    low: float
    median: float
    high: float


def most_likely(distinct: float, known: Sequence[float]) -> float:
    """Return the most likely size of a population.

    Args:
        distinct: Members that any observer knows.
        known: Members that each observer knows.

    Returns:
        At least `distinct`; infinite when the observers share next to nothing.
    """
    known = [min(it, distinct) for it in known]
    if not distinct or distinct in known:
        return distinct

    def excess(size: float) -> float:
        """Grow from below to above zero where members missed are as many as they should be."""
        return 1 - distinct / size - math.prod(1 - it / size for it in known)

    if excess(_UNSEEN_MAX * distinct) < 0:
        return math.inf
    low, high = distinct, _UNSEEN_MAX * distinct
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return high


def credible_size(distinct: float, known: Sequence[float]) -> Credible:
    """Return what the size of a population may be.

    Small populations are taken to be more common than large ones, as those of torrents are: a size
    counts with one over its square until the observers have had their say.

    Args:
        distinct: Members that any observer knows.
        known: Members that each observer knows.
    """
    sizes = _sizes_from(distinct)
    logs = [_log_weight(it, distinct, known) for it in sizes]
    top = max(logs)
    widths = [1.0, *(after - before for before, after in pairwise(sizes))]
    weights = [math.exp(it - top) * width for it, width in zip(logs, widths, strict=True)]
    below = list(accumulate(weights))

    def quantile(share: float) -> float:
        index = sum(1 for _ in takewhile(lambda it: it < share * below[-1], below))
        return sizes[min(index, len(sizes) - 1)]

    return Credible(quantile(_TAIL), quantile(0.5), quantile(1 - _TAIL))


def _sizes_from(distinct: float) -> list[float]:
    """Return the sizes to consider: one by one at first, then in growing steps."""
    sizes, unseen = [distinct], 0.0
    while unseen < _UNSEEN_MAX * (distinct + 1):
        unseen += max(1.0, unseen * (_STEP - 1))
        sizes.append(distinct + unseen)
    return sizes


def _log_weight(size: float, distinct: float, known: Sequence[float]) -> float:
    """Return how probable a size is, as the logarithm of something proportional to it."""
    ways = math.lgamma(size + 1)
    chance = sum(math.lgamma(size - min(it, distinct) + 1) - ways for it in known)
    return ways - math.lgamma(size - distinct + 1) + chance - 2 * math.log(max(size, 1.0))
