"""Streams with message stream encryption, over whatever carries them.

A dialler asks for encryption with `encrypt`; whoever is dialled does not know what comes, and tells
by the first bytes in `accept`.

Spec: Message Stream Encryption.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

import trio

from dht.keyspace import InfoHash
from magnet.errors import PeerDisconnected
from magnet.peer.encryption.cipher import CryptoMethod, Session
from magnet.peer.encryption.handshake import Handshake
from magnet.peer.encryption.initiator import ANY_METHOD, InitiatorHandshake
from magnet.peer.encryption.keys import StreamKeys
from magnet.peer.encryption.responder import PREFERENCE, ResponderHandshake
from magnet.peer.handshake import PROTOCOL
from magnet.peer.stream import HANDSHAKE_TIMEOUT_S
from magnet.transport.early import EarlyStream
from magnet.transport.stages import ENCRYPTING, HANDSHAKING, stage

_READ_BYTES: Final = 4_096
"""Most bytes read at once: more than a whole handshake takes."""


class EncryptedStream(EarlyStream):
    """A stream after the encryption handshake.

    Attributes:
        method: How it goes on; with `CryptoMethod.PLAINTEXT` only the handshake was encrypted.
    """

    def __init__(self, stream: trio.abc.Stream, session: Session) -> None:
        """Go on where the handshake has ended.

        Args:
            stream: The stream it was made on, owned by this object from now on.
            session: What was agreed on.
        """
        super().__init__(stream, session.early)
        self._session = session
        self.method = session.method

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data; if that is cancelled, the stream is fit for nothing but being closed."""
        await super().send_all(self._session.encrypt(bytes(data)))

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive data; as for `trio.abc.ReceiveStream`."""
        if self._early:
            return await super().receive_some(max_bytes)
        return self._session.decrypt(bytes(await super().receive_some(max_bytes)))


async def encrypt(
    stream: trio.abc.Stream,
    info_hash: InfoHash,
    *,
    opening: bytes = b"",
    offer: CryptoMethod = ANY_METHOD,
    rng: Random,
) -> EncryptedStream:
    """Ask the peer that was dialled for encryption.

    Args:
        stream: An open stream on which nothing was said yet; if this fails, it is closed.
        info_hash: The torrent it is about; for v2 the truncated hash.
        opening: What we have to say first; sent along with the handshake, which saves a round
            trip, if there is nothing to select.
        offer: The methods we can go on with.
        rng: Makes our key and padding.

    Raises:
        RemoteProtocolError: The peer answers with something else.
        PeerDisconnected: It hung up.
        PeerTimeout: It took longer than `HANDSHAKE_TIMEOUT_S`.
    """
    # Transmission 3.00 reads what comes along as plain when it selects so, though it is encrypted.
    along, after = (opening, b"") if offer is CryptoMethod.RC4 else (b"", opening)
    handshake = InitiatorHandshake(info_hash, opening=along, offer=offer, rng=rng)
    try:
        with stage(ENCRYPTING, HANDSHAKE_TIMEOUT_S):
            encrypted = EncryptedStream(stream, await _complete(handshake, stream))
            await encrypted.send_all(after)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted


async def accept(
    stream: trio.abc.Stream,
    keys: StreamKeys,
    *,
    accepted: Sequence[CryptoMethod] = PREFERENCE,
    rng: Random,
) -> EarlyStream:
    """Wait for the first bytes of a peer that has dialled us; go along with encryption if it asks.

    Args:
        stream: An open stream on which nothing was said yet; if this fails, it is closed.
        keys: The torrents it may be about.
        accepted: The methods we can go on with, what we like best first.
        rng: Makes our key and padding.

    Returns:
        The stream as it goes on: an `EncryptedStream`, or a plain one.

    Raises:
        RemoteProtocolError: What the peer says is neither plain nor encrypted for one of our keys.
        PeerDisconnected: It hung up.
        PeerTimeout: It took longer than `HANDSHAKE_TIMEOUT_S`.
    """
    try:
        with stage(HANDSHAKING, HANDSHAKE_TIMEOUT_S):
            early = await _first_bytes(stream)
            if early.startswith(PROTOCOL):
                return EarlyStream(stream, early)
            handshake = ResponderHandshake(keys, accepted=accepted, rng=rng)
            handshake.receive_data(early)
            return EncryptedStream(stream, await _complete(handshake, stream))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _first_bytes(stream: trio.abc.Stream) -> bytes:
    """Receive until it is clear whether the plain protocol is spoken."""
    early = b""
    while len(early) < len(PROTOCOL) and PROTOCOL.startswith(early):
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            raise PeerDisconnected(HANDSHAKING)
        early += data
    return early


async def _complete(handshake: Handshake, stream: trio.abc.Stream) -> Session:
    """Carry bytes between the two until the handshake is through."""
    while True:
        await stream.send_all(handshake.data_to_send())
        if handshake.session is not None:
            return handshake.session
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            raise PeerDisconnected(ENCRYPTING)
        handshake.receive_data(bytes(data))
