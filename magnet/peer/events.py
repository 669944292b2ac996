"""What a conversation with a peer can tell its driver.

Besides the events made here there are messages that speak for themselves: the core messages of
`magnet.peer.wire`, and those of the extensions that have a module of their own: `ut_metadata`,
`ut_pex` and `ut_holepunch`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from dht.keyspace import InfoHash
from magnet.peer import wire
from magnet.peer.extension import ExtensionHandshake
from magnet.peer.handshake import PeerId, Reserved
from magnet.peer.ut_holepunch import HolepunchMessage
from magnet.peer.ut_metadata import MetadataMessage
from magnet.peer.ut_pex import PexMessage


@dataclass(frozen=True, slots=True)
class HandshakeReceived:
    """A responder has been told which torrent it is about, and must `accept` or `close`.

    Attributes:
        info_hash: The torrent, as the initiator names it.
        reserved: What the initiator can do.
    """

    info_hash: InfoHash
    reserved: Reserved


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """Both handshakes are through; from here on messages flow.

    Attributes:
        peer_id: What the peer calls itself.
        reserved: What the peer can do.
    """

    peer_id: PeerId
    reserved: Reserved


@dataclass(frozen=True, slots=True)
class ExtensionHandshakeReceived:
    """The peer has said what extensions it speaks; may come again later.

    Attributes:
        handshake: What this very message says.
    """

    handshake: ExtensionHandshake


@dataclass(frozen=True, slots=True)
class ExtensionMessage:
    """A message of an extension that we announced and that has no event of its own.

    Attributes:
        name: The extension.
        content: The message in the extension's own form.
    """

    name: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The stream ended; the last event of a conversation."""


Event: TypeAlias = (
    HandshakeReceived
    | HandshakeCompleted
    | ExtensionHandshakeReceived
    | MetadataMessage
    | PexMessage
    | HolepunchMessage
    | ExtensionMessage
    | PeerClosed
    | wire.Message
)
"""Everything `PeerConnection.next_event` returns; of `wire.Message` never `Extended`."""
