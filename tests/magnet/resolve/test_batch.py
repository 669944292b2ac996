"""A queue of links being worked through: what is killed, cancelled or broken first."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from dht.bencode import encode
from dht.contact import Scope, format_endpoint
from dht.keyspace import InfoHash
from dht.node import Node, NodeSettings, open_node
from magnet.errors import DiskError
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.batch import Batch, BatchSettings
from magnet.resolve.queue import LADDER_S
from magnet.resolve.resolver import open_resolver
from magnet.resolve.store import open_store
from magnet.resolve.tally import Outcome, Status
from magnet.seeder import open_seeder
from tests.magnet.resolve.peers import HOST, honest, listening

RAWS = [
    encode({b"length": 5, b"name": b"n%d" % it, b"piece length": 16_384, b"pieces": bytes(20)})
    for it in range(30)
]
TORRENTS = {InfoHash(hashlib.sha1(raw).digest()): raw for raw in RAWS}
UNUSABLE = b"d4:name1:xe"
UNKNOWN = "ab" * 20
COMMAND = Path(sys.executable).with_name("magnet")


async def lines(*given: str) -> AsyncIterator[Sequence[str]]:
    yield given


@asynccontextmanager
async def seeded(torrents: dict[InfoHash, bytes] = TORRENTS) -> AsyncIterator[list[str]]:
    """Run a peer that has all torrents, and give the links that lead to it."""
    async with open_seeder(torrents, hosts=[HOST], rng=Random(1)) as seeder:
        at = format_endpoint(seeder.endpoints[0])
        yield [f"magnet:?xt=urn:btih:{it.hex()}&x.pe={at}" for it in torrents]


async def work(
    node: Node,
    folder: Path,
    given: AsyncIterator[Sequence[str]],
    *,
    queue: Path | None = None,
    now: float = 0,
    **settings: object,
) -> list[Outcome]:
    """Work through links; return what became of them, in the order of their ends."""
    outcomes: list[Outcome] = []
    wanted = BatchSettings(folder, bound=Scope.LOOPBACK, **settings)  # type: ignore[arg-type]
    async with open_resolver(node) as resolver, open_store(queue) as store:
        await Batch(resolver, store, wanted, outcomes.append, clock=lambda: now).run(given)
    return outcomes


def statuses(outcomes: Iterable[Outcome]) -> list[Status]:
    return [it.status for it in outcomes]


async def test_what_is_no_link_is_told_and_does_not_hold_up_the_rest(
    node: Node, tmp_path: Path
) -> None:
    async with seeded() as links:
        outcomes = await work(node, tmp_path, lines("nonsense", links[0], "magnet:?dn=x"))
    assert sorted(it.value for it in statuses(outcomes)) == ["invalid", "invalid", "resolved"]
    assert outcomes[0].uri == "nonsense"
    assert outcomes[0].reason is not None
    assert "not a magnet link" in outcomes[0].reason


async def test_failure_says_why_and_when_it_is_tried_again(node: Node, tmp_path: Path) -> None:
    (outcome,) = await work(node, tmp_path, lines(UNKNOWN), now=1e9, timeout_s=0.05)
    assert outcome.status is Status.FAILED
    assert outcome.cause == "DHT not reached"
    assert outcome.next_try_at == 1e9 + LADDER_S[0]
    assert list(tmp_path.iterdir()) == []


async def test_unusable_metadata_is_final(node: Node, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    info_hash = InfoHash(hashlib.sha1(UNUSABLE).digest())
    async with listening(honest(UNUSABLE)) as peer:
        uri = f"magnet:?xt=urn:btih:{info_hash.hex()}&x.pe={format_endpoint(peer.endpoint)}"
        (outcome,) = await work(node, tmp_path, lines(uri), queue=queue)
        assert (outcome.status, outcome.next_try_at) == (Status.FAILED, None)
        assert outcome.reason is not None
        assert "unusable" in outcome.reason
        (again,) = await work(node, tmp_path, lines(uri), queue=queue, now=1e9)
    assert (again.reason, again.is_cached) == (outcome.reason, True)
    assert peer.accepted == 1


async def test_full_disk_ends_the_work_and_loses_nothing(node: Node, tmp_path: Path) -> None:
    queue, blocked = tmp_path / "queue", tmp_path / "out"
    await trio.Path(blocked).touch()
    async with seeded() as links:
        with pytest.RaisesGroup(DiskError, flatten_subgroups=True):
            await work(node, blocked, lines(links[0]), queue=queue)
        await trio.Path(blocked).unlink()
        outcomes = await work(node, blocked, lines(), queue=queue)
    assert statuses(outcomes) == [Status.RESOLVED]


async def test_failed_link_rests_until_its_time(node: Node, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    await work(node, tmp_path, lines(UNKNOWN), queue=queue, now=0, timeout_s=0.01)
    (resting,) = await work(node, tmp_path, lines(UNKNOWN), queue=queue, now=1)
    assert (resting.status, resting.is_cached) == (Status.FAILED, True)
    assert resting.next_try_at == LADDER_S[0]
    assert await work(node, tmp_path, lines(), queue=queue, now=1) == []
    (again,) = await work(node, tmp_path, lines(), queue=queue, now=LADDER_S[0], timeout_s=0.01)
    assert again.next_try_at == LADDER_S[0] + LADDER_S[1]


async def test_who_keeps_trying_waits_for_the_next_time(
    node: Node, tmp_path: Path, clock: trio.testing.MockClock
) -> None:
    told_at: list[float] = []
    next_at: list[float] = []

    def tell(outcome: Outcome) -> None:
        assert outcome.next_try_at is not None
        told_at.append(trio.current_time())
        next_at.append(outcome.next_try_at)
        if len(next_at) == 3:
            scope.cancel()

    wanted = BatchSettings(tmp_path, timeout_s=1, keeps_trying=True)
    async with open_resolver(node) as resolver, open_store(None) as store:
        batch = Batch(resolver, store, wanted, tell, clock=trio.current_time)
        with trio.CancelScope() as scope:
            await batch.run(lines(UNKNOWN))
    # How much later is the machine's affair: the clock jumps on while the store's thread works.
    assert all(told >= due for told, due in zip(told_at[1:], next_at, strict=False))
    assert all(due >= rest for due, rest in zip(next_at, accumulate(LADDER_S), strict=False))


async def test_every_torrent_of_a_list_is_resolved_once(node: Node, tmp_path: Path) -> None:
    async with seeded() as links:
        given = [*links, *links[:5], links[0].replace("btih:", "btih:").upper()]
        outcomes = await work(node, tmp_path, lines(*links, *given), at_once=7)
    assert statuses(outcomes) == [Status.RESOLVED] * len(TORRENTS)
    assert {it.path for it in outcomes} == {str(it) for it in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == len(TORRENTS)


async def test_result_that_is_known_is_given_at_once(node: Node, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    async with seeded() as links:
        (first,) = await work(node, tmp_path, lines(links[0]), queue=queue)
    (again,) = await work(node, tmp_path, lines(links[0]), queue=queue)
    assert (again.info, again.path, again.is_cached) == (first.info, first.path, True)


async def test_result_whose_file_is_gone_is_resolved_anew(node: Node, tmp_path: Path) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    async with seeded() as links:
        (first,) = await work(node, out, lines(links[0]), queue=queue)
        assert first.path is not None
        await trio.Path(first.path).write_bytes(b"something else")
        (again,) = await work(node, out, lines(links[0]), queue=queue)
    assert not again.is_cached
    assert again.path is not None
    assert parse_torrent(await trio.Path(again.path).read_bytes()).raw_info == RAWS[0]


async def test_higher_priorities_are_resolved_first(node: Node, tmp_path: Path) -> None:
    async with seeded() as links:
        given = [f"{number} {uri}" for number, uri in enumerate(links)]
        outcomes = await work(node, tmp_path, lines(*given), at_once=1)
    assert [it.uri for it in outcomes] == links[::-1]


async def test_links_that_stream_in_are_resolved_while_the_stream_is_open(
    node: Node, tmp_path: Path
) -> None:
    resolved = trio.Event()
    send, receive = trio.open_memory_channel[Sequence[str]](0)
    wanted = BatchSettings(tmp_path, bound=Scope.LOOPBACK)
    async with (
        seeded() as links,
        open_resolver(node) as resolver,
        open_store(None) as store,
        trio.open_nursery() as nursery,
    ):
        batch = Batch(resolver, store, wanted, lambda _: resolved.set())
        nursery.start_soon(batch.run, receive)
        async with send:
            await send.send([links[0]])
            await resolved.wait()
            await send.send([links[1]])
    assert batch.tally.ended[Status.RESOLVED] == 2


async def test_names_follow_the_template(node: Node, tmp_path: Path) -> None:
    async with seeded() as links:
        (outcome,) = await work(node, tmp_path, lines(links[3]), template="{hash}/{name}")
    info_hash = list(TORRENTS)[3].hex()
    assert outcome.path == str(tmp_path / info_hash / "n3.torrent")


async def test_work_that_is_cancelled_is_taken_up_again(node: Node, tmp_path: Path) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    told: list[Outcome] = []
    async with seeded() as links:
        rounds = 0
        while len(told) < len(links):
            rounds += 1
            with trio.CancelScope() as scope:
                async with open_resolver(node) as resolver, open_store(queue) as store:
                    wanted = BatchSettings(out, bound=Scope.LOOPBACK, at_once=3)

                    def note(outcome: Outcome, scope: trio.CancelScope = scope) -> None:
                        told.append(outcome)
                        if len(told) % 4 == 0:
                            scope.cancel()

                    given = links if rounds == 1 else []
                    await Batch(resolver, store, wanted, note).run(lines(*given))
    assert rounds > 5
    assert len(list(out.iterdir())) == len(links)


@pytest.mark.slow
async def test_work_that_is_killed_is_taken_up_again(tmp_path: Path) -> None:
    """Kill the command after ever more results; in the end each torrent is there, and once."""
    out = tmp_path / "out"
    async with seeded() as links, open_node(NodeSettings(bind=[(HOST, 0)], bootstrap=())) as node:
        await trio.Path(tmp_path / "links").write_text("\n".join(links))
        (at,) = node.endpoints.values()
        command = [
            *(str(COMMAND), "resolve", "--json", f"--input={tmp_path / 'links'}", "--at-once=3"),
            *(f"--queue={tmp_path / 'queue'}", f"--output={out}", "--state=none"),
            f"--bootstrap={format_endpoint(at)}",
        ]
        runs = [await run_until(command, count) for count in (0, 1, 3, 7, 12, 1_000)]
    resolved = [it for told in runs for it in told if not it["cached"]]
    assert len({it["info_hash"] for it in resolved}) == len(resolved)
    assert {it["info_hash"] for it in runs[-1]} == {it.hex() for it in TORRENTS}
    assert {it["status"] for it in runs[-1]} == {"resolved"}
    kept = [path for path in out.iterdir() if not path.name.endswith(".part")]
    assert sorted(parse_torrent(it.read_bytes()).raw_info for it in kept) == sorted(RAWS)


async def run_until(command: Sequence[str], count: int) -> list[dict[str, object]]:
    """Run a command until it has told of so many links, and kill it; return what it told."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACKERLESS_")}
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert process.stdout is not None
    told = b""
    with trio.fail_after(30):
        async with process.stdout:
            while told.count(b"\n") <= count:
                data = await process.stdout.receive_some()
                if not data:
                    break
                told += data
            with suppress(ProcessLookupError):
                process.kill()
            told += b"".join([part async for part in process.stdout])
        await process.wait()
    return [json.loads(line) for line in told.splitlines(keepends=True) if line.endswith(b"\n")]
