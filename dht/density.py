"""How near the nearest nodes usually are, so that it shows when they are too near.

Ids are spread evenly, so the K nearest nodes reach about as far around one target as around any
other. Whoever wants to be all that a lookup finds has to crowd nearer than the honest ones, and so
shrinks that radius. What is usual is learnt from other lookups, of which an attacker spoils few.

This is a yardstick; `dht.measure.population` has a figure with an interval.

Spec: none in the BEPs. See also Wang and Kangasharju, "Real-World Sybil Attacks in BitTorrent
Mainline DHT" (2012), where the attackers stand nearer than the size of the network allows.
"""

from collections import deque
from statistics import median
from typing import Final

from dht.routing import K

RADII_MAX: Final = 16
"""Lookups remembered: their median is right within a tenth, and follows the hours of the day."""

EXPECTED_MIN: Final = 1.0
"""Nodes that there must usually be within the radius of the K nearest.

Eight where one is expected happens once in 100,000 lookups, and seldom even if that is known from a
single other one. Who stays outside of this leaves room for an honest node among the nearest.
"""


class Density:
    """What earlier lookups have shown."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._radii: deque[int] = deque(maxlen=RADII_MAX)

    def learn(self, radius: int) -> None:
        """Note the distance from a target to the K-th nearest node."""
        self._radii.append(radius)

    def expected_within(self, radius: int) -> float | None:
        """Return how many nodes there usually are so near to a target; None if nothing is known."""
        if not self._radii:
            return None
        usual = median(self._radii)
        # Of the nodes within the distance to the K-th, that one is there by definition.
        return (K - 1) * radius / usual if usual else None

    @property
    def lone_radius(self) -> int:
        """The distance from a target within which there is usually one node; 0 if not known."""
        return int(median(self._radii)) // (K - 1) if self._radii else 0
