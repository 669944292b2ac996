"""The ways to peers that a node has, brought together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random, SystemRandom

from dht.node import Node
from magnet.transport.carrier import Transport
from magnet.transport.dial import Carriers, Dialer, DialPolicy
from magnet.transport.socks.proxy import SocksProxy
from magnet.transport.tcp import TcpCarrier
from magnet.transport.utp.socket import open_utp


@asynccontextmanager
async def open_dialer(
    node: Node,
    *,
    proxy: SocksProxy | None = None,
    policy: DialPolicy | None = None,
    rng: Random | None = None,
) -> AsyncIterator[Dialer]:
    """Give a dialler for TCP, and for uTP on the sockets of a node, for the time of the block.

    Args:
        node: Whose sockets are shared; nothing else may speak uTP on them meanwhile.
        proxy: If given, the only way there is.
        policy: How to dial; by default a `DialPolicy` as it comes.
        rng: Makes what others should not guess; the system's randomness if None.

    Raises:
        NodeClosed: The node is closed.
    """
    dice = rng if rng is not None else SystemRandom()
    if proxy is not None:
        yield Dialer({Transport.TCP: proxy}, policy=policy, rng=dice)
        return
    async with open_utp(node, rng=dice) as utp:
        both: Carriers = {Transport.TCP: TcpCarrier(node.endpoints), Transport.UTP: utp}
        yield Dialer(both, policy=policy, rng=dice)
