"""The end of the encryption handshake that was dialled.

Spec: Message Stream Encryption, "Handshake", the steps of B.
"""

from collections.abc import Generator, Sequence
from random import Random
from typing import Final

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod, Rc4, Session
from magnet.peer.encryption.handshake import VERIFICATION, BytesRead, Handshake, Steps
from magnet.peer.encryption.keys import (
    HASH_BYTES,
    KEY_BYTES,
    KeyExchange,
    StreamKeys,
    initiator_key,
    responder_key,
    sync_mark,
)

PREFERENCE: Final = (CryptoMethod.RC4, CryptoMethod.PLAINTEXT)
"""Whoever encrypts at all has a reason to encrypt the rest, and for metadata it costs nothing."""

_LENGTH_BYTES: Final = 2


class ResponderHandshake(Handshake):
    """Selects a method for a peer that has dialled us."""

    def __init__(
        self,
        keys: StreamKeys,
        *,
        accepted: Sequence[CryptoMethod] = PREFERENCE,
        rng: Random,
    ) -> None:
        """Wait for a peer's public key.

        Args:
            keys: The torrents it may be about.
            accepted: The methods we can go on with, what we like best first.
            rng: Makes our key and padding.
        """
        self._keys = keys
        self._accepted = accepted
        super().__init__(rng)

    def _steps(self) -> Steps:
        secret = yield from self._exchange_keys()
        info_hash = yield from self._read_torrent(secret)
        incoming = Rc4(initiator_key(info_hash, secret))
        outgoing = Rc4(responder_key(info_hash, secret))
        if incoming.apply((yield from self._read(len(VERIFICATION)))) != VERIFICATION:
            raise RemoteProtocolError("not the encryption handshake")
        method = self._select((yield from self._read_methods(incoming)))
        opening = yield from self._read_opening(incoming)
        self._outgoing += outgoing.apply(self._encode_methods(method))
        return self._conclude(Session(method, outgoing, incoming), opening)

    def _exchange_keys(self) -> BytesRead:
        theirs = yield from self._read(KEY_BYTES)
        # Only now, so that a stranger who says nothing costs no exponentiation.
        exchange = KeyExchange.generate(self._rng)
        secret = exchange.secret(theirs)
        self._outgoing += exchange.public + self._padding()
        return secret

    def _read_torrent(self, secret: bytes) -> Generator[None, None, InfoHash]:
        yield from self._read_past(sync_mark(secret))
        info_hash = self._keys.find((yield from self._read(HASH_BYTES)), secret)
        if info_hash is None:
            raise RemoteProtocolError("encrypted for a torrent that is not here")
        return info_hash

    def _read_opening(self, incoming: Rc4) -> BytesRead:
        length = incoming.apply((yield from self._read(_LENGTH_BYTES)))
        return incoming.apply((yield from self._read(int.from_bytes(length))))

    def _select(self, offered: int) -> CryptoMethod:
        for method in self._accepted:
            if method & offered:
                return method
        raise RemoteProtocolError("offers no encryption that we accept")
