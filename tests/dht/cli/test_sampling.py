"""The `dht sample` command against real nodes on loopback."""

import json

import pytest
import trio.testing

from dht import cli
from dht.bootstrap import BootstrapHost
from dht.commandline import CommandFailed, CommonOptions, ExitCode, run
from dht.commandline.options import BindAddress
from dht.contact import Endpoint, Family, format_endpoint
from dht.keyspace import InfoHash
from dht.testnet import Testnet, as_bootstrap_host
from tests.dht.samples import RESPONDER

KEY = InfoHash(RESPONDER)

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


async def host_with_a_swarm(testnet: Testnet) -> BootstrapHost:
    holders = await testnet.nodes[0].announce(KEY, 6_881)
    return next(
        as_bootstrap_host(it.endpoint) for it in holders if len(it.endpoint) == Family.IPV4.value
    )


def test_what_is_no_host_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["sample", "localhost"]) == ExitCode.WRONG_USE
    assert "'localhost' is not HOST:PORT" in capsys.readouterr().err


def test_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["sample", "--help"]) == ExitCode.DONE
    assert "Usage: dht sample [OPTIONS] HOST" in capsys.readouterr().out


async def test_a_host_of_another_family_fails() -> None:
    ipv4_only = CommonOptions(bind=(BindAddress("127.0.0.1", 0),))
    with pytest.raises(CommandFailed, match="has no address"):
        await cli.sample(BootstrapHost("::1", 6_881), options=ipv4_only)


async def test_a_silent_node_fails(
    patient_clock: trio.testing.MockClock,
    silent_end: Endpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = as_bootstrap_host(silent_end)
    assert await cli.sample(host, options=CommonOptions(json=True)) is ExitCode.FAILED
    printed = json.loads(capsys.readouterr().out)
    assert printed["endpoint"] == format_endpoint(silent_end)
    assert printed["error"].startswith("no answer within ")


async def test_the_hashes_are_printed_a_line_each(
    testnet: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    host = await host_with_a_swarm(testnet)
    assert await cli.sample(host) is ExitCode.DONE
    printed = capsys.readouterr()
    assert printed.out == f"{KEY.hex()}\n"
    assert printed.err == f"{host} shows 1 of 1 info-hashes, and others after 0 s\n"


async def test_programs_get_one_object(
    testnet: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    host = await host_with_a_swarm(testnet)
    assert await cli.sample(host, options=CommonOptions(json=True)) is ExitCode.DONE
    printed = json.loads(capsys.readouterr().out)
    assert len(bytes.fromhex(printed.pop("id"))) == 20
    assert printed == {
        "endpoint": str(host),
        "info_hashes": [KEY.hex()],
        "num": 1,
        "interval_s": 0,
    }
