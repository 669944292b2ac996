"""The DHT as a source of peers: one search after the other, in both families at once.

Peers come and go, so a search that is over is repeated, with pauses that grow.
"""

from typing import Final

import trio

from dht.errors import DhtError, NodeClosed
from dht.keyspace import InfoHash
from dht.node import Node
from magnet.sources.source import DHT, Candidate, Findings, SourceRecord, Wanted

PAUSE_MIN_S: Final = 3.0
PAUSE_MAX_S: Final = 60.0
"""Bounds of the pause between searches for one key, which doubles each time."""


class DhtSource:
    """Searches the DHT for the peers of one swarm."""

    def __init__(self, node: Node, key: InfoHash, name: str = DHT) -> None:
        """Prepare.

        Args:
            node: Searches; it need not have joined yet.
            key: The swarm: an info-hash, or a truncated v2 one.
            name: Tells the searches for a hybrid torrent's two swarms apart.
        """
        self.name = name
        self._node = node
        self._key = key

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Search again and again, until cancelled.

        Raises:
            NodeClosed: The node was closed.
        """
        pause_s = PAUSE_MIN_S
        while True:
            await self._search(found, record)
            record.next_at = trio.current_time() + pause_s
            await trio.sleep(pause_s)
            record.next_at = None
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _search(self, found: Findings, record: SourceRecord) -> None:
        before = record.asked, record.answered, record.failed
        try:
            with self._node.find_peers(self._key) as peers:
                try:
                    async for peer in peers:
                        found.peer(Candidate(peer, self._key, self.name))
                finally:
                    asked, answered, failed, record.peers = peers.progress
                    record.asked = before[0] + asked
                    record.answered = before[1] + answered
                    record.failed = before[2] + failed
            record.error = None
        except NodeClosed:
            raise
        except DhtError as error:
            record.error = str(error)
