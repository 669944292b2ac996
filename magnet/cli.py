"""The `magnet` command: turn links into torrents, look into both, and show how it works.

Only here are concrete parts picked: which node, which output, which words.
"""

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, cast

import trio
from cyclopts import CycloptsError, Parameter
from cyclopts.validators import Number

from dht.commandline import (
    CommandFailed,
    CommonOptions,
    ExitCode,
    Json,
    OutputOptions,
    Terminal,
    explained,
    make_app,
    run,
)
from dht.contact import Scope, endpoint, scope_of
from dht.node import Node, NodeSettings, open_node
from magnet.demo import run_demo
from magnet.describe import (
    content_text,
    file_lines,
    hash_text,
    info_as_json,
    link_as_json,
    link_lines,
    torrent_as_json,
    torrent_lines,
)
from magnet.errors import (
    DiskError,
    InvalidMagnetURI,
    InvalidMetainfo,
    MagnetError,
    ResolveError,
    ResolveTimeout,
)
from magnet.metainfo.torrent import TORRENT_BYTES_MAX, parse_torrent
from magnet.resolve.output import write_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import TIMEOUT_S, Resolved, Resolver
from magnet.uri import LINK_BYTES_MAX, MagnetLink, parse_magnet

AT_ONCE: Final = 50
AT_ONCE_MAX: Final = 1_000
"""Links of one command that are worked on at the same time."""

ATTEMPTS_SHOWN_MAX: Final = 20
"""Attempts listed for people when a link fails; programs get all of them."""

app = make_app("magnet", "Turn magnet links into torrents, with no tracker needed.")

_COMMON: Final = CommonOptions()
_OUTPUT: Final = OutputOptions()
_HERE: Final = Path()
EXIT_CODES: Final = {
    InvalidMagnetURI: ExitCode.WRONG_USE,
    InvalidMetainfo: ExitCode.WRONG_USE,
    DiskError: ExitCode.CANNOT_RUN,
    MagnetError: ExitCode.FAILED,
}
"""How the errors of this wing end a command."""


@dataclass(slots=True)
class _Tally:
    """What became of the links of one command, and the reports of those being worked on."""

    done: Counter[str] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)

    def describe(self) -> str:
        """Return the state of the work in one line."""
        if len(self.reports) == 1 and not self.done:
            return _progress_text(self.reports[0])
        peers = sum(it.peers_found for it in self.reports)
        return (
            f"{self.done['resolved']} resolved, {self.done['failed']} failed, "
            f"{self.done['invalid']} invalid; {len(self.reports)} under way with {peers} peers"
        )

    @property
    def exit_code(self) -> ExitCode:
        """Whether every link was resolved."""
        unresolved = self.done["failed"] + self.done["invalid"]
        return ExitCode.FAILED if unresolved or not self.done else ExitCode.DONE


@app.command
async def resolve(
    *uris: str,
    input: Annotated[str | None, Parameter(metavar="FILE|-")] = None,
    output: Annotated[Path, Parameter(metavar="DIR")] = _HERE,
    at_once: Annotated[int, Parameter(validator=Number(gte=1, lte=AT_ONCE_MAX))] = AT_ONCE,
    options: CommonOptions = _COMMON,
) -> ExitCode:
    """Find the metadata of magnet links, and write a .torrent for each.

    The deadline, `--timeout`, holds for each link.

    Args:
        uris: Magnet links, or bare info-hashes.
        input: File with one link a line; - for standard input.
        output: Folder for the .torrent files.
        at_once: How many links to work on at the same time.
    """
    terminal = Terminal(as_json=options.json)
    settings = options.node_settings(read_only=True)
    if not uris and input is None:
        raise CycloptsError(msg="Give a link, or --input FILE.")
    links = [_checked(uri, settings, terminal) for uri in uris]
    tally = _Tally()
    async with open_node(settings) as node, trio.open_nursery() as nursery:
        if not any(link.peers for link in links):
            nursery.start_soon(_stop_without_network, node)
        work = _Work(Resolver(node), settings, output, options.timeout or TIMEOUT_S, terminal)
        async with terminal.progress(tally.describe):
            await _work_through(work, uris, input, at_once, tally)
        nursery.cancel_scope.cancel()
    if tally.done.total() > 1:
        terminal.note(tally.describe().partition(";")[0])
    return tally.exit_code


@app.command
async def info(what: str, /, *, options: OutputOptions = _OUTPUT) -> ExitCode:
    """Tell what a magnet link or a .torrent file says; asks nobody.

    Args:
        what: A magnet link, a bare info-hash, or the path of a .torrent file.
    """
    terminal = Terminal(as_json=options.json)
    path = trio.Path(what)
    if len(what) < LINK_BYTES_MAX and "\0" not in what and await path.is_file():
        torrent = parse_torrent(await _read_bounded(path))
        _show(terminal, torrent_as_json(torrent), torrent_lines(torrent))
    elif what.endswith(".torrent"):
        raise CommandFailed(f"there is no file {what}", ExitCode.WRONG_USE)
    else:
        link = parse_magnet(what)
        _show(terminal, link_as_json(link), link_lines(link))
    return ExitCode.DONE


@app.command
async def demo(*, options: OutputOptions = _OUTPUT) -> ExitCode:
    """Resolve a link in a network of real nodes on this machine, step by step."""
    terminal = Terminal(as_json=options.json)
    resolved, report = await run_demo(terminal.line)
    record = {**info_as_json(resolved.info), "report": report.as_json()}
    terminal.record(cast("dict[str, Json]", record))
    terminal.line(f"resolved {hash_text(resolved.info)}")
    terminal.line(content_text(resolved.info))
    for line in file_lines(resolved.info):
        terminal.line(line)
    return ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Work:
    """What is needed to work on a link."""

    resolver: Resolver
    settings: NodeSettings
    output: Path
    timeout_s: float
    terminal: Terminal


async def _work_through(
    work: _Work, uris: Sequence[str], input_name: str | None, at_once: int, tally: _Tally
) -> None:
    """Resolve all links, `at_once` at a time; a file is read only as fast as that."""
    send, receive = trio.open_memory_channel[str](0)

    async def resolve_each() -> None:
        async for uri in receive:
            await _resolve_one(work, uri, tally)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once if input_name is not None else min(at_once, len(uris))):
            nursery.start_soon(resolve_each)
        async with send:
            for uri in uris:
                await send.send(uri)
            if input_name is not None:
                async with aclosing(_read_lines(input_name)) as lines:
                    async for line in lines:
                        await send.send(line)


async def _resolve_one(work: _Work, uri: str, tally: _Tally) -> None:
    begun_at = trio.current_time()
    report = Report()
    tally.reports.append(report)
    status, outcome = "failed", dict[str, object]()
    try:
        link = parse_magnet(uri, bound=_scope_of(work.settings))
        outcome |= {key: link_as_json(link)[key] for key in ("info_hash", "info_hash_v2", "name")}
        resolved = await work.resolver.resolve(link, timeout_s=work.timeout_s, report=report)
        path = await write_torrent(work.output, resolved.info, resolved.torrent)
        status = "resolved"
        outcome |= {**info_as_json(resolved.info), "torrent": str(path)}
        work.terminal.line(_success_text(resolved, path, trio.current_time() - begun_at))
    except InvalidMagnetURI as error:
        status, outcome["reason"] = "invalid", str(error)
        work.terminal.note(f"{uri}: {error}")
    except ResolveError as error:
        outcome["reason"] = _failure_reason(error, report)
        _explain_failure(work.terminal, uri, str(outcome["reason"]), report)
    finally:
        tally.reports.remove(report)
    tally.done[status] += 1
    elapsed_s = round(trio.current_time() - begun_at, 3)
    work.terminal.record(_record(uri, status, outcome, elapsed_s, report))


def _record(
    uri: str, status: str, outcome: dict[str, object], elapsed_s: float, report: Report
) -> dict[str, Json]:
    """Return the object for one link, with all its keys whatever became of it."""
    keys = ("info_hash", "info_hash_v2", "name", "size", "files", "torrent")
    record: dict[str, object] = {"uri": uri, "status": status}
    record |= {key: outcome.get(key) for key in keys}
    record |= {"elapsed_s": elapsed_s, "reason": outcome.get("reason"), "report": report.as_json()}
    return cast("dict[str, Json]", record)


def _checked(uri: str, settings: NodeSettings, terminal: Terminal) -> MagnetLink:
    """Read a link given on the command line; a bad one ends the command before anything is run."""
    try:
        return parse_magnet(uri, bound=_scope_of(settings))
    except InvalidMagnetURI as error:
        terminal.record(_record(uri, "invalid", {"reason": str(error)}, 0.0, Report()))
        raise


async def _stop_without_network(node: Node) -> None:
    """End the command at once where there is no network; where hosts are silent, keep trying."""
    try:
        with explained(node):
            await node.wait_joined()
    except CommandFailed as failure:
        if failure.exit_code is ExitCode.CANNOT_RUN:
            raise


def _scope_of(settings: NodeSettings) -> Scope:
    """Return how far the addresses reach that we are bound to, which decides on those of a link."""
    if not settings.bind:
        return Scope.GLOBAL
    at = endpoint(*settings.bind[0])
    return scope_of(at) if any(at[:-2]) else Scope.GLOBAL


async def _read_lines(name: str) -> AsyncGenerator[str, None]:
    """Yield the links of a file, for `-` of standard input; skip blank lines and comments."""
    if name == "-":
        file = trio.wrap_file(sys.stdin)
    else:
        file = await trio.open_file(name, errors="replace")
    async with file:
        while line := await file.readline(LINK_BYTES_MAX + 2):
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


async def _read_bounded(path: trio.Path) -> bytes:
    async with await path.open("rb") as file:
        # One byte more, so that a file over the limit is seen to be.
        return await file.read(TORRENT_BYTES_MAX + 1)


def _show(terminal: Terminal, record: dict[str, object], lines: Sequence[str]) -> None:
    terminal.record(cast("dict[str, Json]", record))
    for line in lines:
        terminal.line(line)


def _success_text(resolved: Resolved, path: Path, elapsed_s: float) -> str:
    return f"{path}  {content_text(resolved.info)}, {elapsed_s:.1f} s"


def _failure_reason(error: ResolveError, report: Report) -> str:
    """Return why a link failed: what the error says if the metadata was there, else the story."""
    return report.reason() if isinstance(error, ResolveTimeout) else error.reason


def _explain_failure(terminal: Terminal, uri: str, reason: str, report: Report) -> None:
    terminal.note(f"{uri}: {reason}")
    if terminal.as_json:
        return
    for attempt in report.attempt_lines()[:ATTEMPTS_SHOWN_MAX]:
        terminal.note(f"  {attempt}")


def _progress_text(report: Report) -> str:
    pieces = f", {report.pieces} of {report.pieces_needed} pieces" if report.pieces_needed else ""
    return (
        f"{report.nodes_answered} of {report.nodes_asked} nodes answered, "
        f"{report.peers_found} peers found, {len(report.attempts)} tried, "
        f"{report.trying} being tried{pieces}"
    )


def main() -> int:
    """Run the `magnet` command and return the exit code of the process."""
    return run(app, exit_codes=EXIT_CODES)
