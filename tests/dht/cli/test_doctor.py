"""The `dht doctor` command against real nodes on loopback."""

import json

import pytest
import trio.testing

from dht import cli
from dht.commandline import CommonOptions, ExitCode, run
from dht.contact import Endpoint
from dht.testnet import Testnet, as_bootstrap_host

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["doctor", "--help"]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert "Usage: dht doctor [OPTIONS]" in printed
    assert "--no-map-ports" in printed


def test_a_port_that_is_taken_is_no_diagnosis(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["doctor", "--bind", "192.0.2.1"]) == ExitCode.CANNOT_RUN
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err


async def test_a_fault_is_told_and_is_a_failure(
    patient_clock: trio.testing.MockClock,
    silent_end: Endpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    silent = CommonOptions(bootstrap=(as_bootstrap_host(silent_end),))
    assert await cli.doctor(options=silent) is ExitCode.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fault   udp-out IPv4: Datagrams leave, but nobody answers")


async def test_people_get_a_line_a_check(
    testnet: Testnet,
    patient_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = CommonOptions(bootstrap=tuple(testnet.entry_points(1)))
    assert await cli.doctor(options=options) is ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert "ok      udp-out IPv6: UDP gets out and is answered." in lines
    assert "ok      bootstrap: All 2 bootstrap hosts asked answered." in lines


async def test_programs_get_an_object_a_check_and_one_at_the_end(
    testnet: Testnet,
    patient_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = CommonOptions(bootstrap=tuple(testnet.entry_points(1)), json=True)
    assert await cli.doctor(options=options) is ExitCode.DONE
    *findings, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert last["healthy"] is True
    assert set(last) == {"healthy", "elapsed_s"}
    keys = {"check", "family", "verdict", "sentence", "facts"}
    assert all(set(it) == keys for it in findings)
    assert [it["check"] for it in findings if it["family"] == "ipv6"] == [
        "udp-out",
        "nat",
        "udp-in",
    ]
