"""The key exchange of message stream encryption, and what is derived from its secret.

The *stream key* is what both ends know beforehand: the info-hash. It goes over the wire only mixed
with the secret, so that a listener who does not know the torrent does not learn it either.

Spec: Message Stream Encryption, "Definitions".
"""

from collections.abc import Iterable
from hashlib import sha1
from random import Random
from typing import Final, Self

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError

KEY_BYTES: Final = 96
"""A public key on the wire, big-endian; also the length of the secret."""

HASH_BYTES: Final = 20

PRIVATE_BITS: Final = 160
"""Length of a private key; more would only be slower."""

GENERATOR: Final = 2
PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
"""A safe prime of 768 bits."""


class KeyExchange:
    """One end of a Diffie-Hellman exchange.

    Attributes:
        public: Our public key, as it is sent.
    """

    def __init__(self, private: int) -> None:
        """Begin with a private key; `generate` makes one."""
        self._private = private
        self.public = pow(GENERATOR, private, PRIME).to_bytes(KEY_BYTES)

    @classmethod
    def generate(cls, rng: Random) -> Self:
        """Begin with a random private key."""
        return cls(rng.getrandbits(PRIVATE_BITS))

    def secret(self, public: bytes) -> bytes:
        """Return the secret that is shared with the owner of a public key.

        Args:
            public: The peer's key, `KEY_BYTES` of it.

        Raises:
            RemoteProtocolError: The key is one of those with which anybody could guess the secret.
        """
        theirs = int.from_bytes(public)
        if not 1 < theirs < PRIME - 1:
            raise RemoteProtocolError("unusable public key")
        return pow(theirs, self._private, PRIME).to_bytes(KEY_BYTES)


class StreamKeys:
    """The torrents that a responder understands, among which a name is found at once."""

    def __init__(self, info_hashes: Iterable[InfoHash]) -> None:
        """Prepare for some torrents, for v2 by their truncated hash."""
        self._by_digest = {_digest(key): key for key in info_hashes}

    def add(self, info_hash: InfoHash) -> None:
        """Understand one torrent more."""
        self._by_digest[_digest(info_hash)] = info_hash

    def discard(self, info_hash: InfoHash) -> None:
        """Understand a torrent no longer."""
        self._by_digest.pop(_digest(info_hash), None)

    def find(self, name: bytes, secret: bytes) -> InfoHash | None:
        """Return the torrent that an initiator names; None for one that is not among ours.

        Args:
            name: `HASH_BYTES` made by `stream_name`, or anything else.
            secret: The shared secret.
        """
        return self._by_digest.get(_mix(name, sha1(b"req3" + secret).digest()))


def sync_mark(secret: bytes) -> bytes:
    """Return the `HASH_BYTES` that tell the responder where the initiator's padding ends."""
    return sha1(b"req1" + secret).digest()


def stream_name(info_hash: InfoHash, secret: bytes) -> bytes:
    """Return the `HASH_BYTES` by which an initiator names a torrent."""
    return _mix(_digest(info_hash), sha1(b"req3" + secret).digest())


def initiator_key(info_hash: InfoHash, secret: bytes) -> bytes:
    """Return the RC4 key of what the initiator sends, `HASH_BYTES` long."""
    return sha1(b"keyA" + secret + info_hash).digest()


def responder_key(info_hash: InfoHash, secret: bytes) -> bytes:
    """Return the RC4 key of what the responder sends, `HASH_BYTES` long."""
    return sha1(b"keyB" + secret + info_hash).digest()


def _digest(info_hash: InfoHash) -> bytes:
    return sha1(b"req2" + info_hash).digest()


def _mix(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
