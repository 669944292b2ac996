"""What a seeder does for the peers of a swarm: those who ask too much first, then introductions."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from dht.contact import Endpoint, parse_endpoint
from magnet.errors import RemoteProtocolError
from magnet.peer.acquaintances import (
    RENDEZVOUS_BURST,
    RENDEZVOUS_GAP_S,
    Acquaintance,
    Acquaintances,
)
from magnet.peer.connection import PeerConnection
from magnet.peer.events import Event, ExtensionHandshakeReceived
from magnet.peer.extension import LOCAL_IDS, UT_HOLEPUNCH, UT_METADATA, ExtensionHandshake
from magnet.peer.ut_holepunch import Connect, HolepunchError, HolepunchFailed, Rendezvous
from magnet.peer.ut_pex import BURST_MAX, INTERVAL_S, PexFlags, PexMessage, PexPeer

Pair: TypeAlias = tuple[PeerConnection, PeerConnection]
Transfer: TypeAlias = Callable[[PeerConnection, PeerConnection], list[Event]]

OFFER = ExtensionHandshake(ids=LOCAL_IDS, metadata_size=100)
EARLIER, ALSO, LATER = 1000.0, 1000.5, 1000.0 + INTERVAL_S


class Guest:
    """A peer that is connected to us: its end of the conversation, and what we hold of it."""

    def __init__(self, ours: PeerConnection, theirs: PeerConnection, transfer: Transfer) -> None:
        self.ours, self.theirs = ours, theirs
        self.woken = 0
        self._transfer = transfer

    def wake(self) -> None:
        self.woken += 1

    def hears(self) -> list[Event]:
        """Return what it is told by us."""
        return self._transfer(self.ours, self.theirs)


class Party:
    """A swarm around us."""

    def __init__(self, open_pair: Callable[..., Pair], transfer: Transfer) -> None:
        self.swarm = Acquaintances()
        self._open_pair, self._transfer = open_pair, transfer
        self._stack = ExitStack()

    def __enter__(self) -> "Party":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def meet(
        self,
        at: str,
        *,
        port: int | None = None,
        over_utp: bool = False,
        offer: ExtensionHandshake = OFFER,
        now: float = EARLIER,
        **facts: object,
    ) -> tuple[Guest, Acquaintance]:
        wish = ExtensionHandshake(port=port, **{"ids": LOCAL_IDS, **facts})  # type: ignore[arg-type]
        theirs, ours = self._open_pair(offer, wish=wish)
        guest = Guest(ours, theirs, self._transfer)
        meeting = self.swarm.meeting(
            ours, parse_endpoint(at), over_utp=over_utp, wake=guest.wake, now=now
        )
        member = self._stack.enter_context(meeting)
        member.hear(ExtensionHandshakeReceived(wish), now=now)
        return guest, member


@pytest.fixture
def party(open_pair: Callable[..., Pair], transfer: Transfer) -> Iterator[Party]:
    with Party(open_pair, transfer) as party:
        yield party


def failed(target: Endpoint, code: HolepunchError) -> list[Event]:
    return [HolepunchFailed(target, code)]


def test_flood_is_the_peers_fault(party: Party) -> None:
    _, member = party.meet("8.8.8.8:1")
    for number in range(BURST_MAX):
        member.hear(PexMessage(), now=EARLIER + number)
    with pytest.raises(RemoteProtocolError, match="flood"):
        member.hear(PexMessage(), now=EARLIER + 10)


def test_rendezvous_without_a_way_to_answer_is_ignored(party: Party) -> None:
    target, _ = party.meet("9.9.9.9:1", over_utp=True)
    mute, member = party.meet("8.8.8.8:1", ids={UT_METADATA: 2})
    member.hear(Rendezvous(parse_endpoint("9.9.9.9:1")), now=EARLIER)
    assert mute.hears() == []
    assert not any(isinstance(event, Connect) for event in target.hears())


def test_rendezvous_that_come_too_often_are_ignored(party: Party) -> None:
    guest, member = party.meet("8.8.8.8:1")
    nobody = parse_endpoint("9.9.9.9:1")
    for _ in range(100):
        member.hear(Rendezvous(nobody), now=EARLIER)
    assert guest.hears() == failed(nobody, HolepunchError.NOT_CONNECTED) * RENDEZVOUS_BURST
    member.hear(Rendezvous(nobody), now=EARLIER + RENDEZVOUS_GAP_S)
    member.hear(Rendezvous(nobody), now=EARLIER + RENDEZVOUS_GAP_S)
    assert guest.hears() == failed(nobody, HolepunchError.NOT_CONNECTED)


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "192.168.1.1:1", "0.0.0.0:1", "224.0.0.1:1", "[::1]:1", "[fc00::1]:1"]
)
def test_public_peer_is_not_introduced_to_local_ones(party: Party, target: str) -> None:
    other, _ = party.meet(target, over_utp=True)
    guest, member = party.meet("8.8.8.8:1", over_utp=True)
    other.hears(), guest.hears()
    member.hear(Rendezvous(parse_endpoint(target)), now=EARLIER)
    assert guest.hears() == failed(parse_endpoint(target), HolepunchError.NO_SUCH_PEER)
    assert other.hears() == []


def test_local_peer_is_not_introduced_to_public_ones(party: Party) -> None:
    other, _ = party.meet("8.8.8.8:1", over_utp=True)
    guest, member = party.meet("192.168.1.1:1", over_utp=True)
    other.hears(), guest.hears()
    member.hear(Rendezvous(parse_endpoint("8.8.8.8:1")), now=EARLIER)
    assert guest.hears() == failed(parse_endpoint("8.8.8.8:1"), HolepunchError.NO_SUCH_PEER)
    assert other.hears() == []


def test_peer_is_not_introduced_to_itself(party: Party) -> None:
    guest, member = party.meet("8.8.8.8:1", port=6881)
    for place in ("8.8.8.8:1", "8.8.8.8:6881"):
        member.hear(Rendezvous(parse_endpoint(place)), now=EARLIER)
        assert guest.hears() == failed(parse_endpoint(place), HolepunchError.NO_SELF)


def test_peer_that_does_not_understand_is_left_alone(party: Party) -> None:
    target, _ = party.meet("9.9.9.9:1", port=6881, ids={UT_METADATA: 2})
    guest, member = party.meet("8.8.8.8:1", port=6881)
    guest.hears()
    wanted = parse_endpoint("9.9.9.9:6881")
    member.hear(Rendezvous(wanted), now=EARLIER)
    assert guest.hears() == failed(wanted, HolepunchError.NO_SUPPORT)
    assert target.hears() == []


def test_who_has_left_is_not_connected(
    party: Party, open_pair: Callable[..., Pair], transfer: Transfer
) -> None:
    guest, member = party.meet("8.8.8.8:1")
    with Party(open_pair, transfer) as others:
        others.swarm = party.swarm
        others.meet("9.9.9.9:1", over_utp=True)
    member.hear(Rendezvous(parse_endpoint("9.9.9.9:1")), now=EARLIER)
    assert guest.hears() == failed(parse_endpoint("9.9.9.9:1"), HolepunchError.NOT_CONNECTED)


@pytest.mark.parametrize("wanted", ["9.9.9.9:40000", "9.9.9.9:6882"])
def test_both_are_told_to_dial_each_other(party: Party, wanted: str) -> None:
    target, _ = party.meet("9.9.9.9:40000", port=6882)
    guest, member = party.meet("8.8.8.8:1", port=6881)
    target.hears(), guest.hears()
    target.woken = guest.woken = 0
    member.hear(Rendezvous(parse_endpoint(wanted)), now=EARLIER)
    assert guest.hears() == [Connect(parse_endpoint(wanted))]
    assert target.hears() == [Connect(parse_endpoint("8.8.8.8:6881"))]
    assert target.woken == guest.woken == 1


def test_over_utp_a_peer_is_where_its_stream_comes_from(party: Party) -> None:
    target, _ = party.meet("9.9.9.9:40000", over_utp=True)
    guest, member = party.meet("8.8.8.8:1", port=6881, over_utp=True)
    target.hears(), guest.hears()
    member.hear(Rendezvous(parse_endpoint("9.9.9.9:40000")), now=EARLIER)
    assert target.hears() == [Connect(parse_endpoint("8.8.8.8:1"))]


def test_peer_that_announces_no_port_is_called_where_it_is(party: Party) -> None:
    target, _ = party.meet("9.9.9.9:40000", over_utp=True)
    guest, member = party.meet("8.8.8.8:1")
    target.hears(), guest.hears()
    member.hear(Rendezvous(parse_endpoint("9.9.9.9:40000")), now=EARLIER)
    assert target.hears() == [Connect(parse_endpoint("8.8.8.8:1"))]


def test_newcomer_is_told_at_once_and_the_others_in_time(party: Party) -> None:
    first, _ = party.meet("8.8.8.8:1", port=6881)
    assert first.hears() == []
    second, _ = party.meet("9.9.9.9:1", port=6882)
    holepunch = PexFlags.HOLEPUNCH
    assert second.hears() == [PexMessage((PexPeer(parse_endpoint("8.8.8.8:6881"), holepunch),))]
    assert first.hears() == []
    party.swarm.tell_all(now=ALSO)
    assert first.hears() == [PexMessage((PexPeer(parse_endpoint("9.9.9.9:6882"), holepunch),))]
    assert first.woken == second.woken == 1
    party.swarm.tell_all(now=LATER + 1)
    assert first.hears() == second.hears() == []


def test_who_leaves_is_dropped(
    party: Party, open_pair: Callable[..., Pair], transfer: Transfer
) -> None:
    with Party(open_pair, transfer) as others:
        others.swarm = party.swarm
        others.meet("9.9.9.9:1", port=6882)
        guest, _ = party.meet("8.8.8.8:1", port=6881)
        guest.hears()
    party.swarm.tell_all(now=LATER)
    assert guest.hears() == [PexMessage(dropped=(parse_endpoint("9.9.9.9:6882"),))]


def test_flags_say_what_the_peer_says_of_itself(party: Party) -> None:
    party.meet("9.9.9.9:1", over_utp=True, prefers_encryption=True, upload_only=True)
    guest, _ = party.meet("8.8.8.8:1")
    flags = PexFlags.PREFERS_ENCRYPTION | PexFlags.SEED | PexFlags.UTP | PexFlags.HOLEPUNCH
    assert guest.hears() == [PexMessage((PexPeer(parse_endpoint("9.9.9.9:1"), flags),))]


def test_who_takes_no_connections_is_not_named(party: Party) -> None:
    party.meet("9.9.9.9:1")
    guest, _ = party.meet("8.8.8.8:1")
    assert guest.hears() == []


def test_where_we_announce_nothing_nothing_is_done(party: Party) -> None:
    private = ExtensionHandshake()
    party.meet("9.9.9.9:1", over_utp=True, offer=private)
    guest, member = party.meet("8.8.8.8:1", over_utp=True, offer=private)
    party.swarm.tell_all(now=LATER)
    member.hear(Rendezvous(parse_endpoint("9.9.9.9:1")), now=LATER)
    assert guest.hears() == []


def test_who_does_not_understand_peer_exchange_is_not_told(party: Party) -> None:
    party.meet("9.9.9.9:1", over_utp=True)
    guest, _ = party.meet("8.8.8.8:1", ids={UT_METADATA: 2, UT_HOLEPUNCH: 4})
    party.swarm.tell_all(now=LATER)
    assert guest.hears() == []
