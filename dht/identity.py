"""Who we are to others: an id that fits our address, and whether we can be asked.

A node begins with any id, learns its external address from answers, and then takes an id that the
address allows, once. A later change has to wait, so that liars cannot make us hop. In local
networks addresses mean nothing, so there ids stay as they are, and everybody counts as reachable.

Spec: BEP 42 "Node ID restriction"; BEP 43.
"""

import random
from typing import Final

from dht.contact import Endpoint, address_of
from dht.external import ExternalAddress
from dht.keyspace import NodeId, is_secure, secure_id
from dht.reachability import Reachability

CHANGE_AGAIN_S: Final = 1_800.0
"""Seconds between two changes of our id: a table is worth more than a perfect id."""


class Identity:
    """The id and the state of one engine in the eyes of others.

    Attributes:
        own_id: What we call ourselves.
        is_read_only: Whether we answer no queries, and say so. Spec: BEP 43.
        is_judged: Whether that depends on who reaches us.
    """

    def __init__(
        self,
        own_id: NodeId,
        rng: random.Random,
        *,
        is_public: bool,
        read_only: bool,
        now: float,
    ) -> None:
        """Begin with an id.

        Args:
            own_id: Valid for our address or not.
            rng: Draws later ids.
            is_public: Whether our socket reaches beyond local networks.
            read_only: Whether to be read-only whatever happens; else it depends on whether
                strangers reach us.
            now: Monotonic seconds.
        """
        self.own_id = own_id
        self.is_read_only = read_only
        self._rng = rng
        self._is_public = is_public
        self.is_judged = is_public and not read_only
        self._external = ExternalAddress()
        self._reachability = Reachability(now=now)
        self._changed_at = float("-inf")
        self._fitting_address = b""

    def external_address(self, *, now: float) -> bytes | None:
        """Return our address as decided by vote, 4 or 16 bytes; None while that is open."""
        return self._external.decided(now=now)

    def answered(self, reporter: Endpoint, claimed: Endpoint | None, *, now: float) -> bool:
        """Note that somebody answered us, and perhaps told our address.

        Returns:
            Whether `own_id` has changed.
        """
        self._reachability.answered()
        if claimed is None or not self._is_public:
            return False
        self._external.heard(reporter, claimed, now=now)
        if now < self._changed_at + CHANGE_AGAIN_S or self._fits(address_of(claimed)):
            return False
        address = self._external.decided(now=now)
        if address is None or is_secure(self.own_id, address):
            return False
        self.own_id, self._changed_at = secure_id(address, self._rng), now
        self._fitting_address = address
        return True

    def _fits(self, address: bytes) -> bool:
        """Tell whether our id is one for an address, which is nearly always that of last time."""
        if address != self._fitting_address:
            if not is_secure(self.own_id, address):
                return False
            self._fitting_address = address
        return True

    @property
    def uninvited_queries(self) -> int:
        """How many queries came from addresses that we had left alone."""
        return self._reachability.uninvited

    def queried(self, source: Endpoint, *, invited_at: float, now: float) -> None:
        """Note that somebody sent us a query; `invited_at` is when we last sent something there."""
        self._reachability.queried(address_of(source), invited_at=invited_at, now=now)

    def reconsider(self, *, now: float) -> bool:
        """Bring `is_read_only` up to date and return it."""
        if self.is_judged:
            self.is_read_only = not self._reachability.is_open(now=now)
        return self.is_read_only
