"""Fuzzes the peer protocol: messages, extension handshakes, ut_metadata, whole conversations."""

import random
import sys
from typing import Final

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.metainfo.create import create_file_info
from magnet.peer import wire
from magnet.peer.connection import PeerConnection, State
from magnet.peer.events import Event, ExtensionHandshakeReceived, HandshakeReceived
from magnet.peer.extension import (
    LOCAL_IDS,
    UT_METADATA,
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
)
from magnet.peer.handshake import PeerId, Reserved, decode_opening, encode_handshake
from magnet.peer.metadata_server import MetadataServer, MetadataSession
from magnet.peer.ut_metadata import (
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    decode_metadata_message,
    encode_metadata_message,
    piece_count,
)
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

RAW_INFO: Final = create_file_info("a.bin", [bytes(2**20)] * 20, 16_384)
"""An info dictionary of two pieces."""

INFO_HASH: Final = InfoHash(bytes(range(20)))
OUR_ID: Final = PeerId(b"-TK0001-aaaaaaaaaaaa")
THEIR_ID: Final = PeerId(b"-XX0001-bbbbbbbbbbbb")
FEATURES: Final = Reserved.EXTENSION_PROTOCOL | Reserved.FAST | Reserved.DHT

PIECES_ASKED: Final = 4

HELLO: Final = ExtensionHandshake(
    ids=LOCAL_IDS, metadata_size=len(RAW_INFO), port=6881, client="A 1.0", your_ip=bytes(4)
)
METADATA: Final = (
    encode_metadata_message(MetadataRequest(0)),
    encode_metadata_message(MetadataReject(1)),
    encode_metadata_message(MetadataPiece(0, len(RAW_INFO), RAW_INFO[:16_384])),
    encode_metadata_message(MetadataPiece(1, len(RAW_INFO), RAW_INFO[16_384:])),
)
HASH_RANGE: Final = wire.HashRange(bytes(range(32)), 0, 2, 2, 0)
MESSAGES: Final = (
    *(wire.KeepAlive(), wire.Choke(), wire.Unchoke(), wire.Interested(), wire.NotInterested()),
    *(wire.Have(3), wire.Bitfield(b"\xf0"), wire.Request(0, 0, 16_384), wire.Piece(0, 0, b"data")),
    *(wire.Cancel(0, 0, 16_384), wire.Port(6881), wire.Suggest(1), wire.HaveAll()),
    *(wire.HaveNone(), wire.RejectRequest(0, 0, 16_384), wire.AllowedFast(2)),
    *(wire.HashRequest(HASH_RANGE), wire.HashReject(HASH_RANGE)),
    wire.Hashes(HASH_RANGE, bytes(64)),
    *(wire.Extended(0, encode_extension_handshake(HELLO)), wire.Unknown(77, b"?")),
    *(wire.Extended(LOCAL_IDS[UT_METADATA], content) for content in METADATA),
)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    refusal = (RemoteProtocolError,)
    bodies = Mutator([message.body() for message in MESSAGES], rng).next_input
    hellos = Mutator([encode_extension_handshake(HELLO)], rng).next_input
    pieces = Mutator(METADATA, rng).next_input
    openings = Mutator([encode_handshake(FEATURES, INFO_HASH, THEIR_ID)], rng).next_input
    streams = Mutator(conversations(rng), rng).next_input
    return [
        Subject("peer message", bodies, read_body, refusal),
        Subject("extension handshake", hellos, read_hello, refusal),
        Subject("ut_metadata", pieces, decode_metadata_message, refusal),
        Subject("handshake", openings, decode_opening, refusal),
        Subject("conversation", streams, Conversation(rng).hold, refusal),
    ]


def conversations(rng: random.Random) -> list[bytes]:
    """Return what peers might say from the first byte on, in several orders."""
    opening = encode_handshake(FEATURES, INFO_HASH, THEIR_ID)
    hello = wire.Extended(0, encode_extension_handshake(HELLO)).encode()
    said = [message.encode() for message in MESSAGES]
    return [opening + hello + b"".join(rng.sample(said, len(said))) for _ in range(8)] + [
        opening + hello
    ]


def read_body(body: bytes) -> None:
    """Decode a message; what is understood is encoded again as it came."""
    assert wire.decode_body(body).body() == body


def read_hello(content: bytes) -> None:
    """Decode an extension handshake; what is kept of it can be sent, and read, again."""
    hello = decode_extension_handshake(content)
    assert decode_extension_handshake(encode_extension_handshake(hello)) == hello


class Conversation:
    """Two ends of our own, told the same bytes in portions; both reply as a session would."""

    def __init__(self, rng: random.Random) -> None:
        """Take where the portions' sizes come from."""
        self._rng = random.Random(rng.getrandbits(64))
        self._server = MetadataServer(RAW_INFO)

    def hold(self, stream: bytes) -> None:
        """Let an initiator and a responder hear the stream."""
        self._listen(PeerConnection.responder(OUR_ID, reserved=FEATURES), stream)
        self._listen(PeerConnection.initiator(INFO_HASH, OUR_ID, HELLO, reserved=FEATURES), stream)

    def _listen(self, connection: PeerConnection, stream: bytes) -> None:
        session = self._server.open_session()
        try:
            while stream and connection.state is not State.CLOSED:
                size = self._rng.choice((1, 20, 500, 20_000))
                connection.receive_data(stream[:size])
                stream = stream[size:]
                for event in connection.events():
                    _reply(connection, event, session)
            connection.receive_eof()
            connection.next_event()
        finally:
            assert connection.state is State.CLOSED


def _reply(connection: PeerConnection, event: Event, session: MetadataSession) -> None:
    """Answer what is asked, and ask for whatever metadata is offered."""
    match event:
        case HandshakeReceived():
            connection.accept(HELLO)
        case ExtensionHandshakeReceived():
            for piece in range(min(PIECES_ASKED, piece_count(connection.metadata_size or 0))):
                connection.request_metadata(piece)
        case MetadataRequest():
            connection.answer_metadata(session.answer(event))


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
