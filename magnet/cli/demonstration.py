"""The command that shows how it works: `demo`."""

from typing import cast

from dht.commandline import ExitCode, Json, OutputOptions, Terminal
from magnet.cli.app import OUTPUT, app
from magnet.demo import run_demo
from magnet.describe import content_text, file_lines, hash_text, info_as_json


@app.command
async def demo(*, options: OutputOptions = OUTPUT) -> ExitCode:
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
