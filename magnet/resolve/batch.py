"""Works through a queue of links: many at once, in the order of the queue, to be resumed any time.

Links come in from a stream and go into the queue at once; those whose turn it is are resolved, as
many at a time as the caller allows. First the file is written, then the queue is told, then the
caller. Whoever is killed in between repeats at most the last of these steps when the work is taken
up again: a link that has no result in the queue is resolved anew, and its file is recognised.

A link that has a result is answered from it, as long as the file is there; so is another link that
leads to the same torrent by its other hash. A torrent that lacks piece layers is such a result too,
but is tried again when its time has come, and its file is then replaced by a more complete one.

A link whose torrent can have no name fails alone; a disk that is full ends the work.
"""

import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from dht.contact import Scope
from magnet.errors import InvalidMagnetURI, NameTaken, ResolveError, ResolveTimeout
from magnet.resolve.naming import DEFAULT_TEMPLATE
from magnet.resolve.output import place_torrent, read_torrent_of
from magnet.resolve.queue import (
    LinkState,
    NewLink,
    QueuedLink,
    aliases_of,
    identity_of,
    split_priority,
)
from magnet.resolve.report import Report
from magnet.resolve.resolver import TIMEOUT_S, Resolved, Resolver
from magnet.resolve.store import Store
from magnet.resolve.tally import Outcome, Status, Tally
from magnet.uri import MagnetLink, parse_magnet

AT_ONCE: Final = 50
"""Links worked on at the same time, unless the caller says otherwise."""

UNUSABLE: Final = "unusable"
INVALID: Final = "no link"
KNOWN: Final = "failed before"
TAKEN: Final = "no name free"
"""Causes of failure that no report tells of."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a batch is worked through.

    Attributes:
        output: Folder for the .torrent files.
        template: How they are called, as of `magnet.resolve.naming`.
        at_once: Links worked on at the same time.
        timeout_s: Seconds for each.
        bound: Scope of our own address, for the addresses in links.
        priority: Of links that name none.
        keeps_trying: Whether to stay and try failed links again when their time has come.
    """

    output: Path
    template: str = DEFAULT_TEMPLATE
    at_once: int = AT_ONCE
    timeout_s: float = TIMEOUT_S
    bound: Scope = Scope.GLOBAL
    priority: int = 0
    keeps_trying: bool = False


class Batch:
    """Links that are being worked through.

    Attributes:
        tally: What has become of them so far.
    """

    def __init__(
        self,
        resolver: Resolver,
        store: Store,
        settings: BatchSettings,
        tell: Callable[[Outcome], None],
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - a queue outlives the process
    ) -> None:
        """Prepare.

        Args:
            resolver: Resolves.
            store: The queue.
            settings: How to go about it.
            tell: Is told what became of each link, once for each attempt.
            clock: Tells the time in seconds since the epoch.
        """
        self.tally = Tally()
        self._resolver = resolver
        self._store = store
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._ready: deque[QueuedLink] = deque()
        self._told: set[str] = set()
        self._news = trio.Event()
        self._is_fed = False

    async def run(self, lines: AsyncIterable[Sequence[str]]) -> None:
        """Work until there is nothing to do: at present, or, if we keep trying, at all.

        Args:
            lines: Links to put into the queue, as they come in; `split_priority` reads each.

        Raises:
            DiskError: The queue or a torrent cannot be written.
            NodeClosed: The node was closed meanwhile.
            ExceptionGroup: Of these, and of what `lines` raises.
        """
        await self._expect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed, lines)
            while (wait_s := await self._start(nursery)) is not None:
                with trio.move_on_after(wait_s):
                    await self._news.wait()

    # Putting in

    async def _feed(self, lines: AsyncIterable[Sequence[str]]) -> None:
        async for some in lines:
            await self._put(some)
            # What was put in may have a higher priority.
            self._ready.clear()
            self._news.set()
        self._is_fed = True
        self._news.set()

    async def _put(self, lines: Iterable[str]) -> None:
        links: dict[str, MagnetLink] = {}
        new: dict[str, NewLink] = {}
        for line in lines:
            priority, uri = split_priority(line, self._settings.priority)
            await trio.lowlevel.checkpoint()
            try:
                link = parse_magnet(uri, bound=self._settings.bound)
            except InvalidMagnetURI as error:
                self._end(Outcome(uri, Status.INVALID, reason=str(error), cause=INVALID))
                continue
            identity = identity_of(link)
            if identity not in self._told:
                links[identity] = link
                new[identity] = NewLink(identity, uri, priority)
        for queued in await self._store.add(list(new.values()), now=self._clock()):
            # It may have been begun, or even have ended, while it was put in.
            if queued.identity in self._told or queued.identity in self.tally.under_way:
                continue
            outcome = await self._known(queued, links[queued.identity])
            if outcome is not None:
                self._told.add(queued.identity)
                self._end(outcome)
        await self._expect()

    async def _known(self, queued: QueuedLink, link: MagnetLink) -> Outcome | None:
        """Return what the queue knows of a link from before; None if it is to be resolved now."""
        failed = Outcome(
            queued.uri, Status.FAILED, link, reason=queued.reason, cause=KNOWN, is_cached=True
        )
        if queued.state is LinkState.UNUSABLE:
            return failed
        kept = await self._kept(queued, link)
        if kept is None and queued.path is not None:
            await self._store.reopen(queued, now=self._clock())
            return None
        if queued.state is LinkState.WAITING and queued.next_at <= self._clock():
            return None
        return kept or replace(failed, next_try_at=queued.next_at)

    async def _kept(self, queued: QueuedLink, link: MagnetLink) -> Outcome | None:
        """Return what there is of a link: its torrent from before; None if there is none."""
        info = await read_torrent_of(Path(queued.path), link) if queued.path is not None else None
        if info is None:
            return None
        return Outcome(
            queued.uri,
            Status.RESOLVED,
            link,
            info,
            queued.path,
            reason=queued.reason,
            is_cached=True,
            next_try_at=None if queued.reason is None else queued.next_at,
        )

    async def _expect(self) -> None:
        """Count the links that this run will tell of."""
        due = await self._store.due_count(now=self._clock())
        self.tally.expected = self.tally.ended.total() + due

    # Working

    async def _start(self, nursery: trio.Nursery) -> float | None:
        """Start what is to be started now.

        Returns:
            After how many seconds to look again, if there is no news before; None if all is done.
        """
        self._news = trio.Event()
        under_way = self.tally.under_way
        while len(under_way) < self._settings.at_once:
            if not self._ready:
                self._ready += await self._store.due(
                    self._settings.at_once, under_way, now=self._clock()
                )
            if not self._ready:
                break
            queued = self._ready.popleft()
            under_way[queued.identity] = report = Report()
            nursery.start_soon(self._resolve, queued, report)
        if under_way or not self._is_fed:
            return float("inf")
        return await self._rest_s()

    async def _rest_s(self) -> float | None:
        """Return for how long there is nothing to do; None for ever, as far as we are to stay."""
        next_at = await self._store.next_due_at() if self._settings.keeps_trying else None
        return None if next_at is None else max(next_at - self._clock(), 0.0)

    async def _resolve(self, queued: QueuedLink, report: Report) -> None:
        began_at = trio.current_time()
        try:
            outcome = await self._outcome(queued, report)
            self._end(replace(outcome, elapsed_s=trio.current_time() - began_at))
            self._told.add(queued.identity)
        finally:
            del self.tally.under_way[queued.identity]
            self._news.set()

    async def _outcome(self, queued: QueuedLink, report: Report) -> Outcome:
        link = parse_magnet(queued.uri, bound=self._settings.bound)
        kept = await self._kept(queued, link)
        if kept is not None and kept.reason is None:
            await self._store.resolved(queued, partial(Path, queued.path or ""), now=self._clock())
            return kept
        failed = Outcome(queued.uri, Status.FAILED, link, report=report)
        try:
            resolved = await self._resolver.resolve(
                link, timeout_s=self._settings.timeout_s, report=report
            )
            return await self._success(queued, link, resolved, report)
        except ResolveTimeout:
            failed = replace(failed, reason=report.reason(), cause=report.cause())
        except NameTaken as error:
            failed = replace(failed, reason=str(error), cause=TAKEN)
        except ResolveError as error:
            failed = replace(failed, reason=error.reason, cause=UNUSABLE)
            # Under a public key, the owner may publish another torrent. Spec: BEP 46.
            if link.swarm_keys():
                await self._store.unusable(queued, error.reason)
                return failed
        return await self._put_off(queued, failed, kept)

    async def _success(
        self, queued: QueuedLink, link: MagnetLink, resolved: Resolved, report: Report
    ) -> Outcome:
        settings, info, lacking = self._settings, resolved.info, resolved.shortfall
        aliases = aliases_of(queued.identity, info, queued.priority) if lacking is None else []
        path, noted = await self._store.resolved(
            queued,
            partial(place_torrent, settings.output, info, resolved.torrent, settings.template),
            now=self._clock(),
            lacking=lacking,
            aliases=aliases,
        )
        if aliases:
            # One of them may have been read from the queue already, as one to be resolved.
            self._ready.clear()
        return Outcome(
            queued.uri,
            Status.RESOLVED,
            link,
            info,
            str(path),
            reason=lacking,
            report=report,
            next_try_at=None if lacking is None else noted.next_at,
        )

    async def _put_off(self, queued: QueuedLink, failed: Outcome, kept: Outcome | None) -> Outcome:
        """Have a link tried again later; what is there of it from before stays good."""
        if kept is None:
            queued, outcome = queued._replace(path=None), failed
        else:
            outcome = replace(kept, report=failed.report)
        tried = await self._store.failed(queued, outcome.reason or "", now=self._clock())
        return replace(outcome, next_try_at=tried.next_at)

    def _end(self, outcome: Outcome) -> None:
        self.tally.add(outcome, now=trio.current_time())
        self._tell(outcome)
