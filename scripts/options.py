"""What every simulation and fuzzer is told: a seed, a size, and how long it may take."""

import argparse
import random
import signal
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


def read_options(
    about: str,
    *,
    size_flag: str,
    size: int,
    arguments: list[str],
    time_limit_s: float = float("inf"),
) -> Options:
    """Read the command line; exits with code 2 if it is wrong, as argparse does.

    Args:
        about: What the program does: its docstring.
        size_flag: Such as `--nodes`.
        size: Its default.
        arguments: Without the program's name.
        time_limit_s: The default, in seconds.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    fresh = random.SystemRandom().getrandbits(32)
    parser.add_argument("--seed", type=int, default=fresh, help="repeats a run (default: fresh)")
    parser.add_argument(size_flag, dest="size", type=int, default=size, help="default: %(default)s")
    parser.add_argument(
        "--time-limit", type=float, default=time_limit_s, metavar="SECONDS", help="of real time"
    )
    parsed = parser.parse_args(arguments)
    return Options(parsed.seed, parsed.size, parsed.time_limit)


def exit_after(seconds: float) -> None:
    """Arrange that the program ends with exit code 1 and one line after `seconds` of real time."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(f"not finished after {seconds:g} s")

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.0 if seconds == float("inf") else seconds)
