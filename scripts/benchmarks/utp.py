"""Bytes per second over uTP on loopback, between two of ours, and with libtorrent either way.

We run in this process, the other end in another; what is measured besides the time is our CPU, the
kernel's share included, for each datagram that passes our socket. Between two of ours packets grow
to what loopback takes; libtorrent reads no datagram that is longer than Ethernet's.

    scripts/bench utp [--megabytes 200] [--rounds 3] [--only NAME]
"""

import argparse
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha1
from itertools import islice
from random import Random
from time import perf_counter, process_time
from typing import Final, NamedTuple

import trio

from dht.contact import Endpoint, Family, endpoint, port_of
from dht.keyspace import InfoHash
from dht.node import Node, NodeSettings, open_node
from magnet.peer.handshake import Reserved, encode_handshake, generate_peer_id
from magnet.peer.wire import (
    HaveAll,
    HaveNone,
    Interested,
    Message,
    MessageDecoder,
    Piece,
    Request,
    Unchoke,
)
from magnet.transport.utp.socket import UtpSocket, open_utp
from scripts.benchmarks.subjects import HOST
from scripts.benchmarks.utp_ends import FETCHER, PIECE_BYTES, SEED, TAKER, other_end, raw_info

BLOCK_BYTES: Final = 16_384
HANDSHAKE_BYTES: Final = 68
REQUESTS_MAX: Final = 250
"""Blocks asked for at once: 4 MB, more than is ever on the way."""

MEMORY: Final = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where libtorrent keeps its files: no disk is to be measured."""

LIMIT_S: Final = 120.0
"""Seconds for one transfer."""


class Result(NamedTuple):
    """What came of a transfer.

    Attributes:
        size: Bytes, without those of protocols.
        seconds: How long it took.
        cpu_s: CPU seconds of ours.
        datagrams: Sent and received by us.
    """

    size: int
    seconds: float
    cpu_s: float
    datagrams: int

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.size / self.seconds / 1e6:6.1f} MB/s; {self.cpu_s / self.datagrams * 1e6:5.1f}"
            f" us of CPU for each of {self.datagrams:,} datagrams"
        )


class Meter:
    """Measures from one moment to another."""

    def __init__(self, node: Node) -> None:
        """Begin."""
        self._node = node
        self._began, self._cpu_s, self._datagrams = perf_counter(), process_time(), self._count()

    def read(self, size: int) -> Result:
        """Return what it took to transfer so much since the beginning."""
        seconds, cpu_s = perf_counter() - self._began, process_time() - self._cpu_s
        return Result(size, seconds, cpu_s, self._count() - self._datagrams)

    def _count(self) -> int:
        (counts,) = self._node.statistics().sockets.values()
        return counts["datagrams sent"] + counts["datagrams received"]


async def send_to_ours(node: Node, utp: UtpSocket, pieces: int) -> Result:
    """Send zeros to one of ours."""
    with other_end(TAKER) as other:
        stream = await utp.connect(endpoint(HOST, other.port))
        meter = Meter(node)
        for _ in range(pieces):
            await stream.send_all(bytes(PIECE_BYTES))
        await stream.send_eof()
        size = int.from_bytes(await stream.receive_some())
        assert size == pieces * PIECE_BYTES
        return meter.read(size)


async def fetch_from_libtorrent(node: Node, utp: UtpSocket, pieces: int) -> Result:
    """Get all pieces from a libtorrent that has them."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        other_end(SEED, folder, pieces) as other,
    ):
        stream = await utp.connect(endpoint(HOST, other.port))
        await stream.send_all(opening(pieces) + HaveNone().encode() + Interested().encode())
        wanted = (
            Request(index, begin, BLOCK_BYTES).encode()
            for index in range(pieces)
            for begin in range(0, PIECE_BYTES, BLOCK_BYTES)
        )
        missing, meter = pieces * PIECE_BYTES, Meter(node)
        async with aclosing(messages(stream)) as heard:
            async for message in heard:
                if isinstance(message, Unchoke):
                    meter = Meter(node)
                    await stream.send_all(b"".join(islice(wanted, REQUESTS_MAX)))
                elif isinstance(message, Piece):
                    missing -= len(message.block)
                    await stream.send_all(next(wanted, b""))
                    if not missing:
                        break
        return meter.read(pieces * PIECE_BYTES)


async def give_to_libtorrent(node: Node, utp: UtpSocket, pieces: int) -> Result:
    """Give all pieces to a libtorrent that has none."""
    block = bytes(BLOCK_BYTES)
    meters = [Meter(node)]

    async def give(stream: trio.abc.Stream, remote: Endpoint) -> None:
        async with aclosing(messages(stream)) as heard:
            await stream.send_all(opening(pieces) + HaveAll().encode() + Unchoke().encode())
            meters.append(Meter(node))
            async for message in heard:
                if isinstance(message, Request):
                    piece = Piece(message.index, message.begin, block)
                    await stream.send_all(piece.encode())

    port = port_of(node.endpoints[Family.IPV4])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utp.serve, give)
        with (
            tempfile.TemporaryDirectory(dir=MEMORY) as folder,
            other_end(FETCHER, folder, pieces, port) as other,
        ):
            await trio.to_thread.run_sync(other.next_line)
            result = meters[-1].read(pieces * PIECE_BYTES)
        nursery.cancel_scope.cancel()
    return result


def opening(pieces: int) -> bytes:
    """Return the handshake of a peer of the torrent of so many pieces."""
    info_hash = InfoHash(sha1(raw_info(pieces)).digest())
    return encode_handshake(Reserved.FAST, info_hash, generate_peer_id(Random()))


async def messages(stream: trio.abc.Stream) -> AsyncGenerator[Message, None]:
    """Give what a peer says after its handshake."""
    decoder, head = MessageDecoder(), b""
    while len(head) < HANDSHAKE_BYTES:
        head += await stream.receive_some()
    decoder.feed(head[HANDSHAKE_BYTES:])
    while True:
        while (message := decoder.next_message()) is not None:
            yield message
        decoder.feed(bytes(await stream.receive_some()))


Transfer = Callable[[Node, UtpSocket, int], Awaitable[Result]]

TRANSFERS: Final[dict[str, Transfer]] = {
    "ours to ours": send_to_ours,
    "libtorrent to ours": fetch_from_libtorrent,
    "ours to libtorrent": give_to_libtorrent,
}


async def measure(transfer: Transfer, pieces: int) -> Result:
    """Run one transfer, with a node of its own."""
    settings = NodeSettings(bind=[(HOST, 0)], bootstrap=())
    with trio.fail_after(LIMIT_S):
        async with open_node(settings) as node, open_utp(node) as utp:
            return await transfer(node, utp, pieces)


def main(arguments: list[str]) -> None:
    """Measure every transfer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=200, help="of each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--only", choices=TRANSFERS, help="one transfer")
    options = parser.parse_args(arguments)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    for number in range(1, options.rounds + 1):
        for name, transfer in TRANSFERS.items():
            if options.only not in (None, name):
                continue
            result = trio.run(measure, transfer, options.megabytes)
            print(f"round {number}, {name:18}: {result}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
