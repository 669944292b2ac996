"""The `scrape` command: how big swarms are."""

from typing import Final

import trio
from cyclopts import CycloptsError

from dht.cli.app import COMMON, TIMEOUT_S, app, count, since
from dht.cli.arguments import HashArgument
from dht.commandline import CommandFailed, CommonOptions, ExitCode, Json, Terminal, explained
from dht.errors import DhtError
from dht.keyspace import InfoHash
from dht.measure.holdings import Estimate
from dht.measure.survey import Scrape, scrape
from dht.node import Node, open_node

AT_ONCE: Final = 4
"""Swarms scraped at the same time. Spec: BEP 33 "Scheduling"."""


@app.command(name="scrape")
async def scrape_swarms(*info_hashes: HashArgument, options: CommonOptions = COMMON) -> ExitCode:
    """Measure how many seeds and other peers torrents have, each with a 95 % interval.

    Args:
        info_hashes: 40 hexadecimal or 32 base32 digits each.
    """
    if not info_hashes:
        raise CycloptsError(msg="Give an info-hash.")
    terminal = Terminal(as_json=options.json)
    timeout_s = options.timeout or TIMEOUT_S
    waiting = iter(dict.fromkeys(info_hashes))
    measured: list[bool] = []

    async def work() -> None:
        for info_hash in waiting:
            measured.append(await _scrape_one(node, info_hash, terminal, timeout_s))

    async with open_node(options.node_settings(read_only=True)) as node:
        with explained(node):
            await _join(node, timeout_s)
        async with (
            terminal.progress(lambda: f"{count(len(measured), 'swarm')} measured"),
            trio.open_nursery() as nursery,
        ):
            for _ in range(AT_ONCE):
                nursery.start_soon(work)
    return ExitCode.DONE if all(measured) else ExitCode.FAILED


async def _join(node: Node, timeout_s: float) -> None:
    with trio.move_on_after(timeout_s) as deadline:
        await node.wait_joined()
    if deadline.cancelled_caught:
        raise CommandFailed(f"nobody answered within {timeout_s:g} s")


async def _scrape_one(
    node: Node, info_hash: InfoHash, terminal: Terminal, timeout_s: float
) -> bool:
    """Measure a swarm, print it, and tell whether anything is known of it."""
    started = trio.current_time()
    reason = f"not measured within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        try:
            outcome = await scrape(node, info_hash)
        except DhtError as error:
            reason = str(error)
        else:
            terminal.result(_record(outcome, since(started)), _line(outcome))
            return outcome.size.is_known
    terminal.record({"info_hash": info_hash.hex(), "error": reason})
    terminal.note(f"{info_hash.hex()}: {reason}")
    return False


def _record(outcome: Scrape, elapsed_s: float) -> dict[str, Json]:
    size = outcome.size
    return {
        "info_hash": outcome.info_hash.hex(),
        "seeds": size.seeds._asdict(),
        "leechers": size.leechers._asdict(),
        "peers": size.peers._asdict(),
        "saturated": size.is_saturated,
        "nodes_asked": outcome.nodes_asked,
        "nodes_answered": outcome.nodes_answered,
        "elapsed_s": elapsed_s,
    }


def _line(outcome: Scrape) -> str:
    size = outcome.size
    return (
        f"{outcome.info_hash.hex()} seeds {_words(size.seeds)}, "
        f"leechers {_words(size.leechers)}, peers {_words(size.peers)}"
    )


def _words(estimate: Estimate) -> str:
    if estimate.low is None:
        return "unknown"
    if estimate.high is None:
        return f"{estimate.low} or more"
    if estimate.low == estimate.high:
        return str(estimate.estimate)
    return f"{estimate.estimate} ({estimate.low} to {estimate.high})"
