"""How many nodes there are in a DHT: two estimators, and what they say together.

Ids are spread evenly over the key space, so the number of nodes shows in how near the nearest ones
are to any point, and in how many there are in any part of it.

- *By distance*: of N nodes, the distance from a random target to the K-th nearest is gamma
  distributed, K / N of the space on average. Many lookups make it exact, and cost little. But a
  lookup misses a few nodes, finds others in their place that are farther away, and so the DHT
  seems smaller than it is.
- *By zone*: all nodes of a zone are counted. Nobody names all of them either, but two passes find
  out how many are missed: of those that the second found, the share that the first had found, too,
  is the share that the first found of all.

The zone also tells how much the lookups miss: lookups for targets within it are held against the
nodes known to be there, and the ratio of the two distances corrects all others.

Errors are relative, and small enough for logarithms to be normally distributed. What counts as a
node is whoever answers: the dead, and the live ones behind a closed NAT, do not.

Spec: none in the BEPs. The estimators are textbook: the maximum of the gamma likelihood; Chapman's
form of Lincoln's and Petersen's; the ratio estimator.
"""

import math
from collections.abc import Sequence, Set
from statistics import fmean
from typing import Final, NamedTuple

from dht.contact import Contact
from dht.keyspace import ID_BITS, distance

_Z: Final = 1.96
"""Standard errors to each side of a 95 % interval."""

MISSED_ERROR: Final = 0.05
"""Relative error from what lookups miss, where no zone tells how much: a few per cent of nodes."""

RADII_MIN: Final = 8
"""Lookups from which the spread of their radii can be told."""


class Estimate(NamedTuple):
    """A number of nodes.

    Attributes:
        value: The number itself, at least 0.
        error: Its relative standard error.
    """

    value: float
    error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value * math.exp(-_Z * self.error)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value * math.exp(_Z * self.error)


class Correction(NamedTuple):
    """By what factor lookups put the radius too large, with its relative standard error."""

    factor: float
    error: float


class ZoneCount(NamedTuple):
    """The nodes that two passes through a zone found.

    Attributes:
        bits: Leading bits that all nodes of the zone share; 0 when it is the whole space.
        first: What the first pass found.
        second: What the second found, without knowing of the first.
    """

    bits: int
    first: Set[Contact]
    second: Set[Contact]


def radius(target: bytes, nodes: Sequence[Contact], rank: int) -> float | None:
    """Return the distance of the `rank`-th nearest node, as a share of the key space.

    Args:
        target: 20 bytes.
        nodes: In any order.
        rank: 1 or more.

    Returns:
        None if there are fewer nodes.
    """
    if len(nodes) < rank:
        return None
    ordered = sorted(distance(target, node.id) for node in nodes)
    return math.ldexp(ordered[rank - 1], -ID_BITS)


def by_distance(
    radii: Sequence[float], rank: int, correction: Correction | None = None
) -> Estimate | None:
    """Estimate from the distances of the nearest nodes to random targets.

    The error follows from the number of lookups, or from how much they differ if that is more: ids
    may be spread less evenly than by chance.

    Args:
        radii: Of each lookup, from `radius`.
        rank: Of the node that a radius reaches to.
        correction: From lookups within a known zone; None to allow for what may be missed.

    Returns:
        None if there are fewer than `RADII_MIN` lookups.
    """
    total = math.fsum(radii)
    if len(radii) < RADII_MIN or not total:
        return None
    sampled = len(radii) * rank
    mean = total / len(radii)
    variance = math.fsum((it - mean) ** 2 for it in radii) / (len(radii) - 1)
    spread = math.sqrt(variance / len(radii)) / mean
    factor, missed = correction if correction is not None else Correction(1.0, MISSED_ERROR)
    error = math.hypot(max(1 / math.sqrt(sampled), spread), missed)
    return Estimate((sampled - 1) / total * factor, error)


def correct_radii(found: Sequence[float], true: Sequence[float]) -> Correction | None:
    """Estimate by how much lookups put the radius too large.

    Args:
        found: The radius of each lookup in a known zone.
        true: The real one for the same target.

    Returns:
        None if there are fewer than `RADII_MIN` lookups.
    """
    count, total = len(true), math.fsum(true)
    if count < RADII_MIN or not total:
        return None
    factor = math.fsum(found) / total
    residual = math.fsum((it - factor * at) ** 2 for it, at in zip(found, true, strict=True))
    error = math.sqrt(residual / (count * (count - 1))) / (factor * fmean(true))
    return Correction(factor, error)


def by_zone(count: ZoneCount) -> Estimate | None:
    """Estimate from the nodes of a zone.

    Two errors add up: how many were missed, and, unless the zone is the whole space, how many
    nodes chance has put there.

    Returns:
        None if the passes have nothing in common.
    """
    first, second, both = len(count.first), len(count.second), len(count.first & count.second)
    if not both:
        return None
    inside = (first + 1) * (second + 1) / (both + 1) - 1
    missed = (first + 1) * (second + 1) * (first - both) * (second - both)
    missed_error = math.sqrt(missed / ((both + 1) ** 2 * (both + 2))) / inside
    chance = math.sqrt((1 - 2.0**-count.bits) / inside)
    return Estimate(inside * 2.0**count.bits, math.hypot(missed_error, chance))


def combine(estimates: Sequence[Estimate]) -> Estimate | None:
    """Combine independent estimates; those that disagree more than chance allows widen the result.

    Returns:
        None if there are none.
    """
    exact = [it for it in estimates if not it.error]
    if exact or not estimates:
        return exact[0] if exact else None
    weights = [1 / it.error**2 for it in estimates]
    logs = [math.log(it.value) for it in estimates]
    total = math.fsum(weights)
    mean = math.fsum(w * it for w, it in zip(weights, logs, strict=True)) / total
    excess = math.fsum(w * (it - mean) ** 2 for w, it in zip(weights, logs, strict=True))
    freedom = max(len(estimates) - 1, 1)
    return Estimate(math.exp(mean), math.sqrt(max(1.0, excess / freedom) / total))
