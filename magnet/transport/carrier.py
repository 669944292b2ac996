"""What carries a stream to a peer: the contract between those that can and the dialler.

TCP is one carrier, uTP another, a proxy a third. A carrier knows nothing of BitTorrent, and opens a
stream or says why not.
"""

from enum import Enum
from typing import Protocol

import trio

from dht.contact import Endpoint


class Transport(Enum):
    """By what protocol a stream is carried. The values are what reports call them."""

    TCP = "TCP"
    UTP = "uTP"


class Carrier(Protocol):
    """Opens streams."""

    async def connect(self, to: Endpoint) -> trio.abc.Stream:
        """Open a stream, in a time that the carrier bounds. When cancelled it leaves nothing open.

        Raises:
            PeerTimeout: The peer did not answer in time.
            PeerDisconnected: It refused, or cannot be reached.
        """
