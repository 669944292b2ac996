"""What every simulation and fuzzer is told: a seed, a size, and how long it may take."""

import argparse
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple


class Options(NamedTuple):
    """The command line.

    Attributes:
        seed: Decides everything random; printed, so that any run can be repeated.
        size: How much to do; the program says of what.
        time_limit_s: Seconds of real time, infinite by default.
    """

    seed: int
    size: int
    time_limit_s: float


class TimeLimitPassed(Exception):
    """The program did not finish within its `--time-limit`."""


def read_options(about: str, *, size_flag: str, size: int, arguments: list[str]) -> Options:
    """Read the command line; exits with code 2 if it is wrong, as argparse does.

    Args:
        about: First line of the program's docstring.
        size_flag: Such as `--nodes`.
        size: Its default.
        arguments: Without the program's name.
    """
    parser = argparse.ArgumentParser(description=about)
    fresh = random.SystemRandom().getrandbits(32)
    parser.add_argument("--seed", type=int, default=fresh, help="repeats a run (default: fresh)")
    parser.add_argument(size_flag, dest="size", type=int, default=size, help="default: %(default)s")
    parser.add_argument(
        "--time-limit", type=float, default=float("inf"), metavar="SECONDS", help="of real time"
    )
    parsed = parser.parse_args(arguments)
    return Options(parsed.seed, parsed.size, parsed.time_limit)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after `seconds` of real time.

    Raises:
        TimeLimitPassed: The block was interrupted.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TimeLimitPassed(f"not finished after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0 if seconds == float("inf") else seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
