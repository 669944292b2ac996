"""The peers of one swarm that are connected to us, and what we do for them: name and introduce.

Each peer that understands it is told by peer exchange who else is here, and who has gone. A peer
that cannot reach another by itself may ask us to introduce it, as the relay of a holepunch. Both
are for peers of the same swarm only, and neither tells anybody an address that means nothing to it:
one of another scope.

What is to be sent is put into the peers' connections; whoever holds their streams is woken. With
connections on which we announce neither extension, as for private torrents, nothing is done.

Spec: BEP 11; BEP 55.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from dht.contact import Endpoint, address_of, scope_of
from dht.ratelimit import TokenBucket
from magnet.peer.connection import PeerConnection
from magnet.peer.events import Event, ExtensionHandshakeReceived
from magnet.peer.extension import UT_HOLEPUNCH, UT_PEX
from magnet.peer.ut_holepunch import (
    CallLimit,
    Connect,
    HolepunchError,
    HolepunchFailed,
    HolepunchMessage,
    Rendezvous,
    encode_holepunch_message,
)
from magnet.peer.ut_pex import PexFlags, PexIntake, PexLog, PexMessage, encode_pex_message

RENDEZVOUS_GAP_S: Final = 2.0
"""Seconds that one peer has to leave between rendezvous, on average."""

RENDEZVOUS_BURST: Final = 5
"""Rendezvous that it may ask for at once: a few peers of a swarm, and no scan of it."""


class Acquaintances:
    """The peers of one swarm that are connected to us now."""

    def __init__(self, dial: Callable[[Endpoint], None] = lambda to: None) -> None:
        """Begin without any.

        Args:
            dial: Called when a peer that is not here yet is said to dial us, to dial it.
        """
        self._dial = dial
        self._calls = CallLimit()
        self._members: dict[Acquaintance, None] = {}

    @contextmanager
    def meeting(
        self,
        connection: PeerConnection,
        remote: Endpoint,
        *,
        over_utp: bool = False,
        wake: Callable[[], None] = lambda: None,
        now: float,
    ) -> Iterator["Acquaintance"]:
        """Keep up the acquaintance with a peer for the time of the block.

        Args:
            connection: The conversation with it.
            remote: Where its end of the stream is.
            over_utp: Whether the stream is uTP: then it is there that the peer takes connections.
            wake: Called when the connection has something to send.
            now: Monotonic seconds.
        """
        rendezvous = TokenBucket(1 / RENDEZVOUS_GAP_S, RENDEZVOUS_BURST, now=now)
        member = Acquaintance(self, connection, remote, over_utp, wake, rendezvous)
        try:
            yield member
        finally:
            self._members.pop(member, None)

    def welcome(self, member: "Acquaintance", *, now: float) -> None:
        """Take in a peer whose extension handshake is there, and tell it who else is here."""
        self._members[member] = None
        member.tell(self._present(), now=now)

    def tell_all(self, *, now: float) -> None:
        """Tell everybody what is new to it, where it is time for that."""
        present = self._present()
        for member in self._members:
            member.tell(present, now=now)

    def introduce(self, initiator: "Acquaintance", wish: Rendezvous, *, now: float) -> None:
        """Have two peers dial each other, or say why not.

        A wish that comes too often, or from a peer that could not be answered, is ignored.

        Spec: BEP 55 "rendezvous".
        """
        if not initiator.punches or not initiator.may_ask(now=now):
            return
        target = self._target(initiator, wish.target)
        if isinstance(target, HolepunchError):
            initiator.say(HolepunchFailed(wish.target, target))
        else:
            initiator.say(Connect(wish.target))
            target.say(Connect(initiator.listens_at or initiator.remote))

    def heed(self, relay: "Acquaintance", call: Connect, *, now: float) -> None:
        """Dial a peer that another one introduces, unless it is here already.

        Spec: BEP 55 "connect".
        """
        is_here = any(member.is_at(call.to) for member in self._members)
        if relay.punches and not is_here and self._calls.admits(call, relay.remote, now=now):
            self._dial(call.to)

    def _target(self, initiator: "Acquaintance", at: Endpoint) -> "Acquaintance | HolepunchError":
        """Return who is meant by an endpoint, or why that one and the initiator cannot meet."""
        if scope_of(at) is not scope_of(initiator.remote):
            return HolepunchError.NO_SUCH_PEER
        target = next((member for member in self._members if member.is_at(at)), None)
        if target is None:
            return HolepunchError.NOT_CONNECTED
        if target is initiator:
            return HolepunchError.NO_SELF
        return target if target.punches else HolepunchError.NO_SUPPORT

    def _present(self) -> dict[Endpoint, PexFlags]:
        places = ((member.listens_at, member.flags) for member in self._members)
        return {place: flags for place, flags in places if place is not None}


class Acquaintance:
    """A peer of the swarm that is connected to us; made by `Acquaintances.meeting`.

    Attributes:
        remote: Where its end of the stream is.
    """

    def __init__(
        self,
        swarm: Acquaintances,
        connection: PeerConnection,
        remote: Endpoint,
        over_utp: bool,
        wake: Callable[[], None],
        rendezvous: TokenBucket,
    ) -> None:
        """Take note of a peer."""
        self.remote = remote
        self._swarm = swarm
        self._intake = PexIntake(remote)
        self._connection = connection
        self._over_utp = over_utp
        self._wake = wake
        self._log = PexLog(remote)
        self._rendezvous = rendezvous

    @property
    def listens_at(self) -> Endpoint | None:
        """Where it takes connections, as far as we know."""
        port = self._connection.theirs.port
        if self._over_utp:
            return self.remote
        return None if port is None else Endpoint(address_of(self.remote) + port.to_bytes(2))

    @property
    def flags(self) -> PexFlags:
        """What we can say of it to others."""
        theirs = self._connection.theirs
        facts = {
            PexFlags.PREFERS_ENCRYPTION: theirs.prefers_encryption,
            PexFlags.SEED: theirs.upload_only,
            PexFlags.UTP: self._over_utp,
            PexFlags.HOLEPUNCH: self.punches,
        }
        return PexFlags(sum(flag for flag, holds in facts.items() if holds))

    @property
    def punches(self) -> bool:
        """Whether it can be introduced to others."""
        return self._connection.speaks(UT_HOLEPUNCH)

    def hear(self, event: Event, *, now: float) -> None:
        """Do what the peer asks for, if its message is a matter of the swarm.

        Whom it names is of no use to us.

        Raises:
            RemoteProtocolError: It floods us.
        """
        match event:
            case ExtensionHandshakeReceived():
                self._swarm.welcome(self, now=now)
            case PexMessage():
                self._intake.take(event, now=now)
            case Rendezvous():
                self._swarm.introduce(self, event, now=now)
            case Connect():
                self._swarm.heed(self, event, now=now)

    def is_at(self, endpoint: Endpoint) -> bool:
        """Tell whether it can be meant by an endpoint."""
        return endpoint in (self.remote, self.listens_at)

    def tell(self, present: Mapping[Endpoint, PexFlags], *, now: float) -> None:
        """Tell it who is here, if there is news and it is time for it."""
        if not self._log.is_due(now=now) or not self._connection.speaks(UT_PEX):
            return
        others = {at: flags for at, flags in present.items() if not self.is_at(at)}
        message = self._log.next_message(others, now=now)
        if message is not None:
            self._send(UT_PEX, encode_pex_message(message))

    def say(self, message: HolepunchMessage) -> None:
        """Send it a holepunch message, which it must understand."""
        self._send(UT_HOLEPUNCH, encode_holepunch_message(message))

    def may_ask(self, *, now: float) -> bool:
        """Count a rendezvous that it asks for; tell whether it is within bounds."""
        return self._rendezvous.take(now=now)

    def _send(self, name: bytes, content: bytes) -> None:
        self._connection.send_extension(name, content)
        self._wake()
