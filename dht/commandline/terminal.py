"""Where a command's words go.

Results go to stdout, each as one plain line or one JSON object. Everything else goes to stderr:
notes, logs, and progress, which is a live line on a terminal and a plain line now and then
elsewhere. Text from strangers may hold anything, so what is not printable is escaped.
"""

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import structlog
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dht.background import open_background

REFRESH_S: Final = 0.2
"""Seconds between two looks of the live line: fast enough to seem alive."""

SPARSE_S: Final = 30.0
"""Seconds between two plain lines of progress, where they collect in a log."""

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
"""What a JSON document holds."""

STDERR: Final = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
"""The error stream, which knows how to write above a live line."""


def printable(text: str) -> str:
    """Return a text with control characters, direction marks and the like escaped, on one line."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


class Terminal:
    """The output of one command."""

    def __init__(self, *, as_json: bool = False) -> None:
        """Choose between JSON objects and plain lines for results."""
        self.as_json = as_json
        self._is_live = False

    def result(self, record: Mapping[str, Json], line: str) -> None:
        """Print a result on stdout, as an object or as a line."""
        self.record(record)
        self.line(line)

    def record(self, record: Mapping[str, Json]) -> None:
        """Print what is of interest to programs only: an object, where objects are wanted."""
        if self.as_json:
            self._print(json.dumps(record))

    def line(self, line: str) -> None:
        """Print what is of interest to people only: a line, where lines are wanted."""
        if not self.as_json:
            self._print(printable(line))

    def note(self, line: str) -> None:
        """Print something that is no result, on stderr."""
        STDERR.print(printable(line))

    @asynccontextmanager
    async def progress(self, describe: Callable[[], str]) -> AsyncIterator[None]:
        """Show how it goes for the time of the block.

        Args:
            describe: Returns one line; called again and again.
        """
        show = self._show_live if STDERR.is_interactive else self._show_sparsely
        async with open_background() as background:
            background.start_soon(show, describe)
            yield

    def _print(self, line: str) -> None:
        if self._is_live and sys.stdout.isatty():
            STDERR.print(line)  # The same terminal; this way the live line makes room.
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    async def _show_live(self, describe: Callable[[], str]) -> None:
        live = Live(
            console=STDERR,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._is_live = True
        try:
            with live:
                while True:
                    line = Text(printable(describe()), no_wrap=True, overflow="ellipsis")
                    live.update(line, refresh=True)
                    await trio.sleep(REFRESH_S)
        finally:
            self._is_live = False

    async def _show_sparsely(self, describe: Callable[[], str]) -> None:
        while True:
            await trio.sleep(SPARSE_S)
            self.note(describe())


class _StderrHandler(logging.Handler):
    """Writes log lines through the console, so that a live line makes room for them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            STDERR.print(Text.from_ansi(self.format(record)))
        except OSError:
            self.handleError(record)


def configure_logging(level: str) -> None:
    """Show the events of both wings, and of the packages they use, on stderr.

    Args:
        level: Lowest severity shown: `debug`, `info`, `warning` or `error`.
    """
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(STDERR.is_terminal),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _renderer(is_terminal: bool) -> structlog.typing.Processor:
    if is_terminal:
        return structlog.dev.ConsoleRenderer(repr_native_str=True)
    return structlog.processors.KeyValueRenderer(
        key_order=["timestamp", "level", "logger", "event"]
    )
