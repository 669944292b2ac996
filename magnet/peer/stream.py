"""A `PeerConnection` on a trio stream: any stream, be it TCP, uTP or an encrypted one.

`PeerStream` moves bytes between the two, gives every stage its deadline, and turns what trio and
the operating system raise into `PeerDisconnected` and `PeerTimeout`. It decides nothing. One task
at a time uses it.

Opening the stream is the caller's work; closing it is done here, when the `async with` block is
left, in whatever way, unless the peer was handed over before.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

import trio

from magnet.errors import LocalProtocolError, PeerDisconnected, PeerTimeout
from magnet.peer.connection import PeerConnection, State
from magnet.peer.events import (
    Event,
    ExtensionHandshakeReceived,
    HandshakeCompleted,
    HandshakeReceived,
    PeerClosed,
)
from magnet.peer.extension import ExtensionHandshake

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""Seconds for the handshake of 68 bytes, all in all; libtorrent's number."""

EXTENSION_TIMEOUT_S: Final = 10.0
"""Seconds after the handshake for the extension handshake; honest peers send it in the same packet.
"""

SEND_TIMEOUT_S: Final = 30.0
"""Seconds until a peer has to have read what we send; a metadata piece at 1 kB/s takes 16."""

_CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds a stream has for saying goodbye; afterwards it is cut."""

_READ_BYTES: Final = 65_536
"""Most bytes read at once: a few metadata pieces."""

_REQUESTING: Final = "requesting"
_STAGES: Final = {
    State.HANDSHAKING: "handshaking",
    State.DECIDING: "handshaking",
    State.IDENTIFYING: "handshaking",
    State.EXTENDING: "extending",
}


class PeerStream:
    """A peer at the other end of a stream.

    An async context manager that closes the stream, and an async iterator over the peer's events.
    """

    def __init__(self, stream: trio.abc.Stream, connection: PeerConnection) -> None:
        """Join the two.

        Args:
            stream: An open stream, owned by this object from now on.
            connection: A fresh connection, whose first bytes are not yet sent.
        """
        self.connection = connection
        self._stream = stream
        self._waiting = trio.CancelScope()
        self._is_woken = False
        self._is_sending = False
        self._is_handed_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next_event(self) -> Event | None:
        """Return the peer's next event, or None after the stream's regular end. No deadline.

        What the connection has to say is sent first. To cancel this loses no event, but to cancel
        it while it sends leaves the stream fit for nothing but being closed.

        Raises:
            RemoteProtocolError: The peer broke the protocol.
            PeerDisconnected: The stream broke, or ended during the handshakes.
            PeerTimeout: The peer does not read what we send.
        """
        while (event := await self._advance()) is None and self._is_open:
            await self._receive(math.inf)
        return None if isinstance(event, PeerClosed) else event

    async def listen(self, *, deadline: float) -> Event | None:
        """Return the peer's next event, or None: the deadline passed, or somebody called `wake`.

        As `next_event`, but the deadline cuts no message in two: the stream can be used further.

        Args:
            deadline: Until when to wait, in trio's time.

        Raises:
            PeerDisconnected: As for `next_event`, or the stream has ended regularly.
            PeerError: As for `next_event`.
        """
        while (event := await self._advance()) is None and self._is_open:
            if not await self._receive(deadline):
                return None
        if event is None or isinstance(event, PeerClosed):
            raise PeerDisconnected(_REQUESTING)
        return event

    async def wait_handshake_received(self) -> HandshakeReceived:
        """Wait for the initiator's opening, as a responder.

        Raises:
            PeerTimeout: It did not come within `HANDSHAKE_TIMEOUT_S`.
            PeerError: As for `next_event`.
        """
        with self._deadline(HANDSHAKE_TIMEOUT_S):
            event = await self.next_event()
        if not isinstance(event, HandshakeReceived):
            raise LocalProtocolError("the handshake was received before")
        return event

    async def wait_handshake_completed(self) -> HandshakeCompleted:
        """Wait until both handshakes are through.

        Raises:
            PeerTimeout: It took longer than `HANDSHAKE_TIMEOUT_S`.
            PeerError: As for `next_event`.
        """
        with self._deadline(HANDSHAKE_TIMEOUT_S):
            event = await self.next_event()
        if not isinstance(event, HandshakeCompleted):
            raise LocalProtocolError("the handshake was completed before")
        return event

    async def wait_extension_handshake(self) -> ExtensionHandshake:
        """Wait for the peer's extension handshake; core messages before it are dropped.

        Raises:
            PeerTimeout: It did not come within `EXTENSION_TIMEOUT_S`.
            PeerError: As for `next_event`.
        """
        with self._deadline(EXTENSION_TIMEOUT_S):
            async for event in self:
                if isinstance(event, ExtensionHandshakeReceived):
                    return event.handshake
        raise PeerDisconnected("extending")

    def wake(self) -> None:
        """Let the task that waits for an event send what the connection has to say by now.

        This is for other tasks, which must not send themselves.
        """
        self._is_woken = True
        self._waiting.cancel()

    async def flush(self) -> None:
        """Send what the connection has to say.

        Raises:
            PeerDisconnected: The stream broke.
            PeerTimeout: The peer does not read.
        """
        data = self.connection.data_to_send()
        if not data:
            await trio.lowlevel.checkpoint()
            return
        with self._deadline(SEND_TIMEOUT_S), self._disconnections():
            self._is_sending = True
            await self._stream.send_all(data)
            self._is_sending = False

    def hand_over(self) -> "PeerStream | None":
        """Pass the peer on, so that the end of the block leaves it connected.

        Returns:
            The same peer, for a block of its own that begins at once; None if it is fit for nothing
            but being closed, be it that a message was cut in two.
        """
        if self._is_sending or self.connection.state is not State.OPEN:
            return None
        self._is_handed_over = True
        return PeerStream(self._stream, self.connection)

    async def aclose(self) -> None:
        """Close connection and stream; takes at most a second, even when cancelled."""
        if self._is_handed_over:
            return
        self.connection.close()
        with (
            trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True),
            suppress(trio.BrokenResourceError),
        ):
            await self._stream.aclose()

    @property
    def _stage(self) -> str:
        return _STAGES.get(self.connection.state, _REQUESTING)

    @property
    def _is_open(self) -> bool:
        return self.connection.state is not State.CLOSED

    async def _advance(self) -> Event | None:
        """Send what is to be sent and look for an event in what has come."""
        await self.flush()
        stage = self._stage
        event = self.connection.next_event()
        if event is None:
            await self.flush()
        elif isinstance(event, PeerClosed) and stage != _REQUESTING:
            raise PeerDisconnected(stage)
        return event

    async def _receive(self, deadline: float) -> bool:
        """Take in what comes before the deadline; return whether anything did, be it the end."""
        data: bytes | bytearray | None = None
        with trio.CancelScope(deadline=deadline) as self._waiting, self._disconnections():
            if self._is_woken:
                self._waiting.cancel()
            data = await self._stream.receive_some(_READ_BYTES)
        self._is_woken = False
        if data is None:
            return False
        if data:
            self.connection.receive_data(bytes(data))
        else:
            self.connection.receive_eof()
        return True

    @contextmanager
    def _disconnections(self) -> Iterator[None]:
        """Translate the ways in which a stream breaks."""
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise PeerDisconnected(self._stage, str(error) or "connection lost") from error

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError as error:
            raise PeerTimeout(self._stage, seconds) from error
