"""A thread for what blocks: errors, cancellation, and the order of things."""

import threading

import pytest
import trio
import trio.testing

from magnet.resolve.worker import open_worker


async def test_error_of_an_operation_is_the_callers() -> None:
    async with open_worker() as worker:
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        assert await worker.run(lambda: 7) == 7


async def test_cancelled_before_it_began_it_is_not_carried_out() -> None:
    done: list[int] = []
    async with open_worker() as worker:
        with trio.CancelScope() as scope:
            scope.cancel()
            await worker.run(lambda: done.append(1))
    assert scope.cancelled_caught
    assert done == []


async def test_cancelled_meanwhile_it_is_carried_out_to_its_end() -> None:
    may_end, done = threading.Event(), list[int]()

    def operation() -> None:
        may_end.wait(5)
        done.append(1)

    async with open_worker() as worker, trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, operation)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        may_end.set()
    assert done == [1]


async def test_operations_are_carried_out_one_by_one_in_the_order_of_asking() -> None:
    order: list[int] = []
    threads: set[int] = set()

    def operation(number: int) -> None:
        order.append(number)
        threads.add(threading.get_ident())

    async with open_worker() as worker, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(worker.run, lambda number=number: operation(number))
            await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(20))
    assert len(threads) == 1
