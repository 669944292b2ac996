"""The `dht` command: each command against real nodes on loopback, and as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from dht import cli
from dht.bootstrap import BootstrapHost, parse_host
from dht.commandline import CommandFailed, CommonOptions, ExitCode, OutputOptions, run
from dht.commandline.options import BindAddress
from dht.contact import Endpoint, format_endpoint
from dht.keyspace import InfoHash, NodeId
from dht.testnet import Testnet, as_bootstrap_host, open_testnet

HEX = "0123456789abcdef0123456789abcdef01234567"
BASE32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"
HASH = InfoHash(bytes.fromhex(HEX))
TARGET = NodeId(bytes.fromhex(HEX))
COMMAND = Path(sys.executable).with_name("dht")

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

Objects = Callable[[], list[dict[str, Any]]]


def options(testnet: Testnet | None = None, **others: Any) -> CommonOptions:
    hosts = tuple(testnet.entry_points(1)) if testnet is not None else ()
    return CommonOptions(**{"bootstrap": hosts, "bind": (BindAddress("127.0.0.1", 0),), **others})


@pytest.fixture
def objects(capsys: pytest.CaptureFixture[str]) -> Objects:
    """Return the objects printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Wrong use


@pytest.mark.parametrize(
    "text",
    ["", HEX[1:], HEX + "0", "g" + HEX[1:], BASE32[1:], BASE32[1:] + "1", "\u0661" * 40, "é" * 32],
)
def test_what_is_no_info_hash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not 40 hexadecimal or 32 base32 digits"):
        cli.parse_info_hash(text)


@pytest.mark.parametrize("text", ["", HEX[2:], HEX + "00", "g" + HEX[1:], BASE32])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not 40 hexadecimal digits"):
        cli.parse_id(text)


@pytest.mark.parametrize("text", [HEX, HEX.upper(), BASE32, BASE32.lower()])
def test_an_info_hash_has_two_spellings(text: str) -> None:
    assert cli.parse_info_hash(text) == HASH


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (["peers", "xyz"], "'xyz' is not 40 hexadecimal or 32 base32 digits"),
        (["peers"], 'Command "peers" parameter INFO_HASH requires an argument.'),
        (["find-node", BASE32], f"'{BASE32}' is not 40 hexadecimal digits"),
        (["announce", HEX, "0"], 'Invalid value "0" for PORT. Must be >= 1.'),
        (["announce", HEX, "65536"], 'Invalid value "65536" for PORT. Must be <= 65535.'),
        (["ping", "localhost"], "'localhost' is not HOST:PORT"),
        (["testnet", "--nodes", "0"], 'Invalid value "0" for --nodes. Must be >= 1.'),
        (["node", "--bind", "::1:x"], "'::1:x' is not ADDR or ADDR:PORT"),
        (["dig"], 'Unknown command "dig".'),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tokens: Sequence[str], line: str
) -> None:
    assert run(cli.app, tokens) == ExitCode.WRONG_USE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert line in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("command", ["node", "ping", "find-node", "peers", "announce", "testnet"])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(cli.app, [command, "--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "Usage: dht " + command in shown
    assert "--json" in shown
    assert "--timeout SECONDS" in shown


def test_the_program_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    for word in ("announce", "find-node", "node", "peers", "ping", "testnet", "Exit codes: 0 done"):
        assert word in shown


# Where it cannot run, or does not succeed


def test_a_taken_port_is_one_line_and_exit_code_3(
    capsys: pytest.CaptureFixture[str], silent_end: Endpoint
) -> None:
    assert run(cli.app, ["node", "--bind", format_endpoint(silent_end)]) == ExitCode.CANNOT_RUN
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("dht: cannot listen on 127.0.0.1 port ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("command", ["peers", "find_node", "announce"])
async def test_silent_hosts_are_named(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint, command: str
) -> None:
    silent = options(bootstrap=(as_bootstrap_host(silent_end),))
    call = {
        "peers": lambda: cli.peers(HASH, options=silent),
        "find_node": lambda: cli.find_node(TARGET, options=silent),
        "announce": lambda: cli.announce(HASH, 6881, options=silent),
    }
    with pytest.raises(CommandFailed) as caught:
        await call[command]()
    assert caught.value.reason == f"no node answered (silent: {format_endpoint(silent_end)})"
    assert caught.value.exit_code is ExitCode.FAILED


async def test_without_an_address_there_is_no_network() -> None:
    elsewhere = options(bootstrap=(BootstrapHost("::1", 6881),))
    with pytest.raises(CommandFailed, match="no network") as caught:
        await cli.peers(HASH, options=elsewhere)
    assert caught.value.exit_code is ExitCode.CANNOT_RUN


async def test_finding_no_peers_is_no_success(
    testnet: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cli.peers(HASH, options=options(testnet)) is ExitCode.FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("0 peers found, ")


async def test_a_search_that_takes_too_long_is_given_up(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    hurried = options(bootstrap=(as_bootstrap_host(silent_end),), timeout=0.5)
    with pytest.raises(CommandFailed, match=r"not done within 0.5 s \(IPv4: 0 nodes"):
        await cli.find_node(TARGET, options=hurried)
    with pytest.raises(CommandFailed, match="no node answered"):
        await cli.peers(HASH, options=hurried)


async def test_a_silent_node_fails_the_ping(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    host, at = as_bootstrap_host(silent_end), format_endpoint(silent_end)
    assert await cli.ping(host, options=options(timeout=0.5)) is ExitCode.FAILED
    assert capsys.readouterr().err == f"{at}: no answer within 0.5 s\n"
    assert await cli.ping(host, options=options(json=True)) is ExitCode.FAILED
    failure = json.loads(capsys.readouterr().out)
    assert failure["endpoint"] == at
    assert "no answer within" in failure["error"]


async def test_who_cannot_be_asked_from_here_fails_the_ping(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outside = options(bind=(BindAddress("127.0.0.1", 0),))
    assert await cli.ping(BootstrapHost("192.0.2.1", 1), options=outside) is ExitCode.FAILED
    assert "not sent: address not allowed" in capsys.readouterr().err
    with pytest.raises(CommandFailed, match="no address that can be asked"):
        await cli.ping(BootstrapHost("::1", 1), options=outside)


# What they print


async def test_ping(testnet: Testnet, objects: Objects, capsys: pytest.CaptureFixture[str]) -> None:
    for node in testnet.nodes[:2]:
        for family, at in node.endpoints.items():
            host = as_bootstrap_host(at)
            assert await cli.ping(host, options=CommonOptions(json=True)) is ExitCode.DONE
            (answer,) = objects()
            assert answer["endpoint"] == str(host)
            assert answer["id"] == node.ids[family].hex()
            assert 0 < answer["rtt_s"] < 1
    assert await cli.ping(host, options=CommonOptions()) is ExitCode.DONE
    assert capsys.readouterr().out.startswith(f"{host} is {node.ids[family].hex()}, ")


async def test_find_node_prints_the_nearest_first(
    testnet: Testnet, objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cli.find_node(TARGET, options=options(testnet, json=True)) is ExitCode.DONE
    *nodes, summary = objects()
    distances = [int(it["id"], 16) ^ int(HEX, 16) for it in nodes]
    assert distances == sorted(distances)
    assert summary["target"] == HEX
    assert summary["nodes"] == len(nodes) == 8
    assert await cli.find_node(TARGET, options=options(testnet)) is ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == [f"{it['id']} {it['endpoint']}" for it in nodes]


async def test_what_is_announced_is_found(
    testnet: Testnet, objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = options(testnet, json=True)
    assert await cli.announce(HASH, 7_000, seed=True, options=chosen) is ExitCode.DONE
    (announced,) = objects()
    assert (announced["info_hash"], announced["port"]) == (HEX, 7_000)
    assert len(announced["accepted"]) == 8
    assert await cli.peers(HASH, options=chosen) is ExitCode.DONE
    peer, summary = objects()
    assert peer == {"info_hash": HEX, "peer": "127.0.0.1:7000"}
    assert summary["peers"] == 1
    assert summary["nodes_asked"] >= summary["nodes_answered"] >= 8
    assert summary["elapsed_s"] > 0
    assert await cli.announce(HASH, 7_001, options=options(testnet)) is ExitCode.DONE
    assert capsys.readouterr().out == "accepted by 8 nodes\n"
    assert await cli.peers(HASH, options=options(testnet)) is ExitCode.DONE
    printed = capsys.readouterr()
    # Of one address, nodes keep the latest announce.
    assert printed.out == "127.0.0.1:7001\n"
    assert "found, " in printed.err


async def test_short_lived_commands_leave_no_trace(testnet: Testnet) -> None:
    before = [it.statistics().engines for it in testnet.nodes]
    await cli.peers(HASH, options=options(testnet))
    after = [it.statistics().engines for it in testnet.nodes]
    assert [{f: e.nodes for f, e in it.items()} for it in after] == [
        {f: e.nodes for f, e in it.items()} for it in before
    ]


async def test_a_node_tells_how_it_is(
    patient_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_testnet(2) as network:
        assert await cli.run_node(options=options(network, timeout=1.0)) is ExitCode.DONE
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("listening on 127.0.0.1:")
    assert second.startswith("joined: IPv4: 2 nodes, asked ")


async def test_a_node_tells_programs_how_it_is(
    patient_clock: trio.testing.MockClock, objects: Objects
) -> None:
    async with open_testnet(2) as network:
        chosen = options(network, json=True, timeout=15.0)
        assert await cli.run_node(options=chosen) is ExitCode.DONE
    at_start, joined, later = objects()
    assert at_start["families"]["ipv4"]["nodes"] == 0
    assert joined["families"]["ipv4"]["nodes"] == 2
    assert joined["families"]["ipv4"]["endpoint"].startswith("127.0.0.1:")
    assert list(joined["bootstrap"].values()) == ["answered"]
    assert later["elapsed_s"] >= 10


async def test_a_lonely_node_names_the_dead_hosts(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = as_bootstrap_host(silent_end)
    await cli.run_node(options=options(bootstrap=(dead,), timeout=30.0))
    assert capsys.readouterr().err.splitlines()[:2] == [
        "nobody answered yet; the node keeps trying, and answers whoever asks",
        f"bootstrap hosts that were no help: silent: {dead}",
    ]


@pytest.mark.parametrize(("ipv6", "count"), [(False, 2), (True, 4)])
async def test_a_testnet_prints_where_to_begin(objects: Objects, ipv6: bool, count: int) -> None:
    chosen = OutputOptions(json=True, timeout=0.1)
    assert await cli.run_testnet(nodes=2, ipv6=ipv6, options=chosen) is ExitCode.DONE
    hosts = [parse_host(it["bootstrap"]) for it in objects()]
    assert len(hosts) == count
    assert {it.host for it in hosts} == ({"127.0.0.1", "::1"} if ipv6 else {"127.0.0.1"})


# As processes


@pytest.fixture
def network() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A test network in a process of its own: where it begins, and the process."""
    with start("testnet", "--nodes", "8") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.terminate()


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_interrupting_a_node_saves_its_state(
    network: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    host, testnet = network
    state = tmp_path / "state"
    with start("node", "--bootstrap", host, "--state", str(state)) as node:
        assert node.stdout is not None
        assert node.stdout.readline().startswith("listening on 127.0.0.1:")
        assert node.stdout.readline().startswith("joined: ")
        node.send_signal(signal.SIGINT)
        assert node.wait(5) == ExitCode.INTERRUPTED
        assert node.stderr is not None
        assert node.stderr.read() == ""
    assert os.listdir(tmp_path) == ["state"]
    testnet.terminate()
    assert testnet.wait(5) == ExitCode.INTERRUPTED


@pytest.mark.slow
def test_a_reader_may_close_the_pipe(network: tuple[str, subprocess.Popen[str]]) -> None:
    host, _ = network
    with start("find-node", HEX, "--bootstrap", host) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(5) == ExitCode.FAILED
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_the_exit_code_reaches_the_shell() -> None:
    with start("peers", "nonsense") as process:
        _, errors = process.communicate(timeout=5)
    assert process.returncode == ExitCode.WRONG_USE
    assert errors == "dht: 'nonsense' is not 40 hexadecimal or 32 base32 digits\n"
