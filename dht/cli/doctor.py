"""The command that examines how this machine is connected: `doctor`."""

from dataclasses import replace
from typing import Final

import trio

from dht.cli.app import COMMON, app, describe, since
from dht.commandline import CommonOptions, ExitCode, Json, Terminal
from dht.diagnosis import Finding, is_healthy
from dht.doctor import LISTEN_S, examine
from dht.node import open_node

_WIDTH: Final = 7


@app.command
async def doctor(*, options: CommonOptions = COMMON) -> ExitCode:
    """Tell how this machine is connected, and what to do where something is wrong.

    It runs a node for some seconds, or as long as --timeout says: the longer, the surer it is
    whether strangers come. Exit code 0 says that all works, warnings apart.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    # Without memory, so that the bootstrap hosts are asked.
    settings = replace(options.node_settings(), state=None)
    async with (
        open_node(settings) as node,
        terminal.progress(lambda: describe(node.statistics())),
    ):
        findings = await examine(node, listen_s=options.timeout or LISTEN_S)
    for finding in findings:
        terminal.result(_record(finding), _line(finding))
    healthy = is_healthy(findings)
    terminal.record({"healthy": healthy, "elapsed_s": since(started)})
    return ExitCode.DONE if healthy else ExitCode.FAILED


def _record(finding: Finding) -> dict[str, Json]:
    return {
        "check": finding.check,
        "family": finding.family.name.lower() if finding.family is not None else None,
        "verdict": finding.verdict,
        "sentence": finding.sentence,
        "facts": dict(finding.facts),
    }


def _line(finding: Finding) -> str:
    family = f" {finding.family.name.replace('V', 'v')}" if finding.family is not None else ""
    return f"{finding.verdict:{_WIDTH}} {finding.check}{family}: {finding.sentence}"
