"""Message stream encryption: a conversation between peers that does not look like one.

It was made against providers that throttle BitTorrent, and some peers accept nothing else. It is no
security: neither end is authenticated, RC4 is broken, and who knows the info-hash can listen in.
Nothing here may be called privacy.

Both ends exchange public keys among random padding; the initiator then names the torrent in a way
that only those who have its info-hash understand, and offers methods for what follows, of which the
responder selects one. With `CryptoMethod.PLAINTEXT` the encryption ends with the handshake.

    A to B   public key, padding
    B to A   public key, padding
    A to B   mark, torrent, encrypted: constant, methods offered, padding, initial payload
    B to A   encrypted: constant, method selected, padding
    both     the conversation, by the method selected

- `keys`: the key exchange, and how a torrent is named;
- `cipher`: the methods, RC4, and the `Session` that a handshake leaves behind;
- `handshake`: what the state machines of both ends have in common;
- `initiator` and `responder`: the two ends.

Spec: "Message Stream Encryption" of the Vuze wiki, which has no BEP number.
"""

__all__: list[str] = []
