"""The life of a connection."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from dht.contact import parse_endpoint
from magnet.transport.utp.connection import (
    CLOSING_S,
    HALF_OPEN_S,
    KEEPALIVE_S,
    LINGER_S,
    SYNS_MAX,
    UNREAD_FIN_S,
    Connection,
    Failure,
    State,
)
from magnet.transport.utp.incoming import WINDOW_BYTES
from magnet.transport.utp.packet import Packet, PacketType, decode_packet

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "vectors" / "utp.json").read_text("utf-8")
)

PEER = parse_endpoint("9.9.9.2:6881")


class Laid:
    """The connection that was laid out by hand, packet by packet."""

    packets: Final = [decode_packet(bytes.fromhex(it["packet"])) for it in VECTORS["connection"]]

    @classmethod
    def initiator(cls) -> Connection:
        connection = Connection.initiate(PEER, 0x1234, 1, now=0.0)
        assert cls.send(connection)[0]._replace(window=0x100000) == cls.packets[0]._replace(
            timestamp=0
        )
        return connection

    @classmethod
    def acceptor(cls) -> Connection:
        return Connection.accept(PEER, cls.packets[0], 0x8000, now=0.0)

    @staticmethod
    def send(connection: Connection) -> list[Packet]:
        return [decode_packet(it) for it in connection.datagrams_to_send(now=0.0)]


def shape(packet: Packet) -> tuple[object, ...]:
    """Return all of a packet but its times and its window."""
    return packet.type, packet.connection_id, packet.seq, packet.ack, packet.payload


def test_the_initiator_says_what_was_laid_out() -> None:
    packets, a = Laid.packets, Laid.initiator()
    a.receive(packets[1], now=0.0)
    assert a.state is State.CONNECTED
    a.write(b"abc")
    assert [shape(it) for it in Laid.send(a)] == [shape(packets[2])]
    a.receive(packets[3], now=0.0)
    a.receive(packets[4], now=0.0)
    assert a.read(9) == b"hi"
    assert [shape(it) for it in Laid.send(a)] == [shape(packets[5])]
    a.close(now=0.0)
    assert [shape(it) for it in Laid.send(a)] == [shape(packets[6])]
    a.receive(packets[7], now=0.0)
    a.receive(packets[8], now=0.0)
    assert [shape(it) for it in Laid.send(a)] == [shape(packets[9])]
    assert a.next_deadline() <= LINGER_S
    a.handle_deadline(now=LINGER_S)
    assert a.is_closed
    assert a.failure is None


def test_the_acceptor_says_what_was_laid_out() -> None:
    packets, b = Laid.packets, Laid.acceptor()
    assert [shape(it) for it in Laid.send(b)] == [shape(packets[1])]
    b.receive(packets[2], now=0.0)
    assert b.state is State.CONNECTED
    assert b.read(9) == b"abc"
    assert [shape(it) for it in Laid.send(b)] == [shape(packets[3])]
    b.write(b"hi")
    assert [shape(it) for it in Laid.send(b)] == [shape(packets[4])]
    b.receive(packets[5], now=0.0)
    b.receive(packets[6], now=0.0)
    assert b.is_eof
    assert [shape(it) for it in Laid.send(b)] == [shape(packets[7])]
    b.finish()
    assert [shape(it) for it in Laid.send(b)] == [shape(packets[8])]
    b.receive(packets[9], now=0.0)
    b.handle_deadline(now=LINGER_S)
    assert b.is_closed


@pytest.mark.parametrize("ack", [0, 2, 3])
@pytest.mark.parametrize("number", [1, 4, 8])
def test_what_does_not_acknowledge_the_syn_connects_nobody(number: int, ack: int) -> None:
    a = Laid.initiator()
    a.receive(Laid.packets[number]._replace(ack=ack), now=0.0)
    assert a.state is State.SYN_SENT
    assert Laid.send(a) == []


def test_data_may_be_the_answer_to_a_syn() -> None:
    a = Laid.initiator()
    a.receive(Laid.packets[4]._replace(ack=1), now=0.0)
    assert a.state is State.CONNECTED
    assert a.read(9) == b"hi"


@pytest.mark.parametrize(
    "first",
    [
        Laid.packets[5]._replace(ack=0x7FFF),
        Laid.packets[2]._replace(ack=0x7FFE),
        Laid.packets[2]._replace(ack=0x1234),
    ],
    ids=["STATE", "older number", "other number"],
)
def test_a_half_open_connection_wants_data_from_who_knows_our_number(first: Packet) -> None:
    b = Laid.acceptor()
    b.receive(first, now=0.0)
    assert b.state is State.SYN_RECEIVED


def test_a_repeated_syn_is_answered_again_and_with_no_more() -> None:
    b = Laid.acceptor()
    first = b.datagrams_to_send(now=0.0)
    b.receive(Laid.packets[0], now=0.0)
    assert b.datagrams_to_send(now=0.0) == first
    assert len(first[0]) == len(Laid.packets[0].encode())


def test_a_half_open_connection_ends_silently() -> None:
    b = Laid.acceptor()
    Laid.send(b)
    assert b.next_deadline() == HALF_OPEN_S
    b.handle_deadline(now=HALF_OPEN_S)
    assert b.is_closed
    assert Laid.send(b) == []


def test_a_syn_is_sent_three_times_at_most(ends: Any) -> None:
    ends.loses = lambda sender, packet: True
    connection = ends.dial()
    ends.run(for_s=60.0)
    assert ends.types() == " ".join(["A:SYN"] * SYNS_MAX)
    assert connection.failure is Failure.TIMED_OUT


def test_where_everything_is_lost_once_the_window_grows_all_the_same(ends: Any) -> None:
    seen: set[object] = set()

    def is_first(sender: object, packet: Packet) -> bool:
        key = (sender, packet.type, packet.seq)
        is_new = key not in seen
        seen.add(key)
        return is_new and packet.type is not PacketType.STATE

    ends.loses = is_first
    ours = ends.dial()
    ends.run(for_s=3.0)
    ours.write(b"x")
    ends.run(ours, for_s=3.0)
    assert ours.outgoing.unacknowledged == 0
    assert ours.outgoing.rtt.smoothed_s is None


def test_a_reset_refuses(ends: Any) -> None:
    ends.b.is_accepting = False
    connection = ends.dial()
    ends.run()
    assert ends.types() == "A:SYN B:RESET"
    assert connection.failure is Failure.REFUSED


def test_a_reset_breaks(ends: Any) -> None:
    ours, theirs = ends.connect()
    theirs.write(b"the last")
    ends.run(theirs)
    theirs.abort()
    ends.run(theirs)
    assert (ours.state, ours.failure) == (State.CLOSED, Failure.RESET)
    assert theirs.failure is Failure.ABORTED
    assert ours.read(99) == b"the last"


def test_forged_acknowledgements_are_not_heard(ends: Any, make_packet: Any) -> None:
    ours, _ = ends.connect()
    ahead = make_packet(
        type=PacketType.DATA, ack=ours.outgoing.next_seq, seq=ours.incoming.ack + 1, payload=b"!"
    )
    ours.receive(ahead, now=ends.now)
    assert ours.read(9) == b""


def test_a_silent_peer_is_given_up(ends: Any) -> None:
    ours, _ = ends.connect()
    ends.loses = lambda sender, packet: True
    ends.types()
    ours.write(b"hello?")
    began = ends.now
    ends.run(ours, for_s=120.0)
    assert ours.failure is Failure.TIMED_OUT
    assert sum(it is PacketType.DATA for it in ends.types()) == 0
    assert ends.a.next_deadline() > began + 30


def test_only_the_owner_s_patience_ends_when_he_closes(ends: Any) -> None:
    ours, _ = ends.connect()
    ends.loses = lambda sender, packet: True
    ours.close(now=ends.now)
    ends.run(ours, for_s=10.0)
    assert ours.failure is Failure.TIMED_OUT


def test_a_reader_who_stands_still_does_not_hold_a_closed_connection(ends: Any) -> None:
    ours, _ = ends.connect()
    while ours.write(bytes(65_536)):
        ends.run(ours)
    ours.close(now=ends.now)
    ends.run(ours, for_s=CLOSING_S - 1)
    assert not ours.is_closed
    ends.run(for_s=1.1)
    assert ours.is_closed


def test_what_is_closed_waits_for_nothing(ends: Any) -> None:
    ours, _ = ends.connect()
    ours.abort()
    ours.close(now=ends.now)
    ours.handle_deadline(now=ends.now + 1_000)
    assert ours.next_deadline() == float("inf")
    assert ours.failure is Failure.ABORTED


def test_what_comes_after_the_end_of_all_changes_nothing(ends: Any, make_packet: Any) -> None:
    ours, _ = ends.connect()
    ours.abort()
    ours.receive(make_packet(type=PacketType.DATA, payload=b"x"), now=ends.now)
    assert ours.read(9) == b""


def test_one_direction_ends_and_the_other_goes_on(ends: Any) -> None:
    ours, theirs = ends.connect()
    ours.finish()
    ends.run(ours)
    assert theirs.is_eof
    theirs.write(b"still here")
    ends.run(theirs, for_s=60.0)
    assert ours.read(99) == b"still here"
    assert not ours.is_eof
    theirs.finish()
    ends.run(theirs)
    assert ours.is_eof
    ends.run(for_s=LINGER_S)
    assert (ours.failure, theirs.failure) == (None, None)
    assert len(ends.a) == len(ends.b) == 0


def test_what_was_written_before_closing_arrives(ends: Any) -> None:
    ours, theirs = ends.connect()
    data = bytes(range(256)) * 400
    ours.write(data)
    ours.close(now=ends.now)
    ends.run(ours, for_s=5.0)
    assert theirs.read(2**20) == data
    assert theirs.is_eof


def test_who_closes_waits_for_the_other_s_end_but_not_for_ever(ends: Any) -> None:
    ours, _ = ends.connect()
    ours.close(now=ends.now)
    ends.run(ours, for_s=UNREAD_FIN_S - 1)
    assert not ours.is_closed
    ends.run(for_s=2.0)
    assert ours.is_closed
    assert ours.failure is None


def test_who_goes_on_after_our_last_byte_is_told_to_stop(ends: Any) -> None:
    ours, theirs = ends.connect()
    ours.close(now=ends.now)
    ends.run(ours)
    theirs.write(b"but")
    ends.run(theirs)
    assert theirs.failure is Failure.RESET


def test_to_close_before_it_is_open_is_to_abort(ends: Any) -> None:
    ours = ends.dial()
    ends.run(for_s=0.06)
    ours.close(now=ends.now)
    ends.run(ours)
    # The second is for the STATE, which finds nobody.
    assert ends.types() == "A:SYN B:STATE A:RESET A:RESET"
    assert len(ends.b) == 0


def test_a_lost_last_acknowledgement_is_repeated(ends: Any) -> None:
    ours, theirs = ends.connect()
    ours.close(now=ends.now)
    ends.run(ours)
    ends.loses = lambda sender, packet: packet.type is PacketType.STATE
    theirs.close(now=ends.now)
    ends.run(theirs, for_s=0.2)
    ends.loses = lambda sender, packet: False
    ends.run(for_s=LINGER_S * 2)
    assert (ours.failure, theirs.failure) == (None, None)
    assert len(ends.a) == len(ends.b) == 0


def test_the_path_is_kept_open(ends: Any) -> None:
    ours, _ = ends.connect()
    ends.types()
    ends.run(for_s=KEEPALIVE_S + 1)
    assert set(ends.types().split()) == {"A:STATE", "B:STATE"}
    ends.run(for_s=10 * KEEPALIVE_S)
    assert ours.state is State.CONNECTED


def test_a_slow_reader_slows_the_writer(ends: Any) -> None:
    ours, theirs = ends.connect()
    written = 0
    for _ in range(40):
        written += ours.write(bytes(65_536))
        ends.run(ours)
    assert theirs.incoming.readable <= WINDOW_BYTES
    assert written < 2 * WINDOW_BYTES
    while theirs.incoming.readable:
        written -= len(theirs.read(100_000))
        ends.run(theirs)
    assert written == 0


def test_an_arrival_is_acknowledged_at_once_and_with_what_is_beyond_a_gap(ends: Any) -> None:
    ours, _ = ends.connect()
    ends.sent.clear()
    lost: list[int] = []

    def lose_first(sender: object, packet: Packet) -> bool:
        if packet.payload and not lost:
            lost.append(packet.seq)
            return True
        return False

    ends.loses = lose_first
    ours.write(bytes(5_000))
    ends.run(ours)
    masks = [it.selective_ack for _, it in ends.sent if it.type is PacketType.STATE]
    assert masks[0] == 0b111
    assert masks[-1] == 0
    assert ours.outgoing.retransmissions == 1
    assert ours.outgoing.unacknowledged == 0


def test_a_report_of_delay_is_believed_up_to_the_round_trip_time(
    ends: Any, make_packet: Any
) -> None:
    ours, _ = ends.connect()
    ours.outgoing.congestion.in_slow_start = False
    for delay in (0, 1_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000):
        before = ours.outgoing.congestion.window
        ours.write(bytes(100))
        ends.touch(ours)
        answer = make_packet(
            type=PacketType.STATE,
            ack=(ours.outgoing.next_seq - 1) & 0xFFFF,
            seq=ours.incoming.ack,
            timestamp_difference=delay,
        )
        ours.receive(answer, now=ends.now + 0.1)
    assert ours.outgoing.congestion.window > before / 2
