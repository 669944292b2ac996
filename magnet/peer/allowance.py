"""How much memory unfinished metadata may take, over all links.

Whoever claims to have metadata of the largest size may give it piece by piece and hold back the
last. One swarm of such peers takes as much as its own pool allows; fifty of them at the same time
would take fifty times that. So what all pools hold together is bounded too. Small metadata, which
most is, is spared: a pool that holds little is never asked to give it up.
"""

from collections.abc import Iterator
from typing import Final, Protocol

from magnet.peer.assembly import Attempt

BUFFERED_BYTES_TOTAL_MAX: Final = 134_217_728
"""Bytes of pieces over all links: 128 MiB, room for four of the largest metadata at once, and less
than half of the 300 MB in which a batch has to run."""

BUFFERED_BYTES_SPARED: Final = 131_072
"""Bytes of pieces that each link may hold, whatever the others do: most metadata has less than 100
kB. Only links with connections hold any, and there are some hundred of these."""


class Holder(Protocol):
    """Whoever holds pieces: the pool of a link."""

    def attempts(self) -> Iterator[tuple[int, Attempt]]:
        """Yield the attempts at a whole, each with the size that the whole is said to have."""

    def drop(self, attempt: Attempt) -> None:
        """Let an attempt begin again without pieces."""


class Allowance:
    """What all pools may hold together; each notes here what it holds.

    Attributes:
        held_bytes: What they hold.
    """

    def __init__(self) -> None:
        """Begin with nothing held."""
        self.held_bytes = 0
        self._held: dict[Holder, int] = {}

    def note(self, holder: Holder, held_bytes: int) -> None:
        """Note what one holds by now; whoever holds nothing is forgotten."""
        self.held_bytes += held_bytes - self._held.pop(holder, 0)
        if held_bytes:
            self._held[holder] = held_bytes

    def make_room(self, growing: Attempt) -> None:
        """Have attempts dropped until the bound is kept, as far as some may be.

        The largest claims go first, and of these the least advanced: large ones are what makes
        memory scarce, and one of them at least should come to its end.

        Args:
            growing: What is not to be dropped, since it has just been given something.
        """
        while self.held_bytes > BUFFERED_BYTES_TOTAL_MAX:
            claims = [
                ((size, -attempt.total_bytes), holder, attempt)
                for holder, held in self._held.items()
                if held > BUFFERED_BYTES_SPARED
                for size, attempt in holder.attempts()
                if attempt.pieces and attempt is not growing
            ]
            if not claims:
                return
            _, holder, victim = max(claims, key=lambda claim: claim[0])
            holder.drop(victim)
