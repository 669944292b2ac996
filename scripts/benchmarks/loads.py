"""What a node is asked in a benchmark: one load for each kind of query.

A load prepares its queries once for each node that it is put on, since announces need that node's
tokens, and swarms have to be stored there before anybody can ask for them. To measure another
method, add a line to `LOADS`.
"""

import random
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from dht.bencode import BValue, decode, encode_trusted
from dht.krpc import ANNOUNCE_PEER, FIND_NODE, GET_PEERS
from scripts.benchmarks.subjects import HOST

QUERIES: Final = 10_000
"""Queries prepared; then they are repeated."""

ANNOUNCED_HASHES: Final = 200
SWARM_PEERS: Final = 60
"""Peers of the stored swarm: more than go into one answer."""

TIMEOUT_S: Final = 2.0
_OWN_ID: Final = b"benchmark-generator!"


class Load(NamedTuple):
    """One kind of query.

    Attributes:
        name: What to call it.
        prepare: Makes the queries for the node at a port.
        sign: Bytes that are in every answer that counts.
    """

    name: str
    prepare: Callable[[int, random.Random], list[bytes]]
    sign: bytes


def find_node(port: int, rng: random.Random) -> list[bytes]:
    """Ask for the nodes near random targets."""
    return [_query(rng, FIND_NODE, {b"target": rng.randbytes(20)}) for _ in range(QUERIES)]


def get_peers(port: int, rng: random.Random) -> list[bytes]:
    """Ask for the peers of swarms that nobody has heard of."""
    return [_query(rng, GET_PEERS, {b"info_hash": rng.randbytes(20)}) for _ in range(QUERIES)]


def get_stored_peers(port: int, rng: random.Random) -> list[bytes]:
    """Ask for the peers of one swarm that is stored."""
    info_hash = _store_swarm(port, rng)
    return [_query(rng, GET_PEERS, {b"info_hash": info_hash}) for _ in range(QUERIES)]


def scrape(port: int, rng: random.Random) -> list[bytes]:
    """Ask for the filters of one swarm that is stored. Spec: BEP 33."""
    arguments: dict[bytes, BValue] = {b"info_hash": _store_swarm(port, rng), b"scrape": 1}
    return [_query(rng, GET_PEERS, arguments) for _ in range(QUERIES)]


def sample(port: int, rng: random.Random) -> list[bytes]:
    """Ask for samples of what is stored. Spec: BEP 51."""
    _store_swarm(port, rng)
    return [
        _query(rng, b"sample_infohashes", {b"target": rng.randbytes(20)}) for _ in range(QUERIES)
    ]


def announce_peer(port: int, rng: random.Random) -> list[bytes]:
    """Announce a peer to some swarms, again and again."""
    with _connected(HOST, port) as sock:
        announces = [_announcement(sock, rng.randbytes(20), rng) for _ in range(ANNOUNCED_HASHES)]
    return [_query(rng, ANNOUNCE_PEER, rng.choice(announces)) for _ in range(QUERIES)]


LOADS: Final = (
    Load("find_node", find_node, b"5:nodes"),
    Load("get_peers, nobody stored", get_peers, b"5:token"),
    Load("get_peers, many stored", get_stored_peers, b"6:values"),
    Load("announce_peer", announce_peer, b"1:y1:r"),
    Load("scrape", scrape, b"4:BFpe256:"),
    Load("sample_infohashes", sample, b"7:samples"),
)


def _store_swarm(port: int, rng: random.Random) -> bytes:
    """Announce peers to one info-hash, each from an address of its own; return the info-hash."""
    info_hash = rng.randbytes(20)
    for number in range(1, SWARM_PEERS + 1):
        with _connected(f"127.0.9.{number}", port) as sock:
            _ask(sock, ANNOUNCE_PEER, _announcement(sock, info_hash, rng), rng)
    return info_hash


def _announcement(sock: socket.socket, info_hash: bytes, rng: random.Random) -> dict[bytes, BValue]:
    """Get a token, and return the arguments of an announce with it."""
    values = _ask(sock, GET_PEERS, {b"info_hash": info_hash}, rng)
    return {b"info_hash": info_hash, b"port": 6881, b"token": values[b"token"]}


def _ask(
    sock: socket.socket, method: bytes, arguments: dict[bytes, BValue], rng: random.Random
) -> dict[bytes, BValue]:
    """Send one query and return the values of the answer; `TimeoutError` if there is none."""
    sock.send(_query(rng, method, arguments))
    while True:
        message = decode(sock.recv(2_048))
        # Nodes ping whoever talks to them; that is not for us.
        if isinstance(message, dict) and isinstance(values := message.get(b"r"), dict):
            return values


def _connected(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT_S)
    sock.bind((host, 0))
    sock.connect((HOST, port))
    return sock


def _query(rng: random.Random, method: bytes, arguments: dict[bytes, BValue]) -> bytes:
    return encode_trusted(
        {
            b"a": {b"id": _OWN_ID, **arguments},
            b"q": method,
            b"ro": 1,
            b"t": rng.randbytes(2),
            b"y": b"q",
        }
    )
