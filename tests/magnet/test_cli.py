"""The `magnet` command: each against real nodes on loopback, and as a process of its own."""

import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from dht.commandline import CommandFailed, CommonOptions, ExitCode, OutputOptions, run
from dht.commandline.options import BindAddress
from dht.diagnosis import Verdict
from dht.errors import CannotListen
from dht.ratelimit import Budget
from dht.testnet import Testnet, open_testnet
from magnet import cli
from magnet.cli.doctor import check_files, try_resolving
from magnet.cli.resolving import has_other_ways
from magnet.demo import make_torrent
from magnet.errors import DiskError, InvalidMagnetURI
from magnet.metainfo.info import parse_info
from magnet.metainfo.torrent import build_torrent, parse_torrent
from magnet.seeder import open_seeder
from magnet.uri import parse_magnet

RAW_INFO = make_torrent()
INFO = parse_info(RAW_INFO)
assert INFO.info_hash is not None
INFO_HASH = INFO.info_hash
UNKNOWN = "ab" * 20
COMMAND = Path(sys.executable).with_name("magnet")

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

Objects = Callable[[], list[dict[str, Any]]]


def options(testnet: Testnet, **others: Any) -> CommonOptions:
    hosts = tuple(testnet.entry_points(1))
    return CommonOptions(bootstrap=hosts, bind=(BindAddress("127.0.0.1", 0),), **others)


@asynccontextmanager
async def seeded_testnet() -> AsyncIterator[Testnet]:
    """Run a network in which the demonstration's torrent has a peer."""
    async with (
        open_testnet(8) as testnet,
        open_seeder({INFO_HASH: RAW_INFO}, hosts=["127.0.0.1"], rng=random.Random(1)) as seeder,
    ):
        await testnet.nodes[0].announce(INFO_HASH, seeder.port)
        yield testnet


@pytest.fixture
def objects(capsys: pytest.CaptureFixture[str]) -> Objects:
    """Return the objects printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Wrong use


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (["resolve"], "Give a link, or --input FILE, or --queue PATH."),
        (["resolve", UNKNOWN, "--name", "{size}"], "has {size}"),
        (["resolve", UNKNOWN, "--priority", "1000"], 'Invalid value "1000" for --priority.'),
        (["resolve", "x"], 'not a magnet link or info-hash: "x"'),
        (["resolve", "magnet:?xt=urn:btih:zz"], "btih has 2 digits"),
        (["resolve", UNKNOWN, "magnet:?dn=x"], "link has no info-hash"),
        (["resolve", UNKNOWN, "--at-once", "0"], 'Invalid value "0" for --at-once.'),
        (["info", "x"], 'not a magnet link or info-hash: "x"'),
        (["info", "missing.torrent"], "there is no file missing.torrent"),
        (["info"], "requires an argument"),
        (["dig"], 'Unknown command "dig".'),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tokens: Sequence[str], line: str
) -> None:
    local = ["--bind", "127.0.0.1"] if tokens[0] == "resolve" else []
    assert cli_run([*tokens, *local]) == ExitCode.WRONG_USE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert line in printed.err
    assert printed.err.count("\n") == 1


def cli_run(tokens: Sequence[str]) -> int:
    """Run the command as `main` does."""
    return run(cli.app, tokens, cli.EXIT_CODES)


def test_a_bad_link_is_an_object_where_objects_are_wanted(objects: Objects) -> None:
    bad = "magnet:?xt=urn:btih:zz"
    assert cli_run(["resolve", bad, "--bind", "127.0.0.1", "--json"]) == ExitCode.WRONG_USE
    (told,) = objects()
    assert (told["uri"], told["status"]) == (bad, "invalid")
    assert "2 digits" in told["reason"]


def test_a_damaged_torrent_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "damaged.torrent"
    path.write_bytes(build_torrent(RAW_INFO)[:-10])
    assert cli_run(["info", str(path)]) == ExitCode.WRONG_USE
    assert "bad-bencoding" in capsys.readouterr().err


def test_without_anybody_to_ask_it_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_run(["resolve", UNKNOWN, "--bind", "127.0.0.1"]) == ExitCode.CANNOT_RUN
    assert "no node is known" in capsys.readouterr().err


@pytest.mark.parametrize(
    "tokens",
    [
        [f"magnet:?xt=urn:btih:{UNKNOWN}&tr=udp%3A%2F%2F127.0.0.1%3A9%2Fannounce"],
        [f"magnet:?xt=urn:btih:{UNKNOWN}&xs=http%3A%2F%2F127.0.0.1%3A9%2Fx"],
        [f"magnet:?xt=urn:btih:{UNKNOWN}&as=http%3A%2F%2F127.0.0.1%3A9%2Fx"],
        [f"magnet:?xt=urn:btih:{UNKNOWN}&x.pe=127.0.0.1:9"],
        [UNKNOWN, "--queue", "queue"],
        [UNKNOWN, UNKNOWN.upper(), "--input", "links"],
    ],
)
def test_without_anybody_in_the_dht_there_may_be_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("links").touch()
    hurried = ["--bind", "127.0.0.1", "--timeout", "0.1"]
    assert cli_run(["resolve", *tokens, *hurried]) == ExitCode.FAILED


def test_a_proxy_leaves_the_dht_and_peers() -> None:
    tracked = parse_magnet(f"magnet:?xt=urn:btih:{UNKNOWN}&tr=udp://t.example:1/announce")
    named = parse_magnet(f"magnet:?xt=urn:btih:{UNKNOWN}&x.pe=t.example:1")
    assert has_other_ways(tracked, None)
    assert not has_other_ways(tracked, "socks5://127.0.0.1:1080")
    assert has_other_ways(named, "socks5://127.0.0.1:1080")


async def test_without_anybody_in_the_dht_a_list_is_worked_through(tmp_path: Path) -> None:
    links = tmp_path / "links"
    async with open_seeder({INFO_HASH: RAW_INFO}, hosts=["127.0.0.1"], rng=random.Random(1)) as it:
        links.write_text(f"magnet:?xt=urn:btih:{INFO_HASH.hex()}&x.pe=127.0.0.1:{it.port}\n")
        alone = CommonOptions(bind=(BindAddress("127.0.0.1", 0),))
        code = await cli.resolve(input=str(links), output=tmp_path / "out", options=alone)
    assert code is ExitCode.DONE


@pytest.mark.parametrize("command", ["resolve", "info", "demo", "doctor"])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert cli_run([command, "--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert f"Usage: magnet {command}" in shown
    assert "--json" in shown


# Resolving


async def test_a_link_without_peers_fails_with_its_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with open_testnet(8) as testnet:
        hurried = options(testnet, timeout=0.3)
        assert await cli.resolve(UNKNOWN, output=tmp_path, options=hurried) is ExitCode.FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{UNKNOWN}: no peers found: " in printed.err
    assert list(tmp_path.iterdir()) == []


async def test_a_link_becomes_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with seeded_testnet() as testnet:
        code = await cli.resolve(INFO_HASH.hex(), output=tmp_path, options=options(testnet))
    assert code is ExitCode.DONE
    (path,) = tmp_path.iterdir()
    assert parse_torrent(path.read_bytes()).info == INFO
    assert capsys.readouterr().out.startswith(f"{path}  trackerless-demo: 1.7 MiB in 3 files, ")


async def test_many_links_come_from_a_file(objects: Objects, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.write_text(f"# a comment\n\n{INFO_HASH.hex()}\nnonsense\n{UNKNOWN}\n")
    async with seeded_testnet() as testnet:
        hurried = options(testnet, timeout=2.0, json=True)
        code = await cli.resolve(input=str(links), output=tmp_path / "out", options=hurried)
    assert code is ExitCode.FAILED
    told = {it["uri"]: it for it in objects()}
    assert {uri: it["status"] for uri, it in told.items()} == {
        INFO_HASH.hex(): "resolved",
        "nonsense": "invalid",
        UNKNOWN: "failed",
    }
    resolved = told[INFO_HASH.hex()]
    assert resolved["name"] == "trackerless-demo"
    assert resolved["size"] == INFO.total_length
    assert len(resolved["files"]) == 3
    assert Path(resolved["torrent"]).is_file()
    assert resolved["report"]["outcomes"] == {"delivered": 1}
    assert told[UNKNOWN]["torrent"] is None
    assert told[UNKNOWN]["reason"].startswith("no peers found")


async def test_a_link_is_explained_stage_by_stage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with seeded_testnet() as testnet:
        hurried = options(testnet, timeout=2.0)
        links = (INFO_HASH.hex(), UNKNOWN)
        await cli.resolve(*links, output=tmp_path, explain=True, options=hurried)
    told = capsys.readouterr().err
    for words in [
        "joined the DHT ",
        "dht: 8 asked, 8 answered, 0 failed; 1 peer, the first after 0.",
        "tried 1 of 1 peer: 1 delivered",
        "1 by TCP",
        "whole metadata after 0.",
        "next try in ",
        "no metadata after 2.0 s: no peers found: ",
        "1 resolved, 1 failed, 0 invalid (1 no peers)",
    ]:
        assert words in told


async def test_a_queue_knows_the_result_the_next_time(
    capsys: pytest.CaptureFixture[str], objects: Objects, tmp_path: Path
) -> None:
    queue = tmp_path / "queue"
    async with seeded_testnet() as testnet:
        for as_json in (False, True):
            code = await cli.resolve(
                *([INFO_HASH.hex()] if as_json else [f"9 {INFO_HASH.hex()}"]),
                output=tmp_path / "out",
                name="{hash}",
                queue=queue,
                options=options(testnet, json=as_json),
            )
            assert code is ExitCode.DONE
            if not as_json:
                assert capsys.readouterr().out.startswith(f"{tmp_path / 'out' / INFO_HASH.hex()}.")
        (told,) = objects()
        assert (told["status"], told["cached"], told["next_try_at"]) == ("resolved", True, None)
        assert told["torrent"] == str(tmp_path / "out" / f"{INFO_HASH.hex()}.torrent")
        nothing = await cli.resolve(queue=queue, options=options(testnet))
    assert nothing is ExitCode.DONE


async def test_links_come_from_a_pipe(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = io.TextIOWrapper(io.BytesIO(f"\n# none\n5 {INFO_HASH.hex()}\n\xff".encode("latin-1")))
    monkeypatch.setattr(sys, "stdin", given)
    async with seeded_testnet() as testnet:
        await cli.resolve(input="-", output=tmp_path, options=options(testnet, json=True))
    assert {it["status"] for it in objects()} == {"resolved", "invalid"}


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    async with seeded_testnet() as testnet:
        with pytest.RaisesGroup(DiskError, flatten_subgroups=True):
            await cli.resolve(INFO_HASH.hex(), output=blocked, options=options(testnet))


async def test_a_missing_list_is_told(tmp_path: Path) -> None:
    async with open_testnet(1) as testnet:
        with pytest.RaisesGroup(FileNotFoundError, flatten_subgroups=True):
            await cli.resolve(input=str(tmp_path / "missing"), options=options(testnet))


# Looking into links and torrents


async def test_a_link_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    link = f"magnet:?xt=urn:btih:{UNKNOWN}&dn=a%20name&tr=http%3A%2F%2Fu%3Ap%40t.example%2Fann"
    assert await cli.info(link, options=OutputOptions()) is ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "      name  a name",
        f"      hash  {UNKNOWN}",
        "   tracker  http://t.example/ann",
    ]


async def test_a_torrent_is_told(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "demo.torrent"
    path.write_bytes(build_torrent(RAW_INFO, comment="hello"))
    assert await cli.info(str(path), options=OutputOptions(json=True)) is ExitCode.DONE
    (told,) = objects()
    assert told["info_hash"] == INFO_HASH.hex()
    assert told["comment"] == "hello"
    assert [it["path"] for it in told["files"]] == [
        "trackerless-demo/README.txt",
        "trackerless-demo/data/noise.bin",
        "trackerless-demo/data/more/noise.bin",
    ]


async def test_a_bad_link_raises_for_the_caller() -> None:
    with pytest.raises(InvalidMagnetURI):
        await cli.info("magnet:?dn=x", options=OutputOptions())


async def test_a_file_by_the_name_that_is_none_is_no_link() -> None:
    with pytest.raises(CommandFailed, match="there is no file"):
        await cli.info("nowhere/x.torrent", options=OutputOptions())


# The demonstration


async def test_the_demonstration_resolves_its_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert await cli.demo(options=OutputOptions()) is ExitCode.DONE
    shown = capsys.readouterr().out
    assert f"resolved {INFO_HASH.hex()}" in shown
    assert "trackerless-demo: 1.7 MiB in 3 files" in shown


# Examining


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4_096))
    assert check_files(Budget.HOME).verdict is Verdict.WARNING
    assert "ulimit -n" in check_files(Budget.SERVER).sentence


async def test_machine_that_cannot_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(say: Callable[[str], None]) -> None:
        raise CannotListen("127.0.0.1:0", "Operation not permitted")

    monkeypatch.setattr(sys.modules["magnet.cli.doctor"], "run_demo", fail)
    tried = await try_resolving()
    assert tried.verdict is Verdict.FAULT
    assert "Operation not permitted" in tried.sentence


async def test_doctor_tries_the_resolver_and_examines_the_node(objects: Objects) -> None:
    async with open_testnet(8) as testnet:
        await cli.doctor(options=options(testnet, timeout=0.2, json=True))
    told = objects()
    checks = {it["check"]: it for it in told[:-1]}
    assert checks["resolver"]["verdict"] == "ok"
    assert "by TCP" in checks["resolver"]["sentence"]
    assert {"open-files", "udp-out", "bootstrap"} <= set(checks)
    assert set(told[-1]) == {"healthy"}


# As a process


@pytest.mark.slow
async def test_an_interrupted_resolve_is_clean(tmp_path: Path) -> None:
    async with open_testnet(8) as testnet:
        command = [
            str(COMMAND),
            "resolve",
            UNKNOWN,
            f"--bootstrap={testnet.entry_points(1)[0]}",
            f"--state={tmp_path / 'state'}",
            f"--output={tmp_path / 'out'}",
            "--log-level=debug",
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACKERLESS_")}
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        assert process.stderr is not None
        with trio.fail_after(60):
            told = b""
            # The log tells when it has joined, and so has something to save.
            while b"join ended" not in told:
                told += await process.stderr.receive_some()
            process.send_signal(signal.SIGINT)
            # Read to the end before it is waited for: a full pipe would keep it from ending.
            async with process.stderr:
                told += b"".join([part async for part in process.stderr])
            assert await process.wait() == ExitCode.INTERRUPTED
    assert b"Traceback" not in told
    assert [it.name for it in tmp_path.iterdir()] == ["state"]
