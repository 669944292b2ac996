"""The `dht size` command against real nodes on loopback."""

import json

import pytest
import trio.testing

from dht import cli
from dht.commandline import CommandFailed, CommonOptions, ExitCode, run
from dht.commandline.options import BindAddress
from dht.contact import Endpoint, format_endpoint
from dht.ratelimit import Budget
from dht.testnet import Testnet, as_bootstrap_host

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def options(testnet: Testnet, *, json: bool = False) -> CommonOptions:
    return CommonOptions(
        bootstrap=tuple(testnet.entry_points(1)),
        bind=(BindAddress("127.0.0.1", 0), BindAddress("::1", 0)),
        budget=Budget.SERVER,
        json=json,
    )


def test_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["size", "--help"]) == ExitCode.DONE
    assert "Usage: dht size [OPTIONS]" in capsys.readouterr().out


async def test_without_a_network_there_is_nothing_to_count(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    silent = CommonOptions(bootstrap=(as_bootstrap_host(silent_end),))
    with pytest.raises(CommandFailed) as caught:
        await cli.size(options=silent)
    assert caught.value.reason == f"no node answered (silent: {format_endpoint(silent_end)})"


@pytest.mark.slow
async def test_programs_get_an_object_a_family(
    testnet: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cli.size(options=options(testnet, json=True)) is ExitCode.DONE
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [it["family"] for it in printed] == ["ipv4", "ipv6"]
    for record in printed:
        assert record["nodes"] == {"estimate": 10, "low": 10, "high": 10}
        assert record["by_distance"] is None
        assert record["lookups"] > 0
        assert record["queries"] > 0
        assert 0 < record["elapsed_s"] < 30


@pytest.mark.slow
async def test_people_get_a_line_a_family(
    testnet: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cli.size(options=options(testnet)) is ExitCode.DONE
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("IPv4: 10 nodes, 10 to 10 (18 lookups, ")
    assert second.startswith("IPv6: 10 nodes, 10 to 10 (18 lookups, ")
