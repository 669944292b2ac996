"""Cancellation at every point where it can come."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class _Countdown(trio.abc.Instrument):
    """Cancels a scope when so many task steps have been made."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._steps = steps
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps -= 1
        if not self._steps:
            self._scope.cancel()


@contextmanager
def cancel_after(steps: int) -> Iterator[trio.CancelScope]:
    """Cancel the block when the tasks of this run have made so many steps since it began."""
    with trio.CancelScope() as scope:
        countdown = _Countdown(steps, scope)
        trio.lowlevel.add_instrument(countdown)
        try:
            yield scope
        finally:
            trio.lowlevel.remove_instrument(countdown)
