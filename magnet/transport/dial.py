"""Reaches a peer by whichever way it understands.

A *way* is a transport, and whether the stream on it is encrypted. The transports are raced: the
second begins when the first has not got through within its head start, or has failed. Encryption
cannot be raced, since both kinds of conversation begin on the same stream: a peer that does not
like what it hears hangs up, and then it is dialled again and addressed the other way. If it hangs
up on that too, the other transport is tried in the same manner, for some clients take a connection
that they are set not to use. Silence is no such sign, and costs only one attempt.

So a peer counts as reached when it has answered our first bytes, not before. The dialler is given
these bytes, the BitTorrent handshake, and repeats them on each way.

All ways lead to one endpoint. Whoever dials has passed the flow budget for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from random import Random
from typing import Final, NamedTuple, TypeAlias

import trio

from dht.contact import Endpoint
from dht.keyspace import InfoHash
from magnet.errors import PeerDisconnected, PeerError, RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.encryption.initiator import ANY_METHOD
from magnet.peer.handshake import decode_opening
from magnet.peer.stream import HANDSHAKE_TIMEOUT_S
from magnet.sources.source import NO_HINTS, Hints
from magnet.transport.carrier import Carrier, Transport
from magnet.transport.early import EarlyStream
from magnet.transport.encrypted import encrypt
from magnet.transport.race import race
from magnet.transport.stages import CONNECTING, HANDSHAKING, stage

HEAD_START_S: Final = 0.5
"""Seconds for the first transport alone: two round trips round the world."""

ANY_TRANSPORT: Final = frozenset(Transport)

LAST_CHANCE_S: Final = 1.5
"""Seconds for the transports that are left when the first has failed: the first packet of uTP, its
repeat after a second, and a round trip. Most peers that refuse one are not there at all."""

_READ_BYTES: Final = 65_536

Carriers: TypeAlias = Mapping[Transport, Carrier]
"""What to dial with, the first choice first."""


class EncryptionPolicy(Enum):
    """Which kinds of stream are tried, and in which order."""

    NEVER = "never"
    IF_NEEDED = "if-needed"
    PREFERRED = "preferred"
    REQUIRED = "required"

    def order(self, *, is_wanted: bool = False) -> tuple[bool, ...]:
        """Return what to try, True for encrypted.

        Args:
            is_wanted: Whether the peer is said to prefer encryption.
        """
        is_raised = is_wanted and self is EncryptionPolicy.IF_NEEDED
        return _ORDERS[EncryptionPolicy.PREFERRED if is_raised else self]


_ORDERS: Final = {
    EncryptionPolicy.NEVER: (False,),
    EncryptionPolicy.IF_NEEDED: (False, True),
    EncryptionPolicy.PREFERRED: (True, False),
    EncryptionPolicy.REQUIRED: (True,),
}


@dataclass(frozen=True, slots=True)
class DialPolicy:
    """How peers are dialled.

    Attributes:
        encryption: Which kinds of stream are tried.
        offer: What an encrypted handshake may be followed by.
        head_start_s: Seconds a transport has for itself before the next is tried beside it.
    """

    encryption: EncryptionPolicy = EncryptionPolicy.IF_NEEDED
    offer: CryptoMethod = ANY_METHOD
    head_start_s: float = HEAD_START_S


class Way(NamedTuple):
    """How a peer was reached.

    Attributes:
        transport: What carries the stream.
        method: How it is encrypted; None if it is not, not even the handshake.
    """

    transport: Transport
    method: CryptoMethod | None = None

    def __str__(self) -> str:
        """Return it in words: "TCP", "uTP, encrypted", "TCP, encrypted handshake"."""
        match self.method:
            case None:
                return self.transport.value
            case CryptoMethod.PLAINTEXT:
                return f"{self.transport.value}, encrypted handshake"
            case _:
                return f"{self.transport.value}, encrypted"


class Dialled(NamedTuple):
    """A peer that was reached.

    Attributes:
        stream: Owned by whoever dialled. Our first bytes were sent on it.
        way: How it was reached.
        rejected: What ended the attempt to address it the other way by the same transport; None if
            this was the first.
    """

    stream: trio.abc.Stream
    way: Way
    rejected: PeerError | None = None

    def __str__(self) -> str:
        """Return how it was reached, as reports call it: "TCP", "uTP, encrypted only"."""
        if self.is_encrypted_only:
            return f"{self.way.transport.value}, encrypted only"
        return str(self.way)

    @property
    def is_encrypted_only(self) -> bool:
        """Whether it has hung up on the plain handshake, and then accepted encryption."""
        return self.rejected is not None and self.way.method is not None


class _Call(NamedTuple):
    """Whom to reach, and what to say; `order` as of `EncryptionPolicy.order`."""

    to: Endpoint
    key: InfoHash
    opening: bytes
    order: tuple[bool, ...]


class Dialer:
    """Dials peers by a policy."""

    def __init__(
        self,
        carriers: Carriers,
        *,
        policy: DialPolicy | None = None,
        rng: Random,
    ) -> None:
        """Create a dialler.

        Args:
            carriers: What to dial with, the first choice first.
            policy: How to dial; by default a `DialPolicy` as it comes.
            rng: Makes the keys and padding of encryption.

        Raises:
            ValueError: There is no carrier.
        """
        if not carriers:
            raise ValueError("no carrier to dial with")
        self._carriers = dict(carriers)
        self._policy = policy if policy is not None else DialPolicy()
        self._rng = rng

    @property
    def transports(self) -> frozenset[Transport]:
        """By what it dials."""
        return frozenset(self._carriers)

    async def connect(
        self,
        to: Endpoint,
        key: InfoHash,
        opening: bytes,
        *,
        hints: Hints = NO_HINTS,
        by: frozenset[Transport] = ANY_TRANSPORT,
    ) -> Dialled:
        """Reach a peer.

        Args:
            to: Where it is; the flow budget was passed.
            key: The torrent it is about; for v2 the truncated hash.
            opening: Our first bytes, which the peer is to answer: a BitTorrent handshake.
            hints: What is known of the peer.
            by: Which transports may be tried, of those there are; one at least.

        Raises:
            PeerTimeout: No transport got through in time, or the peer is silent.
            PeerDisconnected: No transport got through, or the peer hung up on whatever we tried.
            RemoteProtocolError: It speaks another protocol.
        """
        order = self._policy.encryption.order(is_wanted=hints.prefers_encryption)
        carriers = {it: carrier for it, carrier in self._carriers.items() if it in by}
        return await self._dial(_Call(to, key, opening, order), carriers)

    async def _dial(self, call: _Call, carriers: Carriers, timeout_s: float = math.inf) -> Dialled:
        """Reach the peer by one transport, and if it hangs up on whatever we say, by the others."""
        transport, stream = await self._open(call.to, carriers, timeout_s)
        try:
            return await self._talk(call, transport, stream)
        except PeerDisconnected as error:
            others = {it: carrier for it, carrier in carriers.items() if it is not transport}
            if not others:
                raise
            rejected = error
        try:
            return await self._dial(call, others, LAST_CHANCE_S)
        except PeerError as error:
            raise rejected from error

    async def _open(
        self, to: Endpoint, carriers: Carriers, timeout_s: float
    ) -> tuple[Transport, trio.abc.Stream]:
        """Open a stream by whichever transport gets through first."""
        attempts = [partial(carrier.connect, to) for carrier in carriers.values()]
        head_start_s = self._policy.head_start_s
        with stage(CONNECTING, timeout_s):
            number, stream = await race(
                attempts, head_start_s=head_start_s, last_chance_s=LAST_CHANCE_S
            )
        return tuple(carriers)[number], stream

    async def _talk(self, call: _Call, transport: Transport, stream: trio.abc.Stream) -> Dialled:
        """Address the peer in one way, and if it does not like that, in the other."""
        first, *others = call.order
        try:
            stream, method = await self._address(call, stream, is_encrypted=first)
            return Dialled(stream, Way(transport, method))
        except (PeerDisconnected, RemoteProtocolError) as error:
            if not others or not _may_be_about_encryption(error, is_encrypted=first):
                raise
            rejected = error
        try:
            stream = await self._carriers[transport].connect(call.to)
            stream, method = await self._address(call, stream, is_encrypted=not first)
            return Dialled(stream, Way(transport, method), rejected)
        except PeerError as error:
            raise rejected from error

    async def _address(
        self, call: _Call, stream: trio.abc.Stream, *, is_encrypted: bool
    ) -> tuple[trio.abc.Stream, CryptoMethod | None]:
        """Say our first bytes in one way or the other, and have them answered."""
        if not is_encrypted:
            return await _greet(stream, call.opening), None
        encrypted = await encrypt(
            stream, call.key, opening=call.opening, offer=self._policy.offer, rng=self._rng
        )
        return encrypted, encrypted.method


def _may_be_about_encryption(error: PeerError, *, is_encrypted: bool) -> bool:
    """Tell whether a peer that ends a conversation so may take the other kind.

    Whoever insists on encryption hangs up on anything else; what answers our plain handshake with
    something of its own is no peer.
    """
    return is_encrypted or isinstance(error, PeerDisconnected)


async def _greet(stream: trio.abc.Stream, opening: bytes) -> trio.abc.Stream:
    """Say our first bytes, and wait until it is clear that the answer is of the same protocol."""
    try:
        with stage(HANDSHAKING, HANDSHAKE_TIMEOUT_S):
            await stream.send_all(opening)
            answer = bytes(await stream.receive_some(_READ_BYTES))
        if not answer:
            raise PeerDisconnected(HANDSHAKING)
        decode_opening(answer)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return EarlyStream(stream, answer)
