"""What a node remembers between runs: its ids and whom it knew.

The form is one bencoded dictionary with a version. It is read as strictly as anything from a
stranger, because files get cut short and overwritten; a state that cannot be used costs a cold
start and is reported, never more. Info-hashes and peers are not saved, only nodes.

Spec: BEP 5 "Routing Table" (the table is saved between runs).
"""

from typing import Final, NamedTuple

from dht.bencode import BValue, Limits, decode, encode
from dht.contact import Contact, Endpoint, Family
from dht.errors import MalformedBencode, StateError
from dht.keyspace import ID_BYTES, NodeId

VERSION: Final = 1
"""Version of the form; another one is not read."""

CONTACTS_SAVED_MAX: Final = 200
"""Contacts saved per family: ten times what a join needs if half of them are gone."""

STATE_BYTES_MAX: Final = 65_536
"""Longest state that is read; two full families take less than a quarter of it."""

_LIMITS: Final = Limits(size=STATE_BYTES_MAX, depth=4, tokens=32)
_FAMILY_NAMES: Final = {Family.IPV4: b"ipv4", Family.IPV6: b"ipv6"}


class SavedNode(NamedTuple):
    """One engine's memory: its id, and contacts that were good when it was saved."""

    own_id: NodeId
    contacts: tuple[Contact, ...]


State = dict[Family, SavedNode]
"""What is saved, by family."""


def encode_state(state: State) -> bytes:
    """Encode a state; of each family's contacts the first `CONTACTS_SAVED_MAX` are kept."""
    nodes: dict[bytes, BValue] = {
        _FAMILY_NAMES[family]: {b"id": saved.own_id, b"contacts": _compact(saved)}
        for family, saved in state.items()
    }
    return encode({b"format": b"trackerless dht state", b"nodes": nodes, b"version": VERSION})


def decode_state(data: bytes) -> State:
    """Decode a saved state.

    Raises:
        StateError: The bytes are damaged, cut short, or of another version.
    """
    try:
        fields = decode(data, _LIMITS)
    except MalformedBencode as error:
        raise StateError(str(error)) from error
    if not isinstance(fields, dict) or fields.get(b"version") != VERSION:
        raise StateError(f"not a state of version {VERSION}")
    nodes = fields.get(b"nodes")
    if not isinstance(nodes, dict):
        raise StateError("no nodes")
    return {
        family: _read_node(nodes[name], family)
        for family, name in _FAMILY_NAMES.items()
        if name in nodes
    }


def _compact(saved: SavedNode) -> bytes:
    return b"".join(contact.compact() for contact in saved.contacts[:CONTACTS_SAVED_MAX])


def _read_node(saved: BValue, family: Family) -> SavedNode:
    own_id = saved.get(b"id") if isinstance(saved, dict) else None
    contacts = saved.get(b"contacts") if isinstance(saved, dict) else None
    if not isinstance(own_id, bytes) or len(own_id) != ID_BYTES or not isinstance(contacts, bytes):
        raise StateError(f"damaged entry for {family.name}")
    return SavedNode(NodeId(own_id), tuple(_read_contacts(contacts, family)))


def _read_contacts(compact: bytes, family: Family) -> list[Contact]:
    size = family.contact_bytes
    if len(compact) % size:
        raise StateError(f"contacts cut short for {family.name}")
    return [
        Contact(NodeId(compact[i : i + ID_BYTES]), Endpoint(compact[i + ID_BYTES : i + size]))
        for i in range(0, min(len(compact), CONTACTS_SAVED_MAX * size), size)
    ]
