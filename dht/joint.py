"""One search in both DHTs at once: the families are two networks with one user.

A joint search has a search in each engine, each with a purpose of its own. It ends when all of them
have, and is forgotten in every engine when its block is left.

Spec: BEP 32 (two DHTs).
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple

import trio

from dht.contact import Endpoint
from dht.driver import EngineDriver, Listener
from dht.errors import NodeClosed, NotBootstrapped
from dht.inquiry import Ended, Event, Found, PeersNamed
from dht.keyspace import InfoHash
from dht.search import PEERS_PER_SEARCH_MAX, FindPeers, PurposeT, Search


class SearchProgress(NamedTuple):
    """How far a search has come, all families together.

    Attributes:
        asked: Queries sent.
        answered: Nodes that answered.
        failed: Nodes that refused or never answered.
        peers: Distinct peers found, where peers are searched for.
    """

    asked: int
    answered: int
    failed: int
    peers: int = 0


class JointSearch(Generic[PurposeT]):
    """A search in every engine of a node.

    Attributes:
        running: Each engine's driver and its search.
    """

    def __init__(self) -> None:
        """Made by `searching`."""
        self.running: list[tuple[EngineDriver, Search[PurposeT]]] = []

    @property
    def searches(self) -> list[Search[PurposeT]]:
        """The searches, in the order of the engines."""
        return [search for _, search in self.running]

    @property
    def purposes(self) -> list[PurposeT]:
        """The purposes of the searches, which hold the results."""
        return [search.purpose for search in self.searches]

    @property
    def progress(self) -> SearchProgress:
        """How far the searches have come."""
        lookups = [lookup for search in self.searches for lookup in search.lookups]
        return SearchProgress(
            sum(it.asked_count for it in lookups),
            sum(it.answered_count for it in lookups),
            sum(it.failed_count for it in lookups),
        )

    def check(self) -> None:
        """Tell whether the searches were made, now that they have ended.

        Raises:
            NodeClosed: The node was closed before they ended.
            NotBootstrapped: There was no node to ask.
        """
        asked = self.progress.asked
        # A search that had not begun looks as if it were over.
        was_cut_off = not asked and any(driver.is_closed for driver, _ in self.running)
        if was_cut_off or not all(search.is_done for search in self.searches):
            raise NodeClosed("the node was closed")
        if not asked:
            raise NotBootstrapped("no node is known to ask")


@contextmanager
def searching(
    drivers: Sequence[EngineDriver],
    target: bytes,
    make_purpose: Callable[[], PurposeT],
    listen: Listener,
) -> Iterator[JointSearch[PurposeT]]:
    """Search in every engine for the time of the block.

    Args:
        drivers: The engines.
        target: The 20 bytes to search for.
        make_purpose: Called once for each engine.
        listen: Called with each event of each search.

    Raises:
        NodeClosed: The node is closed.
        QueryRefused: An engine has too much to do.
    """
    joint = JointSearch[PurposeT]()
    try:
        for driver in drivers:
            joint.running.append((driver, _begin(driver, target, make_purpose(), listen)))
        yield joint
    finally:
        for driver, search in joint.running:
            driver.forget(search)


async def search_all(
    drivers: Sequence[EngineDriver], target: bytes, make_purpose: Callable[[], PurposeT]
) -> JointSearch[PurposeT]:
    """Search in every engine, to the end; cancelling the call ends the searches.

    Raises:
        NotBootstrapped: There was no node to ask.
        NodeClosed: The node was closed before or meanwhile.
        QueryRefused: An engine has too much to do.
    """
    waiting = len(drivers)
    all_ended = trio.Event()

    def listen(event: Event) -> None:
        nonlocal waiting
        waiting -= isinstance(event, Ended)
        if not waiting:
            all_ended.set()

    with searching(drivers, target, make_purpose, listen) as joint:
        await all_ended.wait()
    joint.check()
    return joint


class PeerStream:
    """The peers of an info-hash, as they are found; ends when the search is over.

    Attributes:
        info_hash: What is searched for.
    """

    def __init__(
        self,
        info_hash: InfoHash,
        joint: JointSearch[FindPeers],
        receive: trio.MemoryReceiveChannel[PeersNamed],
    ) -> None:
        """Made by `stream_peers`."""
        self.info_hash = info_hash
        self._joint = joint
        self._receive = receive

    @property
    def progress(self) -> SearchProgress:
        """How far the search has come."""
        peers = sum(len(purpose.peers) for purpose in self._joint.purposes)
        return self._joint.progress._replace(peers=peers)

    async def __aiter__(self) -> AsyncIterator[Endpoint]:
        """Iterate over distinct peers in the order in which they come in.

        Raises:
            NotBootstrapped: Nobody could be asked, because the node knows nobody.
            NodeClosed: The node was closed meanwhile.
        """
        async for named in self._receive:
            for peer in named.peers:
                yield peer
        self._joint.check()


@contextmanager
def stream_peers(drivers: Sequence[EngineDriver], info_hash: InfoHash) -> Iterator[PeerStream]:
    """Search for peers in every engine for the time of the block.

    Raises:
        NodeClosed: The node is closed.
        QueryRefused: An engine has too much to do.
    """
    send, receive = trio.open_memory_channel[PeersNamed](PEERS_PER_SEARCH_MAX * len(drivers))
    waiting = len(drivers)

    def listen(event: Event) -> None:
        nonlocal waiting
        if isinstance(event, Found):
            send.send_nowait(event.finding)
        else:
            waiting -= 1
            if not waiting:
                send.close()

    with send, receive, searching(drivers, info_hash, FindPeers, listen) as joint:
        yield PeerStream(info_hash, joint, receive)


def _begin(
    driver: EngineDriver, target: bytes, purpose: PurposeT, listen: Listener
) -> Search[PurposeT]:
    return driver.call(lambda now: driver.engine.search(target, purpose, now=now), listen)
