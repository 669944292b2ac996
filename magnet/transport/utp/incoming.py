"""What arrives on a connection: put in order, kept until it is read, acknowledged.

What may be kept is bounded by the window that the peer is told: bytes that wait to be read and
bytes that wait for a gap to be filled share one allowance. A peer that sends more is not believed,
and what it sent is as lost as anything on the way.

Spec: BEP 29 "wnd_size", "Selective ACK", "ST_FIN".
"""

from typing import Final

from magnet.transport.utp.sequence import after, steps_from

WINDOW_BYTES: Final = 512 * 1_024
"""Most that is kept for one connection: 5 MB/s over 100 ms. 200 connections full to the brim, which
takes twenty addresses working together, are 100 MiB."""

AHEAD_MAX: Final = 1_024
"""Packets beyond a gap that are kept; libutp's number. More would not fit into a selective
acknowledgement of ours."""


class Incoming:
    """The receiving half.

    Attributes:
        ack: The last number up to which everything is here.
        held: What is here beyond the gap: bit n stands for `ack + 2 + n`.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_eof",
        "_offered",
        "_ready",
        "ack",
        "held",
    )

    def __init__(self, ack: int) -> None:
        """Start.

        Args:
            ack: The number before that of the first packet to come.
        """
        self.ack = ack
        self.held = 0
        self._eof: int | None = None
        self._ready = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._ahead_bytes = 0
        self._offered = WINDOW_BYTES

    @property
    def is_ended(self) -> bool:
        """Whether the peer's last byte is here, read or not."""
        return self.ack == self._eof

    @property
    def readable(self) -> int:
        """Bytes that can be read now."""
        return len(self._ready)

    @property
    def window(self) -> int:
        """Bytes that there is room for."""
        return max(WINDOW_BYTES - len(self._ready) - self._ahead_bytes, 0)

    def offer(self) -> int:
        """Return the window, to be told to the peer."""
        self._offered = self.window
        return self._offered

    @property
    def has_news(self) -> bool:
        """Whether so much was read since the last offer that the peer should be told.

        Spec: RFC 9293 section 3.8.6.2.2 on silly windows.
        """
        return self.window - self._offered >= WINDOW_BYTES // 2

    def receive(self, seq: int, payload: bytes, *, is_last: bool) -> None:
        """Take a DATA or FIN packet; repeated, absurd and superfluous ones change nothing."""
        ahead = steps_from(self.ack, seq)
        if not 0 < ahead <= AHEAD_MAX or not self._has_room(len(payload), ahead):
            return
        if self._eof is not None and steps_from(self._eof, seq) > 0:
            return
        if is_last and self._eof is None:
            self._eof = seq
        if ahead > 1:
            self._keep(seq, payload, 1 << ahead - 2)
            return
        self._ready += payload
        self.ack = seq
        if self.held:
            self._close_gap()

    def read(self, size: int) -> bytes:
        """Take up to so many bytes in order; b"" if there are none."""
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def discard(self) -> None:
        """Forget what can be read."""
        self._ready.clear()

    def _has_room(self, size: int, ahead: int) -> bool:
        """Tell whether a packet may be kept; the next in order goes before what waits for it."""
        if ahead == 1:
            return not size or len(self._ready) < WINDOW_BYTES
        return size <= self.window

    def _keep(self, seq: int, payload: bytes, bit: int) -> None:
        if not self.held & bit:
            self.held |= bit
            self._ahead[seq] = payload
            self._ahead_bytes += len(payload)

    def _close_gap(self) -> None:
        """Move on over what was kept, as the packet in front of it is here."""
        # Now bit 0 stands for `ack + 1`. A peer may have numbered packets beyond its last.
        while self.held & 1 and self.ack != self._eof:
            self.ack = after(self.ack)
            payload = self._ahead.pop(self.ack)
            self._ahead_bytes -= len(payload)
            self._ready += payload
            self.held >>= 1
        self.held >>= 1
