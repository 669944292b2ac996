"""A UDP socket: batched reads, synchronous sends, and several protocols behind one port.

Reading waits until the socket is readable and then takes what is there, up to a batch, so that one
wake-up serves many datagrams. Sending never waits: if the kernel has no room the datagram joins a
bounded queue, and if that is full it is dropped and counted, as networks do anyway. The errors that
ICMP messages leave on a socket concern one datagram and are counted, never raised.

Each datagram goes to the first protocol that recognises it; the DHT and uTP share a port that way.

Spec: BEP 29 and BEP 5 on sharing the port; errors as the socket(7) and udp(7) manuals list them.
"""

import errno
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol, Self

import trio

from dht.contact import Endpoint, Family, Scope, scope_of
from dht.errors import CannotListen

READ_MAX: Final = 65_535
"""Bytes read of one datagram: all of it, so that a long one is seen to be long and not cut into
something valid."""

BATCH_MAX: Final = 64
"""Datagrams read before the answers go out: enough to share the cost of a turn, few enough to
answer soon."""

BATCHES_PER_TURN: Final = 4
"""Batches taken per wake-up while more keeps coming; then other tasks have their turn."""

QUEUE_MAX: Final = 1_024
"""Datagrams waiting for room in the kernel; 1 MiB at the largest size we send."""

RECEIVE_BUFFER_BYTES: Final = 4 * 1_024 * 1_024
"""Asked of the kernel, which may grant less: some seconds of a busy node's traffic."""

ADDRESSES_CACHED: Final = 4_096
"""Addresses remembered in each form: whoever sends a datagram is soon sent another."""

Datagram = tuple[bytes, Endpoint]
"""A datagram and its other end: the source of a received one, the destination of one to be sent."""


class DatagramProtocol(Protocol):
    """Something that speaks over a shared socket."""

    def recognises(self, data: bytes) -> bool:
        """Tell by its first bytes whether a datagram belongs to this protocol."""

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        """Take the datagrams of one wake-up that belong to this protocol."""


class UdpSocket:
    """A bound UDP socket.

    Attributes:
        endpoint: Where it is bound, with the real port.
        family: Its address family.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take over a bound, non-blocking socket."""
        self._sock = sock
        self.endpoint = _read_address(sock.getsockname())
        self.family = Family.IPV4 if sock.family == socket.AF_INET else Family.IPV6
        self._queue: deque[Datagram] = deque()
        self._queue_filled = trio.Event()
        self._counts: Counter[str] = Counter()
        self._received = self._bytes_received = self._sent = self._bytes_sent = 0

    @classmethod
    def bind(cls, host: str, port: int = 0) -> Self:
        """Open a socket.

        Args:
            host: A literal address; an IPv6 socket serves IPv6 only (BEP 32).
            port: 0 for any free port.

        Raises:
            CannotListen: The port is taken, the address is not ours, or the family is not
                available.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise CannotListen(host, error.strerror or str(error)) from error
        try:
            _prepare(sock)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise CannotListen(f"{host} port {port}", error.strerror or str(error)) from error
        return cls(sock)

    @property
    def is_unspecified(self) -> bool:
        """Whether the socket is bound to no address in particular."""
        return not any(self.endpoint[:-2])

    @property
    def scope(self) -> Scope:
        """How far the bound address reaches; no address in particular counts as global."""
        return Scope.GLOBAL if self.is_unspecified else scope_of(self.endpoint)

    def close(self) -> None:
        """Close the socket and wake whoever waits on it; what is queued is lost."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def statistics(self) -> dict[str, int]:
        """Return counts: datagrams and bytes each way, drops, and errors by name."""
        counts = {
            "bytes received": self._bytes_received,
            "bytes sent": self._bytes_sent,
            "datagrams received": self._received,
            "datagrams sent": self._sent,
        }
        return dict(sorted((counts | self._counts).items()))

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams now, or soon; never waits and never fails, but may drop and count."""
        sent = 0 if self._queue else self._send_now(datagrams)
        for data, to in datagrams[sent:]:
            self._enqueue(data, to)

    async def serve(self, protocols: Sequence[DatagramProtocol]) -> None:
        """Deliver what arrives, and send what had to be queued, until cancelled or closed.

        Args:
            protocols: Asked in order; what none of them recognises is dropped and counted.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_queued)
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                for _ in range(BATCHES_PER_TURN):
                    batch = self._read_batch()
                    if not batch:
                        break
                    self._deliver(batch, protocols)

    def _deliver(self, batch: list[Datagram], protocols: Sequence[DatagramProtocol]) -> None:
        for protocol in protocols:
            mine, batch = _partition(batch, protocol.recognises)
            if mine:
                protocol.receive_batch(mine)
        if batch:
            self._counts["datagrams of no protocol"] += len(batch)

    def _read_batch(self) -> list[Datagram]:
        batch: list[Datagram] = []
        receive = self._sock.recvfrom
        for _ in range(BATCH_MAX):
            try:
                data, address = receive(READ_MAX)
            except BlockingIOError:
                break
            except OSError as error:
                if not self._is_passing(error):
                    raise
                continue
            batch.append((data, _read_address(address)))
            self._bytes_received += len(data)
        self._received += len(batch)
        return batch

    def _send_now(self, datagrams: Sequence[Datagram]) -> int:
        """Hand datagrams to the kernel; return how many it took before it had no more room."""
        send = self._sock.sendto
        for position, (data, to) in enumerate(datagrams):
            try:
                self._bytes_sent += send(data, _socket_address(to))
                self._sent += 1
            except BlockingIOError:
                return position
            except OSError as error:
                if not self._is_passing(error):
                    raise
        return len(datagrams)

    def _enqueue(self, data: bytes, to: Endpoint) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self._counts["datagrams dropped"] += 1
            return
        self._queue.append((data, to))
        self._queue_filled.set()

    async def _send_queued(self) -> None:
        while True:
            await self._queue_filled.wait()
            while self._queue:
                await trio.lowlevel.wait_writable(self._sock)
                for _ in range(self._send_now(list(self._queue))):
                    self._queue.popleft()
            self._queue_filled = trio.Event()

    def _is_passing(self, error: OSError) -> bool:
        """Count an error that concerns one datagram or one moment; tell whether it was one."""
        if error.errno not in _PASSING_ERRORS:
            return False
        self._counts[f"error {errno.errorcode.get(error.errno, error.errno)}"] += 1
        return True


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _partition(
    batch: list[Datagram], belongs: Callable[[bytes], bool]
) -> tuple[list[Datagram], list[Datagram]]:
    mine = [it for it in batch if belongs(it[0])]
    if len(mine) == len(batch):
        return mine, []
    return mine, [it for it in batch if not belongs(it[0])]


@lru_cache(ADDRESSES_CACHED)
def _read_address(address: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    host, port = address[0], address[1]
    if ":" not in host:
        return Endpoint(socket.inet_aton(host) + port.to_bytes(2))
    return Endpoint(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]) + port.to_bytes(2))


@lru_cache(ADDRESSES_CACHED)
def _socket_address(to: Endpoint) -> tuple[str, int]:
    port = to[-2] << 8 | to[-1]
    if len(to) == 6:
        return socket.inet_ntoa(to[:4]), port
    return socket.inet_ntop(socket.AF_INET6, to[:16]), port


_PASSING_ERRORS: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.EMSGSIZE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,
        errno.EACCES,
        errno.EINVAL,
    }
)
