"""An engine on a socket: what reaches it, and what becomes of calls."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, Family, Scope, endpoint
from dht.driver import EngineDriver
from dht.engine import Engine
from dht.errors import NodeClosed, QueryRefused
from dht.inquiry import Call, Event
from dht.keyspace import random_id
from dht.udp import UdpSocket


def make_driver() -> EngineDriver:
    rng = random.Random(1)
    engine = Engine(
        random_id(rng), Family.IPV4, bound=Scope.LOOPBACK, rng=rng, now=trio.current_time()
    )
    return EngineDriver(engine, UdpSocket.bind("127.0.0.1"))


@asynccontextmanager
async def running(*drivers: EngineDriver) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for driver in drivers:
            nursery.start_soon(driver.run)
        yield
        nursery.cancel_scope.cancel()
    for driver in drivers:
        driver.socket.close()


async def ping(driver: EngineDriver, at: Endpoint) -> Call:
    return await driver.finish(lambda now: driver.engine.ping(at, now=now))


def in_flight(driver: EngineDriver) -> int:
    return driver.engine.statistics(now=trio.current_time()).in_flight


async def test_a_call_that_is_refused_leaves_nothing_behind() -> None:
    driver = make_driver()
    async with running(driver):
        with pytest.raises(QueryRefused):
            await ping(driver, endpoint("192.0.2.1", 6881))
        assert in_flight(driver) == 0


async def test_a_cancelled_call_leaves_nothing_behind(silent_end: Endpoint) -> None:
    driver = make_driver()
    async with running(driver):
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.001):
            await ping(driver, silent_end)
        assert in_flight(driver) == 0


async def test_closing_ends_waiting_calls(silent_end: Endpoint) -> None:
    driver = make_driver()

    async def wait() -> None:
        with pytest.raises(NodeClosed):
            await ping(driver, silent_end)

    async with trio.open_nursery() as nursery, running(driver):
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
    assert driver.is_closed
    assert in_flight(driver) == 0


async def test_a_closed_driver_takes_no_calls(silent_end: Endpoint) -> None:
    driver = make_driver()
    async with running(driver):
        await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(NodeClosed):
        await ping(driver, silent_end)


async def test_a_silent_node_fails_the_call_in_time(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    driver = make_driver()
    async with running(driver):
        failed = await ping(driver, silent_end)
    assert failed.sender is None
    assert "no answer within" in str(failed.error)


async def test_two_engines_talk() -> None:
    asker, answerer = make_driver(), make_driver()
    async with running(asker, answerer):
        answered = await ping(asker, answerer.socket.endpoint)
    assert answered.sender is not None
    assert answered.sender.id == answerer.engine.own_id
    assert answered.rtt_s is not None
    assert 0 < answered.rtt_s < 1


async def test_a_forgotten_call_is_not_told_about() -> None:
    asker, answerer = make_driver(), make_driver()
    events: list[Event] = []
    at = answerer.socket.endpoint
    async with running(asker, answerer):
        call = asker.call(lambda now: asker.engine.ping(at, now=now), events.append)
        asker.forget(call)
        asker.forget(call)
        await ping(asker, at)
    assert events == []


async def test_noise_is_left_to_other_protocols(patient_clock: trio.testing.MockClock) -> None:
    driver, stranger = make_driver(), UdpSocket.bind("127.0.0.1")
    async with running(driver):
        stranger.send([(b"\x21\x00not for us", driver.socket.endpoint)])
        stranger.send([(b"d but not a message", driver.socket.endpoint)])
        await trio.sleep(1)
    counts = driver.engine.statistics(now=trio.current_time()).counts
    assert counts["received"] == 1
    assert driver.socket.statistics()["datagrams of no protocol"] == 1
    stranger.close()
