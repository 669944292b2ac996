"""Addresses and contacts, in their compact form, and the rule of which addresses may be used.

An `Endpoint` *is* its compact wire form: 4 + 2 bytes for IPv4, 16 + 2 for IPv6, so that decoding an
answer is slicing, a dictionary key costs nothing, and the length tells the family. Text appears
only at the rim, for people and for sockets.

An address is allowed when it is globally routable, or of the same scope as the address we bound: a
node on loopback talks to loopback, a node in a private network also to its neighbours, and nothing
a stranger tells a public node leads into private space.
"""

import ipaddress
from collections.abc import Callable
from enum import Enum
from functools import lru_cache, partial
from struct import Struct
from typing import Final, NamedTuple, NewType, cast

from dht.errors import MalformedMessage
from dht.keyspace import ID_BYTES, NodeId, is_secure

Endpoint = NewType("Endpoint", bytes)
"""An address and a port in compact form: 6 bytes (IPv4) or 18 bytes (IPv6).

Spec: BEP 5 "Contact Encoding"; BEP 32.
"""

CONTACTS_MAX: Final = 32
"""Contacts read from one `nodes` or `nodes6` value.

Honest nodes send 8; a few send 16; more only costs us queries.
"""

PEERS_MAX: Final = 200
"""Peers read from one `values` list: what fits in a datagram of 1,500 bytes."""

PORT_MAX: Final = 0xFFFF


class Family(Enum):
    """An address family; the two are two DHTs. Spec: BEP 32.

    Attributes:
        endpoint_bytes: Length of a compact endpoint: 6 or 18 bytes.
        contact_bytes: Length of a compact contact: 26 or 38 bytes.
    """

    IPV4 = 6
    IPV6 = 18

    def __init__(self, endpoint_bytes: int) -> None:
        # Plain attributes: `value` is a function in disguise, and these are read per datagram.
        self.endpoint_bytes = endpoint_bytes
        self.contact_bytes = ID_BYTES + endpoint_bytes

    # Members are the only instances, so identity will do; Enum hashes the name, in Python.
    __hash__ = object.__hash__


class Scope(Enum):
    """How far an address reaches."""

    GLOBAL = "global"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"
    DOCUMENTATION = "documentation"
    FORBIDDEN = "forbidden"


# Python 3.11 looks a member up through a descriptor in Python; every datagram passes here.
_GLOBAL: Final = Scope.GLOBAL
_LOOPBACK: Final = Scope.LOOPBACK
_FORBIDDEN: Final = Scope.FORBIDDEN


class Contact(NamedTuple):
    """A node as others name it: its id and where it is. Spec: BEP 5 "Contact Encoding"."""

    id: NodeId
    endpoint: Endpoint

    def compact(self) -> bytes:
        """Return the 26 or 38 bytes of the wire form."""
        return self.id + self.endpoint


_PAIRS: Final = {it: Struct(f"{ID_BYTES}s{it.endpoint_bytes}s") for it in Family}

contact_of: Final = cast(Callable[[tuple[bytes, bytes]], Contact], partial(tuple.__new__, Contact))
"""Makes a `Contact` of id and endpoint in half the time: every answer names eight."""


def endpoint(host: str, port: int) -> Endpoint:
    """Build an endpoint from a literal address and a port.

    Args:
        host: An IPv4 or IPv6 literal; a zone index is dropped, and an IPv4-mapped IPv6 address
            counts as IPv4.
        port: 0 to 65535; 0 is what an unbound socket has, and is never allowed as a destination.

    Raises:
        ValueError: `host` is no literal address or `port` is out of range.
    """
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"port {port} is not between 0 and {PORT_MAX}")
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Endpoint(address.packed + port.to_bytes(2))


def parse_endpoint(text: str) -> Endpoint:
    """Read `192.0.2.1:6881` or `[2001:db8::1]:6881`.

    Raises:
        ValueError: The text has another form, a host name included.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is not ADDRESS:PORT")
    return endpoint(host[1:-1] if bracketed else host, int(port))


def format_endpoint(at: Endpoint) -> str:
    """Return `192.0.2.1:6881` or `[2001:db8::1]:6881`."""
    host = host_of(at)
    return (
        f"[{host}]:{port_of(at)}"
        if len(at) == Family.IPV6.endpoint_bytes
        else f"{host}:{port_of(at)}"
    )


def host_of(at: Endpoint) -> str:
    """Return the address of an endpoint as text, without brackets."""
    return str(ipaddress.ip_address(bytes(at[:-2])))


def port_of(at: Endpoint) -> int:
    """Return the port of an endpoint."""
    return int.from_bytes(at[-2:])


def address_of(at: Endpoint) -> bytes:
    """Return the 4 or 16 address bytes of an endpoint."""
    return at[:-2]


def family_of(at: Endpoint) -> Family:
    """Return the address family of an endpoint."""
    return Family.IPV4 if len(at) == 6 else Family.IPV6


def network_of(at: Endpoint) -> bytes:
    """Return the network that one party is likely to own: the IPv4 /24 or the IPv6 /64."""
    return at[:3] if len(at) == 6 else at[:8]


def is_allowed(at: Endpoint, bound: Scope) -> bool:
    """Tell whether a socket may send to an endpoint, or believe one it was told.

    Args:
        at: Any endpoint, as it came from a stranger.
        bound: Scope of our own address; the unspecified address counts as `GLOBAL`.
    """
    if at[-2:] == b"\0\0":
        return False
    scope = scope_of_address(at[:-2])
    if scope is _GLOBAL:
        return bound is not _LOOPBACK
    return scope is bound and scope is not _FORBIDDEN


def is_global(at: Endpoint) -> bool:
    """Tell whether an endpoint's address is globally routable."""
    return scope_of_address(at[:-2]) is _GLOBAL


def has_secure_id(contact: Contact) -> bool:
    """Tell whether a contact's id is one that its address allows; local ones allow any.

    Spec: BEP 42 "Node ID restriction".
    """
    return not is_global(contact.endpoint) or is_secure(contact.id, address_of(contact.endpoint))


def scope_of(at: Endpoint) -> Scope:
    """Return the scope of an endpoint's address."""
    return scope_of_address(at[:-2])


@lru_cache(maxsize=16_384)
def scope_of_address(address: bytes) -> Scope:
    """Return the scope of 4 or 16 address bytes.

    Carrier-grade NAT space (RFC 6598) counts as private. IPv6 forms that embed an IPv4 address are
    forbidden: the other family's DHT is where such a node belongs.

    Spec: RFC 6890 and its registry; BEP 32 "Node ID, bootstrapping".
    """
    if len(address) == 4:
        return _scope_of_ipv4(address)
    return _scope_of_ipv6(address)


_DOCUMENTATION_IPV4: Final = (b"\xc0\x00\x02", b"\xc6\x33\x64", b"\xcb\x00\x71")
# Protocol assignments (192.0.0.0/24) and relays of 6to4 (192.88.99.0/24); with the networks of
# benchmarks (198.18.0.0/15) these are where nobody's node is.
_SPECIAL_IPV4: Final = (b"\xc0\x00\x00", b"\xc0\x58\x63")


def _scope_of_ipv4(address: bytes) -> Scope:
    first, second = address[0], address[1]
    if first == 127:
        return Scope.LOOPBACK
    if first == 0 or first >= 224:
        return Scope.FORBIDDEN
    if first == 169 and second == 254:
        return Scope.LINK_LOCAL
    if first == 10 or (first, second) == (192, 168) or (first == 172 and 16 <= second < 32):
        return Scope.PRIVATE
    if first == 100 and 64 <= second < 128:
        return Scope.PRIVATE
    if address[:3] in _DOCUMENTATION_IPV4:
        return Scope.DOCUMENTATION
    is_special = address[:3] in _SPECIAL_IPV4 or (first == 198 and second & 0xFE == 18)
    return Scope.FORBIDDEN if is_special else Scope.GLOBAL


def _scope_of_ipv6(address: bytes) -> Scope:
    if address == b"\0" * 15 + b"\1":
        return Scope.LOOPBACK
    if address[0] & 0xFE == 0xFC:
        return Scope.PRIVATE
    if address[0] == 0xFE and address[1] & 0xC0 == 0x80:
        return Scope.LINK_LOCAL
    if address[:4] == b"\x20\x01\x0d\xb8" or (address[:2] == b"\x3f\xff" and address[2] < 0x10):
        return Scope.DOCUMENTATION
    # Global unicast is 2000::/3; within it 6to4 (2002::/16) and Teredo (2001::/32) are tunnels that
    # BEP 32 advises against.
    tunnelled = address[:2] == b"\x20\x02" or address[:4] == b"\x20\x01\x00\x00"
    return Scope.GLOBAL if address[0] >> 5 == 1 and not tunnelled else Scope.FORBIDDEN


def decode_contacts(data: bytes, family: Family) -> list[Contact]:
    """Decode a `nodes` or `nodes6` value.

    Args:
        data: N entries of 26 bytes (IPv4) or 38 bytes (IPv6); of these the first `CONTACTS_MAX` are
            read.
        family: The address family, which fixes the entry size.

    Raises:
        MalformedMessage: The length is not a multiple of the entry size.

    Spec: BEP 5 "Contact Encoding"; BEP 32 "nodes6".
    """
    size = family.contact_bytes
    if len(data) % size:
        raise MalformedMessage("length of nodes")
    pairs = _PAIRS[family].iter_unpack(data[: CONTACTS_MAX * size])
    return list(map(contact_of, pairs))
