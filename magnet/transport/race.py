"""Several ways to the same end, begun one after the other; the first that gets there wins.

Spec: RFC 8305 "Happy Eyeballs", of which this is the part about attempts.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from magnet.errors import PeerError

Attempt: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]


async def race(
    attempts: Sequence[Attempt], *, head_start_s: float, last_chance_s: float
) -> tuple[int, trio.abc.Stream]:
    """Open a stream by whichever attempt is first; cancel the others, and close what they opened.

    Args:
        attempts: What to try, the best first; at least one.
        head_start_s: Seconds an attempt has for itself before the next begins beside it. When it
            fails, the next begins at once.
        last_chance_s: Seconds that are left to the others when the first has failed.

    Returns:
        Index of the winner, and its stream.

    Raises:
        PeerError: All have failed; this is what ended the first.
    """
    errors: dict[int, PeerError] = {}
    won: list[tuple[int, trio.abc.Stream]] = []

    async def run(number: int, failed: trio.Event) -> None:
        try:
            stream = await attempts[number]()
        except PeerError as error:
            errors[number] = error
            failed.set()
            if number == 0:
                nursery.cancel_scope.deadline = trio.current_time() + last_chance_s
            return
        won.append((number, stream))
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for number in range(len(attempts)):
                failed = trio.Event()
                nursery.start_soon(run, number, failed)
                with trio.move_on_after(head_start_s):
                    await failed.wait()
    except BaseException:
        await _close(won)
        raise
    if not won:
        raise errors[0]
    await _close(won[1:])
    return won[0]


async def _close(won: Sequence[tuple[int, trio.abc.Stream]]) -> None:
    # The first to notice a cancellation must not keep the others from being closed.
    with trio.CancelScope(shield=True):
        for _, stream in won:
            await trio.aclose_forcefully(stream)
