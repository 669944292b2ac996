"""Queueing, told from clocks that do not agree."""

import pytest

from magnet.transport.utp.delay import BASE_MINUTES, DRIFT_STEP_MAX_US, BaseDelay, QueueDelay
from magnet.transport.utp.packet import MICROSECONDS

CLOCKS_APART = [0, 1_234_567, MICROSECONDS - 50_000]
"""The last makes the difference turn over while a queue builds up."""


@pytest.mark.parametrize("apart", CLOCKS_APART)
def test_what_is_above_the_least_is_queueing(apart: int) -> None:
    base = BaseDelay()
    delays = [70_000, 90_000, 170_000, 60_000, 80_000]
    above = [base.sample((apart + it) & MICROSECONDS, now=0.0) for it in delays]
    assert above == [0, 20_000, 100_000, 0, 20_000]


def test_the_least_is_forgotten_after_some_minutes() -> None:
    base = BaseDelay()
    base.sample(10_000, now=0.0)
    for minute in range(1, BASE_MINUTES):
        above = [base.sample(it, now=minute * 60.0) for it in (50_000, 40_000, 60_000)]
        assert above == [40_000, 30_000, 50_000]
    assert base.sample(50_000, now=BASE_MINUTES * 60.0) == 10_000


def test_one_late_packet_is_no_queue() -> None:
    queue = QueueDelay()
    late = [queue.reported(it, now=0.0) for it in (10_000, 90_000, 90_000, 90_000, 90_000)]
    assert late == [0, 0, 0, 80_000, 80_000]


def test_a_clock_that_runs_away_is_no_queue() -> None:
    queue, drift_us, late = QueueDelay(), 0, 0
    for second in range(300):
        drift_us = second * 500
        queue.received((500_000 - drift_us) & MICROSECONDS, now=float(second))
        late = queue.reported(100_000 + drift_us, now=float(second))
    assert drift_us > 100_000
    assert late <= 1_000


def test_a_shorter_path_is_no_drift() -> None:
    queue = QueueDelay()
    queue.received(500_000, now=0.0)
    queue.reported(100_000, now=0.0)
    queue.received(500_000 - DRIFT_STEP_MAX_US - 1, now=1.0)
    for _ in range(3):
        late = queue.reported(150_000, now=1.0)
    assert late == 50_000
