"""Peer exchange: peers tell each other whom they are connected to.

A message says who joined and who left since the one before, each endpoint in compact form, and
beside each that joined a byte of flags. What a peer says of others is hearsay: a `PexIntake` bounds
how much of it is taken, how often, and whose addresses one peer may name. A `PexLog` remembers what
one peer was told, and makes the next message for it.

What we write leaves out empty lists. What we read may have a list of a wrong length, which counts
as absent, or flags that do not match the endpoints, which count as none.

Spec: BEP 11.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from dht import bencode
from dht.contact import Endpoint, Family, family_of, is_allowed, port_of, scope_of
from dht.errors import MalformedBencode
from magnet.errors import RemoteProtocolError

INTERVAL_S: Final = 60.0
"""Seconds between two messages to one peer. Spec: BEP 11 "Rate limiting"."""

NAMED_MAX: Final = 50
"""Peers that one message of ours adds, and that it drops. Spec: BEP 11 "Rate limiting"."""

TAKEN_PER_MESSAGE_MAX: Final = 100
"""Added peers read from one message: what libtorrent sends at most."""

TAKEN_PER_PEER_MAX: Final = 150
"""Added peers believed of one peer in all; libtorrent keeps 50 of each family. Who says more fills
our list with strangers of its own choice."""

BURST_MAX: Final = 6
"""Messages within `INTERVAL_S` after which the next is a flood: a slow line may deliver several at
once, which is why libtorrent looks back as far."""

_LIMITS: Final = bencode.Limits(size=32_768, depth=4, tokens=256)
"""A hundred peers of each family make 2.7 kB; other clients add a few keys of their own."""

_SUFFIXES: Final = {Family.IPV4: b"", Family.IPV6: b"6"}
"""What tells the lists of the families apart."""

_PeerT = TypeVar("_PeerT")


class PexFlags(IntFlag):
    """What is said of an added peer; bits that the BEP does not name are dropped.

    Spec: BEP 11 "Message".
    """

    PREFERS_ENCRYPTION = 0x01
    SEED = 0x02
    UTP = 0x04
    HOLEPUNCH = 0x08
    REACHABLE = 0x10


_NO_FLAGS: Final = PexFlags(0)
_ALL_FLAGS: Final = PexFlags(0x1F)


class PexPeer(NamedTuple):
    """A peer that joined.

    Attributes:
        endpoint: Where it is said to listen.
        flags: What is said of it.
    """

    endpoint: Endpoint
    flags: PexFlags = _NO_FLAGS


@dataclass(frozen=True, slots=True)
class PexMessage:
    """Who joined and who left.

    Attributes:
        added: Peers the sender is connected to, each once.
        dropped: Peers it was connected to, and is no more.

    Spec: BEP 11 "Message".
    """

    added: tuple[PexPeer, ...] = ()
    dropped: tuple[Endpoint, ...] = ()


def encode_pex_message(message: PexMessage) -> bytes:
    """Return the content of the extended message that carries `message`.

    Spec: BEP 11 "Message".
    """
    lists: dict[bytes, bencode.BValue] = {}
    for family, suffix in _SUFFIXES.items():
        added = [peer for peer in message.added if family_of(peer.endpoint) is family]
        dropped = [peer for peer in message.dropped if family_of(peer) is family]
        if added:
            lists[b"added" + suffix] = b"".join(peer.endpoint for peer in added)
            lists[b"added" + suffix + b".f"] = bytes(peer.flags for peer in added)
        if dropped:
            lists[b"dropped" + suffix] = b"".join(dropped)
    return bencode.encode(lists)


def decode_pex_message(content: bytes) -> PexMessage:
    """Decode the content of an extended message; bytes after its dictionary are ignored.

    Endpoints with port 0 are left out, and so is all but the first mention of a peer.

    Raises:
        RemoteProtocolError: It does not start with a bencoded dictionary of at most 32 KiB.

    Spec: BEP 11 "Message".
    """
    try:
        lists, _ = bencode.decode_prefix(content, _LIMITS)
    except MalformedBencode as error:
        raise RemoteProtocolError("malformed peer exchange message") from error
    if not isinstance(lists, dict):
        raise RemoteProtocolError("peer exchange message is no dictionary")
    added: dict[Endpoint, PexFlags] = {}
    dropped: dict[Endpoint, None] = {}
    for family, suffix in _SUFFIXES.items():
        endpoints = _endpoints(lists.get(b"added" + suffix), family)
        flags = _flags(lists.get(b"added" + suffix + b".f"), len(endpoints))
        for endpoint, said in zip(endpoints, flags, strict=True):
            added.setdefault(endpoint, said)
        dropped |= dict.fromkeys(_endpoints(lists.get(b"dropped" + suffix), family))
    return PexMessage(
        tuple(PexPeer(endpoint, said) for endpoint, said in added.items() if port_of(endpoint)),
        tuple(endpoint for endpoint in dropped if port_of(endpoint)),
    )


class PexIntake:
    """What one peer tells us of others, within bounds."""

    def __init__(self, giver: Endpoint) -> None:
        """Begin with nothing told.

        Args:
            giver: Who tells: it may name addresses of its own scope and global ones.
        """
        self._scope = scope_of(giver)
        self._giver = giver
        self._taken: set[Endpoint] = set()
        self._came_at: deque[float] = deque(maxlen=BURST_MAX)

    def take(self, message: PexMessage, *, now: float) -> list[PexPeer]:
        """Take in a message, and return the peers that are news and may be believed.

        Raises:
            RemoteProtocolError: It is one of too many in too short a time.

        Spec: BEP 11 "Rate limiting", "Security considerations".
        """
        if len(self._came_at) == BURST_MAX and now - self._came_at[0] < INTERVAL_S:
            raise RemoteProtocolError("a flood of peer exchange messages")
        self._came_at.append(now)
        news = [peer for peer in message.added[:TAKEN_PER_MESSAGE_MAX] if self._is_news(peer)]
        news = news[: TAKEN_PER_PEER_MAX - len(self._taken)]
        self._taken.update(peer.endpoint for peer in news)
        return news

    def _is_news(self, peer: PexPeer) -> bool:
        is_known = peer.endpoint in self._taken or peer.endpoint == self._giver
        return not is_known and is_allowed(peer.endpoint, self._scope)


class PexLog:
    """What one peer was told of others by us."""

    def __init__(self, receiver: Endpoint) -> None:
        """Begin with nothing told.

        Args:
            receiver: Who is told: only global addresses and those of its own scope mean anything
                to it.
        """
        self._scope = scope_of(receiver)
        self._told: dict[Endpoint, None] = {}
        self._told_at: float | None = None

    def is_due(self, *, now: float) -> bool:
        """Tell whether it is time for a message. Spec: BEP 11 "Rate limiting"."""
        return self._told_at is None or now - self._told_at >= INTERVAL_S

    def next_message(
        self, present: Mapping[Endpoint, PexFlags], *, now: float
    ) -> PexMessage | None:
        """Return what the peer is to be told now, or None: nothing new, or it is too early.

        Args:
            present: Everybody else of the swarm who is connected to us.
            now: Monotonic seconds.

        Spec: BEP 11 "Message".
        """
        if not self.is_due(now=now):
            return None
        news = (
            PexPeer(peer, flags)
            for peer, flags in present.items()
            if peer not in self._told and is_allowed(peer, self._scope)
        )
        gone = (peer for peer in self._told if peer not in present)
        message = PexMessage(_first(news), _first(gone))
        if not message.added and not message.dropped:
            return None
        self._told |= dict.fromkeys(peer.endpoint for peer in message.added)
        for peer in message.dropped:
            del self._told[peer]
        self._told_at = now
        return message


def _first(peers: Iterable[_PeerT]) -> tuple[_PeerT, ...]:
    return tuple(islice(peers, NAMED_MAX))


def _endpoints(value: bencode.BValue | None, family: Family) -> list[Endpoint]:
    size = family.endpoint_bytes
    if not isinstance(value, bytes) or len(value) % size:
        return []
    return [Endpoint(value[start : start + size]) for start in range(0, len(value), size)]


def _flags(value: bencode.BValue | None, count: int) -> list[PexFlags]:
    if not isinstance(value, bytes) or len(value) != count:
        return [_NO_FLAGS] * count
    return [PexFlags(byte) & _ALL_FLAGS for byte in value]
