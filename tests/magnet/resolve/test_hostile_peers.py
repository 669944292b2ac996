"""Hostile peers of many kinds: each costs its own connection, and nobody else anything."""

import tracemalloc
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from dht.node import Node
from magnet.errors import ResolveTimeout
from magnet.resolve.report import UNFINISHED, Report
from magnet.resolve.resolver import open_resolver
from tests.magnet.resolve.hostile import SCENES, Scene, impostor
from tests.magnet.resolve.peers import RAW, honest, link_to, listening

KINDS = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
MEMORY_MAX = 24_000_000
"""Bytes that one hostile peer may make us hold: a metadata of the largest size, and change."""


@KINDS
async def test_it_ends_for_what_it_did_within_bounds(
    node: Node, clock: trio.testing.MockClock, scene: Scene
) -> None:
    report = Report()
    async with listening(impostor(scene)) as peer, open_resolver(node) as resolver:
        tracemalloc.start()
        with pytest.raises(ResolveTimeout):
            await resolver.resolve(link_to([peer.endpoint]), timeout_s=45, report=report)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    ended = report.attempts[0]
    assert ended.outcome == SCENES[scene]
    assert ended.elapsed_s < 45
    assert peak < MEMORY_MAX


@KINDS
async def test_honest_peer_beside_it_is_not_delayed(
    node: Node, clock: trio.testing.MockClock, scene: Scene
) -> None:
    async with (
        listening(impostor(scene)) as hostile,
        listening(honest(), "127.0.0.2") as peer,
        open_resolver(node) as resolver,
    ):
        link = link_to([hostile.endpoint, peer.endpoint])
        resolved = await resolver.resolve(link)
    assert resolved.raw_info == RAW
    assert trio.current_time() < 1


async def test_crowd_of_all_kinds_does_not_keep_an_honest_peer_from_answering(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(listening(impostor(scene), f"127.0.{number}.1"))
            for number, scene in enumerate(SCENES, start=1)
        ]
        listeners.append(await stack.enter_async_context(listening(honest(), "127.0.99.1")))
        resolver = await stack.enter_async_context(open_resolver(node))
        link = link_to([it.endpoint for it in listeners])
        resolved = await resolver.resolve(link, report=report)
    assert resolved.raw_info == RAW
    # Whoever had kept it waiting longest had not exhausted its patience yet.
    assert "timed out requesting" not in report.outcomes()
    assert UNFINISHED not in report.outcomes()
