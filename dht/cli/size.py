"""The command that counts the nodes of the DHT: `size`."""

from dataclasses import replace
from random import SystemRandom
from typing import Final

from dht.cli.app import COMMON, app, asking, count
from dht.commandline import CommonOptions, ExitCode, Json, Terminal
from dht.measure.census import Census, count_nodes
from dht.measure.population import Estimate

SIZE_TIMEOUT_S: Final = 300.0
"""Seconds that counting may take unless told otherwise; it should be done in about 60."""


@app.command
async def size(*, options: CommonOptions = COMMON) -> ExitCode:
    """Estimate how many nodes the DHT has, with a 95 % interval, for each address family."""
    terminal = Terminal(as_json=options.json)
    patient = replace(options, timeout=options.timeout or SIZE_TIMEOUT_S)
    async with asking(patient, terminal) as node:
        censuses = await count_nodes(node, SystemRandom())
    for census in censuses:
        terminal.result(_record(census), _line(census))
    return ExitCode.DONE if any(it.nodes for it in censuses) else ExitCode.FAILED


def _record(census: Census) -> dict[str, Json]:
    return {
        "family": census.family.name.lower(),
        "nodes": _interval(census.nodes),
        "by_distance": _interval(census.by_distance),
        "by_zone": _interval(census.by_zone),
        "zone_bits": census.zone_bits,
        "zone_nodes": census.zone_nodes,
        "lookups": census.lookups,
        "queries": census.queries,
        "elapsed_s": round(census.elapsed_s, 3),
    }


def _interval(estimate: Estimate | None) -> Json:
    if estimate is None:
        return None
    low, high = round(estimate.low), round(estimate.high)
    return {"estimate": round(estimate.value), "low": low, "high": high}


def _line(census: Census) -> str:
    family = census.family.name.replace("V", "v")
    cost = f"{count(census.lookups, 'lookup')}, {census.queries} queries, {census.elapsed_s:.0f} s"
    nodes = census.nodes
    if nodes is None:
        return f"{family}: unknown, for too few nodes answered ({cost})"
    interval = f"{round(nodes.low):,} to {round(nodes.high):,}"
    return f"{family}: {round(nodes.value):,} nodes, {interval} ({cost})"
