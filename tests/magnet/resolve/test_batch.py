"""A queue of links being worked through: what is killed, cancelled or broken first."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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
from magnet.errors import DiskError, ResolveError, ResolveTimeout
from magnet.metainfo.info import parse_info
from magnet.metainfo.merkle import HashTree
from magnet.metainfo.torrent import build_torrent, parse_torrent
from magnet.resolve.batch import Batch, BatchSettings
from magnet.resolve.queue import LADDER_S, NewLink, QueuedLink
from magnet.resolve.resolver import Resolved, Resolver, open_resolver
from magnet.resolve.store import Store, open_store
from magnet.resolve.tally import Outcome, Status
from magnet.seeder import open_seeder
from magnet.uri import MagnetLink
from tests.magnet.resolve.peers import HOST, honest, listening

RAWS = [
    encode({b"length": 5, b"name": b"n%d" % it, b"piece length": 16_384, b"pieces": bytes(20)})
    for it in range(30)
]
TORRENTS = {InfoHash(hashlib.sha1(raw).digest()): raw for raw in RAWS}
LAYER = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(3))
ROOT = HashTree(LAYER).root
HYBRID = encode(
    {
        b"file tree": {b"data": {b"": {b"length": 3 * 16_384, b"pieces root": ROOT}}},
        b"length": 3 * 16_384,
        b"meta version": 2,
        b"name": b"data",
        b"piece length": 16_384,
        b"pieces": bytes(60),
    }
)
HYBRID_V1 = f"magnet:?xt=urn:btih:{hashlib.sha1(HYBRID).hexdigest()}"
HYBRID_V2 = f"magnet:?xt=urn:btmh:1220{hashlib.sha256(HYBRID).hexdigest()}"
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


def resolved(
    raw: bytes, layers: Mapping[bytes, bytes] | None = None, shortfall: str | None = None
) -> Resolved:
    """Return what a resolver gives."""
    info = parse_info(raw)
    link = MagnetLink(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2)
    return Resolved(link, info, raw, build_torrent(raw, piece_layers=layers), shortfall)


def scripted(
    monkeypatch: pytest.MonkeyPatch, *results: Resolved | ResolveError
) -> list[MagnetLink]:
    """Have resolvers give these, one after the other; return the links they are asked for."""
    asked: list[MagnetLink] = []
    rest = iter(results)

    async def resolve(_: Resolver, link: MagnetLink, **others: object) -> Resolved:
        asked.append(link)
        result = next(rest)
        if isinstance(result, ResolveError):
            raise result
        return result

    monkeypatch.setattr(Resolver, "resolve", resolve)
    return asked


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


async def test_torrent_named_like_a_file_in_the_folder_holds_up_nothing(
    node: Node, tmp_path: Path
) -> None:
    await trio.Path(tmp_path / "n0").write_bytes(b"somebody's")
    async with seeded() as links:
        outcomes = await work(node, tmp_path, lines(*links[:3]), template="{name}/{hash}")
    assert statuses(outcomes) == [Status.RESOLVED] * 3
    assert await trio.Path(tmp_path / "n0").read_bytes() == b"somebody's"


async def test_torrent_that_can_have_no_name_fails_alone(node: Node, tmp_path: Path) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    async with seeded() as links:
        for name in ("n0", f"n0.{next(iter(TORRENTS)).hex()}"):
            await trio.Path(out / f"{name}.torrent").mkdir(parents=True)
        outcomes = await work(node, out, lines(*links[:3]), queue=queue)
    (failed,) = (it for it in outcomes if it.status is Status.FAILED)
    assert (failed.uri, failed.cause, failed.next_try_at) == (links[0], "no name free", LADDER_S[0])
    assert len(outcomes) == 3


@pytest.mark.parametrize("is_resolved", [False, True])
async def test_link_that_ends_while_it_is_put_in_again_is_told_once(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_resolved: bool
) -> None:
    told: list[Outcome] = []
    ended = trio.Event()
    add = Store.add

    async def add_late(store: Store, links: Sequence[NewLink], *, now: float) -> list[QueuedLink]:
        if await store.due_count(now=0):
            await ended.wait()
        return await add(store, links, now=now)

    async def again(uri: str) -> AsyncIterator[Sequence[str]]:
        yield [uri]
        yield [uri]

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        ended.set()

    monkeypatch.setattr(Store, "add", add_late)
    wanted = BatchSettings(tmp_path, bound=Scope.LOOPBACK, timeout_s=5 if is_resolved else 0.05)
    async with seeded() as links, open_resolver(node) as resolver, open_store(None) as store:
        batch = Batch(resolver, store, wanted, tell, clock=lambda: 0)
        await batch.run(again(links[0] if is_resolved else UNKNOWN))
    expected = Status.RESOLVED if is_resolved else Status.FAILED
    assert statuses(told) == [expected]
    assert batch.tally.ended == {expected: 1}


async def test_unusable_torrent_of_a_public_key_may_be_followed_by_another(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spec: BEP 46: the owner of the key decides what it stands for."""
    queue, uri = tmp_path / "queue", f"magnet:?xs=urn:btpk:{'ab' * 32}"
    unusable = ResolveError("the metadata is unusable")
    asked = scripted(monkeypatch, unusable, resolved(RAWS[0]))
    (failed,) = await work(node, tmp_path, lines(uri), queue=queue)
    assert (failed.reason, failed.cause) == (unusable.reason, "unusable")
    assert failed.next_try_at == LADDER_S[0]
    (done,) = await work(node, tmp_path, lines(uri), queue=queue, now=LADDER_S[0])
    assert done.status is Status.RESOLVED
    assert len(asked) == 2


async def test_torrent_that_lacks_layers_is_good_until_its_time_and_then_replaced(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    bare, whole = resolved(HYBRID, shortfall="no layers"), resolved(HYBRID, {ROOT: LAYER})
    asked = scripted(monkeypatch, bare, ResolveTimeout(1), whole)
    at = [0, *accumulate(LADDER_S[:2])]
    (first,) = await work(node, out, lines(HYBRID_V2), queue=queue)
    (early,) = await work(node, out, lines(HYBRID_V2), queue=queue, now=at[1] - 1)
    (failed,) = await work(node, out, lines(), queue=queue, now=at[1])
    for it in (first, early, failed):
        assert (it.status, it.path, it.reason) == (Status.RESOLVED, first.path, "no layers")
    assert [it.next_try_at for it in (first, early, failed)] == [at[1], at[1], at[2]]
    assert [it.is_cached for it in (first, early, failed)] == [False, True, True]
    (done,) = await work(node, out, lines(HYBRID_V2), queue=queue, now=at[2])
    assert (done.path, done.reason, done.next_try_at) == (first.path, None, None)
    assert await trio.Path(first.path or "").read_bytes() == whole.torrent
    (again,) = await work(node, out, lines(HYBRID_V2), queue=queue, now=1e9)
    assert (again.is_cached, again.reason) == (True, None)
    assert len(asked) == 3


async def test_incomplete_torrent_whose_file_is_gone_is_resolved_anew(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    bare = resolved(HYBRID, shortfall="no layers")
    scripted(monkeypatch, bare, ResolveTimeout(1))
    (first,) = await work(node, out, lines(HYBRID_V2), queue=queue)
    await trio.Path(first.path or "").unlink()
    (again,) = await work(node, out, lines(HYBRID_V2), queue=queue, now=1)
    assert (again.status, again.path, again.is_cached) == (Status.FAILED, None, False)


@pytest.mark.parametrize("order", [1, -1])
async def test_torrent_is_known_by_its_other_hash(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    asked = scripted(monkeypatch, resolved(HYBRID, {ROOT: LAYER}))
    one, other = (HYBRID_V1, HYBRID_V2)[::order]
    (first,) = await work(node, out, lines(one), queue=queue)
    (second,) = await work(node, out, lines(other), queue=queue)
    assert (second.uri, second.path, second.is_cached) == (other, first.path, True)
    assert await work(node, out, lines(), queue=queue, now=1e9) == []
    assert len(asked) == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_links_that_turn_out_to_be_one_torrent_are_resolved_once(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    out = tmp_path / "out"
    asked = scripted(monkeypatch, resolved(HYBRID, {ROOT: LAYER}))
    given = (HYBRID_V1, HYBRID_V2)[::order]
    outcomes = await work(node, out, lines(*given), at_once=1)
    assert [(it.uri, it.is_cached) for it in outcomes] == [(given[0], False), (given[1], True)]
    assert statuses(outcomes) == [Status.RESOLVED] * 2
    assert len(asked) == len(list(out.iterdir())) == 1


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
