"""What both ends of the encryption handshake have in common: bytes in, bytes out, step by step.

An end is written down as a generator, `_steps`, which reads like the specification and pauses
wherever bytes are missing; so it does not matter in what portions they come. What is kept of them
is no more than one step needs, and the last portion.

Spec: Message Stream Encryption, "Handshake".
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Generator
from random import Random
from typing import Final, TypeAlias

from magnet.errors import LocalProtocolError, RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod, Rc4, Session

PADDING_BYTES_MAX: Final = 512

VERIFICATION: Final = bytes(8)
"""Decrypted like this, it tells that both ends have the same keys; "VC" in the specification."""

BytesRead: TypeAlias = Generator[None, None, bytes]
MethodsRead: TypeAlias = Generator[None, None, int]
Steps: TypeAlias = Generator[None, None, Session]
"""What pauses while bytes are missing, and what it returns in the end."""

_METHODS: Final = struct.Struct("!IH")
"""The methods offered, or the one selected; length of the padding that follows."""


class Handshake(ABC):
    """One end of the handshake, as a state machine.

    Send what `data_to_send` returns, at the start and after each `receive_data`; when `session` is
    there, all is done.

    Attributes:
        session: How to go on; None until then.
    """

    def __init__(self, rng: Random) -> None:
        """Begin.

        Args:
            rng: Makes keys and padding.
        """
        self.session: Session | None = None
        self._rng = rng
        self._received = bytearray()
        self._outgoing = bytearray()
        self._is_over = False
        self._pending = self._steps()
        next(self._pending)

    def receive_data(self, data: bytes) -> None:
        """Take in bytes from the stream, in portions of any size.

        Raises:
            RemoteProtocolError: This is not the handshake, or not one for us. It is over then.
            LocalProtocolError: It was over before.
        """
        if self._is_over:
            raise LocalProtocolError("the encryption handshake is over")
        self._received += data
        self._is_over = True
        try:
            next(self._pending)
        except StopIteration as end:
            self.session = end.value
            return
        self._is_over = False

    def data_to_send(self) -> bytes:
        """Return the bytes to be sent, and forget them."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    @abstractmethod
    def _steps(self) -> Steps:
        """Go through the handshake, pausing where bytes are missing."""

    def _read(self, count: int) -> BytesRead:
        while len(self._received) < count:
            yield
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def _read_past(self, mark: bytes) -> BytesRead:
        """Read to the end of a mark, which comes after padding of a length that nobody tells."""
        reach = PADDING_BYTES_MAX + len(mark)
        while (at := self._received.find(mark, 0, reach)) < 0:
            if len(self._received) >= reach:
                raise RemoteProtocolError("not the encryption handshake")
            yield
        return (yield from self._read(at + len(mark)))

    def _read_methods(self, incoming: Rc4) -> MethodsRead:
        """Read what comes after the verification constant, up to the end of the padding."""
        data = incoming.apply((yield from self._read(_METHODS.size)))
        methods, padding_length = _METHODS.unpack(data)
        if padding_length > PADDING_BYTES_MAX:
            raise RemoteProtocolError("too much padding in the encryption handshake")
        incoming.apply((yield from self._read(padding_length)))
        return int(methods)

    def _encode_methods(self, methods: CryptoMethod) -> bytes:
        """Return the verification constant, methods, and padding, of zeros as specified."""
        padding = bytes(self._padding_length())
        return VERIFICATION + _METHODS.pack(methods, len(padding)) + padding

    def _padding(self) -> bytes:
        """Return padding for where nothing is encrypted."""
        return self._rng.randbytes(self._padding_length())

    def _padding_length(self) -> int:
        return self._rng.randrange(PADDING_BYTES_MAX + 1)

    def _conclude(self, session: Session, opening: bytes = b"") -> Session:
        """Hand over, together with what came after the handshake."""
        session.early = opening + session.decrypt(bytes(self._received))
        self._received.clear()
        return session
