"""What others see of us: our external address, by vote.

Behind a NAT nobody knows its own address, and each answer may tell it, truthfully or not. So no
reporter is believed alone. A network has one vote, however many addresses it has, its latest counts
and fades, and a decision needs many voters and a clear majority: who wants to choose our address,
and with it our id, has to answer us from most of the networks that we talk to.

Spec: BEP 42 "bootstrapping" (`ip` in answers).
"""

from collections import Counter
from typing import Final

from dht.contact import Endpoint, Scope, address_of, scope_of
from dht.recollection import Recollection

VOTERS_MIN: Final = 16
"""Networks that must have voted: if a fifth of them lies, two thirds of sixteen do so once in
100,000 times."""

VOTERS_MAX: Final = 64
"""Networks whose votes are kept, the latest: a new address wins once most of them have told it."""

VOTE_LIFETIME_S: Final = 1_800.0
"""Seconds for which a vote counts; an address may have changed since."""

_NETWORK_BYTES: Final = {6: 2, 18: 6}
"""Leading bytes of an endpoint that make a voter: an IPv4 /16, an IPv6 /48."""


class ExternalAddress:
    """The vote on our address in one family."""

    def __init__(self) -> None:
        """Begin without votes."""
        self._votes: Recollection[bytes, bytes] = Recollection(
            lifetime_s=VOTE_LIFETIME_S, entries_max=VOTERS_MAX
        )

    def __len__(self) -> int:
        """Return how many networks have a vote, some faded ones included."""
        return len(self._votes)

    def heard(self, reporter: Endpoint, claimed: Endpoint, *, now: float) -> None:
        """Take a vote.

        It does not count if either address is local or of another family than the other.

        Args:
            reporter: Who answered a query of ours.
            claimed: Our endpoint as the reporter sees it.
            now: Monotonic seconds.
        """
        if len(claimed) != len(reporter) or scope_of(claimed) is not Scope.GLOBAL:
            return
        if scope_of(reporter) is not Scope.GLOBAL:
            return
        voter = reporter[: _NETWORK_BYTES[len(reporter)]]
        self._votes.note(voter, address_of(claimed), now=now)

    def decided(self, *, now: float) -> bytes | None:
        """Return our address, 4 or 16 bytes, or None while the vote is open.

        It is decided when `VOTERS_MIN` networks have voted and two in three agree.
        """
        current = list(self._votes.values(now=now))
        if len(current) < VOTERS_MIN:
            return None
        (winner, votes) = Counter(current).most_common(1)[0]
        return winner if 3 * votes >= 2 * len(current) else None
