"""Answers per CPU-second: our node beside a libtorrent session, under one load and in one run.

Each subject is a process of its own that has joined the same test network, on a core of its own;
on the other core a generator keeps a fixed number of queries in flight. CPU time, the kernel's
included, is read before and after. Rounds alternate and the ratio is taken round by round, so that
a machine that slows down slows both. Rate limits are out of the way for both.

    scripts/bench respond [--seconds 3] [--rounds 3] [--nodes 100] [--only NAME]
"""

import argparse
import os
import random
import select
import socket
import sys
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

from scripts.benchmarks.loads import LOADS, Load
from scripts.benchmarks.subjects import HOST, NETWORK, OURS, THEIRS, Subject, pin_to_core, started

IN_FLIGHT: Final = 128
"""Queries in flight: a subject always finds more, and all fit into an ordinary receive buffer."""

LOSS_TIMEOUT_S: Final = 0.2
"""Silence after which what is in flight counts as lost."""

SATURATED: Final = 0.9
"""Share of a core that a subject has to use for its round to show what it can do."""


class Round(NamedTuple):
    """What one subject did in one round.

    Attributes:
        answers: Answers that count.
        cpu_s: CPU seconds it took.
        elapsed_s: Real seconds that passed.
    """

    answers: int
    cpu_s: float
    elapsed_s: float

    @property
    def per_cpu_s(self) -> float:
        """Answers per CPU-second."""
        return self.answers / self.cpu_s if self.cpu_s else 0.0

    def __str__(self) -> str:
        """Return the figures, and a warning where the subject was not busy."""
        share = self.cpu_s / self.elapsed_s
        warning = "" if share >= SATURATED else " (not saturated)"
        return (
            f"{self.per_cpu_s:8,.0f} answers per CPU-s, {self.answers:8,} in all, "
            f"{share:4.0%} of a core{warning}"
        )


def measure(load: Load, ours: Subject, theirs: Subject, rounds: int, seconds: float) -> None:
    """Put a load on both by turns, and print what came of it."""
    subjects = {OURS: ours, THEIRS: theirs}
    rng = random.Random(1)
    try:
        queries = {name: load.prepare(it.port, rng) for name, it in subjects.items()}
    except (KeyError, TimeoutError) as error:
        print(f"{load.name}: not measured, for it could not be prepared: {error!r}", flush=True)
        return
    ratios = []
    for number in range(1, rounds + 1):
        results = {
            name: run_round(it, queries[name], load.sign, seconds) for name, it in subjects.items()
        }
        for name, result in results.items():
            print(f"{load.name}, round {number}, {name:11}: {result}", flush=True)
        theirs_per_cpu_s = results[THEIRS].per_cpu_s
        if theirs_per_cpu_s:
            ratios.append(results[OURS].per_cpu_s / theirs_per_cpu_s)
    outcome = f"{median(ratios):.2f} of libtorrent's" if ratios else "libtorrent has no answer"
    print(f"== {load.name}: {outcome}", flush=True)


def run_round(subject: Subject, queries: list[bytes], sign: bytes, seconds: float) -> Round:
    """Put a load on one subject for a while."""
    cpu_s, began = subject.cpu_s, perf_counter()
    answers = generate(subject.port, queries, sign, seconds)
    return Round(answers, subject.cpu_s - cpu_s, perf_counter() - began)


def generate(port: int, queries: list[bytes], sign: bytes, seconds: float) -> int:
    """Keep `IN_FLIGHT` queries at a node for a while.

    Returns:
        How many answers held `sign`.
    """
    answers, sent, in_flight = 0, 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_194_304)
        sock.bind((HOST, 0))
        sock.connect((HOST, port))
        sock.setblocking(False)
        end = perf_counter() + seconds
        while perf_counter() < end:
            while in_flight < IN_FLIGHT:
                sock.send(queries[sent % len(queries)])
                sent += 1
                in_flight += 1
            if not select.select([sock], [], [], LOSS_TIMEOUT_S)[0]:
                in_flight = 0
                continue
            received = receive_all(sock)
            in_flight -= len(received)
            answers += sum(sign in it for it in received)
    return answers


def receive_all(sock: socket.socket) -> list[bytes]:
    """Take the datagrams that are there."""
    received: list[bytes] = []
    while len(received) < IN_FLIGHT:
        try:
            received.append(sock.recv(2_048))
        except BlockingIOError:
            break
    return received


def main(arguments: list[str]) -> None:
    """Measure every load, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each load (%(default)s)")
    parser.add_argument("--nodes", type=int, default=100, help="of the network (%(default)s)")
    parser.add_argument("--only", choices=[it.name for it in LOADS], help="one load")
    options = parser.parse_args(arguments)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    with (
        started(NETWORK, options.nodes) as network,
        started(OURS, network.port) as ours,
        started(THEIRS, network.port) as theirs,
    ):
        pin_to_core(-1)
        for load in LOADS:
            if options.only in (None, load.name):
                measure(load, ours, theirs, options.rounds, options.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
