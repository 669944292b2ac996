"""uTP through bad paths, and beside others, in virtual time."""

import pytest

from scripts.simulations.paths import Faults
from scripts.simulations.utp import Shares, compete, transfer

SIZE = 10_000_000

LOSSES = [0.0, 0.01, 0.05, 0.1]
RTTS_S = [0.02, 0.1, 0.3]


@pytest.mark.slow
@pytest.mark.parametrize("rtt_s", RTTS_S, ids=lambda rtt_s: f"{rtt_s * 1e3:g} ms")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss:.0%} lost")
def test_all_arrives_and_nearly_as_fast_as_it_may(loss: float, rtt_s: float) -> None:
    path = Faults(rtt_s / 2, loss, duplication=0.01, reordering=0.01, lateness_s=rtt_s / 10)
    result = transfer(1, SIZE, path)
    assert result.is_whole
    assert result.bytes_per_s > result.allowed / 2
    # What is sent again was lost, and little else.
    assert result.resent < 1.25 * loss + 0.005


def test_a_third_lost_is_slow_but_whole() -> None:
    result = transfer(1, 50_000, Faults(loss=0.3))
    assert result.is_whole


def test_reordering_is_no_loss() -> None:
    result = transfer(1, 2_000_000, Faults(reordering=0.3, lateness_s=0.05))
    assert result.is_whole
    assert result.resent < 0.02


def test_duplicates_are_no_news() -> None:
    result = transfer(1, 200_000, Faults(duplication=1.0))
    assert result.is_whole
    assert result.resent < 0.05


@pytest.fixture(scope="module")
def shares() -> Shares:
    """What uTP gets with and without a TCP beside it."""
    return compete(seed=1)


@pytest.mark.slow
def test_alone_it_fills_the_link_but_not_the_queue(shares: Shares) -> None:
    assert shares.alone > 0.9
    # Half a second would fit; a tenth is aimed at.
    assert shares.queue_s < 0.15


@pytest.mark.slow
def test_it_yields_to_tcp(shares: Shares) -> None:
    assert shares.tcp > 0.9
    assert shares.beside < 0.05


@pytest.mark.slow
def test_it_takes_back_what_tcp_leaves(shares: Shares) -> None:
    assert shares.afterwards > 0.9
