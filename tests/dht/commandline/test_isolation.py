"""Why a node knows nobody: what is said, and with which exit code."""

import pytest

from dht.bootstrap import BootstrapHost, BootstrapOutcome, HostFate
from dht.commandline.isolation import explained, isolation, name_dead_hosts
from dht.commandline.process import CommandFailed, ExitCode
from dht.contact import Family
from dht.errors import NotBootstrapped
from dht.node import NodeSettings, NodeStatistics, open_node


def fate_of(name: str, fate: HostFate) -> BootstrapOutcome:
    return BootstrapOutcome(BootstrapHost(name, 6881), (), fate)


def after(*hosts: BootstrapOutcome, sent: int = 1) -> NodeStatistics:
    return NodeStatistics({}, {Family.IPV4: {"datagrams sent": sent}}, hosts, 0, 0)


DEAD = fate_of("dead", HostFate.SILENT)
UNKNOWN = fate_of("unknown", HostFate.NO_ADDRESS)
FAR = fate_of("far", HostFate.OUT_OF_REACH)
LATE = fate_of("late", HostFate.NOT_ASKED)


@pytest.mark.parametrize(
    ("statistics", "exit_code", "reason"),
    [
        (after(), ExitCode.CANNOT_RUN, "no node is known: name one with --bootstrap"),
        (
            after(UNKNOWN, UNKNOWN),
            ExitCode.CANNOT_RUN,
            "no network: no bootstrap host has an address (no address: unknown:6881, unknown:6881)",
        ),
        (
            after(DEAD, UNKNOWN, sent=0),
            ExitCode.CANNOT_RUN,
            "no network: nothing could be sent (silent: dead:6881; no address: unknown:6881)",
        ),
        (
            after(DEAD, UNKNOWN),
            ExitCode.FAILED,
            "no node answered (silent: dead:6881; no address: unknown:6881)",
        ),
        (
            after(FAR, sent=0),
            ExitCode.FAILED,
            "no node answered (out of reach of the bound address: far:6881)",
        ),
        (after(LATE, sent=0), ExitCode.FAILED, "no node answered"),
    ],
)
def test_reasons(statistics: NodeStatistics, exit_code: ExitCode, reason: str) -> None:
    failure = isolation(statistics)
    assert failure.exit_code is exit_code
    assert failure.reason == str(failure) == reason


def test_hosts_that_helped_or_were_not_needed_are_not_named() -> None:
    assert name_dead_hosts([fate_of("good", HostFate.ANSWERED), LATE]) == ""


async def test_only_the_lack_of_nodes_is_explained() -> None:
    async with open_node(NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())) as node:
        with pytest.raises(CommandFailed, match="no node is known"), explained(node):
            raise NotBootstrapped
        with pytest.raises(KeyError), explained(node):
            raise KeyError
