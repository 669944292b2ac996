"""The methods that read and write items: get and put.

A put is checked in an order that makes strangers pay first: the token shows that they can be
reached, sizes and shapes cost nothing, and only then is a signature verified.

Spec: BEP 44 "get", "put", "Errors".
"""

from collections.abc import Mapping
from typing import Final

from dht.bencode import BValue, decode, is_canonical, raw_value
from dht.contact import Endpoint, Family, address_of, network_of
from dht.items import (
    GET,
    PUT,
    SALT_MAX,
    VALUE_MAX,
    ImmutableItem,
    Item,
    MutableItem,
    immutable_target,
    mutable_fields,
    mutable_target,
)
from dht.itemstore import ItemStore, Verdict
from dht.krpc import NODES_KEYS, BadQuery, ErrorCode, Query, id_argument
from dht.services import Method
from dht.services.nodes import Directory
from dht.tokens import Tokens

ANSWER_MAX: Final = 1_400
"""Largest answer in bytes. A large item passes the 1,024 of other answers, but with its headers it
has to fit into one packet of 1,500 bytes on every common path."""

_FRAME_BYTES: Final = 250
"""What an answer needs beside value, nodes and transaction id: 124 bytes over IPv6, 126 for the
key, sequence number and signature."""

_REFUSALS: Final = {
    Verdict.CAS_MISMATCH: ("CAS mismatch", ErrorCode.CAS_MISMATCH),
    Verdict.SEQUENCE_TOO_LOW: ("sequence number less than current", ErrorCode.SEQUENCE_TOO_LOW),
    Verdict.NO_ROOM: ("no room", ErrorCode.SERVER),
}


class ItemService:
    """Answers get and put."""

    def __init__(self, directory: Directory, store: ItemStore, tokens: Tokens) -> None:
        """Bring the parts together.

        Args:
            directory: Names the nodes for those who search on.
            store: Items that were put.
            tokens: Makes and checks write tokens.
        """
        self._directory = directory
        self._store = store
        self._tokens = tokens

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The methods by their names on the wire."""
        return {GET: self._get, PUT: self._put}

    def _get(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        target = id_argument(query, b"target")
        values = self._directory.nodes(query, target, now)
        item = self._store.get(target, now=now)
        if item is not None:
            held = _item_values(item, query.arguments.get(b"seq"))
            used = len(item.value) if b"v" in held else 0
            room = ANSWER_MAX - _FRAME_BYTES - len(query.transaction_id) - used
            values = held | _nodes_that_fit(values, self._directory.family, room)
        values[b"token"] = self._tokens.make(address_of(source), target, now=now)
        return values

    def _put(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        cas = query.arguments.get(b"cas")
        if cas is not None and not isinstance(cas, int):
            raise BadQuery("invalid cas")
        item = self._read_put(query, source, now)
        if isinstance(item, MutableItem) and not item.is_authentic:
            raise BadQuery("invalid signature", ErrorCode.INVALID_SIGNATURE)
        verdict = self._store.put(item, _quota_holder(source), now=now, cas=cas)
        if verdict in _REFUSALS:
            raise BadQuery(*_REFUSALS[verdict])
        return {}

    def _read_put(self, query: Query, source: Endpoint, now: float) -> Item:
        """Read the item of a put, up to but without its signature.

        Raises:
            BadQuery: The token, a size or a shape is wrong.
        """
        arguments = query.arguments
        value, salt = raw_value(query.raw, b"a", b"v"), arguments.get(b"salt", b"")
        if value is None or not isinstance(salt, bytes):
            raise BadQuery("missing v, or invalid salt")
        key, token = arguments.get(b"k"), arguments.get(b"token")
        target = mutable_target(key, salt) if isinstance(key, bytes) else immutable_target(value)
        if not isinstance(token, bytes) or not self._tokens.is_valid(
            token, address_of(source), target, now=now
        ):
            raise BadQuery("bad token")
        if len(value) > VALUE_MAX:
            raise BadQuery("value too big", ErrorCode.VALUE_TOO_BIG)
        if len(salt) > SALT_MAX:
            raise BadQuery("salt too big", ErrorCode.SALT_TOO_BIG)
        if not is_canonical(value):
            raise BadQuery("v is not canonical bencoding")
        if not any(name in arguments for name in (b"k", b"seq", b"sig")):
            return ImmutableItem(value)
        item = mutable_fields(value, arguments, salt)
        if item is None:
            raise BadQuery("missing or invalid k, seq or sig")
        return item


def _item_values(item: Item, known_seq: BValue | None) -> dict[bytes, BValue]:
    """Return what an answer tells of an item; of one that the querier knows, only its number."""
    if isinstance(item, ImmutableItem):
        return {b"v": decode(item.value)}
    if isinstance(known_seq, int) and item.seq <= known_seq:
        return {b"seq": item.seq}
    return {
        b"k": item.key,
        b"seq": item.seq,
        b"sig": item.signature,
        b"v": decode(item.value),
    }


def _nodes_that_fit(nodes: dict[bytes, BValue], own: Family, room: int) -> dict[bytes, BValue]:
    """Cut nodes to a number of bytes, those of the other family first."""
    kept: dict[bytes, BValue] = {}
    for family in sorted(Family, key=lambda it: it is not own):
        compact = nodes.get(NODES_KEYS[family])
        if isinstance(compact, bytes):
            count = min(len(compact), max(room, 0)) // family.contact_bytes
            kept[NODES_KEYS[family]] = compact[: count * family.contact_bytes]
            room -= count * family.contact_bytes
    return kept


def _quota_holder(source: Endpoint) -> bytes:
    """Return what a quota is counted by: an IPv4 address, or the /64 of an IPv6 one."""
    return address_of(source) if len(source) == Family.IPV4.endpoint_bytes else network_of(source)
