"""The command that looks into links and torrents: `info`."""

from collections.abc import Sequence
from typing import cast

import trio

from dht.commandline import CommandFailed, ExitCode, Json, OutputOptions, Terminal
from magnet.cli.app import OUTPUT, app
from magnet.describe import link_as_json, link_lines, torrent_as_json, torrent_lines
from magnet.metainfo.torrent import TORRENT_BYTES_MAX, parse_torrent
from magnet.uri import LINK_BYTES_MAX, parse_magnet


@app.command
async def info(what: str, /, *, options: OutputOptions = OUTPUT) -> ExitCode:
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


async def _read_bounded(path: trio.Path) -> bytes:
    async with await path.open("rb") as file:
        # One byte more, so that a file over the limit is seen to be.
        return await file.read(TORRENT_BYTES_MAX + 1)


def _show(terminal: Terminal, record: dict[str, object], lines: Sequence[str]) -> None:
    terminal.record(cast("dict[str, Json]", record))
    for line in lines:
        terminal.line(line)
