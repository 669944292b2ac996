"""Fuzzes message stream encryption: both ends, with damage on the wire and under the encryption."""

import random
import sys
from typing import Final

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod, Rc4
from magnet.peer.encryption.handshake import PADDING_BYTES_MAX, Handshake
from magnet.peer.encryption.initiator import InitiatorHandshake
from magnet.peer.encryption.keys import (
    KEY_BYTES,
    KeyExchange,
    StreamKeys,
    initiator_key,
    responder_key,
    stream_name,
    sync_mark,
)
from magnet.peer.encryption.responder import ResponderHandshake
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

INFO_HASH: Final = InfoHash(bytes(range(20)))
KEYS: Final = StreamKeys([INFO_HASH, InfoHash(bytes(20))])
THEIRS: Final = KeyExchange(77)
OPENING: Final = bytes(range(68))
PRIVATE_BITS: Final = 160
PRIVATE: Final = 99

_VERIFICATION: Final = bytes(8)
_METHODS: Final = (*(bytes([0, 0, 0, number]) for number in range(4)), b"\xff\xff\xff\xff")
_PADDINGS: Final = (*(length.to_bytes(2) + bytes(length) for length in (0, 1, 512, 513)),)


class Dice(random.Random):
    """Gives the same, small private key each time, so that streams fit it and cost little."""

    def getrandbits(self, k: int, /) -> int:
        """Return a private key, or chance."""
        return PRIVATE if k == PRIVATE_BITS else super().getrandbits(k)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    refusal = (RemoteProtocolError,)
    listening = Listening(rng)
    selections = [_VERIFICATION + a + b for a in _METHODS for b in _PADDINGS]
    openings = [len(OPENING).to_bytes(2) + OPENING, b"\xff\xff" + bytes(65_535), bytes(2)]
    offers = [selection + opening for selection in selections for opening in openings]
    return [
        Subject(f"encryption, {name}", Mutator(corpus, rng).next_input, feed, refusal)
        for name, corpus, feed in (
            ("dialled", [dialling_stream(offer) for offer in offers], listening.when_dialled),
            ("dialling", [dialled_stream(it) for it in selections], listening.when_dialling),
            ("offer", offers, lambda it: listening.when_dialled(dialling_stream(it))),
            ("selection", selections, lambda it: listening.when_dialling(dialled_stream(it))),
        )
    ]


def dialling_stream(offer: bytes) -> bytes:
    """Return what whoever dials us says, with any content under the encryption."""
    secret = THEIRS.secret(KeyExchange(PRIVATE).public)
    sealed = Rc4(initiator_key(INFO_HASH, secret)).apply(offer)
    return THEIRS.public + bytes(9) + sync_mark(secret) + stream_name(INFO_HASH, secret) + sealed


def dialled_stream(selection: bytes) -> bytes:
    """Return what whoever we dial says, with any content under the encryption."""
    secret = THEIRS.secret(KeyExchange(PRIVATE).public)
    return THEIRS.public + bytes(9) + Rc4(responder_key(INFO_HASH, secret)).apply(selection)


class Listening:
    """Our ends, told a stream in portions."""

    def __init__(self, rng: random.Random) -> None:
        """Take where the portions' sizes come from."""
        self._rng = random.Random(rng.getrandbits(64))

    def when_dialled(self, stream: bytes) -> None:
        """Let a responder hear the stream."""
        self._hear(ResponderHandshake(KEYS, rng=Dice(1)), stream)

    def when_dialling(self, stream: bytes) -> None:
        """Let an initiator hear the stream."""
        handshake = InitiatorHandshake(INFO_HASH, opening=OPENING, rng=Dice(1))
        self._hear(handshake, stream)

    def _hear(self, handshake: Handshake, stream: bytes) -> None:
        said = 0
        while stream and handshake.session is None:
            size = self._rng.choice((1, 20, 500, 20_000))
            handshake.receive_data(stream[:size])
            said += len(handshake.data_to_send())
            stream = stream[size:]
        assert said <= KEY_BYTES + 3 * PADDING_BYTES_MAX + len(OPENING)
        if handshake.session is not None:
            assert handshake.session.method in CryptoMethod
            assert len(handshake.session.early) <= 2 * 65_535


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
