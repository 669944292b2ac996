"""The `magnet` command: turn links into torrents, look into both, and show how it works.

Only here are concrete parts picked: which node, which output, which words.
"""

from dht.commandline import run
from magnet.cli.app import EXIT_CODES, app
from magnet.cli.demonstration import demo
from magnet.cli.doctor import doctor
from magnet.cli.looking import info
from magnet.cli.resolving import resolve

__all__ = ["EXIT_CODES", "app", "demo", "doctor", "info", "main", "resolve"]


def main() -> int:
    """Run the `magnet` command and return the exit code of the process."""
    return run(app, exit_codes=EXIT_CODES)
