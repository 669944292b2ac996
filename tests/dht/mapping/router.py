"""A router on loopback that says what it is told to."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from dht.background import open_background
from dht.contact import Endpoint, endpoint
from dht.mapping.gateway import Gateway

CLIENT: Final = bytes([192, 168, 1, 2])

Reply = Callable[[bytes, tuple[str, int]], list[bytes]]


class Router:
    """What it was asked, and where it is.

    Attributes:
        requests: Datagrams, in order.
        at: Its endpoint.
    """

    def __init__(self, at: Endpoint) -> None:
        self.at = at
        self.requests: list[bytes] = []

    def find(self) -> Gateway:
        """Return it as the gateway of this machine."""
        return Gateway(self.at, CLIENT)


@asynccontextmanager
async def open_router(reply: Reply) -> AsyncIterator[Router]:
    """Run a router for the time of the block.

    Args:
        reply: Given a datagram and its source, returns those to answer it with.
    """
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        router = Router(endpoint(*sock.getsockname()))

        async def serve() -> None:
            while True:
                data, source = await sock.recvfrom(2_000)
                router.requests.append(data)
                for answer in reply(data, source):
                    await sock.sendto(answer, source)

        async with open_background() as background:
            background.start_soon(serve)
            yield router
