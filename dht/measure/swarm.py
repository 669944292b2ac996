"""How big a swarm is, from what the nodes that store its peers say.

A node tells how many it knows with filters, or by naming some. Seeds and leechers are told apart by
filters only, so without these there is only one number.

Spec: BEP 33.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from dht.bloom import AddressFilter
from dht.measure.holdings import (
    NONE,
    UNKNOWN,
    Estimate,
    Holding,
    NamedAddresses,
    estimate_size,
    union,
)
from dht.scrape import Statement

_TAIL: Final = 0.025
"""What a 95 % interval leaves out on one side."""


class SwarmSize(NamedTuple):
    """How big a swarm is, in addresses: a host with one of each family counts twice.

    Attributes:
        seeds: Peers that have everything.
        leechers: Peers that have not.
        peers: Both; a peer that became a seed meanwhile counts once.
    """

    seeds: Estimate
    leechers: Estimate
    peers: Estimate

    @property
    def is_known(self) -> bool:
        """Whether there is anything to be said of it."""
        return self.peers != UNKNOWN

    @property
    def is_saturated(self) -> bool:
        """Whether it has more peers than filters can tell."""
        return any(it.low is not None and it.high is None for it in self)

    def plus(self, other: "SwarmSize") -> "SwarmSize":
        """Return the size with that in the other family, whose addresses are different ones."""
        return SwarmSize(
            self.seeds.plus(other.seeds),
            self.leechers.plus(other.leechers),
            self.peers.plus(other.peers),
        )


def estimate_swarm(testimony: Sequence[Statement]) -> SwarmSize:
    """Estimate how big a swarm is from what the nodes nearest to it say.

    Args:
        testimony: Of one family, at most K.
    """
    filtered = [it for it in testimony if it.has_filters]
    if not filtered:
        peers = estimate_size(NamedAddresses(it.named) for it in testimony)
        apart = NONE if peers == NONE else UNKNOWN
        return SwarmSize(apart, apart, peers)
    whole = [_whole_filter(it) for it in testimony]
    peers = estimate_size(whole)
    parts = (
        estimate_size(it.seeds or AddressFilter() for it in filtered),
        estimate_size(it.leechers or AddressFilter() for it in filtered),
    )
    missed = _missed(union(whole), peers)
    seeds, leechers = (missed if it == NONE else it for it in parts)
    return SwarmSize(seeds, leechers, peers)


def _missed(known: Holding, peers: Estimate) -> Estimate:
    """Return how many peers of a kind there may be of which no node knows any.

    Args:
        known: All that the nodes know.
        peers: How many peers of all kinds there are.
    """
    if peers.high is None or known.size >= peers.high * (1 - _TAIL):
        return NONE
    return Estimate(0, 0, math.floor(math.log(_TAIL) / math.log1p(-known.size / peers.high)))


def _whole_filter(statement: Statement) -> AddressFilter:
    """Return the filter of all that a node knows, made from the names if it gave none."""
    if not statement.has_filters:
        return AddressFilter.of(statement.named)
    return (statement.seeds or AddressFilter()) | (statement.leechers or AddressFilter())
