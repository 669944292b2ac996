"""Where words go: stdout for results, stderr for the rest, and nothing that moves a cursor."""

import io
import json
import logging
import sys

import pytest
import trio
import trio.testing

from dht.commandline.terminal import SPARSE_S, STDERR, Terminal, configure_logging, printable
from dht.logs import get_logger

EVIL = "a\x1b[2Jb\r\nc\u202ed\x9be"


class TerminalStream(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def attach_screen(monkeypatch: pytest.MonkeyPatch) -> TerminalStream:
    """Return a terminal that both streams lead to from now on."""
    stream = TerminalStream()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(STDERR, "is_interactive", True)
    return stream


def test_text_from_strangers_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Terminal().line(EVIL)
    Terminal().note(EVIL)
    printed = capsys.readouterr()
    assert printed.out == printed.err == "a\\x1b[2Jb\\r\\nc\\u202ed\\x9be\n"


def test_ordinary_text_is_left_alone() -> None:
    assert printable("Käse [link] \U0001f9c0 100 %") == "Käse [link] \U0001f9c0 100 %"


def test_markup_is_not_interpreted_and_long_lines_are_not_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "[bold]:smile: " + "word " * 100
    Terminal().note(line)
    assert capsys.readouterr().err == line + "\n"


def test_programs_get_objects_and_people_get_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal in (Terminal(), Terminal(as_json=True)):
        terminal.result({"name": EVIL}, "result")
        terminal.record({"only": "programs"})
        terminal.line("only people")
    printed = capsys.readouterr()
    plain, objects = printed.out.splitlines()[:2], printed.out.splitlines()[2:]
    assert plain == ["result", "only people"]
    assert [json.loads(it) for it in objects] == [{"name": EVIL}, {"only": "programs"}]
    assert printed.err == ""


async def test_progress_is_a_plain_line_now_and_then(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Terminal().progress(lambda: "going on"):
        await trio.sleep(2.5 * SPARSE_S)
    printed = capsys.readouterr()
    assert printed.err == "going on\n" * 2
    assert printed.out == ""


async def test_progress_is_a_live_line_on_a_terminal(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = attach_screen(monkeypatch)
    steps = iter(range(100))
    terminal = Terminal()
    async with terminal.progress(lambda: f"step {next(steps)}"):
        await trio.sleep(0.3)
        terminal.line("a result")
        await trio.sleep(0.2)
    terminal.line("the end")
    shown = screen.getvalue()
    assert shown.index("step 1") < shown.index("a result") < shown.index("step 2")
    assert shown.count("a result\n") == 1
    assert shown.endswith("the end\n")
    assert "\x1b[?25l" in shown
    assert "\x1b[?25h" in shown


async def test_results_go_to_a_file_beside_a_live_line(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = attach_screen(monkeypatch)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    async with Terminal().progress(lambda: "step"):
        await trio.sleep(0.1)
        Terminal().line("a result")
    assert file.getvalue() == "a result\n"
    assert "a result" not in screen.getvalue()


@pytest.mark.usefixtures("logging_as_it_was")
def test_logs_have_their_fields_and_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log = get_logger("dht.somewhere")
    log.debug("too detailed")
    log.info("it happened", path=EVIL, count=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "level='info' logger='dht.somewhere' event='it happened'" in line
    assert r"path='a\x1b[2Jb\r\nc\u202ed\x9be'" in line
    assert "count=3" in line


@pytest.mark.usefixtures("logging_as_it_was")
def test_logs_are_readable_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = attach_screen(monkeypatch)
    configure_logging("warning")
    get_logger("dht.somewhere").warning("it happened", path=EVIL)
    shown = screen.getvalue()
    assert "it happened" in shown
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_closed_stderr_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BrokenPipeError

    configure_logging("warning")
    monkeypatch.setattr(STDERR, "print", fail)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    get_logger("dht.somewhere").warning("nobody reads this")
