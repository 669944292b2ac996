"""Items put and read through running nodes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import trio
import trio.testing

from dht import publishing
from dht.bencode import BValue
from dht.contact import Endpoint
from dht.errors import ErrorResponse, InvalidItem, ItemConflict, NodeClosed, NotBootstrapped
from dht.inquiry import Call
from dht.items import GET, PUT, ImmutableItem, Item, MutableItem, SigningKey, mutable_target
from dht.keyspace import NodeId
from dht.krpc import ErrorCode
from dht.node import Node, NodeSettings, open_node
from dht.publishing import (
    REPUBLISH_MAX_S,
    REPUBLISH_MIN_S,
    PutReport,
    get_item,
    keep_published,
    put_item,
    update_item,
)
from dht.search import Holder
from dht.testnet import Testnet, open_testnet

KEY = SigningKey(bytes(range(32)))
TARGET = mutable_target(KEY.public_key)
PLAIN = ImmutableItem(b"12:Hello World!")


@pytest.fixture
async def network() -> AsyncIterator[Testnet]:
    async with open_testnet(10) as network:
        yield network


@pytest.fixture
def writer(network: Testnet) -> Node:
    return network.nodes[3]


@pytest.fixture
def reader(network: Testnet) -> Node:
    return network.nodes[7]


@pytest.fixture
async def hermit() -> AsyncIterator[Node]:
    """A node that knows nobody."""
    async with open_node(NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())) as node:
        yield node


def always(value: bytes) -> Callable[[MutableItem | None], bytes]:
    return lambda _newest: value


Caller = Callable[[Endpoint, bytes, "dict[bytes, BValue] | None"], Awaitable[Call]]


def before_each_call(
    node: Node, monkeypatch: pytest.MonkeyPatch, act: Callable[[Call], Awaitable[None]]
) -> None:
    """Let something happen to each put that a node is about to send."""
    really: Caller = node.call

    async def call(
        endpoint: Endpoint, method: bytes, arguments: dict[bytes, BValue] | None = None
    ) -> Call:
        asked = Call(endpoint, method, arguments)
        if method == PUT:
            await act(asked)
        return asked if asked.is_done else await really(endpoint, method, arguments)

    monkeypatch.setattr(node, "call", call)


# Nothing there, and nobody


async def test_what_nobody_put_is_not_found(reader: Node) -> None:
    assert await get_item(reader, bytes(20)) is None


async def test_without_a_network_there_is_nobody_to_ask(hermit: Node) -> None:
    with pytest.raises(NotBootstrapped):
        await get_item(hermit, PLAIN.target)
    with pytest.raises(NotBootstrapped):
        await put_item(hermit, PLAIN)
    with pytest.raises(NotBootstrapped):
        await update_item(hermit, KEY, always(b"1:a"))


async def test_what_is_too_big_is_not_sent(hermit: Node) -> None:
    with pytest.raises(InvalidItem):
        await put_item(hermit, ImmutableItem(b"996:" + bytes(996)))


async def test_what_a_revision_raises_ends_the_update(writer: Node) -> None:
    def refuse(_newest: MutableItem | None) -> bytes:
        raise ItemConflict(7)

    with pytest.raises(ItemConflict, match="number is 7"):
        await update_item(writer, KEY, refuse)


async def test_a_node_that_is_closed_meanwhile_is_an_error(
    writer: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close(_call: Call) -> None:
        raise NodeClosed("the node was closed")

    before_each_call(writer, monkeypatch, close)
    with pytest.raises(NodeClosed):
        await put_item(writer, PLAIN)


# Who is refused


async def test_an_older_item_is_not_put(writer: Node, reader: Node) -> None:
    await update_item(writer, KEY, always(b"1:a"))
    await update_item(writer, KEY, always(b"1:b"))
    with pytest.raises(ItemConflict) as caught:
        await put_item(reader, KEY.sign(b"1:a", 1))
    assert caught.value.seq == 2


async def test_those_who_refuse_without_proof_are_passed_over(
    writer: Node, reader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    liars: list[Endpoint] = []

    async def refuse_one(call: Call) -> None:
        if not liars:
            liars.append(call.endpoint)
            error = ErrorResponse(ErrorCode.SEQUENCE_TOO_LOW, "for no reason")
            call.failed(call.endpoint, error)

    before_each_call(writer, monkeypatch, refuse_one)
    report = await update_item(writer, KEY, always(b"1:a"))
    assert report.is_contested
    assert len(report.stored_by) == 7
    assert liars[0] not in [it.endpoint for it in report.stored_by]
    found = await get_item(reader, TARGET)
    assert found is not None
    assert found.item == KEY.sign(b"1:a", 1)


async def test_an_update_gives_way_to_those_who_are_always_faster(
    network: Testnet, writer: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    def revise(_newest: MutableItem | None) -> bytes:
        nonlocal rounds
        rounds += 1
        return b"1:a"

    async def overtake(_call: Call) -> None:
        await put_item(network.nodes[5], KEY.sign(b"1:b", rounds * 10))

    before_each_call(writer, monkeypatch, overtake)
    with pytest.raises(ItemConflict):
        await update_item(writer, KEY, revise)
    assert rounds == publishing.ROUNDS_MAX


# Put and found


async def test_an_immutable_item_is_stored_by_the_nearest(writer: Node, reader: Node) -> None:
    report = await put_item(writer, PLAIN)
    assert len(report.stored_by) == 8
    assert report.errors == ()
    found = await get_item(reader, PLAIN.target)
    assert found is not None
    assert found.item == PLAIN
    assert not found.is_forked
    nearest = await writer.find_node(NodeId(PLAIN.target))
    assert {it.id for it in report.stored_by} == {it.id for it in nearest}


async def test_each_update_follows_the_one_before(writer: Node, reader: Node) -> None:
    seen: list[MutableItem | None] = []

    def append(newest: MutableItem | None) -> bytes:
        seen.append(newest)
        return b"1:b" if newest is not None else b"1:a"

    first = await update_item(writer, KEY, append, salt=b"s")
    second = await update_item(reader, KEY, append, salt=b"s")
    assert seen == [None, first.item]
    assert second.item == KEY.sign(b"1:b", 2, b"s")
    found = await get_item(writer, second.item.target, salt=b"s")
    assert found is not None
    assert found.item == second.item
    assert await get_item(writer, second.item.target, salt=b"s", newer_than=2) is None
    assert await get_item(writer, second.item.target) is None


async def test_each_holder_is_told_what_it_is_to_replace(
    writer: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[BValue | None] = []

    async def note(call: Call) -> None:
        request = call.next_request()
        assert request is not None
        expected.append(request.arguments.get(b"cas"))

    before_each_call(writer, monkeypatch, note)
    await update_item(writer, KEY, always(b"1:a"))
    await update_item(writer, KEY, always(b"1:a"))
    assert expected == [None] * 8 + [1] * 8


async def test_of_two_owners_at_once_none_loses_an_update(writer: Node, reader: Node) -> None:
    def adding(letter: bytes) -> Callable[[MutableItem | None], bytes]:
        def revise(newest: MutableItem | None) -> bytes:
            held = newest.value.partition(b":")[2] if newest is not None else b""
            merged = bytes(sorted({*held, *letter}))
            return b"%d:%b" % (len(merged), merged)

        return revise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(update_item, writer, KEY, adding(b"a"))
        nursery.start_soon(update_item, reader, KEY, adding(b"b"))
    found = await get_item(writer, TARGET)
    assert found is not None
    assert found.item.value == b"2:ab"


async def give(writer: Node, node: Node, item: MutableItem) -> None:
    """Put an item to one node only."""
    (at,) = node.endpoints.values()
    answer = (await writer.call(at, GET, {b"target": item.target})).answer
    assert answer is not None
    assert answer.token is not None
    arguments: dict[bytes, BValue] = {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
    arguments |= {b"token": answer.token, b"v": item.value[2:]}
    assert (await writer.call(at, PUT, arguments)).sender is not None


async def test_whom_we_outran_at_one_node_only_is_not_overruled(
    network: Testnet, writer: Node, reader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = publishing._put
    rival: list[MutableItem] = [KEY.sign(b"1:b", 1)]

    async def put_after_the_rival(
        node: Node, item: Item, holders: Sequence[tuple[Holder, int | None]]
    ) -> PutReport:
        while rival:
            item_of_theirs = rival.pop()
            for other in [it for it in network.nodes if it not in (writer, reader)][1:]:
                await give(reader, other, item_of_theirs)
        return await put(node, item, holders)

    def revise(newest: MutableItem | None) -> bytes:
        return b"1:a" if newest is None else b"2:a" + newest.value[2:]

    monkeypatch.setattr(publishing, "_put", put_after_the_rival)
    report = await update_item(writer, KEY, revise)
    assert (report.item.value, rival) == (b"2:ab", [])


async def test_a_fork_is_told(network: Testnet, reader: Node) -> None:
    for number, node in enumerate(it for it in network.nodes if it is not reader):
        await give(reader, node, KEY.sign((b"1:a", b"1:b")[number % 2], 1))
    found = await get_item(reader, TARGET)
    assert found is not None
    assert found.is_forked
    assert found.item.value == b"1:a"
    assert 0 < found.copies < 8


# Kept alive


async def test_an_item_is_put_again_every_hour(
    hermit: Node, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    began = trio.current_time()

    async def put(node: Node, item: ImmutableItem) -> publishing.PutReport:
        times.append(trio.current_time() - began)
        if len(times) == 2:
            raise NotBootstrapped("no node is known to ask")
        if len(times) == 4:
            raise ItemConflict(9)
        return publishing.PutReport(item, (), ())

    monkeypatch.setattr(publishing, "put_item", put)
    with pytest.raises(ItemConflict):
        await keep_published(hermit, PLAIN)
    pauses = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert len(pauses) == 4
    assert all(REPUBLISH_MIN_S <= pause <= REPUBLISH_MAX_S for pause in pauses)
