"""A thousand nodes, a fifth of them replaced: what searches find, and the same bytes twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.simulations.churn import Figures, simulate

pytestmark = pytest.mark.slow

SEED = 1
NODES = 1_000

PROGRAM = [sys.executable, "-m", "scripts.simulations.churn", f"--seed={SEED}", f"--nodes={NODES}"]


@pytest.fixture(scope="module")
def second_run() -> Iterator[subprocess.Popen[str]]:
    """The same simulation in another process, at the same time and with other string hashes."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "20"}
    with subprocess.Popen(
        PROGRAM, cwd=root, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def figures(second_run: subprocess.Popen[str]) -> Figures:
    """What this process finds while the other runs."""
    return simulate(SEED, NODES)


def test_searches_find_the_closest_living_nodes(figures: Figures) -> None:
    assert figures.searches.recall >= 0.95


def test_announces_are_found(figures: Figures) -> None:
    assert figures.announces_found >= 0.99


def test_searches_are_short(figures: Figures) -> None:
    assert figures.searches.queries <= 30
    assert figures.searches.seconds <= 5.0


def test_a_node_is_frugal(figures: Figures) -> None:
    assert figures.datagrams <= 400 * NODES


def test_same_seed_gives_the_same_bytes(
    figures: Figures, second_run: subprocess.Popen[str]
) -> None:
    output, _ = second_run.communicate()
    assert figures.digest in output
