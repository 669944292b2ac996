"""What the peers of a link get back: its metadata, if they were without it like ourselves.

Some peers have no metadata yet, and are kept in case that they name others or get it themselves.
When the link is resolved, they are told that we have it by now, and for a moment their requests are
answered. That is the background of an open resolver: whoever waits for the link has it already, and
nobody who closes the resolver waits for the peers.

Spec: BEP 9; BEP 27 for private torrents.
"""

from contextlib import suppress
from typing import Final

import trio

from magnet.errors import PeerError
from magnet.peer.extension import UT_METADATA
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataRequest

GIVING_S: Final = 10.0
"""Seconds for which a peer is served: who was told that there is metadata asks at once, and the
largest in use takes a few seconds."""

GIVING_MAX: Final = 16
"""Peers served at once, over all links. They come on top of the places for connections, so that no
link has to wait for what is a courtesy."""


class Giving:
    """Gives the metadata of resolved links to peers that lack it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Begin without peers.

        Args:
            nursery: Where they are served; whoever opened it ends that by cancelling it.
        """
        self._nursery = nursery
        self._open = 0

    def take(self, peer: PeerStream, server: MetadataServer) -> None:
        """Take over a peer, if it lacks the metadata and there is room; does not wait.

        Args:
            peer: A peer whose conversation is about to end.
            server: Has the metadata that it lacks.
        """
        lacks_it = peer.connection.speaks(UT_METADATA) and peer.connection.metadata_size is None
        is_over = self._nursery.cancel_scope.cancel_called
        if not lacks_it or is_over or server.metadata_size is None or self._open >= GIVING_MAX:
            return
        successor = peer.hand_over()
        if successor is not None:
            self._open += 1
            self._nursery.start_soon(self._give, successor, server, server.metadata_size)

    async def _give(self, peer: PeerStream, server: MetadataServer, size: int) -> None:
        try:
            with trio.move_on_after(GIVING_S), suppress(PeerError):
                async with peer:
                    peer.connection.offer_metadata(size)
                    await _answer(peer, server)
        finally:
            self._open -= 1


async def _answer(peer: PeerStream, server: MetadataServer) -> None:
    session = server.open_session()
    async for event in peer:
        if isinstance(event, MetadataRequest):
            peer.connection.answer_metadata(session.answer(event))
