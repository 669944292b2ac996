"""The command that examines whether links can be resolved here: `doctor`."""

import resource
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from dht.commandline import CommonOptions, ExitCode, Json, Terminal
from dht.diagnosis import Finding, Verdict, is_healthy
from dht.doctor import LISTEN_S, examine
from dht.errors import DhtError
from dht.node import open_node
from dht.ratelimit import Budget
from magnet.cli.app import COMMON, app
from magnet.demo import run_demo
from magnet.errors import ResolveError
from magnet.resolve.admission import CONNECTIONS_MAX, CONNECTIONS_UNLIMITED_MAX

FILES_BESIDES: Final = 64
"""Open files needed besides connections: sockets, the queue, the terminal, and what is written."""

_WIDTH: Final = 7


class SelfTest(NamedTuple):
    """How one test of this machine came out.

    Attributes:
        check: What was tested.
        verdict: How it came out.
        sentence: What is the case and, where something can be done about it, what.
    """

    check: str
    verdict: Verdict
    sentence: str


@app.command
async def doctor(*, options: CommonOptions = COMMON) -> ExitCode:
    """Tell whether links can be resolved here, and what to do where something is wrong.

    First a link is resolved in a network that is on this machine alone. Then the connection to the
    DHT is examined, for some seconds or as long as --timeout says. Exit code 0 says that all works,
    warnings apart.
    """
    terminal = Terminal(as_json=options.json)
    tests = [await try_resolving(), check_files(options.budget)]
    for test in tests:
        _tell(terminal, test.check, None, test.verdict, test.sentence)
    # Without memory, so that the bootstrap hosts are asked.
    settings = replace(options.node_settings(), state=None)
    async with (
        open_node(settings) as node,
        terminal.progress(lambda: "examining the connection to the DHT"),
    ):
        findings = await examine(node, listen_s=options.timeout or LISTEN_S)
    for finding in findings:
        _tell(terminal, finding.check, _family(finding), finding.verdict, finding.sentence)
    healthy = is_healthy(findings) and all(it.verdict is not Verdict.FAULT for it in tests)
    terminal.record({"healthy": healthy})
    return ExitCode.DONE if healthy else ExitCode.FAILED


async def try_resolving() -> SelfTest:
    """Resolve a link in a network on this machine: nodes, a peer, and everything in between."""
    began_at = trio.current_time()
    try:
        _, report = await run_demo(lambda _: None)
    except (DhtError, ResolveError, OSError) as error:
        sentence = f"a link that has a peer on this machine could not be resolved: {error}"
        return SelfTest("resolver", Verdict.FAULT, sentence)
    ways = sorted({it.way for it in report.attempts if it.way is not None})
    elapsed_s = trio.current_time() - began_at
    return SelfTest(
        "resolver",
        Verdict.OK,
        f"a link was resolved on this machine, by {', '.join(ways)}, in {elapsed_s:.1f} s",
    )


def check_files(budget: Budget) -> SelfTest:
    """Check that as many connections can be open at the same time as the budget allows."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = budget is Budget.SERVER
    wanted = (CONNECTIONS_UNLIMITED_MAX if unlimited else CONNECTIONS_MAX) + FILES_BESIDES
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        sentence = f"only {allowed} files may be open, {wanted} are needed: raise `ulimit -n`"
        return SelfTest("open-files", Verdict.WARNING, sentence)
    return SelfTest("open-files", Verdict.OK, f"{wanted} files may be open at the same time")


def _family(finding: Finding) -> str | None:
    return None if finding.family is None else finding.family.name


def _tell(
    terminal: Terminal, check: str, family: str | None, verdict: Verdict, sentence: str
) -> None:
    record: dict[str, Json] = {
        "check": check,
        "family": None if family is None else family.lower(),
        "verdict": verdict,
        "sentence": sentence,
    }
    label = check if family is None else f"{check} {family.replace('V', 'v')}"
    terminal.result(record, f"{verdict:{_WIDTH}} {label}: {sentence}")
