"""Feeding a subject with inputs until it does what it must not, or time is up.

A subject fails with an exception that is not documented for it (a failed assertion of its own
included), with an input that takes too long, or with one that takes too much memory. The input, in
hex, and the seed are then printed, and the exit code is 1.
"""

import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from scripts.options import Options, read_options

SECONDS_MAX: Final = 0.5
"""Processor time for one input: a hundred times what the slowest need, on a slow machine."""

MEMORY_MAX: Final = 16 * 2**20
"""Bytes allocated at one moment for one input of at most 128 KiB; ordinary ones need some KiB."""

MEMORY_EVERY: Final = 1_000
"""Inputs between two whose memory is traced, which makes them slow and so untimed."""

PROGRESS_EVERY_S: Final = 60.0
"""Seconds of real time between two reports on a long run."""

DEFAULT_TIME_LIMIT_S: Final = 10.0
UNBOUNDED: Final = 2**63

_HEX_SHOWN_MAX: Final = 4_096


class Subject(NamedTuple):
    """Something that takes bytes from strangers.

    Attributes:
        name: For the report.
        next_input: Gives the next input.
        feed: Takes it.
        documented: The errors that `feed` may raise.
        remarks: Tells what else there is to say of the run so far.
        is_traced: Whether to trace now and then what an input takes in memory. Each time the
            process keeps a kilobyte for good, which spoils the figures of who looks at it whole.
    """

    name: str
    next_input: Callable[[], bytes]
    feed: Callable[[bytes], object]
    documented: tuple[type[Exception], ...] = ()
    remarks: Callable[[], str] = str
    is_traced: bool = True


class Report(NamedTuple):
    """What was done.

    Attributes:
        name: The subject's.
        inputs: How many it was fed.
        refused: To how many of them it answered with a documented error.
        seconds: Processor time of all.
        slowest_s: Processor time of the slowest.
        remarks: What the subject says of it.
    """

    name: str
    inputs: int
    refused: int
    seconds: float
    slowest_s: float
    remarks: str

    def __str__(self) -> str:
        """Return one line for people."""
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.name:24} {self.inputs:9} inputs  {self.refused:9} refused  {rate:9.0f}/s"
            f"  slowest {self.slowest_s * 1_000:6.1f} ms  {self.remarks}"
        ).rstrip()


class Failure(Exception):
    """A subject did what it must not.

    Attributes:
        data: The input it happened with.
    """

    def __init__(self, subject: str, fault: str, data: bytes) -> None:
        """Build the message."""
        shown = data[:_HEX_SHOWN_MAX].hex()
        cut = f" and {len(data) - _HEX_SHOWN_MAX} bytes more" if len(data) > _HEX_SHOWN_MAX else ""
        super().__init__(f"{subject}: {fault}\ninput: {shown}{cut}")
        self.data = data


def _tell_nobody(report: Report) -> None:
    """Keep progress to oneself."""


def fuzz(
    subject: Subject,
    *,
    inputs: int,
    time_limit_s: float,
    progress: Callable[[Report], None] = _tell_nobody,
) -> Report:
    """Feed a subject.

    Args:
        subject: Whom.
        inputs: With how many inputs at most.
        time_limit_s: For so many seconds at most.
        progress: Is told every `PROGRESS_EVERY_S` what was done so far.

    Raises:
        Failure: It did what it must not.
    """
    began_at = reported_at = time.perf_counter()
    fed, refused, seconds, slowest_s = 0, 0, 0.0, 0.0
    while fed < inputs and (at := time.perf_counter()) < began_at + time_limit_s:
        if at >= reported_at + PROGRESS_EVERY_S:
            reported_at = at
            progress(Report(subject.name, fed, refused, seconds, slowest_s, subject.remarks()))
        data = subject.next_input()
        fed += 1
        if fed % MEMORY_EVERY == 0 and subject.is_traced:
            refused += _feed_traced(subject, data)
            continue
        began = time.process_time()
        refused += _feed(subject, data)
        took = time.process_time() - began
        seconds += took
        slowest_s = max(slowest_s, took)
        if took > SECONDS_MAX:
            raise Failure(subject.name, f"took {took:.2f} s", data)
    return Report(subject.name, fed, refused, seconds, slowest_s, subject.remarks())


def run(
    about: str, subjects: Callable[[random.Random], list[Subject]], arguments: list[str]
) -> None:
    """Fuzz subjects in turn, as the command line says; each gets an equal share of the time.

    Args:
        about: The program's docstring.
        subjects: Makes them, with all their chance from one generator.
        arguments: The command line, without the program's name.
    """
    options = read_options(
        about,
        size_flag="--size",
        size=UNBOUNDED,
        time_limit_s=DEFAULT_TIME_LIMIT_S,
        arguments=arguments,
    )
    print(f"seed {options.seed}", flush=True)
    try:
        _fuzz_all(subjects(random.Random(options.seed)), options)
    except Failure as failure:
        raise SystemExit(f"{failure}\nseed: {options.seed}") from failure


def _fuzz_all(subjects: Sequence[Subject], options: Options) -> None:
    share_s = options.time_limit_s / len(subjects)
    for subject in subjects:
        _print(fuzz(subject, inputs=options.size, time_limit_s=share_s, progress=_print))


def _print(report: Report) -> None:
    print(report, flush=True)


def _feed(subject: Subject, data: bytes) -> bool:
    """Feed one input; return whether it was refused with a documented error."""
    try:
        subject.feed(data)
    except subject.documented:
        return True
    except Exception as error:
        raise Failure(subject.name, f"{type(error).__name__}: {error}", data) from error
    return False


def _feed_traced(subject: Subject, data: bytes) -> bool:
    tracemalloc.start()
    try:
        refused = _feed(subject, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > MEMORY_MAX:
        raise Failure(subject.name, f"took {peak} bytes of memory", data)
    return refused
