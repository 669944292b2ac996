"""The nursery that serves a block."""

import pytest
import trio

from dht.background import open_background


async def fail(error: Exception) -> None:
    raise error


async def block_fails(error: Exception, cause: Exception) -> None:
    async with open_background() as background:
        background.start_soon(trio.sleep_forever)
        raise error from cause


async def tasks_fail(*errors: Exception) -> None:
    async with open_background() as background:
        for error in errors:
            background.start_soon(fail, error)
        await trio.sleep_forever()


async def test_the_error_of_the_block_comes_out_as_it_is() -> None:
    cause = OSError("why")
    with pytest.raises(ValueError, match="block") as caught:
        await block_fails(ValueError("block"), cause)
    assert caught.value.__cause__ is cause


async def test_the_error_of_a_task_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="task"):
        await tasks_fail(ValueError("task"))


async def test_several_errors_come_out_together() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        await tasks_fail(ValueError("one"), KeyError("two"))


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
