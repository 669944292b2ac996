"""The `dht` command: run a node, ask others, and start test networks.

Only `node` and the nodes of `testnet` answer queries; the others come and go, so they are read-only
and leave no trace in the tables of the network.

Spec: BEP 5 "DHT Queries"; BEP 43 (read-only nodes).
"""

import base64
import binascii
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Final

import trio
from cyclopts import Parameter, Token
from cyclopts.validators import Number

from dht.bootstrap import BootstrapHost, parse_host, resolve_hosts
from dht.commandline import (
    CommandFailed,
    CommonOptions,
    ExitCode,
    Json,
    OutputOptions,
    Terminal,
    explained,
    make_app,
    name_dead_hosts,
    run,
)
from dht.contact import PORT_MAX, Endpoint, Family, format_endpoint
from dht.errors import DhtError, NotBootstrapped
from dht.joint import PeerStream
from dht.keyspace import ID_BYTES, InfoHash, NodeId
from dht.node import Node, NodeStatistics, open_node
from dht.testnet import NODES_MAX, open_testnet

TIMEOUT_S: Final = 60.0
"""Seconds that a query may take unless told otherwise; a search on the public DHT takes five to
fifteen, and one that meets only dead bootstrap hosts half a minute."""

STATUS_INTERVAL_S: Final = 10.0
"""Seconds between two status objects of `dht node --json`."""

app = make_app(
    "dht", "A node of the BitTorrent DHT: run one, ask others, start a network for tests."
)


def parse_info_hash(text: str) -> InfoHash:
    """Read an info-hash: 40 hexadecimal digits, or 32 base32 digits as in old magnet links.

    Raises:
        ValueError: It is neither.
    """
    try:
        if len(text) == 32:
            return InfoHash(base64.b32decode(text, casefold=True))
        return InfoHash(parse_id(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not 40 hexadecimal or 32 base32 digits") from error


def parse_id(text: str) -> NodeId:
    """Read an id: 40 hexadecimal digits.

    Raises:
        ValueError: It is something else.
    """
    try:
        node_id = binascii.unhexlify(text)
    except ValueError:
        node_id = b""
    if len(node_id) != ID_BYTES:
        raise ValueError(f"{text!r} is not {2 * ID_BYTES} hexadecimal digits")
    return NodeId(node_id)


def _read_info_hash(_type: type, tokens: Sequence[Token]) -> InfoHash:
    return parse_info_hash(tokens[0].value)


def _read_id(_type: type, tokens: Sequence[Token]) -> NodeId:
    return parse_id(tokens[0].value)


def _read_host(_type: type, tokens: Sequence[Token]) -> BootstrapHost:
    return parse_host(tokens[0].value)


HashArgument = Annotated[
    InfoHash, Parameter(converter=_read_info_hash, n_tokens=1, accepts_keys=False)
]
IdArgument = Annotated[NodeId, Parameter(converter=_read_id, n_tokens=1, accepts_keys=False)]
HostArgument = Annotated[
    BootstrapHost, Parameter(converter=_read_host, n_tokens=1, accepts_keys=False)
]
PortArgument = Annotated[int, Parameter(validator=Number(gte=1, lte=PORT_MAX))]
SizeOption = Annotated[int, Parameter(validator=Number(gte=1, lte=NODES_MAX), show_default=True)]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]

_COMMON: Final = CommonOptions()
_OUTPUT: Final = OutputOptions()


@app.command(name="node")
async def run_node(*, options: CommonOptions = _COMMON) -> ExitCode:
    """Run a node until interrupted; its state is saved then, and every ten minutes."""
    terminal = Terminal(as_json=options.json)
    with trio.move_on_after(options.timeout or math.inf):
        async with open_node(options.node_settings()) as node:
            for family, at in node.endpoints.items():
                own_id = node.ids[family].hex()
                terminal.line(f"listening on {format_endpoint(at)}, id {own_id}")
            async with terminal.progress(lambda: _describe(node.statistics())):
                await _report_status(node, terminal)
    return ExitCode.DONE


async def _report_status(node: Node, terminal: Terminal) -> None:
    """Tell how the join went; then, to programs, how the node is every `STATUS_INTERVAL_S`."""
    started = trio.current_time()
    terminal.record(_status(node, started))
    try:
        await node.wait_joined()
        terminal.line(f"joined: {_describe(node.statistics())}")
    except NotBootstrapped:
        terminal.note("nobody answered yet; the node keeps trying, and answers whoever asks")
    if dead := name_dead_hosts(node.statistics().bootstrap):
        terminal.note(f"bootstrap hosts that were no help: {dead}")
    while True:
        terminal.record(_status(node, started))
        await trio.sleep(STATUS_INTERVAL_S)


def _status(node: Node, started: float) -> dict[str, Json]:
    statistics = node.statistics()
    return {
        "families": {
            family.name.lower(): {
                "endpoint": format_endpoint(node.endpoints[family]),
                "id": node.ids[family].hex(),
                "nodes": engine.nodes,
                "good_nodes": engine.good_nodes,
                "buckets": engine.buckets,
                "in_flight": engine.in_flight,
                "swarms": engine.swarms,
                "messages": engine.counts,
                "socket": statistics.sockets[family],
            }
            for family, engine in statistics.engines.items()
        },
        "bootstrap": {str(it.host): it.fate for it in statistics.bootstrap},
        "flows": statistics.flows,
        "flows_opened": statistics.flows_opened,
        "elapsed_s": _since(started),
    }


@app.command
async def ping(host: HostArgument, /, *, options: CommonOptions = _COMMON) -> ExitCode:
    """Ask a node whether it is alive.

    Args:
        host: The node, as HOST:PORT or [IPV6]:PORT; of a name, every address is asked.
    """
    terminal = Terminal(as_json=options.json)
    # The node that is asked tells where to bind, and nobody else has to be asked.
    asking = replace(options, bootstrap=(host,)).node_settings(read_only=True)
    async with open_node(replace(asking, bootstrap=(), state=None)) as node:
        (resolved,) = await resolve_hosts([host], list(node.endpoints))
        if not resolved.endpoints:
            raise CommandFailed(f"{host} has no address that can be asked from here")
        answers = 0
        for endpoint in resolved.endpoints:
            answers += await _ping_one(node, endpoint, terminal, options.timeout or TIMEOUT_S)
    return ExitCode.DONE if answers else ExitCode.FAILED


async def _ping_one(node: Node, endpoint: Endpoint, terminal: Terminal, timeout_s: float) -> bool:
    at = format_endpoint(endpoint)
    reason = f"no answer within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        try:
            pong = await node.ping(endpoint)
        except DhtError as error:
            reason = str(error)
        else:
            if pong.sender is not None and pong.rtt_s is not None:
                own_id, rtt_ms = pong.sender.id.hex(), pong.rtt_s * 1_000
                terminal.result(
                    {"endpoint": at, "id": own_id, "rtt_s": round(pong.rtt_s, 6)},
                    f"{at} is {own_id}, {rtt_ms:.1f} ms away",
                )
                return True
            reason = str(pong.error)
    terminal.record({"endpoint": at, "error": reason})
    terminal.note(f"{at}: {reason}")
    return False


@app.command
async def find_node(target: IdArgument, /, *, options: CommonOptions = _COMMON) -> ExitCode:
    """Search for the nodes nearest to an id, and print them, nearest first.

    Args:
        target: 40 hexadecimal digits.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    async with _asking(options, terminal) as node:
        contacts = await node.find_node(target)
        if not contacts:
            raise NotBootstrapped("no node answered")
    for contact in contacts:
        at, own_id = format_endpoint(contact.endpoint), contact.id.hex()
        terminal.result({"id": own_id, "endpoint": at}, f"{own_id} {at}")
    terminal.record({"target": target.hex(), "nodes": len(contacts), "elapsed_s": _since(started)})
    return ExitCode.DONE


@app.command
async def peers(info_hash: HashArgument, /, *, options: CommonOptions = _COMMON) -> ExitCode:
    """Search for the peers of an info-hash, and print each as it is found.

    Args:
        info_hash: 40 hexadecimal or 32 base32 digits.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    async with open_node(options.node_settings(read_only=True)) as node:
        with explained(node), node.find_peers(info_hash) as stream:
            await _print_peers(stream, terminal, options.timeout or TIMEOUT_S)
            if not stream.progress.answered:
                raise NotBootstrapped("no node answered")
            _sum_up(stream, terminal, started)
    return ExitCode.DONE if stream.progress.peers else ExitCode.FAILED


async def _print_peers(stream: PeerStream, terminal: Terminal, timeout_s: float) -> None:
    with trio.move_on_after(timeout_s):
        async with terminal.progress(lambda: _describe_search(stream)):
            async for peer in stream:
                at = format_endpoint(peer)
                terminal.result({"info_hash": stream.info_hash.hex(), "peer": at}, at)


def _sum_up(stream: PeerStream, terminal: Terminal, started: float) -> None:
    progress, elapsed_s = stream.progress, _since(started)
    terminal.record(
        {
            "info_hash": stream.info_hash.hex(),
            "peers": progress.peers,
            "nodes_asked": progress.asked,
            "nodes_answered": progress.answered,
            "elapsed_s": elapsed_s,
        }
    )
    terminal.note(f"{_describe_search(stream)}, {elapsed_s:.1f} s")


def _describe_search(stream: PeerStream) -> str:
    progress = stream.progress
    return (
        f"{_count(progress.peers, 'peer')} found, "
        f"{progress.answered} of {_count(progress.asked, 'node')} answered"
    )


@app.command
async def announce(
    info_hash: HashArgument,
    port: PortArgument,
    /,
    *,
    seed: Switch = False,
    implied_port: Switch = False,
    options: CommonOptions = _COMMON,
) -> ExitCode:
    """Tell the network once that we are a peer for an info-hash; nodes forget it in half an hour.

    Args:
        info_hash: 40 hexadecimal or 32 base32 digits.
        port: Where peers are accepted, 1 to 65535.
        seed: Say that we have everything.
        implied_port: Let nodes take the UDP port that they see instead of PORT.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    async with _asking(options, terminal) as node:
        holders = await node.announce(info_hash, port, seed=seed, implied_port=implied_port)
    terminal.result(
        {
            "info_hash": info_hash.hex(),
            "port": port,
            "accepted": [format_endpoint(it.endpoint) for it in holders],
            "elapsed_s": _since(started),
        },
        f"accepted by {_count(len(holders), 'node')}",
    )
    return ExitCode.DONE if holders else ExitCode.FAILED


@app.command(name="testnet")
async def run_testnet(
    *, nodes: SizeOption = 20, ipv6: Switch = False, options: OutputOptions = _OUTPUT
) -> ExitCode:
    """Run a network of nodes on loopback until interrupted.

    The first lines printed are hosts to begin with, one each, for --bootstrap.

    Args:
        nodes: How many.
        ipv6: Let them listen on ::1, too.
    """
    terminal = Terminal(as_json=options.json)
    families = (Family.IPV4, Family.IPV6) if ipv6 else (Family.IPV4,)
    with trio.move_on_after(options.timeout or math.inf):
        async with open_testnet(nodes, families) as network:
            for host in network.entry_points():
                terminal.result({"bootstrap": str(host)}, str(host))
            terminal.note(f"{_count(nodes, 'node')} running; Ctrl-C ends them")
            await trio.sleep_forever()
    return ExitCode.DONE


@asynccontextmanager
async def _asking(options: CommonOptions, terminal: Terminal) -> AsyncIterator[Node]:
    """Run a short-lived node, and show how it is; what takes too long or meets nobody, fails."""
    timeout_s = options.timeout or TIMEOUT_S
    async with open_node(options.node_settings(read_only=True)) as node:
        with trio.move_on_after(timeout_s) as deadline:
            async with terminal.progress(lambda: _describe(node.statistics())):
                with explained(node):
                    yield node
        if deadline.cancelled_caught:
            state = _describe(node.statistics())
            raise CommandFailed(f"not done within {timeout_s:g} s ({state})")


def _describe(statistics: NodeStatistics) -> str:
    families = [
        f"{family.name.replace('V', 'v')}: {_count(engine.nodes, 'node')}, "
        f"asked {engine.counts.get('queries sent', 0)}, "
        f"served {engine.counts.get('queries answered', 0)}"
        for family, engine in statistics.engines.items()
    ]
    return "; ".join(families)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _since(started: float) -> float:
    return round(trio.current_time() - started, 3)


def main() -> int:
    """Run the `dht` command and return the exit code of the process."""
    return run(app)
