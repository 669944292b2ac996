"""From a command line to an exit code: one line for what went wrong, and no traceback."""

import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
from cyclopts import App

from dht.commandline.options import OutputOptions
from dht.commandline.process import CommandFailed, ExitCode, make_app, run
from dht.errors import CannotListen, DhtError, NodeClosed

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

DEFAULTS = OutputOptions()


def app_of(command: Callable[[], Awaitable[ExitCode]]) -> App:
    """Return a program with one command."""
    app = make_app("tool", "A tool.")

    @app.default
    async def default(*, options: OutputOptions = DEFAULTS) -> ExitCode:
        return await command()

    return app


class LinkError(Exception):
    """An error of the other wing."""


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (
            CannotListen("127.0.0.1 port 1", "in use"),
            3,
            "cannot listen on 127.0.0.1 port 1: in use",
        ),
        (NodeClosed("the node was closed"), 1, "the node was closed"),
        (CommandFailed("not found"), 1, "not found"),
        (CommandFailed("no network", ExitCode.CANNOT_RUN), 3, "no network"),
        (
            OSError(28, "No space left on device", "/tmp/file"),
            3,
            "/tmp/file: No space left on device",
        ),
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (OSError("odd"), 3, "odd"),
        (LinkError("bad\nlink\x1b"), 2, "bad link\\x1b"),
        (ExceptionGroup("", [ExceptionGroup("", [DhtError("deep")])]), 1, "deep"),
        (ExceptionGroup("", [DhtError("same"), DhtError("same")]), 1, "same"),
    ],
)
def test_known_errors_are_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    exit_code: int,
    line: str,
) -> None:
    async def fail() -> ExitCode:
        raise error

    app = app_of(fail)
    assert run(app, [], {LinkError: ExitCode.WRONG_USE}) == exit_code
    assert capsys.readouterr().err == f"tool: {line}\n"


def test_of_several_errors_the_gravest_counts(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> ExitCode:
        raise ExceptionGroup("", [DhtError("one"), OSError(28, "two")])

    assert run(app_of(fail), []) == ExitCode.CANNOT_RUN
    assert capsys.readouterr().err == "tool: one\ntool: two\n"


@pytest.mark.parametrize("error", [KeyError("bug"), ExceptionGroup("", [DhtError(), ValueError()])])
def test_a_bug_is_not_hidden(error: Exception) -> None:
    async def fail() -> ExitCode:
        raise error

    with pytest.raises((KeyError, ExceptionGroup)):
        run(app_of(fail), [])


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (["--bogus"], "Unknown option: --bogus."),
        (["--timeout", "x"], 'Invalid value for --timeout: unable to convert "x" into float.'),
        (["surplus"], "Unused Tokens: ['surplus']."),
    ],
)
def test_wrong_use_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], tokens: list[str], line: str
) -> None:
    async def succeed() -> ExitCode:
        return ExitCode.DONE

    assert run(app_of(succeed), tokens) == ExitCode.WRONG_USE
    assert capsys.readouterr().err == f"tool: {line}\n"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_command(signal_number: int) -> None:
    left: list[str] = []

    async def wait() -> ExitCode:
        try:
            os.kill(os.getpid(), signal_number)
            await trio.sleep_forever()
        finally:
            left.append("cleanly")

    assert run(app_of(wait), []) == ExitCode.INTERRUPTED
    assert left == ["cleanly"]


def test_a_second_interrupt_is_not_waited_for() -> None:
    async def insist() -> ExitCode:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep(10)

    signal.alarm(5)  # Ends the test run, should the command not end.
    assert run(app_of(insist), []) == ExitCode.INTERRUPTED
    signal.alarm(0)


def test_a_reader_who_has_had_enough_is_not_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    async def print_much() -> ExitCode:
        sys.stdout.write("much")
        return ExitCode.DONE

    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run(app_of(print_much), []) == ExitCode.FAILED
    assert capfd.readouterr().err == ""


def test_the_code_of_the_command_is_the_code_of_the_process() -> None:
    async def fail_quietly() -> ExitCode:
        return ExitCode.FAILED

    assert run(app_of(fail_quietly), []) == 1


def test_a_command_need_not_be_async() -> None:
    app = make_app("tool", "A tool.")

    @app.default
    def refuse() -> ExitCode:
        return ExitCode.WRONG_USE

    assert run(app, []) == ExitCode.WRONG_USE


def test_the_words_of_the_process_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", "--version"])
    assert run(make_app("tool", "A tool."), None) == 0
    assert capsys.readouterr().out.startswith("trackerless ")


def test_a_terminal_without_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    async def greet() -> ExitCode:
        sys.stdout.write("grüß\n")
        return ExitCode.DONE

    assert run(app_of(greet), []) == 0
    assert raw.getvalue() == rb"gr\xfc\xdf" + b"\n"
