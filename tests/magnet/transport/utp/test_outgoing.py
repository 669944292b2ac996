"""What is sent, how much at a time, and when again."""

import pytest

from dht.contact import parse_endpoint
from magnet.transport.utp.ledbat import INITIAL_PACKETS
from magnet.transport.utp.loss import NEVER
from magnet.transport.utp.mtu import PathMtu
from magnet.transport.utp.outgoing import (
    BUFFER_BYTES,
    CLOSED_WINDOW_S,
    UNACKNOWLEDGED_MAX,
    Outgoing,
)
from magnet.transport.utp.packet import PacketType
from magnet.transport.utp.segment import Segment

FIRST = 65_530
"""Numbers turn over soon."""

RTT_S = 0.1


class Half:
    """An outgoing half, and a peer who has received what the test says."""

    def __init__(self, window: int = 2**20) -> None:
        self.outgoing = Outgoing(FIRST, PathMtu(parse_endpoint("9.9.9.9:1")))
        self.outgoing.allow(window)
        self.now = 0.0
        self.sent: list[Segment] = []

    @property
    def packet(self) -> int:
        return self.outgoing.mtu.payload

    def write(self, packets: float) -> None:
        self.outgoing.write(b"x" * int(packets * self.packet))

    def send(self) -> list[int]:
        """Send what may be sent; return the places of the packets, counted from the first."""
        taken = self.outgoing.take(now=self.now)
        self.sent += taken
        return [(it.seq - FIRST) & 0xFFFF for it in taken]

    def acknowledge(self, place: int, mask: int = 0, *, is_repeat: bool = False) -> int:
        """Let the peer have everything up to a place."""
        ack = (FIRST + place) & 0xFFFF
        assert self.outgoing.expects(ack)
        self.now += RTT_S
        return self.outgoing.acknowledge(ack, mask, is_repeat=is_repeat, now=self.now)

    def time_out(self) -> None:
        self.now = self.outgoing.deadline
        self.outgoing.handle_deadline(now=self.now)


@pytest.fixture
def half() -> Half:
    """One in mid-flow."""
    return Half()


@pytest.mark.parametrize("place", [-6, 2, 30_000], ids=["too old", "ahead", "far off"])
def test_forged_acknowledgements_are_not_expected(half: Half, place: int) -> None:
    half.write(2)
    half.send()
    assert not half.outgoing.expects((FIRST + place) & 0xFFFF)
    assert half.outgoing.expects(FIRST + 1)
    assert half.outgoing.expects(FIRST - 4)


def test_an_old_acknowledgement_says_nothing(half: Half) -> None:
    half.write(3)
    half.send()
    half.acknowledge(1)
    assert half.acknowledge(0, 0b111) == 0
    assert half.outgoing.unacknowledged == 1


def test_a_mask_of_what_was_never_sent_says_nothing(half: Half) -> None:
    half.write(2)
    half.send()
    assert half.acknowledge(-1, 2**1024 - 1) == half.packet
    assert half.outgoing.unacknowledged == 2


def test_the_buffer_is_bounded(half: Half) -> None:
    assert half.outgoing.write(bytes(2 * BUFFER_BYTES)) == BUFFER_BYTES
    assert half.outgoing.write(b"x") == 0
    half.send()
    assert half.outgoing.room == INITIAL_PACKETS * half.packet


def test_what_is_written_may_change_afterwards(half: Half) -> None:
    data = bytearray(b"before")
    half.outgoing.write(memoryview(data))
    data[:] = b"behind"
    half.send()
    assert half.sent[0].payload == b"before"


def test_small_writes_share_a_packet(half: Half) -> None:
    for word in (b"one ", b"two ", b"three"):
        half.outgoing.write(word)
    half.send()
    assert [it.payload for it in half.sent] == [b"one two three"]


def test_the_window_bounds_what_is_on_the_way(half: Half) -> None:
    half.write(7)
    assert half.send() == list(range(INITIAL_PACKETS))
    assert half.send() == []
    half.acknowledge(0)
    assert half.send() == [INITIAL_PACKETS]


def test_the_peer_s_window_bounds_it_as_well() -> None:
    half = Half(window=3_000)
    half.write(20)
    assert half.send() == [0, 1]
    assert half.outgoing.in_flight <= 3_000


def test_the_number_of_packets_is_bounded(half: Half) -> None:
    half.outgoing.congestion.window = 2.0**20
    for _ in range(UNACKNOWLEDGED_MAX + 10):
        half.outgoing.write(b"x")
        half.send()
    assert half.outgoing.unacknowledged == UNACKNOWLEDGED_MAX


def test_a_closed_window_is_asked_about_once_in_a_while() -> None:
    half = Half(window=0)
    half.write(1)
    assert half.send() == []
    assert half.outgoing.deadline == CLOSED_WINDOW_S
    half.time_out()
    assert half.send() == [0]
    assert len(half.sent[0].payload) == 1
    for _ in range(20):
        half.time_out()
        half.outgoing.allow(0)
        assert half.send() == [0]
    assert half.outgoing.timeouts == 0
    half.outgoing.allow(2**20)
    half.acknowledge(0)
    assert half.send() == [1]


def test_nothing_to_send_is_nothing_to_wait_for(half: Half) -> None:
    assert half.outgoing.deadline == NEVER
    half.write(1)
    half.send()
    assert half.outgoing.deadline < NEVER
    half.acknowledge(0)
    assert half.outgoing.deadline == NEVER


def test_what_three_have_overtaken_is_sent_again_and_the_window_halved(half: Half) -> None:
    half.write(7)
    half.send()
    before = half.outgoing.congestion.window
    assert half.acknowledge(-1, 0b111) == 3 * half.packet
    assert half.outgoing.congestion.window == before / 2
    assert half.send()[0] == 0
    assert half.outgoing.retransmissions == 1


def test_three_equal_acknowledgements_do_the_same_for_peers_without_masks(half: Half) -> None:
    half.write(4)
    half.send()
    for _ in range(2):
        half.acknowledge(-1, is_repeat=True)
        assert half.send() == []
    half.acknowledge(-1, is_repeat=True)
    assert half.send() == [0]


def test_in_silence_the_last_packet_is_sent_once_more_whatever_the_windows_say(half: Half) -> None:
    half.write(1)
    half.send()
    half.acknowledge(0)
    half.outgoing.congestion.window = 5.0 * half.packet
    half.write(7)
    assert half.send() == [1, 2, 3, 4, 5]
    in_flight = half.outgoing.in_flight
    half.time_out()
    assert half.outgoing.timeouts == 0
    assert half.send() == [5]
    assert half.outgoing.in_flight == in_flight
    # Its arrival shows that those before it are lost.
    half.acknowledge(0, 0b1000)
    assert half.outgoing.in_flight == 0
    assert half.send()[0] == 1
    assert half.outgoing.timeouts == 0


def test_an_answer_at_the_last_moment_spares_the_repeat_of_the_last(half: Half) -> None:
    half.write(1)
    half.send()
    half.acknowledge(0)
    half.write(1)
    half.send()
    half.time_out()
    half.acknowledge(1)
    assert half.send() == []


def test_silence_that_goes_on_is_a_timeout(half: Half) -> None:
    half.write(1)
    half.send()
    half.acknowledge(0)
    half.write(1)
    half.send()
    half.time_out()
    assert half.send() == [1]
    half.time_out()
    assert half.outgoing.timeouts == 1


def test_equal_acknowledgements_within_a_round_trip_are_no_loss(half: Half) -> None:
    half.write(1)
    half.send()
    half.acknowledge(0)
    half.write(1)
    half.send()
    sent_at = half.now
    for _ in range(10):
        half.acknowledge(0, is_repeat=True)
        half.now = sent_at
    assert half.send() == []


def test_in_silence_a_lost_packet_goes_first(half: Half) -> None:
    half.write(1)
    half.send()
    half.acknowledge(0)
    half.outgoing.congestion.window = 8.0 * half.packet
    half.write(10)
    half.send()
    # Both are lost, and of what is on the way there is too much for the halved window.
    half.acknowledge(0, 0b1110)
    half.outgoing.congestion.window = 1.0 * half.packet
    assert half.send() == [1]
    half.time_out()
    assert half.send() == [2]
    assert half.outgoing.timeouts == 0


def test_after_a_timeout_the_oldest_goes_alone(half: Half) -> None:
    half.write(4)
    half.send()
    half.time_out()
    assert half.outgoing.timeouts == 1
    assert half.send() == [0]
    half.acknowledge(0)
    assert half.outgoing.timeouts == 0
    assert half.send() == [1]


def test_timeouts_double(half: Half) -> None:
    half.write(1)
    half.send()
    waits = []
    for _ in range(4):
        began = half.now
        half.time_out()
        half.send()
        waits.append(half.now - began)
    assert waits == [1, 2, 4, 8]


def test_only_what_was_sent_once_is_measured(half: Half) -> None:
    half.write(1)
    half.send()
    half.time_out()
    half.send()
    half.acknowledge(0)
    assert half.outgoing.rtt.smoothed_s is None
    half.write(1)
    half.send()
    half.acknowledge(1)
    assert half.outgoing.rtt.smoothed_s == pytest.approx(RTT_S)


def test_an_acknowledgement_after_all_spares_the_repeat(half: Half) -> None:
    half.write(4)
    half.send()
    half.time_out()
    half.acknowledge(3)
    assert half.send() == []
    assert half.outgoing.in_flight == 0


def test_the_end_is_sent_behind_everything_else(half: Half) -> None:
    half.write(5)
    half.outgoing.finish()
    half.send()
    assert {it.type for it in half.sent} == {PacketType.DATA}
    half.acknowledge(3)
    half.send()
    assert half.sent[-1].type is PacketType.FIN
    assert half.sent[-1].seq == (FIRST + 5) & 0xFFFF
    finished = [half.outgoing.is_finished]
    half.acknowledge(5)
    assert [*finished, half.outgoing.is_finished] == [False, True]
    assert half.send() == []


def test_a_lost_end_is_sent_again(half: Half) -> None:
    half.outgoing.finish()
    assert half.send() == [0]
    half.time_out()
    assert half.send() == [0]


class TestProbing:
    """Packets made longer to find out what the path takes."""

    @pytest.fixture
    def probing(self, half: Half) -> Half:
        half.write(30)
        half.send()
        assert [bool(it.padding) for it in half.sent] == [True, False, False, False]
        return half

    def test_short_conversations_probe_nothing(self, half: Half) -> None:
        half.write(4)
        half.send()
        assert not any(it.padding for it in half.sent)

    def test_an_arrival_makes_packets_larger(self, probing: Half) -> None:
        before = probing.packet
        probing.acknowledge(3)
        assert probing.packet > before
        probing.send()
        assert len(probing.sent[-1].payload) > before

    def test_a_loss_says_nothing_of_congestion(self, probing: Half) -> None:
        window, before = probing.outgoing.congestion.window, probing.packet
        probing.acknowledge(-1, 0b111)
        assert probing.send()[0] == 0
        assert probing.sent[INITIAL_PACKETS].padding == 0
        assert probing.outgoing.congestion.window == window
        assert probing.packet == before

    def test_a_timeout_ends_it_as_well(self, probing: Half) -> None:
        probing.time_out()
        probing.send()
        assert probing.sent[-1].padding == 0
