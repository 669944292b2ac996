"""Lists of links as they come in: from a file, or from a pipe whose writer takes its time."""

import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import BinaryIO, Final

import trio

from magnet.uri import LINK_BYTES_MAX

STANDARD_INPUT: Final = "-"
"""What standard input is called on the command line."""

_READ_BYTES: Final = 65_536
"""Bytes taken at once: some hundreds of links. A pipe gives what it has."""

_LINE_BYTES_MAX: Final = LINK_BYTES_MAX + 16
"""Bytes kept of a line: a link that is just too long, to be told so, and a priority before it."""


async def read_lines(given: Iterable[str], name: str | None) -> AsyncGenerator[list[str], None]:
    """Yield lines as they come in, some at a time; blank lines and comments are left out.

    Args:
        given: Lines that come first.
        name: A file to read more from, `-` for standard input; None for no more.

    Raises:
        OSError: The file cannot be read.
    """
    yield list(given)
    if name is None:
        return
    async with _opened(name) as file, aclosing(_lines_of(file)) as lines:
        async for some in lines:
            yield [line for line in some if line and not line.startswith("#")]


@asynccontextmanager
async def _opened(name: str) -> AsyncGenerator[BinaryIO, None]:
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    async with await trio.open_file(name, "rb") as file:
        yield file.wrapped


async def _lines_of(file: BinaryIO) -> AsyncGenerator[list[str], None]:
    rest = b""
    # A reader that waits for a pipe is left behind when we are to end.
    while data := await trio.to_thread.run_sync(_read, file, abandon_on_cancel=True):
        *whole, rest = (rest + data).split(b"\n")
        rest = rest[:_LINE_BYTES_MAX]
        yield [_text(line) for line in whole]
    yield [_text(rest)]


def _read(file: BinaryIO) -> bytes:
    read1 = getattr(file, "read1", file.read)
    data: bytes = read1(_READ_BYTES)
    return data


def _text(line: bytes) -> str:
    return line[:_LINE_BYTES_MAX].decode("utf-8", "replace").strip()
