"""Which endpoints a socket may speak to, remembered.

The rule is `dht.contact.is_allowed`. It is asked for every datagram and for every contact in every
answer, and nearly always about somebody met before; so its verdicts are kept, up to a bound.
"""

from collections.abc import Iterable
from typing import Final

from dht.contact import Endpoint, Scope, is_allowed

VERDICTS_MAX: Final = 4_096
"""Verdicts kept: the endpoints of a busy minute; then it starts afresh."""


class Reach(dict[Endpoint, bool]):
    """The reach of a socket: `reach[endpoint]` tells whether it may send there, or believe it."""

    def __init__(self, bound: Scope) -> None:
        """Begin with no verdicts.

        Args:
            bound: Scope of the address the socket is bound to.
        """
        super().__init__()
        self._bound = bound

    def has_all(self, endpoints: Iterable[Endpoint]) -> bool:
        """Tell whether the socket may send to all of some endpoints."""
        return all(map(self.__getitem__, endpoints))

    def __missing__(self, at: Endpoint) -> bool:
        """Judge an endpoint that was not met before, and remember the verdict."""
        if len(self) >= VERDICTS_MAX:
            self.clear()
        verdict = self[at] = is_allowed(at, self._bound)
        return verdict
