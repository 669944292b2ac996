"""Further paths to a target for a lookup that seems to have been led astray.

An attacker who owns all the nodes nearest to a target owns what a lookup finds. So where the end of
a lookup looks like that, it is not believed alone: more paths are walked, from candidates that the
first has heard of and never asked. No node is asked on two paths, so each has to be fooled by other
nodes; and of those that are nearer than plausible, a further path asks one. The results are merged
in turns, so that no path can crowd out another.

A lookup that ends as lookups do costs what it always did.

Spec: none in the BEPs; Baumgart and Mies, "S/Kademlia" (2007), lookups over disjoint paths. There
all paths start at once; here the further ones start on suspicion.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final

from dht.contact import Contact, Endpoint
from dht.lookup import QUERIES_MAX, Lookup
from dht.suspicion import Scrutiny

PATHS: Final = 4
"""Paths, the first included; S/Kademlia finds little to be gained by more."""


def believed_or_doubled(first: Lookup) -> "Lookup | DisjointPaths":
    """Judge a lookup that has come to its end.

    Returns:
        The lookup itself, or further paths if its end looks like an attack.
    """
    nearest = first.nearest_distances()
    return DisjointPaths(first) if nearest and first.scrutiny.suspects(nearest) else first


class DisjointPaths:
    """The first path, and others that are walked all at once; in use it is like a `Lookup`.

    Attributes:
        lookups: All paths, the first one first.
    """

    def __init__(self, first: Lookup) -> None:
        """Begin where a lookup has ended; it is not walked on."""
        self._first = first
        self._owners: dict[Endpoint, int] = {}
        self._others = [
            Lookup(first.target, scrutiny=_PathScrutiny(first, self._owners, index))
            for index in range(PATHS - 1)
        ]
        self.lookups = (first, *self._others)
        self._deal(first.unasked())

    def next_query(self) -> Contact | None:
        """Return whom to ask, or None."""
        if self._are_spent:
            return None
        return next(filter(None, (path.next_query() for path in self._others)), None)

    def asked(self, endpoint: Endpoint) -> None:
        """Note that a candidate is being queried."""
        self._path_of(endpoint).asked(endpoint)

    def slow(self, endpoint: Endpoint) -> None:
        """Note that a query has passed its soft deadline."""
        self._path_of(endpoint).slow(endpoint)

    def failed(self, endpoint: Endpoint) -> None:
        """Note that a query was refused or never answered."""
        self._path_of(endpoint).failed(endpoint)

    def answered(self, sender: Contact, contacts: Sequence[Contact]) -> None:
        """Note that a candidate answered, and whom it named.

        What a late answer tells the first path goes to the others.
        """
        path = self._path_of(sender.endpoint)
        path.answered(sender, contacts)
        if path is self._first:
            self._deal(contacts)

    @property
    def is_done(self) -> bool:
        """Whether all further paths have come to their end, or have cost enough."""
        return self._are_spent or all(path.is_done for path in self._others)

    def closest(self) -> list[Contact]:
        """Return those that answered: the nearest of each path, the second nearest, and so on."""
        rounds = zip_longest(*(path.closest() for path in self.lookups))
        return [contact for contact in chain.from_iterable(rounds) if contact is not None]

    def _path_of(self, endpoint: Endpoint) -> Lookup:
        """Return the path on which a node is asked."""
        owner = self._owners.get(endpoint)
        return self._first if owner is None else self._others[owner]

    def _deal(self, contacts: Sequence[Contact]) -> None:
        """Give each path its share of candidates: whoever stands behind the first, once around."""
        for index, path in enumerate(self._others):
            path.add(contacts[index :: len(self._others)])

    @property
    def _are_spent(self) -> bool:
        """Whether all together have asked as many as a lookup may."""
        return sum(path.asked_count for path in self.lookups) >= QUERIES_MAX


class _PathScrutiny(Scrutiny):
    """What a further path believes: also nothing that belongs to another path."""

    def __init__(self, first: Lookup, owners: dict[Endpoint, int], index: int) -> None:
        super().__init__(first.scrutiny.suspicion)
        self._first = first
        self._owners = owners
        self._index = index
        self._lone_radius = self.suspicion.density.lone_radius
        self._lone: Endpoint | None = None

    def admits(self, at: Endpoint, distance: int) -> bool:
        """As for any lookup; whoever hears of a node first has it."""
        is_lone = distance < self._lone_radius
        if self._owners.get(at, self._index) != self._index or self._first.has_asked(at):
            return False
        if (is_lone and self._lone not in (None, at)) or not super().admits(at, distance):
            return False
        self._owners[at] = self._index
        if is_lone:
            self._lone = at
        return True

    def forget(self, at: Endpoint) -> None:
        """Leave a node to the other paths."""
        super().forget(at)
        self._owners.pop(at, None)
