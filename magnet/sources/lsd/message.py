"""The one message of local service discovery: who has or wants which torrents, and where.

It is shaped like a request of HTTP, sent as one datagram to a multicast group. Whoever receives it
knows the sender's address from the datagram, and its port from the message. A cookie, opaque to
others, tells a sender its own messages.

What we write is one line for each info-hash, as Transmission does it. What we read may have header
names in any case and headers that we do not know.

Spec: BEP 14.
"""

from typing import Final, NamedTuple

from dht.contact import PORT_MAX, Endpoint, Family, endpoint, format_endpoint
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import RemoteProtocolError

GROUPS: Final = {
    Family.IPV4: endpoint("239.192.152.143", 6771),
    Family.IPV6: endpoint("ff15::efc0:988f", 6771),
}
"""Where messages are sent to. Spec: BEP 14 "Protocol"."""

DATAGRAM_BYTES_MAX: Final = 1_400
"""Longest message. Spec: BEP 14 "Protocol"."""

HASHES_MAX: Final = 20
"""Info-hashes in one message of ours: they keep it well below `DATAGRAM_BYTES_MAX`."""

COOKIE_BYTES_MAX: Final = 64
"""Bytes of a cookie that are looked at; real ones have 8 to 12."""

_REQUEST: Final = b"BT-SEARCH * HTTP/1."
_PORT_DIGITS_MAX: Final = 5
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


class LocalSearch(NamedTuple):
    """What a message says.

    Attributes:
        port: Where the sender takes connections, on TCP.
        info_hashes: What it has or wants, for v2 the truncated hashes.
        cookie: By which it tells its own messages; None if it does not care.

    Spec: BEP 14 "Protocol".
    """

    port: int
    info_hashes: tuple[InfoHash, ...]
    cookie: bytes | None = None


def encode_local_search(search: LocalSearch, group: Endpoint) -> bytes:
    """Return the datagram of a message.

    Args:
        search: What to say; at most `HASHES_MAX` info-hashes.
        group: The multicast group that it is for.

    Spec: BEP 14 "Protocol".
    """
    lines = [
        _REQUEST + b"1",
        b"Host: " + format_endpoint(group).encode(),
        b"Port: %d" % search.port,
        *(b"Infohash: " + info_hash.hex().encode() for info_hash in search.info_hashes),
    ]
    if search.cookie is not None:
        lines.append(b"cookie: " + search.cookie)
    return b"".join(line + b"\r\n" for line in [*lines, b"", b""])


def decode_local_search(datagram: bytes) -> LocalSearch:
    """Read a datagram. What is no info-hash of 40 digits in the place of one is left out.

    Raises:
        RemoteProtocolError: It is too long or no such message, or it has no valid port.

    Spec: BEP 14 "Protocol".
    """
    if len(datagram) > DATAGRAM_BYTES_MAX:
        raise RemoteProtocolError("local search too long")
    request, *headers = datagram.split(b"\r\n")
    if not request.upper().startswith(_REQUEST):
        raise RemoteProtocolError("no local search")
    port: int | None = None
    cookie: bytes | None = None
    hashes: dict[InfoHash, None] = {}
    for name, value in map(_header, headers):
        match name:
            case b"port":
                port = _port(value)
            case b"cookie":
                cookie = value[:COOKIE_BYTES_MAX]
            case b"infohash" if len(value) == 2 * ID_BYTES and _HEX_DIGITS.issuperset(value):
                hashes[InfoHash(bytes.fromhex(value.decode()))] = None
    if port is None:
        raise RemoteProtocolError("local search without a port")
    return LocalSearch(port, tuple(hashes), cookie)


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


def _port(value: bytes) -> int | None:
    if not value.isdigit() or len(value) > _PORT_DIGITS_MAX:
        return None
    port = int(value)
    return port if 1 <= port <= PORT_MAX else None
