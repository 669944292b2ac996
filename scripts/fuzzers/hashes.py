"""Fuzzes hash requests and their answers: nothing but the truth may get into a piece layer."""

import random
import sys
from hashlib import sha256
from typing import Final

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.metainfo.layout import BLOCK_BYTES
from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.peer.hash_server import LENGTH_MAX, HashServer
from magnet.peer.hashes import are_proven, layer_ranges, uncle_count
from magnet.peer.layer_pool import LayerPool
from magnet.peer.wire import Hashes, HashRange, HashReject, HashRequest, MessageDecoder, decode_body
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

LAYERS: Final = {
    HashTree(layer).root: layer
    for layer in (
        b"".join(sha256(b"%d of %d" % (index, count)).digest() for index in range(count))
        for count in (2, 3, 65, 520)
    )
}
"""Piece layers of one run and of two, with padding and without."""

SERVER: Final = HashServer(LAYERS, BLOCK_BYTES)
RANGES: Final = tuple(
    wanted
    for root, layer in LAYERS.items()
    for wanted in layer_ranges(root, len(layer) // HASH_BYTES, BLOCK_BYTES)
)
PEERS: Final = tuple(parse_endpoint(f"192.0.2.{number}:6881") for number in (1, 2))
TRUTH: Final = {wanted: SERVER.open_session().answer(wanted) for wanted in RANGES}


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    refusal = (RemoteProtocolError,)
    requests = Mutator([HashRequest(wanted).body() for wanted in RANGES], rng).next_input
    answers = Mutator([answer.body() for answer in TRUTH.values()], rng).next_input
    streams = Mutator(conversations(rng), rng).next_input
    return [
        Subject("hash request", requests, answer_request, refusal),
        Subject("hashes", answers, prove, refusal),
        Subject("layer pool", streams, pool_answers, refusal),
    ]


def conversations(rng: random.Random) -> list[bytes]:
    """Return what a peer might answer, in several orders, a rejection now and then."""
    said = [answer.encode() for answer in TRUTH.values()]
    said.append(HashReject(RANGES[0]).encode())
    return [b"".join(rng.sample(said, len(said))) for _ in range(8)]


def answer_request(body: bytes) -> None:
    """Answer a request with what was asked for, or not at all."""
    message = decode_body(body)
    if not isinstance(message, HashRequest):
        return
    answer = SERVER.open_session().answer(message.range)
    assert answer.range == message.range
    if isinstance(answer, Hashes):
        assert message.range.length <= LENGTH_MAX
        assert len(answer.hashes) == (answer.range.length + uncle_count(answer.range)) * HASH_BYTES


def prove(body: bytes) -> None:
    """Check an answer to one of our requests: it is the one true answer, or it is found out."""
    message = decode_body(body)
    if isinstance(message, Hashes) and message.range in TRUTH:
        assert are_proven(message) == (message == TRUTH[message.range])


def pool_answers(stream: bytes) -> None:
    """Let one peer say what it wants, and an honest one complete what is left."""
    pool = LayerPool(
        InfoHash(bytes(20)),
        {root: len(it) // HASH_BYTES for root, it in LAYERS.items()},
        BLOCK_BYTES,
    )
    stranger, honest = PEERS
    try:
        _ask(pool, stranger)
        _take(pool, stranger, stream)
    finally:
        assert pool.layers().items() <= LAYERS.items()
        pool.leave(stranger)
        for wanted in _ask(pool, honest):
            answer = TRUTH[wanted]
            assert isinstance(answer, Hashes)
            pool.received(honest, answer, now=0.0)
        assert pool.layers() == LAYERS
        assert honest not in pool.liars


def _ask(pool: LayerPool, peer: Endpoint) -> list[HashRange]:
    pool.join(peer, now=0.0)
    return list(iter(lambda: pool.next_request(peer, now=0.0), None))


def _take(pool: LayerPool, peer: Endpoint, stream: bytes) -> None:
    decoder = MessageDecoder()
    decoder.feed(stream)
    while (message := decoder.next_message()) is not None:
        if isinstance(message, Hashes):
            pool.received(peer, message, now=0.0)
        elif isinstance(message, HashReject):
            pool.rejected(peer, message.range)


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
