"""Whom the peers of a link lead us to: those they name, and those they introduce us to.

`Introductions` is one link's, shared by its conversations; each has an `Informant` there while it
lasts, which hears what the peer says of others. Peers that are named become candidates at once,
whether or not the one who names them has any metadata. A peer that cannot be dialled but was named
by somebody who is still connected to both can be reached through that one: `arrange` asks it for a
rendezvous, and when it agrees, both sides have to dial.

Spec: BEP 11; BEP 55.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from dht.contact import Endpoint
from magnet.peer.events import Event
from magnet.peer.extension import UT_HOLEPUNCH
from magnet.peer.stream import PeerStream
from magnet.peer.ut_holepunch import (
    CallLimit,
    Connect,
    HolepunchFailed,
    Rendezvous,
    encode_holepunch_message,
)
from magnet.peer.ut_pex import PexFlags, PexIntake, PexMessage, PexPeer
from magnet.sources.source import PEX, Candidate, Hints

ANSWER_S: Final = 4.0
"""Seconds a relay has for its answer, which needs no third party's."""

RELAY_S: Final = 10.0
"""Seconds for which a peer is kept after it has named one that it could introduce: time enough to
find out that that one cannot be dialled."""

RENDEZVOUS_MAX: Final = 8
"""Introductions asked of one relay, all in all: more than a handful would be too much to ask."""


class Introductions:
    """What the conversations of one link learn of other peers.

    Attributes:
        is_short: Tells whether there are too few peers to try.
        calls: Bounds how many peers are tried because they are said to dial us.
    """

    def __init__(
        self,
        found: Callable[[Candidate], None] = lambda candidate: None,
        *,
        is_short: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin without conversations.

        Args:
            found: Takes the peers that are named; called again for a peer that is named again.
            is_short: Tells whether there are too few peers to try, so that it pays to stay with
                one that can only name others.
        """
        self.is_short = is_short
        self._found = found
        self._informants: dict[Endpoint, Informant] = {}
        self.calls = CallLimit()

    @contextmanager
    def conversing(self, peer: PeerStream, at: Endpoint) -> Iterator["Informant"]:
        """Hear what a peer says of others, and let it be asked, for the time of the block.

        Args:
            peer: A peer, before or after the handshakes.
            at: Where it is.
        """
        informant = Informant(self, peer, at)
        self._informants[at] = informant
        try:
            yield informant
        finally:
            if self._informants.get(at) is informant:
                del self._informants[at]

    async def arrange(self, candidate: Candidate) -> bool:
        """Have the mutual peer introduce us to a candidate that could not be dialled.

        Returns:
            Whether the candidate was told to dial us, and is to be dialled now.

        Spec: BEP 55 "rendezvous".
        """
        via = candidate.hints.via
        informant = None if via is None else self._informants.get(via)
        return informant is not None and await informant.introduce(candidate.endpoint)

    def add(self, candidate: Candidate) -> None:
        """Take a peer that was named."""
        self._found(candidate)


class Informant:
    """One conversation's part in the introductions of its link."""

    def __init__(self, introductions: Introductions, peer: PeerStream, at: Endpoint) -> None:
        """Begin with nothing said."""
        self._introductions = introductions
        self._peer = peer
        self._at = at
        self._intake = PexIntake(at)
        self._waiting: dict[Endpoint, _Answer] = {}
        self._asked = 0
        self._relays_until = float("-inf")

    @property
    def is_useful(self) -> bool:
        """Whether it pays to stay with the peer for what it says of others."""
        may_be_asked = trio.current_time() < self._relays_until
        return bool(self._waiting) or may_be_asked or self._introductions.is_short()

    def hear(self, event: Event | None) -> None:
        """Take in what the peer says of others; anything else it says is no matter of ours.

        Raises:
            RemoteProtocolError: It floods us.
        """
        match event:
            case PexMessage():
                for peer in self._intake.take(event, now=trio.current_time()):
                    self._name(peer)
            case Connect(to) if to not in self._waiting:
                self._heed(event)
            case Connect(to):
                self._waiting[to].settle(is_arranged=True)
            case HolepunchFailed(target) if target in self._waiting:
                self._waiting[target].settle(is_arranged=False)

    async def introduce(self, target: Endpoint) -> bool:
        """Ask the peer for a rendezvous; return whether it has told the target to dial us.

        Spec: BEP 55 "rendezvous".
        """
        if not self._is_relay or self._asked >= RENDEZVOUS_MAX or target in self._waiting:
            return False
        self._asked += 1
        answer = self._waiting[target] = _Answer()
        try:
            content = encode_holepunch_message(Rendezvous(target))
            self._peer.connection.send_extension(UT_HOLEPUNCH, content)
            self._peer.wake()
            with trio.move_on_after(ANSWER_S):
                await answer.came.wait()
        finally:
            del self._waiting[target]
        return answer.is_arranged

    @property
    def _is_relay(self) -> bool:
        return self._peer.connection.speaks(UT_HOLEPUNCH)

    def _name(self, peer: PexPeer) -> None:
        can_punch = self._is_relay and PexFlags.HOLEPUNCH in peer.flags
        if can_punch:
            self._relays_until = trio.current_time() + RELAY_S
        hints = Hints(
            prefers_encryption=PexFlags.PREFERS_ENCRYPTION in peer.flags,
            supports_utp=PexFlags.UTP in peer.flags,
            supports_holepunch=PexFlags.HOLEPUNCH in peer.flags,
            via=self._at if can_punch else None,
            is_seed=PexFlags.SEED in peer.flags or None,
        )
        self._add(peer.endpoint, hints)

    def _heed(self, call: Connect) -> None:
        """Take note of a peer that dials us on its own account."""
        if self._introductions.calls.admits(call, self._at, now=trio.current_time()):
            hints = Hints(supports_utp=True, supports_holepunch=True, via=self._at)
            self._add(call.to, hints)

    def _add(self, endpoint: Endpoint, hints: Hints) -> None:
        key = self._peer.connection.info_hash
        self._introductions.add(Candidate(endpoint, key, PEX, hints))


class _Answer:
    """A relay's answer, once it is there."""

    def __init__(self) -> None:
        self.came = trio.Event()
        self.is_arranged = False

    def settle(self, *, is_arranged: bool) -> None:
        self.is_arranged = is_arranged
        self.came.set()
