"""Which packets are lost."""

from magnet.transport.utp.loss import NEVER, LossDetector
from magnet.transport.utp.packet import PacketType
from magnet.transport.utp.rtt import RoundTrip
from magnet.transport.utp.segment import Segment


class Flight:
    """A detector, and ten packets sent 1 ms apart on a path of 100 ms."""

    def __init__(self) -> None:
        self.rtt = RoundTrip()
        self.rtt.sample(0.1)
        self.detector = LossDetector(self.rtt)
        self.segments = [Segment(PacketType.DATA, seq) for seq in range(10)]
        for segment in self.segments:
            self.detector.sent(segment, now=segment.seq / 1_000)

    def arrive(self, *seqs: int, now: float = 0.11) -> list[bool]:
        """Let packets arrive; tell which were given up too early."""
        told = []
        for seq in seqs:
            told.append(self.detector.arrived(self.segments[seq], now=now))
            self.segments[seq].is_acknowledged = True
        return told

    def lost(self, now: float = 0.11) -> list[int]:
        """Give up what is lost."""
        lost = self.detector.find_lost(now=now)
        for segment in lost:
            segment.lose()
        return [it.seq for it in lost]

    def send(self, seq: int, now: float = 0.11) -> None:
        self.detector.sent(self.segments[seq], now=now)


def test_nothing_that_overtakes_is_no_loss() -> None:
    flight = Flight()
    flight.arrive(0)
    assert flight.lost(now=10.0) == []
    assert flight.detector.recheck_at == NEVER


def test_two_that_overtake_are_a_loss_only_after_a_round_trip() -> None:
    flight = Flight()
    flight.arrive(1, 2)
    assert flight.lost() == []
    recheck_at = flight.detector.recheck_at
    assert 0.1 < recheck_at < 0.12
    assert flight.lost(now=recheck_at) == [0]


def test_where_no_round_trip_is_known_nothing_is_too_old() -> None:
    flight = Flight()
    flight.rtt.smoothed_s = None
    flight.arrive(1, 2)
    assert flight.lost(now=10.0) == []


def test_three_that_overtake_are_one_loss() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    assert flight.lost() == [0]
    assert flight.lost() == []


def test_all_that_were_overtaken_are_lost_in_order() -> None:
    flight = Flight()
    flight.arrive(1, 5, 7, 8, 9)
    assert flight.lost() == [0, 2, 3, 4, 6]


def test_a_repeat_can_be_lost_as_well() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    flight.send(0)
    flight.arrive(4, 5, 6)
    assert flight.lost() == [], "these were sent before it"
    for seq in (10, 11, 12):
        flight.segments.append(Segment(PacketType.DATA, seq))
        flight.send(seq, now=0.12)
    flight.arrive(7, 8, 9, 10, 11, 12, now=0.22)
    assert flight.lost(now=0.22) == [0]


def test_a_repeat_that_arrives_in_its_time_overtakes_what_was_sent_before_it() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    flight.send(0)
    flight.arrive(0, now=0.21)
    assert flight.lost(now=0.21) == [4, 5, 6, 7, 8, 9]


def test_a_repeat_that_arrives_in_its_time_was_needed() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    flight.send(0)
    assert flight.arrive(0, now=0.21) == [False]
    assert flight.detector.tolerance_s == 0


def test_what_arrives_too_soon_after_its_repeat_was_late_and_is_waited_for_from_then_on() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    flight.send(0)
    assert flight.arrive(0, now=0.13) == [True]
    assert 0.03 < flight.detector.tolerance_s < 0.05
    flight.arrive(5, 6, 7, now=0.13)
    assert flight.lost(now=0.13) == []
    given_up_at = flight.detector.recheck_at
    assert 0.14 < given_up_at < 0.17
    assert flight.lost(now=given_up_at) == [4]


def test_what_arrives_before_its_repeat_was_late() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    assert flight.arrive(0, now=0.12) == [True]


def test_nobody_waits_for_longer_than_a_round_trip() -> None:
    flight = Flight()
    flight.arrive(1, 2, 3)
    flight.lost()
    flight.arrive(0, now=5.0)
    flight.arrive(5, 6, 7)
    assert flight.lost(now=0.21) == []
    assert flight.lost(now=0.22) == [4]


def test_what_was_repeated_though_not_lost_was_not_late() -> None:
    flight = Flight()
    flight.send(9)
    assert flight.arrive(9) == [False]
    assert flight.detector.tolerance_s == 0


def test_what_was_given_up_as_a_whole_is_not_watched() -> None:
    flight = Flight()
    flight.detector.give_up()
    flight.arrive(1, 2, 3)
    assert flight.lost() == []
