"""The datagrams of UDP trackers: big-endian structs with an action and a transaction id.

A client first asks for a connection id, which shows that it receives what is sent to its address,
and then sends it along with what it wants. Answers may be longer than they are here: extensions
append to them.

Spec: BEP 15; BEP 41 (URL data).
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from dht.contact import Family
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import (
    LEFT_UNKNOWN,
    Announce,
    Announced,
    Counts,
    bounded_count,
    bounded_interval,
    split_endpoints,
)
from magnet.text import printable_bytes

SCRAPED_MAX: Final = 74
"""Swarms of one scrape: what BEP 15 says fits into a datagram."""

TRANSACTION_IDS: Final = 2**32
"""There are so many transaction ids."""

ERROR_BYTES_MAX: Final = 256
"""Of what a tracker says went wrong: a line."""

_PROTOCOL_ID: Final = 0x41727101980
_CONNECT: Final = struct.Struct(">QII")
_HEAD: Final = struct.Struct(">II")
_CONNECTED: Final = struct.Struct(">IIQ")
_ANNOUNCE: Final = struct.Struct(">QII20s20sQQQIIIiH")
_ANNOUNCED: Final = struct.Struct(">IIIII")
_SCRAPE: Final = struct.Struct(">QII")
_COUNTS: Final = struct.Struct(">III")

_URL_DATA: Final = 2
_URL_DATA_CHUNK_MAX: Final = 255


class Action(IntEnum):
    """What a datagram is. Spec: BEP 15."""

    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    ERROR = 3


class Scrape(NamedTuple):
    """A question for the sizes of swarms, at most `SCRAPED_MAX`."""

    info_hashes: tuple[InfoHash, ...]


class Connected(NamedTuple):
    """The answer to a connect: an id to be used within a minute."""

    connection_id: int


class Refused(NamedTuple):
    """An error answer.

    Attributes:
        reason: The tracker's words, fit to be shown.
    """

    reason: str


class Scraped(NamedTuple):
    """The answer to a scrape: counts in the order in which they were asked for."""

    counts: tuple[Counts, ...]


Answer: TypeAlias = Announced | Scraped
Response: TypeAlias = Connected | Announced | Scraped | Refused


def encode_connect(transaction: int) -> bytes:
    """Return the 16 bytes of a connect. Spec: BEP 15 "connect request"."""
    return _CONNECT.pack(_PROTOCOL_ID, Action.CONNECT, transaction)


def encode_announce(connection: int, transaction: int, announce: Announce, options: bytes) -> bytes:
    """Return an announce.

    Args:
        connection: The connection id, 64 bits.
        transaction: 32 bits.
        announce: What to say.
        options: Of `url_data`, or empty.

    Spec: BEP 15 "announce request"; BEP 41.
    """
    fixed = _ANNOUNCE.pack(
        connection,
        Action.ANNOUNCE,
        transaction,
        announce.info_hash,
        announce.peer_id,
        0,
        LEFT_UNKNOWN,
        0,
        announce.event.value,
        0,
        announce.key,
        announce.wanted,
        announce.port,
    )
    return fixed + options


def encode_scrape(connection: int, transaction: int, info_hashes: Sequence[InfoHash]) -> bytes:
    """Return a scrape of 1 to `SCRAPED_MAX` swarms.

    Raises:
        ValueError: They are fewer or more.

    Spec: BEP 15 "scrape request".
    """
    if not 1 <= len(info_hashes) <= SCRAPED_MAX:
        raise ValueError(f"a scrape has 1 to {SCRAPED_MAX} swarms, not {len(info_hashes)}")
    return _SCRAPE.pack(connection, Action.SCRAPE, transaction) + b"".join(info_hashes)


def url_data(url: str) -> bytes:
    """Return the options that tell a tracker the path and query of its URL; empty if it has none.

    Spec: BEP 41 "URLData".
    """
    parts = urlsplit(url)
    said = (parts.path + (f"?{parts.query}" if parts.query else "")).encode()
    chunks = (
        said[start : start + _URL_DATA_CHUNK_MAX]
        for start in range(0, len(said), _URL_DATA_CHUNK_MAX)
    )
    return b"".join(bytes([_URL_DATA, len(chunk)]) + chunk for chunk in chunks)


def transaction_of(datagram: bytes) -> int | None:
    """Return the transaction id of an answer; None where a datagram is too short to have one."""
    if len(datagram) < _HEAD.size:
        return None
    transaction: int = _HEAD.unpack_from(datagram)[1]
    return transaction


def decode_response(datagram: bytes, family: Family) -> Response:
    """Read an answer.

    Args:
        datagram: As received, from the tracker's own address.
        family: The address family it came by, which is that of the peers in it.

    Raises:
        SourceError: `MALFORMED`: it is too short, or of no known action.

    Spec: BEP 15 "connect response" and the following; "IPv6".
    """
    try:
        match _HEAD.unpack_from(datagram)[0]:
            case Action.CONNECT:
                return Connected(_CONNECTED.unpack_from(datagram)[2])
            case Action.ANNOUNCE:
                return _announced(datagram, family)
            case Action.SCRAPE:
                return _scraped(datagram)
            case Action.ERROR:
                words = printable_bytes(datagram[_HEAD.size :], ERROR_BYTES_MAX)
                return Refused(words or "no reason given")
    except struct.error as error:
        raise SourceError(SourceFault.MALFORMED, "a short answer") from error
    raise SourceError(SourceFault.MALFORMED, "an answer of an unknown kind")


def _announced(datagram: bytes, family: Family) -> Announced:
    interval = _ANNOUNCED.unpack_from(datagram)[2]
    peers = split_endpoints(datagram[_ANNOUNCED.size :], family.endpoint_bytes)
    return Announced(peers, bounded_interval(interval))


def _scraped(datagram: bytes) -> Scraped:
    rows = datagram[_HEAD.size :]
    whole = len(rows) - len(rows) % _COUNTS.size
    counts = (
        Counts(bounded_count(seeds), bounded_count(leechers), bounded_count(completed))
        for seeds, completed, leechers in _COUNTS.iter_unpack(rows[:whole])
    )
    return Scraped(tuple(counts)[:SCRAPED_MAX])
