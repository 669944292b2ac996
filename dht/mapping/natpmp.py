"""NAT-PMP, the bytes: requests for our address and for a mapping, and the replies.

A reply that comes from the router's address is still a stranger's: it is believed if it has the
form, and used if it is to what was asked.

Spec: RFC 6886, sections 3.2 to 3.5.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from dht.errors import MalformedReply
from dht.mapping.lease import Transport, Wish

PORT: Final = 5_351
"""UDP port of routers that speak NAT-PMP or PCP."""

VERSION: Final = 0

_REPLY: Final = 0x80
"""Added to the operation in replies."""

_OPERATIONS: Final = {Transport.UDP: 1, Transport.TCP: 2}
_TRANSPORTS: Final = {number: transport for transport, number in _OPERATIONS.items()}

_REQUEST: Final = struct.Struct("!BBHHHI")
_HEADER: Final = struct.Struct("!BBHI")
_GRANT: Final = struct.Struct("!HHI")

REPLY_MAX: Final = 16
"""Bytes of the longest reply."""


class Result(IntEnum):
    """Why a request was refused; unknown ones are refusals, too. Spec: RFC 6886, section 3.5."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORISED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPERATION = 5


class AddressReply(NamedTuple):
    """The router's external address, 4 bytes."""

    address: bytes


class MapReply(NamedTuple):
    """A mapping, in the router's words."""

    transport: Transport
    port: int
    external_port: int
    lifetime_s: int


class Refusal(NamedTuple):
    """No, and why: a `Result`, or a number that is none."""

    result: int


Reply: TypeAlias = AddressReply | MapReply | Refusal


def encode_address_request() -> bytes:
    """Return a request for the external address. Spec: RFC 6886, section 3.2."""
    return bytes((VERSION, 0))


def encode_map_request(wish: Wish) -> bytes:
    """Return a request for a mapping; with a lifetime of 0 it ends one.

    Spec: RFC 6886, sections 3.3 and 3.4.
    """
    external = wish.external_port if wish.lifetime_s else 0
    return _REQUEST.pack(
        VERSION, _OPERATIONS[wish.transport], 0, wish.port, external, wish.lifetime_s
    )


def decode_reply(data: bytes) -> Reply:
    """Read a reply.

    Args:
        data: A datagram; what follows the reply is passed over.

    Raises:
        MalformedReply: It is none.
    """
    if len(data) < _HEADER.size - 4 or data[0] != VERSION or data[1] < _REPLY:
        raise MalformedReply("not a reply of NAT-PMP")
    operation, result = data[1] - _REPLY, int.from_bytes(data[2:4])
    if result != Result.SUCCESS:
        return Refusal(result)
    body = data[_HEADER.size : REPLY_MAX]
    if operation == 0 and len(body) >= 4:
        return AddressReply(body[:4])
    transport = _TRANSPORTS.get(operation)
    if transport is None or len(body) < _GRANT.size:
        raise MalformedReply("operation or length")
    return MapReply(transport, *_GRANT.unpack(body))
