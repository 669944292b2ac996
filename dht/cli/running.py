"""Commands that run nodes until interrupted: `node` and `testnet`."""

import math
from typing import Final

import trio

from dht.cli.app import COMMON, OUTPUT, app, count, describe, since
from dht.cli.arguments import SizeOption, Switch
from dht.commandline import (
    CommonOptions,
    ExitCode,
    Json,
    OutputOptions,
    Terminal,
    name_dead_hosts,
)
from dht.contact import Family, format_endpoint
from dht.errors import NotBootstrapped
from dht.node import Node, open_node
from dht.testnet import open_testnet

STATUS_INTERVAL_S: Final = 10.0
"""Seconds between two status objects of `dht node --json`."""


@app.command(name="node")
async def run_node(*, options: CommonOptions = COMMON) -> ExitCode:
    """Run a node until interrupted; its state is saved then, and every ten minutes."""
    terminal = Terminal(as_json=options.json)
    with trio.move_on_after(options.timeout or math.inf):
        async with open_node(options.node_settings()) as node:
            for family, at in node.endpoints.items():
                own_id = node.ids[family].hex()
                terminal.line(f"listening on {format_endpoint(at)}, id {own_id}")
            async with terminal.progress(lambda: describe(node.statistics())):
                await _report_status(node, terminal)
    return ExitCode.DONE


async def _report_status(node: Node, terminal: Terminal) -> None:
    """Tell how the join went; then, to programs, how the node is every `STATUS_INTERVAL_S`."""
    started = trio.current_time()
    terminal.record(_status(node, started))
    try:
        await node.wait_joined()
        terminal.line(f"joined: {describe(node.statistics())}")
    except NotBootstrapped:
        terminal.note("nobody answered yet; the node keeps trying, and answers whoever asks")
    if dead := name_dead_hosts(node.statistics().bootstrap):
        terminal.note(f"bootstrap hosts that were no help: {dead}")
    while True:
        terminal.record(_status(node, started))
        await trio.sleep(STATUS_INTERVAL_S)


def _status(node: Node, started: float) -> dict[str, Json]:
    statistics = node.statistics()
    mapping = statistics.mapping
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
        "mapping": {
            "phase": mapping.phase,
            "method": mapping.method,
            "external": format_endpoint(mapping.external) if mapping.external else None,
        },
        "bootstrap": {str(it.host): it.fate for it in statistics.bootstrap},
        "flows": statistics.flows,
        "flows_opened": statistics.flows_opened,
        "elapsed_s": since(started),
    }


@app.command(name="testnet")
async def run_testnet(
    *, nodes: SizeOption = 20, ipv6: Switch = False, options: OutputOptions = OUTPUT
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
            terminal.note(f"{count(nodes, 'node')} running; Ctrl-C ends them")
            await trio.sleep_forever()
    return ExitCode.DONE
