"""Round-trip times, and how long to wait."""

import pytest

from magnet.transport.utp.rtt import TIMEOUT_MAX_S, TIMEOUT_MIN_S, TIMEOUT_START_S, RoundTrip


def test_before_anything_is_known_it_waits_a_second() -> None:
    rtt = RoundTrip()
    assert rtt.smoothed_s is None
    assert rtt.timeout_s == TIMEOUT_START_S


def test_waiting_doubles_up_to_a_bound_until_there_is_an_answer() -> None:
    rtt = RoundTrip()
    rtt.back_off()
    assert rtt.timeout_s == 2 * TIMEOUT_START_S
    for _ in range(20):
        rtt.back_off()
    assert rtt.timeout_s == TIMEOUT_MAX_S
    rtt.sample(0.01)
    assert rtt.timeout_s == TIMEOUT_MIN_S


def test_the_average_follows_slowly_and_the_shortest_stays() -> None:
    rtt = RoundTrip()
    rtt.sample(0.8)
    assert rtt.timeout_s == pytest.approx(0.8 + 4 * 0.4)
    rtt.sample(1.6)
    assert rtt.smoothed_s == pytest.approx(0.9)
    assert rtt.timeout_s == pytest.approx(0.9 + 4 * 0.5)
    assert rtt.least_s == 0.8
