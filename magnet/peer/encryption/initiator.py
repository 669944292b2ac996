"""The end of the encryption handshake that has dialled.

Spec: Message Stream Encryption, "Handshake", the steps of A.
"""

from random import Random
from typing import Final

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod, Rc4, Session
from magnet.peer.encryption.handshake import VERIFICATION, Handshake, Steps
from magnet.peer.encryption.keys import (
    KEY_BYTES,
    KeyExchange,
    initiator_key,
    responder_key,
    stream_name,
    sync_mark,
)

ANY_METHOD: Final = CryptoMethod.PLAINTEXT | CryptoMethod.RC4


class InitiatorHandshake(Handshake):
    """Offers methods to a peer, for a torrent that both have."""

    def __init__(
        self,
        info_hash: InfoHash,
        *,
        opening: bytes = b"",
        offer: CryptoMethod = ANY_METHOD,
        rng: Random,
    ) -> None:
        """Begin with our public key.

        Args:
            info_hash: The torrent; for v2 the truncated hash.
            opening: What we shall say first, sent along encrypted; at most 65,535 bytes, of which
                libtorrent takes the 68 of a BitTorrent handshake.
            offer: The methods we can go on with.
            rng: Makes our key and padding.
        """
        self._info_hash = info_hash
        self._opening = opening
        self._offer = offer
        super().__init__(rng)

    def _steps(self) -> Steps:
        exchange = KeyExchange.generate(self._rng)
        self._outgoing += exchange.public + self._padding()
        secret = exchange.secret((yield from self._read(KEY_BYTES)))
        outgoing = Rc4(initiator_key(self._info_hash, secret))
        incoming = Rc4(responder_key(self._info_hash, secret))
        self._outgoing += sync_mark(secret) + stream_name(self._info_hash, secret)
        self._outgoing += outgoing.apply(self._encode_offer())
        yield from self._read_past(incoming.apply(VERIFICATION))
        selected = yield from self._read_methods(incoming)
        return self._conclude(Session(self._check(selected), outgoing, incoming))

    def _encode_offer(self) -> bytes:
        length = len(self._opening).to_bytes(2)
        return self._encode_methods(self._offer) + length + self._opening

    def _check(self, selected: int) -> CryptoMethod:
        for method in CryptoMethod:
            if selected == method and method in self._offer:
                return method
        raise RemoteProtocolError("selects an encryption that was not offered")
