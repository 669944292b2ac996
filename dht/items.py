"""Items: small values that the DHT keeps for anyone, with proof of what they are.

An immutable item is found under the hash of its value. A mutable one is found under the hash of a
public key and a salt, is signed, and is replaced by one with a higher sequence number; a key has as
many items as it has salts. Hashes and signatures are taken over the value as it is bencoded, so a
value is its bencoding here, and what has more than one form is no value.

A mutable item may point to a torrent, which makes a torrent that can change.

Spec: BEP 44; BEP 46; RFC 8032 (Ed25519).
"""

from collections.abc import Mapping
from hashlib import sha1
from typing import Final, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dht.bencode import BValue, decode, encode, is_canonical
from dht.errors import InvalidItem, MalformedBencode
from dht.keyspace import ID_BYTES, InfoHash

GET: Final = b"get"
PUT: Final = b"put"
"""The methods that read and write items. Spec: BEP 44."""

VALUE_MAX: Final = 1_000
"""Largest value that is read and stored, in bytes of bencoding. Spec: BEP 44."""

OWN_VALUE_MAX: Final = 999
"""Largest value that is written: one client reads BEP 44 as "less than 1000"."""

SALT_MAX: Final = 64
"""Longest salt, in bytes. Spec: BEP 44."""

SEQ_MAX: Final = 2**63 - 1
"""Highest sequence number: what implementations hold in a signed 64-bit integer. Spec: BEP 44."""

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SEED_BYTES: Final = 32
"""Sizes of a public key, a signature, and the secret a key pair is made of. Spec: RFC 8032 5.1."""

TORRENT_KEY: Final = b"ih"
"""Under which a value names an info-hash. Spec: BEP 46."""


class ImmutableItem(NamedTuple):
    """A value that is found under its own hash.

    Attributes:
        value: Bencoded.
    """

    value: bytes

    @property
    def target(self) -> bytes:
        """Where it is found: 20 bytes."""
        return immutable_target(self.value)


class MutableItem(NamedTuple):
    """A signed value, one of a sequence.

    Attributes:
        key: The public key, 32 bytes.
        salt: At most `SALT_MAX` bytes; empty for none.
        seq: Its place in the sequence, 0 to `SEQ_MAX`.
        value: Bencoded.
        signature: 64 bytes.
    """

    key: bytes
    salt: bytes
    seq: int
    value: bytes
    signature: bytes

    @property
    def target(self) -> bytes:
        """Where it is found: 20 bytes."""
        return mutable_target(self.key, self.salt)

    @property
    def is_authentic(self) -> bool:
        """Whether the signature is that of the key."""
        message = signature_buffer(self.value, self.seq, self.salt)
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def supersedes(self, other: "MutableItem") -> bool:
        """Tell whether this one is to be believed where both are found.

        The higher sequence number wins. Two values under one number are a mistake of the owner's;
        the smaller one wins, so that everybody settles on the same.
        """
        if self.seq != other.seq:
            return self.seq > other.seq
        return self.value < other.value


Item: TypeAlias = ImmutableItem | MutableItem


class SigningKey:
    """A key pair; the private half does not leave it.

    Attributes:
        public_key: 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        """Make the pair.

        Args:
            seed: 32 secret bytes of a cryptographically strong source.

        Raises:
            ValueError: They are not 32.
        """
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        """Name the public half only."""
        return f"SigningKey of {self.public_key.hex()}"

    def sign(self, value: bytes, seq: int, salt: bytes = b"") -> MutableItem:
        """Sign a value.

        Args:
            value: Bencoded.
            seq: Above that of the item to be replaced; 1 for the first, since one client cannot
                tell 0 from none.
            salt: Which of the key's items it is.

        Raises:
            InvalidItem: Nobody would store it.

        Spec: BEP 44 "Mutable items", "Signature Verification".
        """
        check_value(value)
        if len(salt) > SALT_MAX:
            raise InvalidItem(f"the salt has {len(salt)} bytes; {SALT_MAX} is the most")
        if not 0 <= seq <= SEQ_MAX:
            raise InvalidItem(f"the sequence number {seq} is not in 0 to {SEQ_MAX}")
        signature = self._private.sign(signature_buffer(value, seq, salt))
        return MutableItem(self.public_key, salt, seq, value, signature)


def check_value(value: bytes) -> None:
    """Make sure that a value of ours can be stored everywhere.

    Raises:
        InvalidItem: It is no canonical bencoding, or has more than `OWN_VALUE_MAX` bytes.
    """
    if len(value) > OWN_VALUE_MAX:
        raise InvalidItem(f"the value has {len(value)} bytes bencoded; {OWN_VALUE_MAX} is the most")
    if not is_canonical(value):
        raise InvalidItem("the value is no canonical bencoding")


def immutable_target(value: bytes) -> bytes:
    """Return where an immutable value is found. Spec: BEP 44 "Immutable Items"."""
    return sha1(value, usedforsecurity=False).digest()


def mutable_target(key: bytes, salt: bytes = b"") -> bytes:
    """Return where the item of a public key and salt is found. Spec: BEP 44 "Mutable Items"."""
    return sha1(key + salt, usedforsecurity=False).digest()


def signature_buffer(value: bytes, seq: int, salt: bytes = b"") -> bytes:
    """Return what is signed: a dictionary's inside, put together by hand.

    Spec: BEP 44 "Signature Verification".
    """
    prefix = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return prefix + b"3:seqi%de1:v" % seq + value


def read_item(
    value: bytes | None, fields: Mapping[bytes, BValue], target: bytes, salt: bytes = b""
) -> Item | None:
    """Read an item out of an answer, and verify it.

    The key is taken from the answer: the target is its hash.

    Args:
        value: The bytes of `v` as received; None where there is none.
        fields: The values of the answer, with `k`, `seq` and `sig` of a mutable item.
        target: What was asked for.
        salt: What the target was made with. Answers do not tell it.

    Returns:
        The item; None where there is none, or not the one asked for.

    Spec: BEP 44 "get".
    """
    if value is None or len(value) > VALUE_MAX or not is_canonical(value):
        return None
    if immutable_target(value) == target:
        return ImmutableItem(value)
    item = mutable_fields(value, fields, salt)
    if item is None or item.target != target or not item.is_authentic:
        return None
    return item


def mutable_fields(value: bytes, fields: Mapping[bytes, BValue], salt: bytes) -> MutableItem | None:
    """Read `k`, `seq` and `sig` of a mutable item, without verifying it.

    Returns:
        The item; None where one of them is missing, of another type or size, or out of range.
    """
    key, seq, signature = (fields.get(name) for name in (b"k", b"seq", b"sig"))
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        return None
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        return None
    if not isinstance(seq, int) or not 0 <= seq <= SEQ_MAX:
        return None
    return MutableItem(key, salt, seq, value, signature)


def torrent_value(info_hash: InfoHash) -> bytes:
    """Return the value that points to a torrent. Spec: BEP 46."""
    return encode({TORRENT_KEY: info_hash})


def torrent_of(value: bytes) -> InfoHash | None:
    """Return the info-hash that a value points to, or None if it points to none.

    Spec: BEP 46; info-hashes of other sizes than 20 bytes are not defined there.
    """
    try:
        fields = decode(value)
    except MalformedBencode:
        return None
    info_hash = fields.get(TORRENT_KEY) if isinstance(fields, dict) else None
    if not isinstance(info_hash, bytes) or len(info_hash) != ID_BYTES:
        return None
    return InfoHash(info_hash)
