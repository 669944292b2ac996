"""A queue of links on disk: SQLite, in a thread of its own.

Every operation is one transaction, and runs to its end even when whoever asked for it is cancelled;
so does the process being killed at any moment leave each either done or not begun. SQLite's own
asynchronous interface would offer single statements to many tasks; here whole operations are what
must not be mixed, so each is an ordinary function, and one thread runs one at a time.

A queue belongs to one process at a time.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import apsw
import trio

from magnet.errors import DiskError
from magnet.resolve.queue import LinkState, NewLink, QueuedLink, next_try_at
from magnet.resolve.worker import Worker, open_worker

_T = TypeVar("_T")
_Value: TypeAlias = str | bytes | int | float | None

VERSION: Final = 1
"""Of the tables; a queue with another is not touched."""

_SCHEMA: Final = """
    CREATE TABLE links (
        number INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE,
        uri TEXT NOT NULL,
        priority INTEGER NOT NULL,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL,
        next_at REAL NOT NULL,
        reason TEXT,
        path TEXT
    );
    CREATE INDEX waiting ON links (priority DESC, next_at, number) WHERE state = 'waiting';
"""

_COLUMNS: Final = "identity, uri, priority, state, tries, next_at, reason, path"

_ADD: Final = f"""
    INSERT INTO links ({_COLUMNS}) VALUES (?, ?, ?, 'waiting', 0, ?, NULL, NULL)
    ON CONFLICT (identity) DO UPDATE SET
        uri = excluded.uri,
        priority = excluded.priority
    RETURNING {_COLUMNS}
"""

_DUE: Final = f"""
    SELECT {_COLUMNS} FROM links WHERE state = 'waiting' AND next_at <= ?
    ORDER BY priority DESC, next_at, number LIMIT ?
"""

_ADD_ALIAS: Final = f"""
    INSERT INTO links ({_COLUMNS}) VALUES (?, ?, ?, 'resolved', 0, ?, NULL, ?)
    ON CONFLICT (identity) DO UPDATE SET
        next_at = min(next_at, excluded.next_at), reason = NULL, path = excluded.path
    WHERE state = 'waiting'
"""

_UPDATE: Final = """
    UPDATE links SET state = ?, tries = ?, next_at = ?, reason = ?, path = ? WHERE identity = ?
"""

_BUSY_S: Final = 1.0
"""Seconds to wait for a queue that another process is about to leave."""


class Store:
    """A queue of links; made by `open_store`."""

    def __init__(self, worker: Worker, connection: apsw.Connection, path: str) -> None:
        """Made by `open_store`."""
        self._worker = worker
        self._connection = connection
        self._path = path

    async def add(self, links: Sequence[NewLink], *, now: float) -> list[QueuedLink]:
        """Put links into the queue; of one that is there already, set the priority.

        Args:
            links: What to put in.
            now: From when on it is due, in seconds since the epoch, as everywhere here.

        Returns:
            The links as they are in the queue now, in the order given.

        Raises:
            DiskError: The queue cannot be written.
        """

        def add() -> list[QueuedLink]:
            return [self._one(_ADD, (it.identity, it.uri, it.priority, now)) for it in links]

        return await self._run(add)

    async def due(self, most: int, excluded: Iterable[str] = (), *, now: float) -> list[QueuedLink]:
        """Return the links whose turn it is, the first first.

        Args:
            most: How many at most.
            excluded: Identities of those that are being worked on.
            now: The time.

        Raises:
            DiskError: The queue cannot be read.
        """
        passed_over = frozenset(excluded)

        def read() -> list[QueuedLink]:
            rows = self._connection.execute(_DUE, (now, most + len(passed_over)))
            found = (_link(row) for row in rows)
            return [it for it in found if it.identity not in passed_over][:most]

        return await self._run(read)

    async def resolved(
        self,
        link: QueuedLink,
        write: Callable[[], Path],
        *,
        now: float,
        lacking: str | None = None,
        aliases: Sequence[NewLink] = (),
    ) -> tuple[Path, QueuedLink]:
        """Have a link's torrent written, and then note that it was.

        Args:
            link: The link.
            write: Writes it, in our thread, and returns where it is.
            now: The time.
            lacking: What it lacks, and why; it is then to be tried again.
            aliases: Other links that lead to the same torrent: if they are put in later, they are
                resolved already; those that wait are due at once, and have a path.

        Returns:
            Where the torrent is, and the link as it is in the queue now.

        Raises:
            DiskError: The queue cannot be written; or as `write` says.
        """

        def write_and_note() -> tuple[Path, QueuedLink]:
            path = write()
            noted = link._replace(reason=None, path=str(path.absolute()))
            if lacking is None:
                noted = noted._replace(state=LinkState.RESOLVED)
            else:
                noted = _tried(noted, lacking, now=now)
            self._write(noted)
            for it in aliases:
                values = (it.identity, it.uri, it.priority, now, noted.path)
                self._connection.execute(_ADD_ALIAS, values)
            return path, noted

        return await self._run(write_and_note)

    async def failed(self, link: QueuedLink, reason: str, *, now: float) -> QueuedLink:
        """Note that an attempt at a link failed, and when the next is due.

        Raises:
            DiskError: The queue cannot be written.
        """
        return await self._update(_tried(link, reason, now=now))

    async def unusable(self, link: QueuedLink, reason: str) -> QueuedLink:
        """Note that a link leads to metadata that nobody can use.

        Raises:
            DiskError: The queue cannot be written.
        """
        return await self._update(link._replace(state=LinkState.UNUSABLE, reason=reason))

    async def reopen(self, link: QueuedLink, *, now: float) -> QueuedLink:
        """Let a link whose torrent was written wait again, because its file is gone.

        Raises:
            DiskError: The queue cannot be written.
        """
        return await self._update(
            link._replace(state=LinkState.WAITING, tries=0, next_at=now, reason=None, path=None)
        )

    async def next_due_at(self) -> float | None:
        """Return when the next link is due, in seconds since the epoch; None if none waits.

        Raises:
            DiskError: The queue cannot be read.
        """

        def read() -> float | None:
            query = "SELECT min(next_at) FROM links WHERE state = 'waiting'"
            return self._connection.execute(query).get  # type: ignore[no-any-return]

        return await self._run(read)

    async def due_count(self, *, now: float) -> int:
        """Return how many links are due.

        Raises:
            DiskError: The queue cannot be read.
        """

        def read() -> int:
            query = "SELECT count(*) FROM links WHERE state = 'waiting' AND next_at <= ?"
            return self._connection.execute(query, (now,)).get  # type: ignore[no-any-return]

        return await self._run(read)

    async def _update(self, link: QueuedLink) -> QueuedLink:
        await self._run(lambda: self._write(link))
        return link

    def _write(self, link: QueuedLink) -> None:
        values = (link.state.value, link.tries, link.next_at, link.reason, link.path, link.identity)
        self._connection.execute(_UPDATE, values)

    def _one(self, query: str, values: Sequence[_Value]) -> QueuedLink:
        (row,) = self._connection.execute(query, values)
        return _link(row)

    async def _run(self, operation: Callable[[], _T]) -> _T:
        """Carry out an operation as one transaction."""

        def carry_out() -> _T:
            with self._connection:
                result = operation()
            return result

        with _disk_errors(self._path):
            return await self._worker.run(carry_out)


@asynccontextmanager
async def open_store(path: Path | None) -> AsyncIterator[Store]:
    """Open a queue for the time of the block; make it if it is not there.

    Args:
        path: The file; None for a queue that is forgotten at the end.

    Raises:
        DiskError: It cannot be opened, is no queue, or belongs to another process now.
    """
    name = ":memory:" if path is None else str(path)
    async with open_worker() as worker:
        with _disk_errors(name):
            connection = await worker.run(lambda: _connect(name))
        try:
            yield Store(worker, connection, name)
        finally:
            with trio.CancelScope(shield=True):
                await worker.run(connection.close)


def _connect(name: str) -> apsw.Connection:
    connection = apsw.Connection(name)
    try:
        connection.set_busy_timeout(int(_BUSY_S * 1_000))
        # The lock is taken with the first transaction and kept until the end.
        connection.pragma("locking_mode", "exclusive")
        connection.pragma("journal_mode", "wal")
        # A crash of the machine may lose the last moments, whose files are then found written.
        connection.pragma("synchronous", "normal")
        with connection:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    if version not in (0, VERSION):
        raise apsw.NotADBError(f"it is of version {version}, which is not known here")
    if not version:
        connection.execute(_SCHEMA)
        connection.pragma("user_version", VERSION)


def _tried(link: QueuedLink, reason: str, *, now: float) -> QueuedLink:
    """Return a link after an attempt that leaves something to be tried again."""
    tries = link.tries + 1
    return link._replace(tries=tries, next_at=next_try_at(tries, now=now), reason=reason)


def _link(row: Sequence[_Value]) -> QueuedLink:
    identity, uri, priority, state, *rest = row
    return QueuedLink(identity, uri, priority, LinkState(state), *rest)  # type: ignore[arg-type]


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except apsw.BusyError as error:
        raise DiskError(name, "in use by another process") from error
    except apsw.Error as error:
        raise DiskError(name, str(error)) from error
