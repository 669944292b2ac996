"""Why a node knows nobody: told from the fate of its bootstrap hosts.

A machine without network and a network whose entry hosts are dead look alike from inside; a user
has to know which it is, and which hosts to replace.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dht.bootstrap import BootstrapOutcome, HostFate
from dht.commandline.process import CommandFailed, ExitCode
from dht.errors import NotBootstrapped
from dht.node import Node, NodeStatistics


@contextmanager
def explained(node: Node) -> Iterator[None]:
    """Turn `NotBootstrapped`, raised in the block, into a failure that tells why.

    Raises:
        CommandFailed: As `isolation` says.
    """
    try:
        yield
    except NotBootstrapped as error:
        raise isolation(node.statistics()) from error


def isolation(statistics: NodeStatistics) -> CommandFailed:
    """Return the failure of a command whose node got no answer from anybody.

    Without a single address to send to, or when nothing could be sent, there is no network and the
    command cannot run; where hosts were asked and stayed silent, it ran and did not succeed.
    """
    hosts = statistics.bootstrap
    if not hosts:
        return CommandFailed("no node is known: name one with --bootstrap", ExitCode.CANNOT_RUN)
    fates = {host.fate for host in hosts}
    has_sent = any(counts.get("datagrams sent") for counts in statistics.sockets.values())
    if fates == {HostFate.NO_ADDRESS}:
        reason = "no network: no bootstrap host has an address"
    elif HostFate.SILENT in fates and not has_sent:
        reason = "no network: nothing could be sent"
    else:
        return CommandFailed(f"no node answered{_in_brackets(hosts)}", ExitCode.FAILED)
    return CommandFailed(f"{reason}{_in_brackets(hosts)}", ExitCode.CANNOT_RUN)


def name_dead_hosts(hosts: Sequence[BootstrapOutcome]) -> str:
    """Return the bootstrap hosts that were of no use, by what became of them; empty if none was."""
    fates: dict[HostFate, list[str]] = {}
    for host in hosts:
        if host.fate not in (HostFate.ANSWERED, HostFate.NOT_ASKED):
            fates.setdefault(host.fate, []).append(str(host.host))
    return "; ".join(f"{fate}: {', '.join(names)}" for fate, names in fates.items())


def _in_brackets(hosts: Sequence[BootstrapOutcome]) -> str:
    dead = name_dead_hosts(hosts)
    return f" ({dead})" if dead else ""
