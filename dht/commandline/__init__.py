"""What the commands of both wings have in common, from the options to the exit code.

`options` are those that every command takes, with the file and the environment variables that give
the same settings. `terminal` is where words go: results, progress, logs. `isolation` tells why a
node knows nobody. `process` runs a command, ends it on a signal, and turns errors into one line and
an exit code.
"""

from dht.commandline.isolation import explained, name_dead_hosts
from dht.commandline.options import CommonOptions, OutputOptions
from dht.commandline.process import CommandFailed, ExitCode, make_app, run
from dht.commandline.terminal import Json, Terminal

__all__ = [
    "CommandFailed",
    "CommonOptions",
    "ExitCode",
    "Json",
    "OutputOptions",
    "Terminal",
    "explained",
    "make_app",
    "name_dead_hosts",
    "run",
]
