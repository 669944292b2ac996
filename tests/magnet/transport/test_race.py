"""The race, in virtual time: how it is lost first, then who wins and what becomes of the others."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from magnet.errors import PeerDisconnected, PeerError
from magnet.transport.race import Attempt, race

HEAD_START_S = 0.5
LAST_CHANCE_S = 2.0


class Track:
    """Attempts, and what became of each."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.opened: list[trio.testing.MemorySendStream] = []
        self.cancelled = 0

    def attempt(self, delay_s: float, error: PeerError | None = None) -> Attempt:
        async def run() -> trio.abc.Stream:
            self.begun.append(trio.current_time())
            try:
                await trio.sleep(delay_s)
            except trio.Cancelled:
                self.cancelled += 1
                raise
            if error is not None:
                raise error
            here, _ = trio.testing.memory_stream_pair()
            self.opened.append(here.send_stream)
            return here

        return run


async def run_race(
    attempts: Sequence[Attempt], head_start_s: float = HEAD_START_S
) -> tuple[int, trio.abc.Stream]:
    return await race(attempts, head_start_s=head_start_s, last_chance_s=LAST_CHANCE_S)


REFUSED = PeerDisconnected("connecting", "Connection refused")
UNREACHABLE = PeerDisconnected("connecting", "No route to host")


async def is_closed(stream: trio.testing.MemorySendStream) -> bool:
    try:
        await stream.send_all(b"x")
    except trio.ClosedResourceError:
        return True
    return False


async def test_error_of_the_first_choice_is_raised(autojump_clock: trio.testing.MockClock) -> None:
    track = Track()
    attempts = [track.attempt(2, REFUSED), track.attempt(0.1, UNREACHABLE)]
    with pytest.raises(PeerDisconnected) as caught:
        await run_race(attempts)
    assert caught.value is REFUSED


async def test_rest_has_a_last_chance_when_the_first_choice_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    track = Track()
    with pytest.raises(PeerDisconnected) as caught:
        await run_race([track.attempt(0.1, REFUSED), track.attempt(9)])
    assert caught.value is REFUSED
    assert track.cancelled == 1
    assert trio.current_time() == pytest.approx(0.1 + LAST_CHANCE_S)


async def test_failure_begins_the_next_at_once(autojump_clock: trio.testing.MockClock) -> None:
    track = Track()
    attempts = [track.attempt(0.1, REFUSED), track.attempt(1)]
    number, _ = await run_race(attempts)
    assert number == 1
    assert trio.current_time() == pytest.approx(1.1)


async def test_what_was_opened_is_closed_when_the_race_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    track = Track()
    with trio.CancelScope() as scope:

        async def finish_as_it_is_cancelled() -> trio.abc.Stream:
            stream = await track.attempt(HEAD_START_S / 2)()
            scope.cancel()
            return stream

        await run_race([finish_as_it_is_cancelled])
    assert scope.cancelled_caught
    assert await is_closed(track.opened[0])


async def test_cancelled_race_cancels_who_runs(autojump_clock: trio.testing.MockClock) -> None:
    track = Track()
    with trio.move_on_after(1):
        await run_race([track.attempt(9), track.attempt(9)])
    assert track.cancelled == 2


async def test_dead_heat_has_one_winner_and_the_other_is_closed() -> None:
    track, shot = Track(), trio.Event()

    async def run() -> trio.abc.Stream:
        await shot.wait()
        here, _ = trio.testing.memory_stream_pair()
        track.opened.append(here.send_stream)
        return here

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_idle, shot)
        _, stream = await run_race([run, run], 0)
    closed = [await is_closed(opened) for opened in track.opened]
    assert sorted(closed) == [False, True]
    await stream.send_all(b"x")


async def _set_when_idle(event: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event.set()


async def test_first_choice_wins_alone_within_its_head_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    track = Track()
    number, _ = await run_race([track.attempt(0.4), track.attempt(0)])
    assert number == 0
    assert track.begun == [0]


async def test_slow_first_choice_is_overtaken_and_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    track = Track()
    number, stream = await run_race([track.attempt(9), track.attempt(1)])
    assert number == 1
    assert track.begun == pytest.approx([0, HEAD_START_S])
    assert track.cancelled == 1
    assert trio.current_time() == pytest.approx(1.5)
    await stream.send_all(b"x")


async def test_slow_first_choice_may_still_win(autojump_clock: trio.testing.MockClock) -> None:
    track = Track()
    number, _ = await run_race([track.attempt(1), track.attempt(9)])
    assert number == 0
    assert track.cancelled == 1
