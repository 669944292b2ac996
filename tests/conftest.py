"""Settings of every test run, and what tests of both wings share."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command does to the logging of the test run."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
