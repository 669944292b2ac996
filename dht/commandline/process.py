"""From a command line to an exit code.

A command is an async function that returns an `ExitCode`. It runs until it returns or until SIGINT
or SIGTERM, which cancel it, so that it leaves through its `finally` clauses: state saved, no file
half written. A second signal is not waited for. What a user or a peer did wrong becomes one line on
stderr; a traceback means a bug of ours.
"""

import inspect
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

import trio
from cyclopts import App, CycloptsError

from dht.commandline.options import CONFIG_SOURCES, OutputOptions
from dht.commandline.terminal import configure_logging, printable
from dht.errors import CannotListen, DhtError


class ExitCode(IntEnum):
    """What a command's end means to the shell that started it."""

    DONE = 0
    FAILED = 1
    """It ran and did not succeed: not found, not resolved, nobody answered."""
    WRONG_USE = 2
    """A bad option, or a bad link."""
    CANNOT_RUN = 3
    """The port is in use, the disk is full, there is no network."""
    INTERRUPTED = 130
    """By SIGINT or SIGTERM."""


class CommandFailed(Exception):
    """A command ends without success, for a reason to be told in one line.

    Attributes:
        reason: The line.
        exit_code: What it means to the shell.
    """

    def __init__(self, reason: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        """Build the message from `reason`."""
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


ExitCodes = Mapping[type[BaseException], ExitCode]
"""Which errors end a command with which code; the nearest base class of an error counts."""

_EXIT_CODES: Final[ExitCodes] = MappingProxyType(
    {
        CycloptsError: ExitCode.WRONG_USE,
        CannotListen: ExitCode.CANNOT_RUN,
        DhtError: ExitCode.FAILED,
        # Whoever read our output has had enough; there is nobody to tell.
        BrokenPipeError: ExitCode.FAILED,
        OSError: ExitCode.CANNOT_RUN,
        KeyboardInterrupt: ExitCode.INTERRUPTED,
    }
)
_SILENT: Final = (BrokenPipeError, KeyboardInterrupt)
_NO_MORE: Final[ExitCodes] = MappingProxyType({})


def make_app(name: str, summary: str) -> App:
    """Return a command that reads settings from the environment and a file, too.

    Args:
        name: As typed in a shell.
        summary: What it is for, shown by `--help`.
    """
    return App(
        name=name,
        help=summary,
        help_epilogue=(
            "Exit codes: 0 done; 1 it ran but found nothing or nobody; 2 wrong use; "
            "3 it cannot run here; 130 interrupted."
        ),
        version=lambda: f"trackerless {version('trackerless')}",
        config=CONFIG_SOURCES,
    )


def run(app: App, tokens: Sequence[str] | None = None, exit_codes: ExitCodes = _NO_MORE) -> int:
    """Run a command and return the exit code of the process.

    Args:
        app: The commands.
        tokens: The words after the program's name; None for those it was started with.
        exit_codes: Errors that end a command with one line on stderr, besides those of `dht`, of
            the command line and of the system.
    """
    _escape_unencodable()
    try:
        code = _dispatch(app, sys.argv[1:] if tokens is None else tokens)
        sys.stdout.flush()
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:
        causes = list(_leaves(error))
        codes = [_exit_code(it, {**_EXIT_CODES, **exit_codes}) for it in causes]
        known = [it for it in codes if it is not None]
        if len(known) < len(codes):
            raise
        _tell(app.name[0], causes)
        return max(known)
    return code


def _dispatch(app: App, tokens: Sequence[str]) -> ExitCode:
    command, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
    given = [it for it in bound.arguments.values() if isinstance(it, OutputOptions)]
    configure_logging((given or [OutputOptions()])[0].log_level)
    call = partial(command, *bound.args, **bound.kwargs)
    result = trio.run(_until_signal, call) if inspect.iscoroutinefunction(command) else call()
    return result if isinstance(result, ExitCode) else ExitCode.DONE


async def _until_signal(command: Callable[[], Awaitable[ExitCode]]) -> ExitCode:
    code = ExitCode.INTERRUPTED
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        code = await command()
        nursery.cancel_scope.cancel()
    return code


async def _cancel_on_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            break
    # The system's handlers are back: the next signal ends the process at once.
    scope.cancel()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _exit_code(error: BaseException, exit_codes: ExitCodes) -> ExitCode | None:
    if isinstance(error, CommandFailed):
        return error.exit_code
    return next((exit_codes[it] for it in type(error).__mro__ if it in exit_codes), None)


def _tell(name: str, causes: Sequence[BaseException]) -> None:
    for reason in dict.fromkeys(_reason(it) for it in causes if not isinstance(it, _SILENT)):
        sys.stderr.write(printable(f"{name}: {reason}") + "\n")
    if any(isinstance(it, BrokenPipeError) for it in causes):
        # Python flushes stdout once more at exit, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _escape_unencodable() -> None:
    """Let a terminal that cannot show a character show its escape instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
