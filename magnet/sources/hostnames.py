"""Host names to addresses, for names that strangers chose.

A name is harmless until it is resolved: then it may turn out to be the router at home. So what the
name service says passes the same rule as every address a stranger tells us, each time. Look-ups run
in threads, of which few are spent, and none of those that everybody shares: a silent name service
keeps its thread long after nobody waits any more. What was looked up is remembered for some
minutes, and one look-up serves all who want the name meanwhile, since the links of a batch name the
same trackers over and over.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import trio

from dht.contact import Endpoint, Family, endpoint, family_of
from magnet.errors import SourceError, SourceFault
from magnet.hosts import HostPort
from magnet.sources.reach import Reach

TIMEOUT_S: Final = 5.0
"""Seconds for the name service to answer, once it was asked: that others are asked about first says
nothing of a name."""

AT_ONCE: Final = 16
"""Look-ups at the same time: each takes a thread, and a silent name service keeps it."""

ADDRESSES_MAX: Final = 4
"""Addresses used of one name and family, whatever the name service says."""

REMEMBERED_S: Final = 300.0
"""Seconds for which an outcome is remembered, failures included."""

REMEMBERED_MAX: Final = 1_000
"""Outcomes remembered; the oldest goes first."""


class HostNames:
    """Resolves host names within our reach."""

    def __init__(self, reach: Reach) -> None:
        """Start with nothing remembered."""
        self._reach = reach
        self._threads = trio.CapacityLimiter(AT_ONCE)
        self._known: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._under_way: dict[str, trio.Event] = {}

    async def look_up(self, host: HostPort) -> dict[Family, list[Endpoint]]:
        """Return where a host is, by family; only what we may reach, and never nothing.

        A literal address is returned as it is, if we may reach it.

        Raises:
            SourceError: `NO_ADDRESS`: the name service knows none, or did not answer in time;
                `NOT_ALLOWED`: it knows only addresses that we must not be led to, or have no
                address of the family for.
        """
        literal = host.literal
        if literal is None:
            addresses = await self._addresses(host.host)
            ends = [endpoint(address, host.port) for address in addresses]
        else:
            await trio.lowlevel.checkpoint()
            ends = [literal]
        if not ends:
            raise SourceError(SourceFault.NO_ADDRESS, f"no address found for {host.host}")
        allowed: dict[Family, list[Endpoint]] = {}
        for end in filter(self._reach.allows, dict.fromkeys(ends)):
            allowed.setdefault(family_of(end), []).append(end)
        if not allowed:
            raise SourceError(SourceFault.NOT_ALLOWED, f"{host.host} is out of our reach")
        return {family: found[:ADDRESSES_MAX] for family, found in allowed.items()}

    async def _addresses(self, name: str) -> tuple[str, ...]:
        while True:
            asked_at, addresses = self._known.get(name, (float("-inf"), ()))
            if trio.current_time() < asked_at + REMEMBERED_S:
                await trio.lowlevel.checkpoint()
                return addresses
            if name not in self._under_way:
                return await self._find(name)
            # Whoever asks may be cancelled, and then it is somebody else's turn.
            await self._under_way[name].wait()

    async def _find(self, name: str) -> tuple[str, ...]:
        """Ask the name service, while others who want the same name wait."""
        over = self._under_way[name] = trio.Event()
        try:
            addresses = await self._ask(name)
            self._remember(name, addresses)
        finally:
            del self._under_way[name]
            over.set()
        return addresses

    def _remember(self, name: str, addresses: tuple[str, ...]) -> None:
        self._known[name] = (trio.current_time(), addresses)
        self._known.move_to_end(name)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)

    async def _ask(self, name: str) -> tuple[str, ...]:
        patience = trio.CancelScope()

        def begin() -> None:
            patience.deadline = trio.current_time() + TIMEOUT_S

        with patience:
            try:
                return await ask_system(name, self._threads, begin)
            except (OSError, UnicodeError):
                return ()
        return ()


async def ask_system(
    name: str, threads: trio.CapacityLimiter, begin: Callable[[], None]
) -> tuple[str, ...]:
    """Ask the name service of the system, in a thread.

    Args:
        name: What to look up.
        threads: One of its places is held for as long as the thread lives, which may be longer than
            this call: it cannot be stopped.
        begin: Called when there is a place, so that it is now that the name service is asked.

    Returns:
        Literal addresses, each once.

    Raises:
        OSError: The name service knows none.
        UnicodeError: No name service takes such a name.
    """

    def ask() -> tuple[str, ...]:
        trio.from_thread.run_sync(begin)
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(address[0]) for *_, address in answers))

    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=threads)
