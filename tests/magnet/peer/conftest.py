"""Peers that talk to each other without a network."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from dht.keyspace import InfoHash
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.events import Event
from magnet.peer.extension import ExtensionHandshake
from magnet.peer.handshake import PeerId, Reserved

Transfer: TypeAlias = Callable[[PeerConnection, PeerConnection], list[Event]]
Pair: TypeAlias = tuple[PeerConnection, PeerConnection]


@pytest.fixture
def info_hash() -> InfoHash:
    return InfoHash(b"\xaa" * 20)


@pytest.fixture
def transfer() -> Transfer:
    """Carry what `sender` has to say to `receiver`, and return what that makes of it."""

    def carry(sender: PeerConnection, receiver: PeerConnection) -> list[Event]:
        receiver.receive_data(sender.data_to_send())
        return list(receiver.events())

    return carry


@pytest.fixture
def open_pair(info_hash: InfoHash, transfer: Transfer) -> Callable[..., Pair]:
    """Return an initiator and a responder after both handshakes."""

    def make(
        offer: ExtensionHandshake,
        *,
        wish: ExtensionHandshake | None = None,
        reserved: Reserved = FEATURES,
    ) -> Pair:
        wish = wish or ExtensionHandshake(ids={b"ut_metadata": 2})
        initiator = PeerConnection.initiator(
            info_hash, PeerId(b"-XX0001-abcdefghijkl"), wish, reserved=reserved
        )
        responder = PeerConnection.responder(PeerId(b"-XX0001-mnopqrstuvwx"), reserved=reserved)
        transfer(initiator, responder)
        responder.accept(offer)
        list(responder.events())
        transfer(responder, initiator)
        transfer(initiator, responder)
        return initiator, responder

    return make
