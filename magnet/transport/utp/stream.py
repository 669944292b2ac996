"""A connection as a trio stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from magnet.transport.utp.connection import Connection, State
from magnet.transport.utp.outgoing import BUFFER_BYTES

READ_BYTES: Final = 65_536
"""Bytes read at once, unless the caller says otherwise."""

ROOM_BYTES: Final = BUFFER_BYTES // 2
"""Room in the buffer at which a waiting writer goes on; at less it would wake for each packet."""


class UtpStream(trio.abc.HalfCloseableStream):
    """One end of a connection; made by a `UtpSocket`.

    To close it takes no time: what was written still goes out in the background.

    Attributes:
        connection: The machine behind it, for figures.
    """

    def __init__(self, connection: Connection, settle: Callable[[Connection], None]) -> None:
        """Join the two.

        Args:
            connection: Owned by this object from now on.
            settle: Called after each change of the connection; sends what comes of it.
        """
        self.connection = connection
        self._settle = settle
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._busy: set[str] = set()
        self._is_closed = False
        self._is_finished = False

    def wake(self) -> None:
        """Wake whoever waits for what may have happened by now."""
        connection = self.connection
        is_over = self._is_closed or connection.state is State.CLOSED
        if is_over or connection.outgoing.room >= ROOM_BYTES:
            self._writers.unpark_all()
        if is_over or connection.incoming.readable or connection.incoming.is_ended:
            self._readers.unpark_all()

    async def wait_connected(self) -> bool:
        """Wait until the other end has answered; return whether it has, or the attempt failed."""
        while self.connection.state is State.SYN_SENT:
            await self._writers.park()
        return self.connection.state is State.CONNECTED

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; returns when all are in a bounded buffer.

        Raises:
            trio.BrokenResourceError: The connection is lost, or the peer has gone.
            trio.ClosedResourceError: This end was closed, or has said that it is finished.
            trio.BusyResourceError: Another task is sending.
        """
        with self._alone("sending"):
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            while True:
                self._check_writable()
                taken = self.connection.write(rest)
                if taken:
                    self._settle(self.connection)
                rest = rest[taken:]
                if not rest:
                    return
                await self._writers.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room in the buffer.

        Raises:
            trio.BrokenResourceError: As for `send_all`.
            trio.ClosedResourceError: As for `send_all`.
            trio.BusyResourceError: As for `send_all`.
        """
        with self._alone("sending"):
            await trio.lowlevel.checkpoint()
            self._check_writable()
            while not self.connection.outgoing.room:
                await self._writers.park()
                self._check_writable()

    async def send_eof(self) -> None:
        """Say that nothing more will be sent; receiving goes on.

        Raises:
            trio.ClosedResourceError: This end was closed.
            trio.BusyResourceError: Another task is sending.
        """
        with self._alone("sending"):
            await trio.lowlevel.checkpoint()
            if self._is_closed:
                raise trio.ClosedResourceError("this end was closed")
            if not self._is_finished:
                self._is_finished = True
                self.connection.finish()
                self._settle(self.connection)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes; b"" when the peer has said that no more come.

        Raises:
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: This end was closed.
            trio.BusyResourceError: Another task is receiving.
            ValueError: `max_bytes` is less than one.
        """
        size = READ_BYTES if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError("max_bytes must be at least one")
        with self._alone("receiving"):
            await trio.lowlevel.checkpoint()
            while True:
                if self._is_closed:
                    raise trio.ClosedResourceError("this end was closed")
                data = self.connection.read(size)
                if data and self.connection.has_news:
                    self._settle(self.connection)
                if data or self.connection.is_eof:
                    return data
                self._check_alive()
                await self._readers.park()

    async def aclose(self) -> None:
        """Close both directions; what was written still goes out."""
        if not self._is_closed:
            self._is_closed = True
            self.connection.close(now=trio.current_time())
            self._settle(self.connection)
            self.wake()
        await trio.lowlevel.checkpoint()

    def _check_writable(self) -> None:
        if self._is_closed or self._is_finished:
            raise trio.ClosedResourceError("this end was closed")
        self._check_alive()

    def _check_alive(self) -> None:
        if self.connection.state is State.CLOSED:
            failure = self.connection.failure
            raise trio.BrokenResourceError(failure.value if failure else "connection closed")

    @contextmanager
    def _alone(self, activity: str) -> Iterator[None]:
        if activity in self._busy:
            raise trio.BusyResourceError(f"another task is {activity}")
        self._busy.add(activity)
        try:
            yield
        finally:
            self._busy.remove(activity)
