"""Ids, places and recorded bytes that the tests of `dht` share."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dht.contact import Contact, Endpoint, endpoint
from dht.keyspace import ID_BITS, ID_BYTES, NodeId
from dht.krpc import Answer, Response

QUERIER = NodeId(b"abcdefghij0123456789")
RESPONDER = NodeId(b"mnopqrstuvwxyz123456")
"""The two parties of BEP 5's examples."""

PLACE = endpoint("192.0.2.1", 6881)

ZERO_ID = NodeId(bytes(ID_BYTES))
"""An own id against which the first bit set in another id is the number of bits they share."""


def node_id(shared_bits: int, serial: int = 0) -> NodeId:
    """Return an id that has exactly `shared_bits` leading bits in common with `ZERO_ID`."""
    return NodeId(((1 << (ID_BITS - 1 - shared_bits)) | serial).to_bytes(ID_BYTES))


def public(serial: int, port: int = 6881, *, host: int = 1) -> Endpoint:
    """Return a globally routable IPv4 endpoint; each serial up to 65,535 has a /24 of its own."""
    return Endpoint(bytes([45, serial >> 8, serial & 0xFF, host]) + port.to_bytes(2))


def public6(serial: int, port: int = 6881, *, host: int = 1) -> Endpoint:
    """Return a globally routable IPv6 endpoint; each serial up to 65,535 has a /64 of its own."""
    network = b"\x2a\x00" + serial.to_bytes(2) + bytes(4)
    return Endpoint(network + host.to_bytes(8) + port.to_bytes(2))


def loopback(serial: int, port: int = 6881) -> Endpoint:
    """Return an endpoint in 127/8."""
    return Endpoint(bytes([127, 0, serial >> 8, serial & 0xFF]) + port.to_bytes(2))


def contact(shared_bits: int, serial: int = 0) -> Contact:
    """Return a contact with the id of that name, at a public place that goes with it."""
    return Contact(node_id(shared_bits, serial), public(shared_bits << 8 | serial))


def recorded(name: str, group: str) -> list[dict[str, Any]]:
    """Return one group of the vectors in tests/vectors, whose bytes are written as Latin-1 text."""
    text = (Path(__file__).parents[1] / "vectors" / f"{name}.json").read_text()
    rows: list[dict[str, Any]] = json.loads(text)[group]
    return rows


def about(vector: dict[str, Any]) -> str:
    """Return what a vector is about, to name its test."""
    return str(vector["about"])


def as_bytes(text: str) -> bytes:
    """Return the bytes that a vector writes as text."""
    return text.encode("latin-1")


def answer(
    contacts: Iterable[Contact] = (), peers: Iterable[Endpoint] = (), token: bytes | None = None
) -> Answer:
    """Return what a node answers that names these contacts and peers."""
    response = Response(b"aa", ZERO_ID, {}, external=None, version=b"", raw=b"")
    return Answer(list(contacts), list(peers), token, response)
