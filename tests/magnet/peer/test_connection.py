"""Conversations: wrong calls and hostile peers first, then pairs that talk to each other."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import LocalProtocolError, RemoteProtocolError
from magnet.peer import wire
from magnet.peer.connection import FEATURES, OFFENCES_MAX, PeerConnection, State
from magnet.peer.events import (
    Event,
    ExtensionHandshakeReceived,
    ExtensionMessage,
    HandshakeCompleted,
    HandshakeReceived,
    PeerClosed,
)
from magnet.peer.extension import ExtensionHandshake, encode_extension_handshake
from magnet.peer.handshake import PeerId, Reserved, encode_handshake
from magnet.peer.ut_holepunch import Rendezvous, encode_holepunch_message
from magnet.peer.ut_metadata import (
    MetadataMessage,
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    encode_metadata_message,
)
from magnet.peer.ut_pex import PexMessage

OURS = PeerId(b"-XX0001-abcdefghijkl")
THEIRS = PeerId(b"-XX0001-mnopqrstuvwx")
HASH = InfoHash(b"\xaa" * 20)
OTHER_HASH = InfoHash(b"\xbb" * 20)
WISH = ExtensionHandshake(ids={b"ut_metadata": 2})
OFFER = ExtensionHandshake(ids={b"ut_metadata": 3}, metadata_size=40_000)


def initiator(reserved: Reserved = FEATURES) -> PeerConnection:
    return PeerConnection.initiator(HASH, OURS, WISH, reserved=reserved)


def feed(connection: PeerConnection, *data: bytes) -> list[Event]:
    connection.receive_data(b"".join(data))
    return list(connection.events())


def handshake(reserved: Reserved = FEATURES) -> bytes:
    return encode_handshake(reserved, HASH, THEIRS)


def extended(identifier: int, content: bytes) -> bytes:
    return wire.Extended(identifier, content).encode()


def hello(offer: ExtensionHandshake = OFFER) -> bytes:
    return extended(0, encode_extension_handshake(offer))


def metadata(message: MetadataMessage, identifier: int = 2) -> bytes:
    return extended(identifier, encode_metadata_message(message))


def opened(reserved: Reserved = FEATURES, offer: ExtensionHandshake = OFFER) -> PeerConnection:
    connection = initiator(reserved)
    feed(connection, handshake(reserved), hello(offer))
    connection.data_to_send()
    return connection


CALLS: dict[str, Callable[[PeerConnection], object]] = {
    "accept": lambda c: c.accept(OFFER),
    "send": lambda c: c.send(wire.Interested()),
    "send_extension": lambda c: c.send_extension(b"ut_metadata", b""),
    "request_metadata": lambda c: c.request_metadata(0),
    "answer_metadata": lambda c: c.answer_metadata(MetadataReject(0)),
    "receive_data": lambda c: c.receive_data(b"\x13"),
}


def closed() -> PeerConnection:
    connection = opened()
    connection.close()
    return connection


def deciding() -> PeerConnection:
    connection = PeerConnection.responder(OURS)
    feed(connection, handshake())
    return connection


def identifying() -> PeerConnection:
    connection = initiator()
    feed(connection, handshake()[:48])
    return connection


def extending() -> PeerConnection:
    connection = initiator()
    feed(connection, handshake())
    return connection


ALLOWED: dict[State, tuple[Callable[[], PeerConnection], set[str]]] = {
    State.HANDSHAKING: (initiator, {"receive_data"}),
    State.DECIDING: (deciding, {"receive_data", "accept"}),
    State.IDENTIFYING: (identifying, {"receive_data"}),
    State.EXTENDING: (extending, {"receive_data", "send"}),
    State.OPEN: (opened, set(CALLS) - {"accept"}),
    State.CLOSED: (closed, set()),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("call", CALLS)
def test_call_in_a_wrong_state_raises_and_changes_nothing(state: State, call: str) -> None:
    make, allowed = ALLOWED[state]
    connection = make()
    connection.data_to_send()
    assert connection.state is state
    if call in allowed:
        CALLS[call](connection)
        return
    with pytest.raises(LocalProtocolError):
        CALLS[call](connection)
    assert connection.state is state
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("piece", [-1, 3, 2**31])
def test_piece_the_peer_cannot_have_is_not_requested(piece: int) -> None:
    connection = opened()
    with pytest.raises(LocalProtocolError, match="no such metadata piece"):
        connection.request_metadata(piece)
    assert connection.data_to_send() == b""


@pytest.mark.parametrize(
    "offer",
    [
        ExtensionHandshake(),
        ExtensionHandshake(ids={b"ut_metadata": 2}),
        ExtensionHandshake(ids={b"ut_metadata": 0}, metadata_size=5),
        ExtensionHandshake(ids={b"ut_pex": 1}, metadata_size=5),
    ],
)
def test_nothing_is_requested_from_a_peer_without_metadata(offer: ExtensionHandshake) -> None:
    connection = opened(offer=offer)
    assert connection.metadata_size is None
    with pytest.raises(LocalProtocolError):
        connection.request_metadata(0)


def test_extended_message_is_not_sent_bare_nor_to_who_does_not_know_it() -> None:
    connection = opened()
    with pytest.raises(LocalProtocolError):
        connection.send(wire.Extended(3, b""))
    with pytest.raises(LocalProtocolError, match="ut_pex"):
        connection.send_extension(b"ut_pex", b"de")


def test_fast_message_is_not_sent_to_who_does_not_know_it() -> None:
    connection = opened(Reserved.EXTENSION_PROTOCOL)
    with pytest.raises(LocalProtocolError, match="fast"):
        connection.send(wire.HaveNone())


def test_data_after_the_end_is_our_error() -> None:
    connection = opened()
    connection.receive_eof()
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x")


def test_decisions_cannot_be_taken_twice() -> None:
    connection = deciding()
    connection.accept(OFFER)
    with pytest.raises(LocalProtocolError):
        connection.accept(OFFER)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n", "not the BitTorrent protocol"),
        (encode_handshake(FEATURES, OTHER_HASH, THEIRS), "another torrent"),
        (encode_handshake(FEATURES, HASH, OURS), "ourselves"),
        (handshake() + b"\xff\xff\xff\xff", "too long"),
        (handshake() + b"\0\0\0\x02\x00\x00", "wrong length of Choke"),
        (handshake(Reserved(0)) + wire.HaveAll().encode(), "fast extension"),
        (handshake() + extended(0, b"x"), "malformed extension handshake"),
        (handshake() + hello() + extended(2, b"x"), "malformed metadata message"),
        (handshake() + extended(9, b"") * OFFENCES_MAX, "unknown extensions"),
        (handshake(Reserved.FAST) + hello() * OFFENCES_MAX, "not agreed on"),
        (
            handshake() + hello() + metadata(MetadataPiece(0, 5, b"x")) * OFFENCES_MAX,
            "not requested",
        ),
        (handshake() + hello() + metadata(MetadataReject(-1)) * OFFENCES_MAX, "not requested"),
    ],
)
def test_fault_of_the_peer_ends_the_conversation(data: bytes, fault: str) -> None:
    connection = initiator()
    connection.receive_data(data)
    with pytest.raises(RemoteProtocolError, match=fault):
        list(connection.events())
    assert connection.state is State.CLOSED
    assert connection.next_event() is None


@pytest.mark.parametrize("message", [MetadataPiece(0, 5, b"x"), MetadataReject(2**40)])
def test_fewer_unrequested_answers_are_ignored(message: MetadataMessage) -> None:
    assert feed(opened(), metadata(message) * (OFFENCES_MAX - 1)) == []


def test_metadata_before_the_extension_handshake_is_ignored() -> None:
    connection = extending()
    assert feed(connection, metadata(MetadataRequest(0))) == []
    assert connection.state is State.EXTENDING


@pytest.mark.parametrize("length", [0, 1, 47, 48, 67, 68, 70])
def test_end_of_the_stream_is_the_last_event(length: int) -> None:
    connection = initiator()
    connection.receive_data((handshake() + hello())[:length])
    connection.receive_eof()
    events = list(connection.events())
    assert events[-1] == PeerClosed()
    assert connection.state is State.CLOSED
    assert connection.next_event() is None


def test_events_before_the_end_are_not_lost() -> None:
    connection = opened()
    connection.receive_data(wire.Have(1).encode() + wire.Have(2).encode() + b"\0\0")
    connection.receive_eof()
    assert list(connection.events()) == [wire.Have(1), wire.Have(2), PeerClosed()]


def test_responder_decides_before_anything_is_sent() -> None:
    connection = PeerConnection.responder(OURS)
    assert feed(connection, handshake()[:47]) == []
    assert feed(connection, handshake()[47:48]) == [HandshakeReceived(HASH, FEATURES)]
    assert connection.data_to_send() == b""
    connection.accept(OFFER)
    assert connection.data_to_send() == encode_handshake(FEATURES, HASH, OURS) + hello()
    assert feed(connection, handshake()[48:]) == [HandshakeCompleted(THEIRS, FEATURES)]


def test_what_came_ahead_of_the_decision_is_read_after_it() -> None:
    connection = PeerConnection.responder(OURS)
    raw = handshake() + hello(WISH) + wire.Interested().encode()
    assert feed(connection, raw) == [HandshakeReceived(HASH, FEATURES)]
    connection.accept(OFFER)
    assert list(connection.events()) == [
        HandshakeCompleted(THEIRS, FEATURES),
        ExtensionHandshakeReceived(WISH),
        wire.Interested(),
    ]


def test_responder_that_closes_has_said_nothing() -> None:
    connection = deciding()
    connection.close()
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_conversation_reads_the_same_in_portions_of_any_size(size: int) -> None:
    messages = [wire.Unchoke(), wire.Bitfield(b"\xc0\x40"), wire.HaveNone(), wire.Piece(1, 2, b"x")]
    raw = handshake() + hello() + b"".join(message.encode() for message in messages)
    connection = initiator()
    events = []
    for start in range(0, len(raw), size):
        events += feed(connection, raw[start : start + size])
    assert events == [
        HandshakeCompleted(THEIRS, FEATURES),
        ExtensionHandshakeReceived(OFFER),
        *messages,
    ]


def test_extension_handshake_is_sent_only_to_who_understands_it() -> None:
    connection = initiator()
    assert connection.data_to_send() == encode_handshake(FEATURES, HASH, OURS)
    feed(connection, handshake(Reserved.FAST))
    assert connection.data_to_send() == b""
    assert connection.state is State.OPEN
    assert connection.shared == Reserved.FAST


def test_keepalives_and_unknown_messages_are_skipped() -> None:
    raw = wire.KeepAlive().encode() + wire.Unknown(24, bytes(48)).encode() + wire.Choke().encode()
    assert feed(opened(), raw) == [wire.Choke()]


def test_port_counts_once_and_only_if_both_run_the_dht() -> None:
    port = wire.Port(6881).encode()
    assert feed(opened(FEATURES | Reserved.DHT), port * 3) == [wire.Port(6881)]
    assert feed(opened(), port) == []


def test_later_extension_handshake_adds_but_keeps_the_size() -> None:
    connection = opened()
    later = ExtensionHandshake(ids={b"ut_pex": 1}, metadata_size=99, client="later")
    assert feed(connection, hello(later)) == [ExtensionHandshakeReceived(later)]
    assert connection.metadata_size == 40_000
    assert connection.theirs.ids == {b"ut_metadata": 3, b"ut_pex": 1}


def test_extension_switched_off_later_is_used_no_more() -> None:
    connection = opened()
    feed(connection, hello(ExtensionHandshake(ids={b"ut_metadata": 0})))
    assert connection.metadata_size is None
    connection.answer_metadata(MetadataReject(0))
    assert connection.data_to_send() == b""


def test_other_extensions_we_announced_have_a_plain_event() -> None:
    wish = ExtensionHandshake(ids={b"ut_metadata": 2, b"lt_donthave": 7})
    connection = PeerConnection.initiator(HASH, OURS, wish)
    feed(connection, handshake(), hello())
    raw = extended(7, bytes(4))
    assert feed(connection, raw) == [ExtensionMessage(b"lt_donthave", bytes(4))]


def test_peer_exchange_and_holepunch_have_events_of_their_own() -> None:
    wish = ExtensionHandshake(ids={b"ut_pex": 1, b"ut_holepunch": 4})
    connection = PeerConnection.initiator(HASH, OURS, wish)
    at = parse_endpoint("192.0.2.1:6881")
    punch = encode_holepunch_message(Rendezvous(at))
    feed(connection, handshake(), hello())
    assert feed(connection, extended(1, b"de")) == [PexMessage()]
    assert feed(connection, extended(4, punch)) == [Rendezvous(at)]
    assert feed(connection, extended(4, b"\x09" + punch[1:])) == []


@pytest.mark.parametrize("identifier", [1, 4])
def test_unreadable_message_of_such_an_extension_is_the_peers_fault(identifier: int) -> None:
    wish = ExtensionHandshake(ids={b"ut_pex": 1, b"ut_holepunch": 4})
    connection = PeerConnection.initiator(HASH, OURS, wish)
    feed(connection, handshake(), hello())
    with pytest.raises(RemoteProtocolError):
        feed(connection, extended(identifier, b"?"))
    assert connection.state is State.CLOSED


def test_info_hash_is_the_one_that_the_initiator_named() -> None:
    responder = PeerConnection.responder(OURS)
    with pytest.raises(LocalProtocolError):
        _ = responder.info_hash
    feed(responder, handshake())
    assert responder.info_hash == opened().info_hash == HASH


def test_each_side_is_addressed_by_the_ids_it_gave() -> None:
    connection = opened()
    connection.request_metadata(0)
    # BEP 9 "request", to a peer whose id for ut_metadata is 3.
    expected = bytes.fromhex("0000001b1403") + b"d8:msg_typei0e5:piecei0ee"
    assert connection.data_to_send() == expected


def test_repeated_request_may_be_answered_twice() -> None:
    connection = opened()
    connection.request_metadata(1)
    connection.request_metadata(1)
    answer = MetadataPiece(1, 40_000, b"x")
    assert feed(connection, metadata(answer) * 3) == [answer, answer]


def test_metadata_travels_between_a_pair(open_pair: Any, transfer: Any) -> None:
    fetcher, server = open_pair(OFFER)
    assert (fetcher.state, server.state) == (State.OPEN, State.OPEN)
    fetcher.request_metadata(2)
    assert transfer(fetcher, server) == [MetadataRequest(2)]
    server.answer_metadata(MetadataPiece(2, 40_000, b"ee" * 3616))
    assert transfer(server, fetcher) == [MetadataPiece(2, 40_000, b"ee" * 3616)]
    fetcher.request_metadata(0)
    transfer(fetcher, server)
    server.answer_metadata(MetadataReject(0))
    assert transfer(server, fetcher) == [MetadataReject(0)]


def test_core_messages_travel_between_a_pair(open_pair: Any, transfer: Any) -> None:
    fetcher, server = open_pair(OFFER)
    server.send(wire.HaveNone())
    assert transfer(server, fetcher) == [wire.HaveNone()]
    fetcher.send(wire.Request(0, 0, 16384))
    assert transfer(fetcher, server) == [wire.Request(0, 0, 16384)]


@given(st.binary(max_size=300), st.sampled_from([b"", handshake(), handshake() + hello()]))
def test_any_bytes_raise_only_the_peers_error(data: bytes, prefix: bytes) -> None:
    for connection in (initiator(), PeerConnection.responder(OURS)):
        try:
            for event in feed(connection, prefix, data):
                if isinstance(event, HandshakeReceived):
                    connection.accept(OFFER)
            list(connection.events())
        except RemoteProtocolError:
            assert connection.state is State.CLOSED


MESSAGES = st.one_of(
    st.builds(wire.Extended, st.integers(0, 4), st.binary(max_size=40)).map(wire.Extended.encode),
    st.builds(MetadataRequest, st.integers(-5, 5)).map(metadata),
    st.builds(MetadataPiece, st.integers(-5, 5), st.none(), st.binary(max_size=5)).map(metadata),
    st.binary(min_size=1, max_size=20).map(lambda body: len(body).to_bytes(4) + body),
)


@given(st.lists(MESSAGES, max_size=30))
def test_any_messages_raise_only_the_peers_error(messages: list[bytes]) -> None:
    connection = opened()
    connection.request_metadata(0)
    try:
        feed(connection, *messages)
    except RemoteProtocolError:
        assert connection.state is State.CLOSED


def test_peer_may_name_the_torrent_by_an_alias() -> None:
    connection = PeerConnection.initiator(HASH, OURS, WISH, aliases=[OTHER_HASH])
    (event,) = feed(connection, encode_handshake(FEATURES, OTHER_HASH, THEIRS))
    assert event == HandshakeCompleted(THEIRS, FEATURES)


@pytest.mark.parametrize(
    ("reserved", "answer"), [(FEATURES, HASH), (FEATURES | Reserved.V2_UPGRADE, OTHER_HASH)]
)
def test_only_who_can_upgrade_is_answered_by_the_v2_hash(
    reserved: Reserved, answer: InfoHash
) -> None:
    connection = PeerConnection.responder(OURS)
    feed(connection, handshake(reserved))
    with pytest.raises(LocalProtocolError, match="not agreed"):
        _ = connection.agreed_hash
    connection.accept(OFFER, upgrade=OTHER_HASH)
    assert connection.data_to_send().startswith(encode_handshake(FEATURES, answer, OURS))
    assert connection.agreed_hash == answer
    initiator = PeerConnection.initiator(HASH, THEIRS, OFFER, aliases=[OTHER_HASH])
    feed(initiator, encode_handshake(FEATURES, answer, OURS))
    assert (initiator.info_hash, initiator.agreed_hash) == (HASH, answer)
