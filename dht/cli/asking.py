"""Commands that ask other nodes and end: `ping`, `find-node`, `peers` and `announce`."""

import trio

from dht.cli.app import COMMON, TIMEOUT_S, app, asking, asking_host, count, since
from dht.cli.arguments import HashArgument, HostArgument, IdArgument, PortArgument, Switch
from dht.commandline import CommonOptions, ExitCode, Terminal, explained
from dht.contact import Endpoint, format_endpoint
from dht.errors import DhtError, NotBootstrapped
from dht.joint import PeerStream
from dht.node import Node, open_node


@app.command
async def ping(host: HostArgument, /, *, options: CommonOptions = COMMON) -> ExitCode:
    """Ask a node whether it is alive.

    Args:
        host: The node, as HOST:PORT or [IPV6]:PORT; of a name, every address is asked.
    """
    terminal = Terminal(as_json=options.json)
    async with asking_host(host, options) as (node, endpoints):
        answers = 0
        for endpoint in endpoints:
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
async def find_node(target: IdArgument, /, *, options: CommonOptions = COMMON) -> ExitCode:
    """Search for the nodes nearest to an id, and print them, nearest first.

    Args:
        target: 40 hexadecimal digits.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    async with asking(options, terminal) as node:
        contacts = await node.find_node(target)
        if not contacts:
            raise NotBootstrapped("no node answered")
    for contact in contacts:
        at, own_id = format_endpoint(contact.endpoint), contact.id.hex()
        terminal.result({"id": own_id, "endpoint": at}, f"{own_id} {at}")
    terminal.record({"target": target.hex(), "nodes": len(contacts), "elapsed_s": since(started)})
    return ExitCode.DONE


@app.command
async def peers(info_hash: HashArgument, /, *, options: CommonOptions = COMMON) -> ExitCode:
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
    progress, elapsed_s = stream.progress, since(started)
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
        f"{count(progress.peers, 'peer')} found, "
        f"{progress.answered} of {count(progress.asked, 'node')} answered"
    )


@app.command
async def announce(
    info_hash: HashArgument,
    port: PortArgument,
    /,
    *,
    seed: Switch = False,
    implied_port: Switch = False,
    options: CommonOptions = COMMON,
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
    async with asking(options, terminal) as node:
        holders = await node.announce(info_hash, port, seed=seed, implied_port=implied_port)
    terminal.result(
        {
            "info_hash": info_hash.hex(),
            "port": port,
            "accepted": [format_endpoint(it.endpoint) for it in holders],
            "elapsed_s": since(started),
        },
        f"accepted by {count(len(holders), 'node')}",
    )
    return ExitCode.DONE if holders else ExitCode.FAILED
