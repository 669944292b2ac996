"""Fuzzes what trackers answer: datagrams, bodies, and a whole conversation by UDP."""

import random
import struct
import sys
from typing import Final

from dht.bencode import encode
from dht.contact import Family, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError
from magnet.sources.trackers.announce import (
    INTERVAL_MAX_S,
    INTERVAL_MIN_S,
    WANTED_MAX,
    Announce,
    Announced,
    Event,
)
from magnet.sources.trackers.http import decode_announced, decode_scraped
from magnet.sources.trackers.udp import Scraped, decode_response
from magnet.sources.trackers.udp_exchange import UdpExchange
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

_TRACKER: Final = endpoint("192.0.2.1", 1337)
_HASH: Final = InfoHash(b"\xaa" * 20)
_PEER: Final = b"\xc0\x00\x02\x01\x1a\xe1"
_ANNOUNCE: Final = Announce(_HASH, bytes(20), 1, 6881, Event.STARTED)

_DATAGRAMS: Final = [
    struct.pack(">IIQ", 0, 1, 2),
    struct.pack(">IIIII", 1, 1, 1_800, 1, 2) + _PEER * 3,
    struct.pack(">IIIII", 2, 1, 2, 13, 1),
    struct.pack(">II", 3, 1) + b"Connection ID missmatch.",
]
_BODIES: Final = [
    encode({b"interval": 1_800, b"min interval": 900, b"peers": _PEER * 2, b"tracker id": b"x"}),
    encode({b"peers": [{b"ip": b"192.0.2.1", b"port": 6_881}], b"peers6": bytes(18)}),
    encode({b"failure reason": b"Overloaded", b"retry in": 5}),
    encode({b"files": {_HASH: {b"complete": 1, b"downloaded": 2, b"incomplete": 3}}}),
]


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    datagrams, bodies = Mutator(_DATAGRAMS, rng).next_input, Mutator(_BODIES, rng).next_input
    return [
        Subject("tracker datagram", datagrams, read_datagram, (SourceError,)),
        Subject("tracker conversation", datagrams, converse),
        Subject("tracker body", bodies, read_body, (SourceError,)),
        Subject("scraped body", bodies, read_scraped, (SourceError,)),
    ]


def read_datagram(data: bytes) -> None:
    """Read a datagram as one of both families."""
    for family in Family:
        answer = decode_response(data, family)
        if isinstance(answer, Announced):
            _check(answer)
        elif isinstance(answer, Scraped):
            assert all(it.peers >= 0 for it in answer.counts)


def converse(data: bytes) -> None:
    """Answer a connect, and then an announce, with a datagram that has the right transaction."""
    exchange = UdpExchange(random.Random(1))
    ticket = exchange.start(_TRACKER, _ANNOUNCE, now=0.0)
    for now in (1.0, 2.0):
        for sent, _ in exchange.take_datagrams():
            exchange.receive(data, _TRACKER, now=now)
            exchange.receive(data[:4] + sent[12:16] + data[8:], _TRACKER, now=now)
    exchange.handle_timeouts(now=1_000_000.0)
    exchange.cancel(ticket)
    assert exchange.next_deadline() is None
    assert exchange.take_finished() in ([], [ticket])


def read_body(data: bytes) -> None:
    """Read a body as the answer to an announce."""
    _check(decode_announced(data))


def read_scraped(data: bytes) -> None:
    """Read a body as the answer to a scrape."""
    assert all(it.peers >= 0 for it in decode_scraped(data).values())


def _check(answer: Announced) -> None:
    assert len(answer.peers) <= 2 * WANTED_MAX
    assert all(len(it) in (6, 18) for it in answer.peers)
    assert INTERVAL_MIN_S <= answer.interval_s <= INTERVAL_MAX_S


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
