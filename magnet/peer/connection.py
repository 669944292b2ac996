"""One conversation with one peer: bytes in, events out, bytes to send. No socket, no clock.

The states, in order, with what leads out of each:

    HANDSHAKING   the peer's first 48 bytes: IDENTIFYING (initiator) or DECIDING (responder)
    DECIDING      `accept`: IDENTIFYING
    IDENTIFYING   the peer's id: EXTENDING, or OPEN if it has no extension protocol
    EXTENDING     the peer's extension handshake: OPEN
    OPEN
    CLOSED        from everywhere: `close`, the end of the stream, or a fault of the peer

Messages flow in EXTENDING and OPEN. Feed what arrives to `receive_data`, take events from
`next_event` until there is none, and send what `data_to_send` returns. Core messages that matter to
us in no special way are their own events.

A call in a wrong state raises `LocalProtocolError` and changes nothing. Whatever a peer sends
raises `RemoteProtocolError` at most, and that ends the conversation. Small faults that real clients
are known for are ignored; a peer that collects `OFFENCES_MAX` of them is not confused but hostile.

Spec: BEP 3 "peer protocol"; BEP 6; BEP 9; BEP 10; BEP 11; BEP 55.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import Final, Self

from dht.keyspace import InfoHash
from magnet.errors import LocalProtocolError, RemoteProtocolError
from magnet.peer import wire
from magnet.peer.events import (
    Event,
    ExtensionHandshakeReceived,
    ExtensionMessage,
    HandshakeCompleted,
    HandshakeReceived,
    PeerClosed,
)
from magnet.peer.extension import (
    EXTENSION_HANDSHAKE_ID,
    UT_HOLEPUNCH,
    UT_METADATA,
    UT_PEX,
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
    merge_ids,
)
from magnet.peer.handshake import (
    OPENING_BYTES,
    PEER_ID_BYTES,
    Opening,
    PeerId,
    Reserved,
    decode_opening,
    encode_handshake,
)
from magnet.peer.ut_holepunch import HolepunchMessage, decode_holepunch_message
from magnet.peer.ut_metadata import (
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    decode_metadata_message,
    encode_metadata_message,
    piece_count,
)
from magnet.peer.ut_pex import PexMessage, decode_pex_message

FEATURES: Final = Reserved.EXTENSION_PROTOCOL | Reserved.FAST
"""What every connection of ours can do; whoever runs a DHT node adds `Reserved.DHT`."""

OFFENCES_MAX: Final = 10
"""Ignored messages (answers to nothing, extension ids we never gave out) after which a peer is
dropped."""

HELLOS_MAX: Final = 20
"""Extension handshakes of one peer: clients send a second when something changes, and seldom a
third."""

MESSAGES_MAX: Final = 20_000
"""Messages of one peer: metadata of the largest size takes a thousand, and a busy downloader tells
of some ten thousand pieces in the ten minutes that a connection lasts here."""

_FAST_MESSAGES: Final = (
    *(wire.Suggest, wire.HaveAll, wire.HaveNone, wire.RejectRequest, wire.AllowedFast),
)

_DECODERS: Final[Mapping[bytes, Callable[[bytes], PexMessage | HolepunchMessage | None]]] = {
    UT_PEX: decode_pex_message,
    UT_HOLEPUNCH: decode_holepunch_message,
}
"""Extensions whose messages are events as they come, whatever was said before."""


class State(Enum):
    """Where a conversation stands; the module's docstring has the transitions."""

    HANDSHAKING = "handshaking"
    DECIDING = "deciding"
    IDENTIFYING = "identifying"
    EXTENDING = "extending"
    OPEN = "open"
    CLOSED = "closed"


class PeerConnection:
    """The state machine of one connection. Make one with `initiator` or `responder`."""

    def __init__(self, peer_id: PeerId, reserved: Reserved, message_bytes_max: int) -> None:
        """Start in HANDSHAKING with nothing to send."""
        self._peer_id = peer_id
        self._reserved = reserved
        self._state = State.HANDSHAKING
        self._targets: tuple[InfoHash, ...] = ()
        self._ours = ExtensionHandshake()
        self._opening: Opening | None = None
        self._agreed_hash: InfoHash | None = None
        self._theirs = ExtensionHandshake()
        self._received = bytearray()
        self._decoder = wire.MessageDecoder(message_bytes_max)
        self._outgoing = bytearray()
        self._eof = False
        self._requested: Counter[int] = Counter()
        self._offences = 0
        self._hellos = 0
        self._messages = 0
        self._dht_port_seen = False

    @classmethod
    def initiator(
        cls,
        info_hash: InfoHash,
        peer_id: PeerId,
        hello: ExtensionHandshake,
        *,
        aliases: Iterable[InfoHash] = (),
        reserved: Reserved = FEATURES,
        message_bytes_max: int = wire.RESOLVER_MESSAGE_BYTES_MAX,
    ) -> Self:
        """Start a conversation; our handshake is ready to be sent.

        Args:
            info_hash: What it is about: 20 bytes, for v2 the truncated hash.
            peer_id: What we call ourselves.
            hello: Our extension handshake, sent as soon as the peer turns out to understand it.
            aliases: Other hashes by which the peer may name the torrent in its answer: of a hybrid
                torrent the truncated v2 one. Spec: BEP 52 "Upgrade Path".
            reserved: What we can do.
            message_bytes_max: Longest message body accepted.
        """
        connection = cls(peer_id, reserved, message_bytes_max)
        connection._targets = (info_hash, *aliases)
        connection._ours = hello
        connection._outgoing += encode_handshake(reserved, info_hash, peer_id)
        return connection

    @classmethod
    def responder(
        cls,
        peer_id: PeerId,
        *,
        reserved: Reserved = FEATURES,
        message_bytes_max: int = wire.RESOLVER_MESSAGE_BYTES_MAX,
    ) -> Self:
        """Await a conversation; answer its first event, `HandshakeReceived`, or `close`.

        Args:
            peer_id: What we call ourselves.
            reserved: What we can do.
            message_bytes_max: Longest message body accepted.
        """
        return cls(peer_id, reserved, message_bytes_max)

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def shared(self) -> Reserved:
        """What both sides can do; nothing while the peer's handshake is not there."""
        return Reserved(0) if self._opening is None else self._reserved & self._opening.reserved

    @property
    def info_hash(self) -> InfoHash:
        """The torrent, as the initiator named it.

        Raises:
            LocalProtocolError: It has not named any yet.
        """
        if self._targets:
            return self._targets[0]
        if self._opening is None:
            raise LocalProtocolError("no torrent was named yet")
        return self._opening.info_hash

    @property
    def agreed_hash(self) -> InfoHash:
        """The torrent, as the responder named it: of a hybrid it tells which protocol is spoken.

        Raises:
            LocalProtocolError: The responder has not answered yet.

        Spec: BEP 52 "Upgrade Path".
        """
        if self._agreed_hash is None:
            raise LocalProtocolError("the torrent is not agreed on yet")
        return self._agreed_hash

    @property
    def theirs(self) -> ExtensionHandshake:
        """What the peer has said in extension handshakes; of several metadata sizes the first."""
        return self._theirs

    @property
    def metadata_size(self) -> int | None:
        """Bytes of metadata the peer offers; None while it offers none.

        Spec: BEP 9 "extension header".
        """
        return self._theirs.metadata_size if self._theirs.ids.get(UT_METADATA) else None

    def speaks(self, extension: bytes) -> bool:
        """Tell whether both sides speak an extension, and its messages flow by now."""
        is_shared = extension in self._ours.ids and extension in self._theirs.ids
        return is_shared and self._state is State.OPEN

    def receive_data(self, data: bytes) -> None:
        """Take in bytes from the stream, in portions of any size.

        Raises:
            LocalProtocolError: The conversation is closed, or the stream was said to have ended.
        """
        if self._eof:
            raise LocalProtocolError("data after the end of the stream")
        self._require(*(set(State) - {State.CLOSED}))
        if self._state in (State.EXTENDING, State.OPEN):
            self._decoder.feed(data)
        else:
            self._received += data

    def receive_eof(self) -> None:
        """Note that the stream has ended; `PeerClosed` follows the events of what came before."""
        self._eof = True

    def next_event(self) -> Event | None:
        """Return the next event, or None: more bytes or a decision are needed, or all is over.

        Raises:
            RemoteProtocolError: The peer broke the protocol; the conversation is closed.
        """
        try:
            event = self._next_event()
        except RemoteProtocolError:
            self._state = State.CLOSED
            raise
        if event is None and self._eof and self._state is not State.CLOSED:
            self._state = State.CLOSED
            return PeerClosed()
        return event

    def events(self) -> Iterator[Event]:
        """Yield events as `next_event` returns them, up to the first None.

        Raises:
            RemoteProtocolError: As for `next_event`.
        """
        while (event := self.next_event()) is not None:
            yield event

    def data_to_send(self) -> bytes:
        """Return the bytes to be sent, and forget them."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def accept(self, hello: ExtensionHandshake, *, upgrade: InfoHash | None = None) -> None:
        """Answer the initiator's handshake with ours, for the torrent it named.

        Args:
            hello: Our extension handshake for this torrent, sent if the initiator understands it.
            upgrade: Of a hybrid torrent the truncated v2 hash, with which an initiator that can do
                so is answered.

        Raises:
            LocalProtocolError: There is nothing to decide.

        Spec: BEP 3 "peer protocol"; BEP 52 "Upgrade Path".
        """
        self._require(State.DECIDING)
        assert self._opening is not None
        self._ours = hello
        info_hash = self._opening.info_hash
        if upgrade is not None and Reserved.V2_UPGRADE in self._opening.reserved:
            info_hash = upgrade
        self._agreed_hash = info_hash
        self._outgoing += encode_handshake(self._reserved, info_hash, self._peer_id)
        self._begin_extensions()
        self._state = State.IDENTIFYING

    def send(self, message: wire.Message) -> None:
        """Send a core message.

        Raises:
            LocalProtocolError: Messages do not flow yet or any more, the message needs the fast
                extension and the peer has not got it, or it is an extended one, for which
                `send_extension` is there.
        """
        self._require(State.EXTENDING, State.OPEN)
        if isinstance(message, wire.Extended):
            raise LocalProtocolError("extended messages are sent by send_extension")
        if isinstance(message, _FAST_MESSAGES) and Reserved.FAST not in self.shared:
            raise LocalProtocolError("the peer does not speak the fast extension")
        self._outgoing += message.encode()

    def send_extension(self, name: bytes, content: bytes) -> None:
        """Send a message of an extension, under the id that the peer gave it.

        Raises:
            LocalProtocolError: The peer has not announced this extension.

        Spec: BEP 10 "extension message".
        """
        self._require(State.OPEN)
        identifier = self._theirs.ids.get(name)
        if identifier is None:
            raise LocalProtocolError(f"the peer does not speak {name.decode()}")
        self._outgoing += wire.Extended(identifier, content).encode()

    def request_metadata(self, piece: int) -> None:
        """Request a piece of the metadata; asking again for the same piece is allowed.

        Raises:
            LocalProtocolError: The peer offers no metadata, or none with such a piece.

        Spec: BEP 9 "request".
        """
        if not 0 <= piece < piece_count(self.metadata_size or 0):
            raise LocalProtocolError("the peer offers no such metadata piece")
        self.send_extension(UT_METADATA, encode_metadata_message(MetadataRequest(piece)))
        self._requested[piece] += 1

    def offer_metadata(self, size: int) -> None:
        """Tell the peer, in a further extension handshake, that we have metadata by now.

        Args:
            size: Of the info dictionary, in bytes.

        Raises:
            LocalProtocolError: Messages do not flow yet or any more.

        Spec: BEP 9 "extension header"; BEP 10 "handshake message".
        """
        self._require(State.OPEN)
        # All of it once more: libtorrent takes what is not repeated for switched off.
        self._ours = replace(self._ours, metadata_size=size)
        self._begin_extensions()

    def answer_metadata(self, answer: MetadataPiece | MetadataReject) -> None:
        """Answer a `MetadataRequest`; to a peer that gave us no id to send under, say nothing.

        Raises:
            LocalProtocolError: Messages do not flow yet or any more.

        Spec: BEP 9 "data", "reject".
        """
        self._require(State.OPEN)
        if UT_METADATA in self._theirs.ids:
            self.send_extension(UT_METADATA, encode_metadata_message(answer))

    def close(self) -> None:
        """End the conversation, in any state and as often as one likes."""
        self._state = State.CLOSED

    def _require(self, *states: State) -> None:
        if self._state not in states:
            raise LocalProtocolError(f"not while {self._state.value}")

    def _next_event(self) -> Event | None:
        if self._state is State.HANDSHAKING and (received := self._read_opening()) is not None:
            return received
        if self._state is State.IDENTIFYING and (completed := self._read_peer_id()) is not None:
            return completed
        while self._state in (State.EXTENDING, State.OPEN):
            message = self._decoder.next_message()
            if message is None:
                break
            self._messages += 1
            if self._messages > MESSAGES_MAX:
                raise RemoteProtocolError("flood of messages")
            event = self._handle(message)
            if event is not None:
                return event
        return None

    def _read_opening(self) -> HandshakeReceived | None:
        opening = decode_opening(self._received)
        if opening is None:
            return None
        if self._targets and opening.info_hash not in self._targets:
            raise RemoteProtocolError("handshake for another torrent")
        del self._received[:OPENING_BYTES]
        self._opening = opening
        if not self._targets:
            self._state = State.DECIDING
            return HandshakeReceived(opening.info_hash, opening.reserved)
        self._agreed_hash = opening.info_hash
        self._begin_extensions()
        self._state = State.IDENTIFYING
        return None

    def _read_peer_id(self) -> HandshakeCompleted | None:
        if len(self._received) < PEER_ID_BYTES or self._opening is None:
            return None
        peer_id = PeerId(bytes(self._received[:PEER_ID_BYTES]))
        if peer_id == self._peer_id:
            raise RemoteProtocolError("connected to ourselves")
        self._decoder.feed(bytes(self._received[PEER_ID_BYTES:]))
        self._received.clear()
        extended = Reserved.EXTENSION_PROTOCOL in self.shared
        self._state = State.EXTENDING if extended else State.OPEN
        return HandshakeCompleted(peer_id, self._opening.reserved)

    def _begin_extensions(self) -> None:
        if Reserved.EXTENSION_PROTOCOL in self.shared:
            content = encode_extension_handshake(self._ours)
            self._outgoing += wire.Extended(EXTENSION_HANDSHAKE_ID, content).encode()

    def _handle(self, message: wire.Message) -> Event | None:
        match message:
            case wire.KeepAlive() | wire.Unknown():
                return None
            case wire.Extended(identifier, content):
                return self._handle_extended(identifier, content)
            case wire.Port() if Reserved.DHT not in self.shared or self._dht_port_seen:
                return None
            case wire.Port():
                self._dht_port_seen = True
        if isinstance(message, _FAST_MESSAGES) and Reserved.FAST not in self.shared:
            raise RemoteProtocolError("message of the fast extension, which was not agreed on")
        return message

    def _handle_extended(self, identifier: int, content: bytes) -> Event | None:
        if Reserved.EXTENSION_PROTOCOL not in self.shared:
            self._offence("extended messages, which were not agreed on")
            return None
        if identifier == EXTENSION_HANDSHAKE_ID:
            return self._take_extension_handshake(content)
        name = next((n for n, ours in self._ours.ids.items() if ours == identifier), None)
        if name is None:
            self._offence("messages of unknown extensions")
            return None
        if self._state is State.EXTENDING:
            return None
        if name == UT_METADATA:
            return self._handle_metadata(content)
        decode = _DECODERS.get(name)
        return ExtensionMessage(name, content) if decode is None else decode(content)

    def _take_extension_handshake(self, content: bytes) -> ExtensionHandshakeReceived:
        self._hellos += 1
        if self._hellos > HELLOS_MAX:
            raise RemoteProtocolError("flood of extension handshakes")
        handshake = decode_extension_handshake(content)
        self._theirs = replace(
            handshake,
            ids=merge_ids(self._theirs.ids, handshake.ids),
            metadata_size=self._theirs.metadata_size or handshake.metadata_size,
        )
        self._state = State.OPEN
        return ExtensionHandshakeReceived(handshake)

    def _handle_metadata(self, content: bytes) -> Event | None:
        message = decode_metadata_message(content)
        if isinstance(message, MetadataPiece | MetadataReject):
            if not self._requested[message.piece]:
                self._offence("metadata that was not requested")
                return None
            self._requested[message.piece] -= 1
        return message

    def _offence(self, fault: str) -> None:
        """Overlook a fault, unless it is one too many."""
        self._offences += 1
        if self._offences >= OFFENCES_MAX:
            raise RemoteProtocolError(f"too many {fault}")
