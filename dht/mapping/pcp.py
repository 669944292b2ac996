"""PCP, the bytes: the request for a mapping, and its reply.

IPv4 addresses travel in their IPv4-mapped IPv6 form. A nonce ties a reply to the request, and a
renewal to the mapping.

Spec: RFC 6887, sections 5, 7 and 11.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from dht.contact import Endpoint
from dht.errors import MalformedReply
from dht.mapping.lease import Transport, Wish

VERSION: Final = 2
NONCE_BYTES: Final = 12

_MAP: Final = 1
_REPLY: Final = 0x80

_REQUEST: Final = struct.Struct("!BBHI16s")
_HEADER: Final = struct.Struct("!BBBBII12x")
_BODY: Final = struct.Struct("!12sB3xHH16s")

MESSAGE_MAX: Final = 1_100
"""Bytes of the longest message. Spec: RFC 6887, section 7."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
_ANY_IPV4: Final = _MAPPED + bytes(4)


class Result(IntEnum):
    """Why a request was refused; unknown ones are refusals, too. Spec: RFC 6887, section 7.4."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORISED = 2
    MALFORMED_REQUEST = 3
    UNSUPPORTED_OPERATION = 4
    UNSUPPORTED_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPPORTED_PROTOCOL = 9
    USER_EXCEEDED_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


class MapReply(NamedTuple):
    """A mapping, in the router's words.

    Attributes:
        nonce: As in the request.
        transport: Which of the two port spaces.
        port: Ours.
        external: Where strangers reach it.
        lifetime_s: For how long.
    """

    nonce: bytes
    transport: Transport
    port: int
    external: Endpoint
    lifetime_s: int


class Refusal(NamedTuple):
    """No, and why: a `Result`, or a number that is none.

    Attributes:
        result: The reason.
        lifetime_s: For how long the router will not think otherwise.
    """

    result: int
    lifetime_s: int


Reply: TypeAlias = MapReply | Refusal


def encode_map_request(wish: Wish, client: bytes, nonce: bytes) -> bytes:
    """Return a request for a mapping; with a lifetime of 0 it ends one.

    Args:
        wish: What is asked for.
        client: The 4 bytes of our address, as the router sees it.
        nonce: 12 bytes, the same in all requests for one mapping.

    Spec: RFC 6887, sections 7.1 and 11.1.
    """
    head = _REQUEST.pack(VERSION, _MAP, 0, wish.lifetime_s, _MAPPED + client)
    external = wish.external_port if wish.lifetime_s else 0
    return head + _BODY.pack(nonce, wish.transport, wish.port, external, _ANY_IPV4)


def decode_reply(data: bytes) -> Reply:
    """Read a reply.

    A router that knows only NAT-PMP answers in its version, that it does not know ours.

    Args:
        data: A datagram; options after the reply are passed over.

    Raises:
        MalformedReply: It is none.

    Spec: RFC 6887, sections 7.2 and 11.1; section 9 and RFC 6886, section 3.5 (other versions).
    """
    if len(data) < 4 or data[1] < _REPLY:
        raise MalformedReply("not a reply of PCP")
    if data[0] != VERSION:
        return Refusal(Result.UNSUPPORTED_VERSION, 0)
    if len(data) < _HEADER.size:
        raise MalformedReply("length of the header")
    _, operation, _, result, lifetime_s, _ = _HEADER.unpack_from(data)
    if result != Result.SUCCESS:
        return Refusal(result, lifetime_s)
    if operation != _REPLY | _MAP or len(data) < _HEADER.size + _BODY.size:
        raise MalformedReply("operation or length")
    return _read_mapping(data, lifetime_s)


def _read_mapping(data: bytes, lifetime_s: int) -> MapReply:
    nonce, protocol, port, external_port, address = _BODY.unpack_from(data, _HEADER.size)
    if protocol not in tuple(Transport) or not address.startswith(_MAPPED):
        raise MalformedReply("protocol or address")
    external = Endpoint(address[-4:] + external_port.to_bytes(2))
    return MapReply(nonce, Transport(protocol), port, external, lifetime_s)
