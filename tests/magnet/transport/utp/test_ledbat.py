"""The congestion window."""

import pytest

from magnet.transport.utp.ledbat import (
    FULL_S,
    GAIN_BYTES,
    INITIAL_PACKETS,
    TARGET_US,
    WINDOW_MAX,
    Ledbat,
)

PACKET = 1_400


@pytest.fixture
def control() -> Ledbat:
    """One that has just begun, with more to send than it may."""
    control = Ledbat(PACKET)
    control.filled(now=0.0)
    return control


@pytest.fixture
def steady(control: Ledbat) -> Ledbat:
    """One past its slow start, with a window of a hundred packets."""
    control.in_slow_start = False
    control.window = 100.0 * PACKET
    return control


def round_trip(control: Ledbat, queue_us: int, *, now: float = 0.0) -> None:
    """Let a window's worth arrive."""
    for _ in range(round(control.window / PACKET)):
        control.acknowledged(PACKET, queue_us, now=now)


def test_a_window_that_was_not_full_does_not_grow(control: Ledbat) -> None:
    before = control.window
    control.acknowledged(PACKET, 0, now=FULL_S + 0.1)
    assert control.window == before


def test_it_never_grows_without_bound(control: Ledbat) -> None:
    for _ in range(20):
        round_trip(control, 0)
    assert control.window == WINDOW_MAX


def test_it_never_shrinks_to_nothing(steady: Ledbat) -> None:
    for _ in range(50):
        round_trip(steady, 10 * TARGET_US)
        steady.lost(sent_at=1.0, now=0.5)
    assert steady.window == PACKET


def test_it_begins_with_some_packets_and_doubles(control: Ledbat) -> None:
    assert control.window == INITIAL_PACKETS * PACKET
    round_trip(control, 0)
    assert control.window == 2 * INITIAL_PACKETS * PACKET


def test_a_queue_ends_the_doubling(control: Ledbat) -> None:
    round_trip(control, TARGET_US)
    assert not control.in_slow_start
    assert control.window == INITIAL_PACKETS * PACKET


def test_it_grows_by_its_gain_where_there_is_no_queue(steady: Ledbat) -> None:
    before = steady.window
    round_trip(steady, 0)
    assert steady.window == pytest.approx(before + GAIN_BYTES, abs=GAIN_BYTES / 20)


def test_it_stays_at_the_target(steady: Ledbat) -> None:
    before = steady.window
    round_trip(steady, TARGET_US)
    assert steady.window == before


def test_it_shrinks_by_a_share_where_the_queue_is_long(steady: Ledbat) -> None:
    before = steady.window
    round_trip(steady, TARGET_US * 5 // 4)
    assert steady.window == pytest.approx(before * 3 / 4)
    round_trip(steady, TARGET_US * 9)
    assert steady.window == pytest.approx(before * 3 / 8, abs=PACKET)


def test_it_is_halved_once_for_all_losses_of_a_round_trip(steady: Ledbat) -> None:
    before = steady.window
    for _ in range(5):
        steady.lost(sent_at=0.9, now=1.0)
    assert steady.window == before / 2
    steady.lost(sent_at=1.1, now=1.2)
    assert steady.window == before / 4


def test_losses_that_were_none_are_undone_when_all_are_known_to_be(steady: Ledbat) -> None:
    before = steady.window
    for _ in range(2):
        steady.lost(sent_at=0.9, now=1.0)
    steady.not_lost()
    assert steady.window == before / 2
    steady.not_lost()
    assert steady.window == before


def test_after_a_timeout_it_begins_with_one_packet_and_doubles_half_way(steady: Ledbat) -> None:
    steady.timed_out(now=1.0)
    assert steady.window == PACKET
    steady.filled(now=1.0)
    for _ in range(6):
        round_trip(steady, 0, now=1.0)
    assert not steady.in_slow_start
    assert steady.window < 70 * PACKET
