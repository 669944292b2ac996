"""The code under the rules, read once."""

from pathlib import Path

import pytest

from tests.architecture.source import Module, read_wings


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def modules(root: Path) -> list[Module]:
    """Every module of `dht` and `magnet`."""
    return read_wings(root)
