"""What became of links, on the terminal: a line for people, an object for programs."""

from typing import Final, cast

import trio

from dht.commandline import Json, Terminal
from magnet.describe import content_text, info_as_json, link_as_json
from magnet.resolve.report import Report
from magnet.resolve.tally import Outcome, Status
from magnet.resolve.timeline import timeline

ATTEMPTS_SHOWN_MAX: Final = 20
"""Attempts listed for people when a link fails; programs get all of them."""


def tell(terminal: Terminal, outcome: Outcome, *, explains: bool) -> None:
    """Tell what became of one link.

    Args:
        terminal: Where to.
        outcome: What became of it.
        explains: Whether people want to know how it went, stage by stage.
    """
    terminal.record(outcome_as_json(outcome, now=trio.current_time()))
    if terminal.as_json:
        return
    if outcome.info is not None:
        took = "known before" if outcome.is_cached else f"{outcome.elapsed_s:.1f} s"
        terminal.line(f"{outcome.path}  {content_text(outcome.info)}, {took}")
    if outcome.reason is not None:
        terminal.note(f"{outcome.uri}: {outcome.reason}")
    if outcome.report is not None and not outcome.is_cached:
        _explain(terminal, outcome.report, outcome.status, in_full=explains)


def _explain(terminal: Terminal, report: Report, status: Status, *, in_full: bool) -> None:
    if in_full:
        for line in timeline(report, now=trio.current_time()):
            terminal.note(f"  {line}")
    if status is Status.FAILED:
        for line in report.attempt_lines()[:ATTEMPTS_SHOWN_MAX]:
            terminal.note(f"  {line}")


def outcome_as_json(outcome: Outcome, *, now: float) -> dict[str, Json]:
    """Return the object for one link, with all its keys whatever became of it.

    Args:
        outcome: What became of it.
        now: Monotonic seconds.
    """
    known: dict[str, object] = {}
    if outcome.link is not None:
        known = {key: link_as_json(outcome.link)[key] for key in _OF_LINK}
    if outcome.info is not None:
        known |= info_as_json(outcome.info)
    report = outcome.report if outcome.report is not None else Report()
    record: dict[str, object] = {
        "uri": outcome.uri,
        "status": outcome.status.value,
        **{key: known.get(key) for key in (*_OF_LINK, "size", "files")},
        "torrent": None if outcome.path is None else str(outcome.path),
        "elapsed_s": round(outcome.elapsed_s, 3),
        "reason": outcome.reason,
        "cached": outcome.is_cached,
        "next_try_at": outcome.next_try_at,
        "report": report.as_json(now=now),
    }
    return cast("dict[str, Json]", record)


_OF_LINK: Final = ("info_hash", "info_hash_v2", "name")
