"""A thread that carries out blocking operations one after the other, in the order of asking.

A queue of operations, instead of a lock that threads pass on by way of the event loop: under load
the loop takes its time for each round, and then a lock is free most of the time while everybody
waits for it.
"""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

_T = TypeVar("_T")


class Worker:
    """Carries out operations; made by `open_worker`."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        """Made by `open_worker`."""
        self._executor = executor
        self._token = trio.lowlevel.current_trio_token()

    async def run(self, operation: Callable[[], _T]) -> _T:
        """Carry out an operation, to its end even if the caller is cancelled meanwhile.

        Raises:
            Cancelled: Before it was begun.
            BaseException: What the operation raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ended = trio.Event()
        future = self._executor.submit(operation)
        future.add_done_callback(lambda _: self._token.run_sync_soon(ended.set))
        with trio.CancelScope(shield=True):
            await ended.wait()
        return future.result()


@asynccontextmanager
async def open_worker() -> AsyncIterator[Worker]:
    """Give a worker for the time of the block; what was asked for is carried out before the end."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trackerless")
    try:
        yield Worker(executor)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(executor.shutdown)
