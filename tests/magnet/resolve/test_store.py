"""The queue on disk: other processes, foreign files and full disks first."""

from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from magnet.errors import DiskError
from magnet.resolve import store as store_module
from magnet.resolve.queue import LADDER_S, LinkState, NewLink
from magnet.resolve.store import VERSION, open_store


def link(number: int, priority: int = 0) -> NewLink:
    return NewLink(f"{number:040x}", f"magnet:?xt=urn:btih:{number:040x}", priority)


def numbers(found: list[str]) -> list[int]:
    return [int(identity, 16) for identity in found]


async def test_queue_belongs_to_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUSY_S", 0.01)
    async with open_store(tmp_path / "queue"):
        with pytest.raises(DiskError, match="in use by another process"):
            async with open_store(tmp_path / "queue"):
                pass


async def test_file_that_is_no_queue_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    content = b"Dear Sir or Madam, " * 100
    await trio.Path(path).write_bytes(content)
    with pytest.raises(DiskError, match="not a database"):
        async with open_store(path):
            pass
    assert await trio.Path(path).read_bytes() == content


async def test_queue_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", VERSION + 1)
    connection.close()
    with pytest.raises(DiskError, match="of version 2"):
        async with open_store(path):
            pass


async def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        async with open_store(tmp_path / "missing" / "queue"):
            pass


async def test_failing_write_of_the_torrent_leaves_the_link_waiting() -> None:
    async with open_store(None) as store:
        (queued,) = await store.add([link(1)], now=0)

        def fail() -> Path:
            raise DiskError("x", "No space left on device")

        with pytest.raises(DiskError, match="No space left"):
            await store.resolved(queued, fail, now=0)
        assert [it.state for it in await store.due(9, now=0)] == [LinkState.WAITING]


async def test_nothing_is_due_in_an_empty_queue() -> None:
    async with open_store(None) as store:
        assert await store.due(10, now=1e12) == []
        assert await store.due_count(now=1e12) == 0
        assert await store.next_due_at() is None
        assert await store.add([], now=0) == []


async def test_higher_priorities_come_first_and_then_whoever_waited_longest() -> None:
    async with open_store(None) as store:
        await store.add([link(1), link(2, priority=-1), link(3, priority=9)], now=10)
        await store.add([link(4)], now=5)
        due = [it.identity for it in await store.due(10, now=10)]
        assert numbers(due) == [3, 4, 1, 2]
        assert numbers([it.identity for it in await store.due(2, [due[0]], now=10)]) == [4, 1]
        assert numbers([it.identity for it in await store.due(9, now=5)]) == [4]


async def test_link_that_is_added_again_takes_the_new_priority_and_text() -> None:
    async with open_store(None) as store:
        await store.add([link(1), link(2)], now=0)
        (again,) = await store.add([link(2, priority=5)._replace(uri="richer")], now=9)
        assert (again.priority, again.uri, again.next_at) == (5, "richer", 0)
        assert numbers([it.identity for it in await store.due(9, now=9)]) == [2, 1]


async def test_failed_link_rests_and_climbs_the_ladder() -> None:
    async with open_store(None) as store:
        (queued,) = await store.add([link(1)], now=100)
        queued = await store.failed(queued, "no peers", now=100)
        assert (queued.tries, queued.next_at, queued.reason) == (1, 100 + LADDER_S[0], "no peers")
        assert await store.due(9, now=queued.next_at - 1) == []
        assert await store.next_due_at() == queued.next_at
        assert await store.due(9, now=queued.next_at) == [queued]
        queued = await store.failed(queued, "no peers", now=500)
        assert queued.next_at == 500 + LADDER_S[1]


async def test_links_that_ended_are_not_due(tmp_path: Path) -> None:
    async with open_store(None) as store:
        done, useless, waiting = await store.add([link(1), link(2), link(3)], now=0)
        path, _ = await store.resolved(done, lambda: tmp_path / "a.torrent", now=0)
        await store.unusable(useless, "unsorted")
        assert path == tmp_path / "a.torrent"
        assert await store.due(9, now=0) == [waiting]
        assert await store.due_count(now=0) == 1
        again = await store.add([link(1), link(2)], now=1)
        assert [it.state for it in again] == [LinkState.RESOLVED, LinkState.UNUSABLE]
        assert again[0].path == str(tmp_path / "a.torrent")
        await store.reopen(again[0], now=1)
        assert numbers([it.identity for it in await store.due(9, now=1)]) == [3, 1]


async def test_link_that_lacks_something_keeps_its_file_and_climbs_the_ladder(
    tmp_path: Path,
) -> None:
    async with open_store(None) as store:
        (queued,) = await store.add([link(1)], now=0)
        path = tmp_path / "a.torrent"
        _, noted = await store.resolved(queued, lambda: path, now=100, lacking="no layers")
        assert await store.due(9, now=noted.next_at - 1) == []
        assert await store.due(9, now=noted.next_at) == [noted]
        assert (noted.next_at, noted.reason) == (100 + LADDER_S[0], "no layers")
        again = await store.failed(noted, "no layers", now=500)
        assert (again.path, again.next_at) == (str(path), 500 + LADDER_S[1])
        _, done = await store.resolved(again, lambda: path, now=900)
        assert (done.state, done.reason) == (LinkState.RESOLVED, None)
        assert await store.next_due_at() is None


async def test_other_links_to_a_torrent_are_resolved_with_it(tmp_path: Path) -> None:
    async with open_store(None) as store:
        one, useless, failed = await store.add([link(1), link(2), link(3)], now=0)
        await store.unusable(useless, "unsorted")
        await store.failed(failed, "no peers", now=0)
        path = tmp_path / "a.torrent"
        aliases = [link(2), link(3), link(4)]
        await store.resolved(one, lambda: path, now=1, aliases=aliases)
        (due,) = await store.due(9, now=1)
        assert (due.identity, due.path, due.reason) == (failed.identity, str(path), None)
        new = await store.add([link(4)._replace(uri="as given"), link(2)], now=2)
        assert [it.state for it in new] == [LinkState.RESOLVED, LinkState.UNUSABLE]
        assert (new[0].uri, new[0].path) == ("as given", str(path))


async def test_queue_outlives_the_process(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue") as store:
        kept = await store.add([link(1), link(2, priority=1)], now=0)
        await store.failed(kept[0], "no peers", now=0)
    async with open_store(tmp_path / "queue") as store:
        assert numbers([it.identity for it in await store.due(9, now=1e6)]) == [2, 1]
        (again,) = await store.add([link(1)], now=1)
        assert (again.tries, again.reason) == (1, "no peers")


async def test_cancelled_operation_is_done_or_not_begun(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue") as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.add([link(1)], now=0)
        assert await store.due_count(now=0) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: store.add([link(2)], now=0))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await store.due_count(now=0) == 1
