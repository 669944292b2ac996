"""Asking for samples: real nodes on loopback, and some that answer as they please."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from dht.bencode import BValue, decode, encode
from dht.contact import Endpoint, Family, endpoint
from dht.errors import MalformedMessage, QueryRefused
from dht.keyspace import InfoHash
from dht.node import Node, NodeSettings, open_node
from dht.sampler import Sampler
from dht.sampling import INTERVAL_MAX_S, UNSUPPORTED_S, Samples
from dht.testnet import Testnet
from tests.dht.samples import QUERIER, RESPONDER

KEY = InfoHash(RESPONDER)

Reply = dict[bytes, BValue]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that knows nobody."""
    settings = NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=[], read_only=True)
    async with open_node(settings) as node:
        yield node


@pytest.fixture
async def odd(nursery: trio.Nursery) -> AsyncIterator[Callable[[Reply], Endpoint]]:
    """Start a node that answers everything with the same."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))

        async def serve(reply: Reply) -> None:
            while True:
                packet, source = await sock.recvfrom(2_048)
                query = decode(packet)
                assert isinstance(query, dict)
                await sock.sendto(encode({**reply, b"t": query[b"t"]}), source)

        def start(reply: Reply) -> Endpoint:
            nursery.start_soon(serve, reply)
            return endpoint(*sock.getsockname())

        yield start
        nursery.cancel_scope.cancel()


def due_in(sampler: Sampler, at: Endpoint) -> float:
    now = trio.current_time()
    return sampler.schedule.due_at(at, now=now) - now


async def test_an_answer_that_breaks_the_rules_is_told(
    node: Node, odd: Callable[[Reply], Endpoint]
) -> None:
    at = odd({b"r": {b"id": RESPONDER, b"samples": bytes(19)}, b"y": b"r"})
    sampler = Sampler(node)
    with pytest.raises(MalformedMessage, match="samples"):
        await sampler.sample(at, QUERIER)
    assert due_in(sampler, at) == pytest.approx(INTERVAL_MAX_S, abs=5)


@pytest.mark.parametrize(
    "reply",
    [
        {b"r": {b"id": RESPONDER, b"nodes": b""}, b"y": b"r"},
        {b"e": [204, b"method unknown"], b"y": b"e"},
    ],
)
async def test_a_node_may_not_know_the_method(
    node: Node, odd: Callable[[Reply], Endpoint], reply: Reply
) -> None:
    at = odd(reply)
    sampler = Sampler(node)
    _, samples = await sampler.sample(at, QUERIER)
    assert samples is None
    assert due_in(sampler, at) == pytest.approx(UNSUPPORTED_S, abs=5)


async def test_nobody_is_asked_before_its_time(testnet: Testnet) -> None:
    asking, asked = testnet.nodes[:2]
    sampler, at = Sampler(asking), asked.endpoints[Family.IPV4]
    await sampler.sample(at, QUERIER)
    before = asking.statistics().engines[Family.IPV4].counts["queries sent"]
    with pytest.raises(QueryRefused, match="too early"):
        await sampler.sample(at, QUERIER)
    assert asking.statistics().engines[Family.IPV4].counts["queries sent"] == before
    assert sampler.schedule.early_visits == 0


async def test_our_own_nodes_show_what_was_announced(testnet: Testnet) -> None:
    asking, announcing, *others = testnet.nodes
    holders = {holder.endpoint for holder in await announcing.announce(KEY, 6_881)}
    holder = next(at for node in others if (at := node.endpoints[Family.IPV4]) in holders)
    call, samples = await Sampler(asking).sample(holder, QUERIER)
    assert samples == Samples((KEY,), 1, 0)
    assert call.answer is not None
    assert call.answer.contacts


async def test_a_silent_node_is_given_up(
    patient_clock: trio.testing.MockClock, node: Node, silent_end: Endpoint
) -> None:
    call, samples = await Sampler(node).sample(silent_end, QUERIER)
    assert samples is None
    assert call.error is not None
