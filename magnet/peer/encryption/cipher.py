"""RC4 as message stream encryption uses it, and the session that a handshake leaves behind.

Spec: Message Stream Encryption, "Definitions".
"""

from enum import IntFlag
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

DISCARDED_BYTES: Final = 1_024
"""The start of the key stream, which betrays the key and is not used."""


class CryptoMethod(IntFlag):
    """How the conversation after the handshake is sent; on the wire a set of bits, or one of them.

    Spec: Message Stream Encryption, "crypto_provide", "crypto_select".
    """

    PLAINTEXT = 1
    RC4 = 2


class Rc4:
    """One direction of a stream. Encrypting and decrypting are the same."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes) -> None:
        """Begin behind the bytes that are discarded.

        Args:
            key: 20 bytes.
        """
        self._context = Cipher(ARC4(key), mode=None).encryptor()
        self._context.update(bytes(DISCARDED_BYTES))

    def apply(self, data: bytes) -> bytes:
        """Return the next bytes of the stream, encrypted if they were plain, and the reverse."""
        return self._context.update(data)


class Session:
    """What both ends have agreed on: how the rest of the stream is to be read and written.

    Attributes:
        method: The method selected.
        early: What the peer said beyond the handshake so far, decrypted. It belongs before
            everything that `decrypt` will return.
    """

    __slots__ = ("_incoming", "_outgoing", "early", "method")

    def __init__(self, method: CryptoMethod, outgoing: Rc4, incoming: Rc4) -> None:
        """Go on where the handshake has left both ciphers."""
        is_encrypted = method is CryptoMethod.RC4
        self.method = method
        self.early = b""
        self._outgoing = outgoing if is_encrypted else None
        self._incoming = incoming if is_encrypted else None

    def encrypt(self, data: bytes) -> bytes:
        """Return what is to be sent, all of it and in this order."""
        return data if self._outgoing is None else self._outgoing.apply(data)

    def decrypt(self, data: bytes) -> bytes:
        """Return what was said by the next bytes received."""
        return data if self._incoming is None else self._incoming.apply(data)
