"""What became of many links, in one line."""

import pytest

from magnet.resolve.report import Report
from magnet.resolve.tally import RATE_WINDOW_S, Outcome, Status, Tally


def failed(cause: str) -> Outcome:
    return Outcome("x", Status.FAILED, reason="why", cause=cause)


DONE = Outcome("x", Status.RESOLVED)


def test_nothing_yet() -> None:
    tally = Tally()
    assert tally.describe(now=0) == (
        "[--------------------] 0 of 0, 0.0/s, 0% resolved, 0 under way"
    )
    assert tally.summary() == "0 resolved, 0 failed, 0 invalid"


def test_failures_are_counted_by_their_cause() -> None:
    tally = Tally()
    for cause in ["no peers", "no metadata", "no peers", "unusable", "no peer reached"]:
        tally.add(failed(cause), now=0)
    assert tally.success_share == 0
    assert ", 2 no peers, 1 no metadata, 1 unusable" in tally.describe(now=0)
    assert tally.summary() == (
        "0 resolved, 5 failed, 0 invalid (2 no peers, 1 no metadata, 1 unusable, 1 no peer reached)"
    )


def test_bar_fills() -> None:
    tally = Tally()
    tally.expected = 8
    tally.under_way = {"a": Report(), "b": Report()}
    for _ in range(3):
        tally.add(DONE, now=0)
    tally.add(failed("no peers"), now=0)
    assert tally.describe(now=1) == (
        "[##########----------] 4 of 8, 0.4/s, 75% resolved, 2 under way, 1 no peers"
    )


def test_bar_never_overflows() -> None:
    tally = Tally()
    tally.expected = 1
    for _ in range(3):
        tally.add(DONE, now=0)
    assert "] 3 of 3, " in tally.describe(now=0)


def test_rate_is_that_of_the_last_moments() -> None:
    tally = Tally()
    for second in range(100):
        tally.add(DONE, now=second)
    assert tally.rate(now=99) == pytest.approx(1)
    assert tally.rate(now=99 + RATE_WINDOW_S) == 0


def test_lone_link_is_shown_more_closely() -> None:
    tally = Tally()
    tally.expected = 1
    tally.under_way = {"a": Report(peers_found=3, trying=2)}
    assert tally.describe(now=0) == ("0 of 0 nodes answered, 3 peers found, 0 tried, 2 being tried")
