"""The command that turns links into torrents: `resolve`."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import trio
from cyclopts import CycloptsError, Parameter
from cyclopts.validators import Number

from dht.commandline import CommandFailed, CommonOptions, ExitCode, Terminal, explained
from dht.contact import Scope, endpoint, scope_of
from dht.node import Node, NodeSettings
from magnet.cli.app import COMMON, app
from magnet.cli.lines import read_lines
from magnet.cli.outcomes import outcome_as_json, tell
from magnet.cli.reaching import open_proxied_node, open_proxied_resolver
from magnet.errors import InvalidMagnetURI
from magnet.resolve.batch import AT_ONCE, Batch, BatchSettings
from magnet.resolve.naming import DEFAULT_TEMPLATE, check_template
from magnet.resolve.queue import PRIORITY_MAX, split_priority
from magnet.resolve.resolver import TIMEOUT_S
from magnet.resolve.store import open_store
from magnet.resolve.tally import Outcome, Status
from magnet.transport.dial import DialPolicy, EncryptionPolicy
from magnet.transport.socks.address import parse_proxy
from magnet.uri import MagnetLink, parse_magnet

AT_ONCE_MAX: Final = 5_000
"""Links of one command that are worked on at the same time."""

SWITCH_S: Final = 0.0005
"""Seconds that the event loop may keep the interpreter while a thread wants it. Each step of the
threads that write files and the queue waits so long when thousands of links are under way."""

_HERE: Final = Path()


def _check_template(_type: type, template: str) -> None:
    check_template(template)


def _check_proxy(_type: type, proxy: str | None) -> None:
    if proxy is not None:
        parse_proxy(proxy)


@app.command
async def resolve(
    *uris: str,
    input: Annotated[str | None, Parameter(metavar="FILE|-")] = None,
    output: Annotated[Path, Parameter(metavar="DIR")] = _HERE,
    name: Annotated[
        str, Parameter(metavar="TEMPLATE", validator=_check_template)
    ] = DEFAULT_TEMPLATE,
    at_once: Annotated[int, Parameter(validator=Number(gte=1, lte=AT_ONCE_MAX))] = AT_ONCE,
    queue: Annotated[Path | None, Parameter(metavar="PATH")] = None,
    priority: Annotated[int, Parameter(validator=Number(gte=-PRIORITY_MAX, lte=PRIORITY_MAX))] = 0,
    keep_trying: Annotated[bool, Parameter(negative="")] = False,
    explain: Annotated[bool, Parameter(negative="")] = False,
    proxy: Annotated[str | None, Parameter(metavar="URL", validator=_check_proxy)] = None,
    encryption: EncryptionPolicy = EncryptionPolicy.IF_NEEDED,
    options: CommonOptions = COMMON,
) -> ExitCode:
    """Find the metadata of magnet links, and write a .torrent for each.

    The deadline, `--timeout`, holds for each link.

    Args:
        uris: Magnet links, or bare info-hashes.
        input: File with one link a line, after its priority if it has one; - for standard input.
        output: Folder for the .torrent files.
        name: How they are called: {name}, {hash} and {hash2} (the v2 one) are filled in.
        at_once: How many links to work on at the same time.
        queue: Keep links and results in this file: what was begun is taken up again, what failed
            or lacks piece layers is tried again after 5, 10, 20, 40 and 80 minutes and then daily,
            what is known is answered from it.
        priority: Of the links given now; higher ones come first.
        keep_trying: Stay, and try again what failed when its time has come.
        explain: Tell how each link was resolved, or why not, stage by stage.
        proxy: SOCKS5 proxy for everything, as socks5://USER:PASSWORD@HOST:PORT. Trackers, web
            servers and neighbours are not asked then; only the names of bootstrap hosts are still
            looked up from here.
        encryption: Whether to talk to peers in disguise. It hides nothing from whoever knows the
            torrent.
    """
    terminal = Terminal(as_json=options.json)
    settings = options.node_settings(read_only=True)
    if not uris and input is None and queue is None:
        raise CycloptsError(msg="Give a link, or --input FILE, or --queue PATH.")
    links = [_checked(uri, settings, terminal) for uri in uris]
    wanted = BatchSettings(
        output,
        name,
        at_once,
        options.timeout or TIMEOUT_S,
        _scope_of(settings),
        priority,
        keep_trying,
    )
    told = partial(tell, terminal, explains=explain)
    has_more_to_do = keep_trying or bool(input or queue)
    is_patient = has_more_to_do or any(has_other_ways(link, proxy) for link in links)
    sys.setswitchinterval(SWITCH_S)
    async with (
        _connected(settings, proxy, is_patient=is_patient) as node,
        open_proxied_resolver(node, proxy, DialPolicy(encryption)) as resolver,
        open_store(queue) as store,
        aclosing(read_lines(uris, input)) as lines,
    ):
        batch = Batch(resolver, store, wanted, told)
        async with terminal.progress(lambda: batch.tally.describe(now=trio.current_time())):
            await batch.run(lines)
    ended = batch.tally.ended
    if ended.total() > 1:
        terminal.note(batch.tally.summary())
    return ExitCode.DONE if ended[Status.RESOLVED] == ended.total() else ExitCode.FAILED


@asynccontextmanager
async def _connected(
    settings: NodeSettings, proxy: str | None, *, is_patient: bool
) -> AsyncIterator[Node]:
    """Run a node for the time of the block; end it all where there is no network.

    Args:
        settings: Of the node.
        proxy: By way of which it speaks.
        is_patient: Whether to go on nevertheless, because there are other ways than the DHT, or
            because there is more to do than can be known now.
    """
    async with (
        open_proxied_node(settings, proxy, _scope_of(settings)) as node,
        trio.open_nursery() as nursery,
    ):
        if not is_patient:
            nursery.start_soon(_stop_without_network, node)
        yield node
        nursery.cancel_scope.cancel()


def _checked(uri: str, settings: NodeSettings, terminal: Terminal) -> MagnetLink:
    """Read a link given on the command line; a bad one ends the command before anything is run."""
    _, text = split_priority(uri)
    try:
        return parse_magnet(text, bound=_scope_of(settings))
    except InvalidMagnetURI as error:
        outcome = Outcome(uri, Status.INVALID, reason=str(error))
        terminal.record(outcome_as_json(outcome, now=trio.current_time()))
        raise


def has_other_ways(link: MagnetLink, proxy: str | None) -> bool:
    """Tell whether a link names others to ask than the DHT, as far as the proxy leads to them.

    Neighbours do not count, though they are asked: they may be there for any link, and without
    network mostly are not.

    Args:
        link: The link.
        proxy: By way of which everything goes; then only the DHT and peers are asked.
    """
    named = (link.trackers, link.exact_sources, link.acceptable_sources)
    return bool(link.peers) or (proxy is None and any(named))


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
    binds: Sequence[tuple[str, int]] = settings.bind
    if not binds:
        return Scope.GLOBAL
    at = endpoint(*binds[0])
    return scope_of(at) if any(at[:-2]) else Scope.GLOBAL
