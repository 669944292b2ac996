"""KRPC: the messages of the DHT, from datagram to record and back.

A datagram is one bencoded dictionary: a query (method and arguments), a response (values), or an
error. This module knows their shape and nothing of what they are for. What is read is read
liberally, since real nodes differ, and what is written is canonical: one widespread implementation
finds fields by searching for `1:y1:r` and the like.

Records are named tuples, because one is made for every datagram and a frozen dataclass costs three
times as much.

Spec: BEP 5 "KRPC Protocol"; BEP 32 ("want", "nodes6"), BEP 42 ("ip"), BEP 43 ("ro").
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Final, NamedTuple, cast

from dht.bencode import BValue, decode, decode_prefix, encode_trusted
from dht.contact import PEERS_MAX, PORT_MAX, Contact, Endpoint, Family, decode_contacts
from dht.errors import MalformedBencode, MalformedMessage
from dht.keyspace import ID_BYTES, NodeId

VERSION: Final = b"TK\x00\x01"
"""What we say in `v`: two letters that BEP 20 gives to nobody, and a version. Spec: BEP 5, BEP 20.
"""

DATAGRAM_MAX: Final = 1_024
"""Largest datagram we send, in bytes. Spec: BEP 32 "Message size"."""

DATAGRAM_MIN: Final = 20
"""Smallest datagram that can be a message; anything shorter is dropped unread."""

TRANSACTION_ID_MAX: Final = 32
"""Longest transaction id that is echoed; the longest a known client makes is 16 bytes."""

TOKEN_MAX: Final = 128
"""Longest token kept for an announce; known clients make 4 to 20 bytes."""

VERSION_MAX: Final = 16
"""How much of a remote `v` is kept; known clients send 4 bytes."""

PING: Final = b"ping"
FIND_NODE: Final = b"find_node"
GET_PEERS: Final = b"get_peers"
ANNOUNCE_PEER: Final = b"announce_peer"

WRITES: Final = frozenset({ANNOUNCE_PEER, b"put"})
"""The methods that make their receiver store something. Spec: BEP 5, BEP 44."""


class ErrorCode(IntEnum):
    """What an error response says. Spec: BEP 5 "Errors"; BEP 44 "Errors"."""

    GENERIC = 201
    SERVER = 202
    PROTOCOL = 203
    METHOD_UNKNOWN = 204
    VALUE_TOO_BIG = 205
    INVALID_SIGNATURE = 206
    SALT_TOO_BIG = 207
    CAS_MISMATCH = 301
    SEQUENCE_TOO_LOW = 302


class Query(NamedTuple):
    """A query, its arguments unchecked: what they must hold depends on the method.

    Attributes:
        transaction_id: Chosen by the sender, to be echoed; at most `TRANSACTION_ID_MAX` bytes.
        method: The value of `q`.
        arguments: The value of `a`; empty when it is missing or no dictionary.
        read_only: Whether the sender asks not to be entered in routing tables. Spec: BEP 43.
        raw: The datagram as received, for values that are signed or hashed. Spec: BEP 44.
    """

    transaction_id: bytes
    method: bytes
    arguments: dict[bytes, BValue]
    read_only: bool
    raw: bytes = b""


class Response(NamedTuple):
    """An answer.

    Attributes:
        transaction_id: That of our query.
        sender: The id the answering node claims.
        values: The value of `r`.
        external: Our own endpoint as the sender sees it, where it says so. Spec: BEP 42 "ip".
        version: The sender's `v`, cut to `VERSION_MAX` bytes; may be empty.
        raw: The datagram as received, for values that are signed or hashed. Spec: BEP 44.
    """

    transaction_id: bytes
    sender: NodeId
    values: dict[bytes, BValue]
    external: Endpoint | None
    version: bytes
    raw: bytes


class ErrorMessage(NamedTuple):
    """A refusal.

    Malformed ones are read as `GENERIC`, since all we can learn is that the query failed.

    Attributes:
        transaction_id: That of our query.
        code: As sent.
        text: As sent, undecodable bytes escaped.
    """

    transaction_id: bytes
    code: int
    text: str


Message = Query | Response | ErrorMessage

# These make a record of a tuple in half the time: one is made for every datagram.
_new_query: Final = cast(
    Callable[[tuple[bytes, bytes, dict[bytes, BValue], bool, bytes]], Query],
    partial(tuple.__new__, Query),
)
_new_response: Final = cast(
    Callable[[tuple[bytes, bytes, dict[bytes, BValue], bytes | None, bytes, bytes]], Response],
    partial(tuple.__new__, Response),
)


class BadQuery(MalformedMessage):
    """A query that deserves an error response.

    Attributes:
        code: The code to answer with.
    """

    def __init__(self, fault: str, code: ErrorCode = ErrorCode.PROTOCOL) -> None:
        """Build the message from `fault`."""
        super().__init__(fault)
        self.code = code


def decode_message(datagram: bytes) -> Message:
    """Decode a datagram.

    Bytes after the first value are ignored, unknown keys too.

    Args:
        datagram: As received, from anyone.

    Raises:
        MalformedBencode: It does not start with a bencoded value within `WIRE_LIMITS`.
        MalformedMessage: It is no KRPC message, or has no usable transaction id; such a datagram
            gets no answer.

    Spec: BEP 5 "KRPC Protocol".
    """
    if len(datagram) < DATAGRAM_MIN:
        raise MalformedMessage("too short")
    try:
        fields = decode(datagram)
    except MalformedBencode:
        fields, _ = decode_prefix(datagram)
    if not isinstance(fields, dict):
        raise MalformedMessage("not a dictionary")
    transaction_id = fields.get(b"t")
    if not isinstance(transaction_id, bytes) or len(transaction_id) > TRANSACTION_ID_MAX:
        raise MalformedMessage("transaction id")
    kind = fields.get(b"y")
    if kind == b"q":
        return _read_query(transaction_id, fields, datagram)
    if kind == b"r":
        return _read_response(transaction_id, fields, datagram)
    if kind == b"e":
        return _read_error(transaction_id, fields)
    raise MalformedMessage("kind of message")


def _read_query(transaction_id: bytes, fields: dict[bytes, BValue], raw: bytes) -> Query:
    method = fields.get(b"q")
    if not isinstance(method, bytes):
        raise MalformedMessage("method")
    arguments = fields.get(b"a")
    read_only = fields.get(b"ro", 0)
    return _new_query(
        (
            transaction_id,
            method,
            arguments if isinstance(arguments, dict) else {},
            read_only != 0 and isinstance(read_only, int),
            raw,
        )
    )


def _read_response(transaction_id: bytes, fields: dict[bytes, BValue], raw: bytes) -> Response:
    values = fields.get(b"r")
    if not isinstance(values, dict):
        raise MalformedMessage("response without values")
    sender = values.get(b"id")
    if not isinstance(sender, bytes) or len(sender) != ID_BYTES:
        raise MalformedMessage("response without an id")
    external = fields.get(b"ip")
    version = fields.get(b"v")
    return _new_response(
        (
            transaction_id,
            sender,
            values,
            external if isinstance(external, bytes) and len(external) in (6, 18) else None,
            version[:VERSION_MAX] if isinstance(version, bytes) else b"",
            raw,
        )
    )


def _read_error(transaction_id: bytes, fields: dict[bytes, BValue]) -> ErrorMessage:
    detail = fields.get(b"e")
    items = detail if isinstance(detail, list) else [detail]
    code = next((item for item in items if isinstance(item, int)), ErrorCode.GENERIC)
    text = next((item for item in items if isinstance(item, bytes)), b"")
    return ErrorMessage(transaction_id, int(code), text[:256].decode("utf-8", "backslashreplace"))


def encode_query(
    transaction_id: bytes, method: bytes, arguments: dict[bytes, BValue], *, read_only: bool = False
) -> bytes:
    """Encode a query.

    Args:
        transaction_id: 2 to 8 unpredictable bytes.
        method: Such as `PING`.
        arguments: With our `id` among them.
        read_only: Whether we answer no queries ourselves. Spec: BEP 43.
    """
    fields: dict[bytes, BValue] = {
        b"a": arguments,
        b"q": method,
        b"t": transaction_id,
        b"v": VERSION,
        b"y": b"q",
    }
    if read_only:
        fields[b"ro"] = 1
    return encode_trusted(fields)


def encode_response(transaction_id: bytes, values: dict[bytes, BValue], to: Endpoint) -> bytes:
    """Encode a response.

    Args:
        transaction_id: As in the query.
        values: With our `id` among them.
        to: The querier, who is told its endpoint. Spec: BEP 42 "ip".
    """
    return encode_trusted(
        {b"ip": to, b"r": values, b"t": transaction_id, b"v": VERSION, b"y": b"r"}
    )


def encode_error(transaction_id: bytes, code: ErrorCode, text: str, to: Endpoint) -> bytes:
    """Encode an error response. Spec: BEP 5 "Errors"."""
    return encode_trusted(
        {
            b"e": [int(code), text.encode()],
            b"ip": to,
            b"t": transaction_id,
            b"v": VERSION,
            b"y": b"e",
        }
    )


def id_argument(query: Query, key: bytes) -> bytes:
    """Read a 20-byte argument: `id`, `target` or `info_hash`.

    Raises:
        BadQuery: It is missing or of another size.
    """
    value = query.arguments.get(key)
    if not isinstance(value, bytes) or len(value) != ID_BYTES:
        raise BadQuery(f"missing or invalid {key.decode()}")
    return value


def port_argument(query: Query, source: Endpoint) -> int:
    """Read the port that an announce is for.

    It is the source's own where `implied_port` is set, else `port`.

    Raises:
        BadQuery: `port` is needed and is no integer from 1 to 65535.

    Spec: BEP 5 "announce_peer".
    """
    arguments = query.arguments
    implied = arguments.get(b"implied_port")
    if isinstance(implied, int) and implied != 0:
        return int.from_bytes(source[-2:])
    port = arguments.get(b"port")
    if not isinstance(port, int) or not 0 < port <= PORT_MAX:
        raise BadQuery("missing or invalid port")
    return port


def flag_argument(query: Query, key: bytes) -> bool:
    """Read an optional flag such as `seed`; anything but the integer 1 is false."""
    return query.arguments.get(key) == 1


def wanted_families(query: Query, received_over: Family) -> tuple[Family, ...]:
    """Return the families whose nodes the querier wants: its `want`, or the family of the datagram.

    Spec: BEP 32 "want".
    """
    want = query.arguments.get(b"want")
    if not isinstance(want, list):
        return (received_over,)
    families = tuple(family for family in Family if WANT_KEYS[family] in want)
    return families or (received_over,)


WANT_KEYS: Final = {Family.IPV4: b"n4", Family.IPV6: b"n6"}
"""How `want` names a family. Spec: BEP 32."""

NODES_KEYS: Final = {Family.IPV4: b"nodes", Family.IPV6: b"nodes6"}
"""Under which key the nodes of a family travel. Spec: BEP 5, BEP 32."""


class Answer(NamedTuple):
    """What a response to find_node or get_peers holds.

    Attributes:
        contacts: Nodes of our own family that the responder knows; at most `CONTACTS_MAX`.
        peers: Peers from `values`; at most `PEERS_MAX`.
        token: For an announce to the responder; None when it gave none.
        response: The whole, for what only some methods look at.
    """

    contacts: list[Contact]
    peers: list[Endpoint]
    token: bytes | None
    response: Response


_new_answer: Final = cast(
    Callable[[tuple[list[Contact], list[Endpoint], bytes | None, Response]], Answer],
    partial(tuple.__new__, Answer),
)


def read_answer(response: Response, family: Family) -> Answer:
    """Take from a response what can be used; fields of the wrong shape are as good as missing.

    Spec: BEP 5 "find_node", "get_peers"; BEP 32.
    """
    values = response.values
    nodes, token = values.get(NODES_KEYS[family]), values.get(b"token")
    return _new_answer(
        (
            decode_contacts(nodes, family)
            if isinstance(nodes, bytes) and len(nodes) % family.contact_bytes == 0
            else [],
            _read_peers(values[b"values"], family) if b"values" in values else [],
            token if isinstance(token, bytes) and len(token) <= TOKEN_MAX else None,
            response,
        )
    )


def _read_peers(values: BValue, family: Family) -> list[Endpoint]:
    size = family.endpoint_bytes
    if isinstance(values, bytes) and len(values) % size == 0:
        # Very old nodes send one string instead of a list of strings.
        values = [values[i : i + size] for i in range(0, len(values), size)]
    if not isinstance(values, list):
        return []
    return [
        Endpoint(value)
        for value in values[:PEERS_MAX]
        if isinstance(value, bytes) and len(value) == size
    ]
