"""Background tasks for the time of a block, without changing how the block itself fails.

A nursery wraps whatever leaves it in an exception group, also when nothing but the caller's own
block raised. For a nursery that is hidden inside a context manager that would be a trap: `except
ResolveTimeout` around the block would not match. Here a lone exception comes out as itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """Give a nursery that is cancelled at the end of the block.

    Raises:
        BaseException: What the block or a task raised, as itself; several at once as a group.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        lone = group.exceptions[0]
        raise lone from lone.__cause__
