"""The messages of SOCKS5, as bytes.

Over TCP the client greets, proves who it is if it must, and asks for one thing; the proxy's reply
ends the talk. The functions that read are told how many bytes to expect, since behind the reply the
other party's stream begins. Datagrams carry a header each.

Spec: RFC 1928; RFC 1929.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from dht.contact import Endpoint, Family, family_of
from magnet.errors import PeerDisconnected, ProxyError
from magnet.hosts import HostPort

VERSION: Final = 5
CHOICE_BYTES: Final = 2
"""Length of the proxy's choice of a method, and of its verdict on a password."""

REPLY_HEAD_BYTES: Final = 5
"""Version, reply, reserved, type of address, and its first byte: enough to tell the whole length.
"""

DATAGRAM_HEADER_BYTES_MAX: Final = 22
"""Header of a datagram to an IPv6 address; for IPv4 it is 10."""

_PORT_BYTES: Final = 2
_TEXT_BYTES_MAX: Final = 255
_PASSWORD_VERSION: Final = 1
_RESERVED: Final = b"\x00"
_NOT_FRAGMENTED: Final = bytes(3)
"""Two reserved bytes, and the number of a fragment that is none."""

_HEADER_BYTES: Final = 4
"""Version, command or reply, reserved, type of address."""

_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES: Final = {_IPV4: 4, _IPV6: 16}

_UNREACHED: Final = {
    3: "Network is unreachable",
    4: "No route to host",
    5: "Connection refused",
    6: "Time to live exceeded",
}
"""Replies about the other party, in the words that the system has for a direct connection."""

_REFUSALS: Final = {
    1: "fails",
    2: "does not allow this",
    7: "cannot do this",
    8: "does not know this type of address",
}
"""Replies about the proxy itself."""


class Method(IntEnum):
    """How a client proves who it is. Spec: RFC 1928 section 3."""

    NONE = 0
    PASSWORD = 2


class Command(IntEnum):
    """What a client asks for. Spec: RFC 1928 section 4."""

    CONNECT = 1
    UDP_ASSOCIATE = 3


class Credentials(NamedTuple):
    """Who the client is.

    Attributes:
        user: 1 to 255 bytes as UTF-8.
        password: The same.
    """

    user: str
    password: str


def encode_greeting(credentials: Credentials | None) -> bytes:
    """Return the first message: the methods that the client has. Spec: RFC 1928 section 3."""
    methods = (Method.NONE,) if credentials is None else (Method.NONE, Method.PASSWORD)
    return bytes((VERSION, len(methods), *methods))


def decode_choice(data: bytes) -> Method:
    """Read the proxy's answer to the greeting, `CHOICE_BYTES` long.

    Raises:
        ProxyError: It is no SOCKS5 proxy, or it wants what we have not got.

    Spec: RFC 1928 section 3.
    """
    version, method = data
    if version != VERSION:
        raise ProxyError("does not speak SOCKS5")
    try:
        return Method(method)
    except ValueError:
        raise ProxyError("wants to know who we are") from None


def encode_credentials(credentials: Credentials) -> bytes:
    """Return the message with user name and password.

    Raises:
        ValueError: One of them is empty or too long.

    Spec: RFC 1929 section 2.
    """
    user, password = (_with_length(text.encode()) for text in credentials)
    return bytes((_PASSWORD_VERSION,)) + user + password


def check_verdict(data: bytes) -> None:
    """Read the proxy's answer to a password, `CHOICE_BYTES` long.

    Raises:
        ProxyError: It does not know us.

    Spec: RFC 1929 section 2.
    """
    if data[1] != 0:
        raise ProxyError("rejects the password")


def encode_request(command: Command, to: Endpoint | HostPort) -> bytes:
    """Return a request.

    Args:
        command: What is asked for.
        to: The other party; by name if the proxy shall look that up.

    Raises:
        ValueError: A name has no ASCII form of at most 255 bytes.

    Spec: RFC 1928 section 4.
    """
    return bytes((VERSION, command)) + _RESERVED + _encode_address(to)


def reply_length(head: bytes) -> int:
    """Return the length of the reply that begins with these `REPLY_HEAD_BYTES`.

    Raises:
        PeerDisconnected: The proxy could not reach the other party.
        ProxyError: It did not do what was asked for another reason.

    Spec: RFC 1928 section 6.
    """
    version, reply, _, address_type, first = head
    if version != VERSION:
        raise ProxyError("does not speak SOCKS5")
    if reply in _UNREACHED:
        raise PeerDisconnected("connecting", _UNREACHED[reply])
    if reply != 0:
        raise ProxyError(_REFUSALS.get(reply, f"gives the unknown reply {reply}"))
    return _HEADER_BYTES + _address_length(address_type, first) + _PORT_BYTES


def decode_reply(reply: bytes) -> Endpoint | HostPort:
    """Read a whole reply, and return the address in it: where the proxy acts for us.

    Raises:
        ProxyError: The address has a type that is not known.

    Spec: RFC 1928 section 6.
    """
    return _decode_address(reply[_HEADER_BYTES - 1 :])[0]


def encode_datagram(to: Endpoint, data: bytes) -> bytes:
    """Return a datagram as it is sent to the proxy. Spec: RFC 1928 section 7."""
    return _NOT_FRAGMENTED + _encode_address(to) + data


def decode_datagram(datagram: bytes) -> tuple[bytes, Endpoint]:
    """Read a datagram from the proxy.

    Returns:
        The data, and whom it is from.

    Raises:
        ProxyError: It is a fragment, has no whole header, or names its sender instead of giving the
            address.

    Spec: RFC 1928 section 7.
    """
    if not datagram.startswith(_NOT_FRAGMENTED):
        raise ProxyError("sends a fragment")
    sender, length = _decode_address(datagram[len(_NOT_FRAGMENTED) :])
    if isinstance(sender, HostPort):
        raise ProxyError("names the sender of a datagram")
    return datagram[len(_NOT_FRAGMENTED) + length :], sender


def _encode_address(to: Endpoint | HostPort) -> bytes:
    literal = to.literal if isinstance(to, HostPort) else to
    if literal is not None:
        kind = _IPV4 if family_of(literal) is Family.IPV4 else _IPV6
        return bytes((kind,)) + literal
    assert isinstance(to, HostPort)
    return bytes((_NAME,)) + _with_length(to.host.encode("ascii")) + to.port.to_bytes(_PORT_BYTES)


def _decode_address(data: bytes) -> tuple[Endpoint | HostPort, int]:
    """Read type, address and port; return how many bytes they took as well."""
    if len(data) < 2:
        raise ProxyError("sends half a message")
    end = 1 + _address_length(data[0], data[1]) + _PORT_BYTES
    if len(data) < end:
        raise ProxyError("sends half a message")
    if data[0] != _NAME:
        return Endpoint(data[1:end]), end
    name = data[2 : end - _PORT_BYTES].decode("ascii", "replace")
    return HostPort(name, int.from_bytes(data[end - _PORT_BYTES : end])), end


def _address_length(kind: int, first: int) -> int:
    """Return the length of an address whose type and first byte are these."""
    if kind == _NAME:
        return 1 + first
    if kind not in _ADDRESS_BYTES:
        raise ProxyError(f"uses the unknown address type {kind}")
    return _ADDRESS_BYTES[kind]


def _with_length(data: bytes) -> bytes:
    if not 0 < len(data) <= _TEXT_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes, and not 1 to {_TEXT_BYTES_MAX}")
    return bytes((len(data),)) + data
