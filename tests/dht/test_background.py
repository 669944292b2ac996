"""The nursery that serves a block."""

import pytest
import trio

from dht.background import open_background


async def fail(error: Exception) -> None:
    raise error


async def test_the_error_of_the_block_comes_out_as_it_is() -> None:
    cause = OSError("why")
    with pytest.raises(ValueError, match="block") as caught:
        async with open_background() as background:
            background.start_soon(trio.sleep_forever)
            raise ValueError("block") from cause
    assert caught.value.__cause__ is cause


async def test_the_error_of_a_task_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="task"):
        async with open_background() as background:
            background.start_soon(fail, ValueError("task"))
            await trio.sleep_forever()


async def test_several_errors_come_out_together() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        async with open_background() as background:
            background.start_soon(fail, ValueError("one"))
            background.start_soon(fail, KeyError("two"))
            await trio.sleep_forever()


async def test_tasks_end_with_the_block() -> None:
    with trio.fail_after(1):
        async with open_background() as background:
            background.start_soon(trio.sleep_forever)


async def test_cancelling_from_outside_is_no_error() -> None:
    with trio.CancelScope() as scope:
        async with open_background() as background:
            background.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
