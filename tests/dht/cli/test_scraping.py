"""The `scrape` command against nodes on loopback."""

import json
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from dht import cli
from dht.bloom import SIZE_MAX
from dht.bootstrap import BootstrapHost
from dht.cli.scraping import scrape_swarms
from dht.commandline import CommandFailed, CommonOptions, ExitCode, run
from dht.commandline.options import BindAddress
from dht.contact import Endpoint
from dht.errors import QueryRefused
from dht.keyspace import InfoHash
from dht.measure.holdings import SATURATED, Estimate
from dht.measure.survey import Scrape
from dht.measure.swarm import SwarmSize
from dht.node import Node
from dht.testnet import Testnet, as_bootstrap_host, open_testnet

HASH = InfoHash(b"\x5a" * 20)
OTHER = InfoHash(b"\xa5" * 20)

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def options(
    *hosts: BootstrapHost, as_json: bool = False, timeout: float | None = None
) -> CommonOptions:
    bind = (BindAddress("127.0.0.1", 0),)
    return CommonOptions(bootstrap=hosts, bind=bind, json=as_json, timeout=timeout)


@pytest.fixture
def objects(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, str]]]:
    """Return the objects printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
async def seeded() -> AsyncIterator[Testnet]:
    """A network that knows one seed."""
    async with open_testnet(8) as network:
        await network.nodes[0].announce(HASH, 6881, seed=True)
        yield network


@pytest.mark.parametrize(
    ("tokens", "line"),
    [(["scrape"], "Give an info-hash."), (["scrape", "xyz"], "'xyz' is not 40 hexadecimal")],
)
def test_wrong_use_is_told(
    capsys: pytest.CaptureFixture[str], tokens: list[str], line: str
) -> None:
    assert run(cli.app, tokens) == ExitCode.WRONG_USE
    assert line in capsys.readouterr().err


async def test_silent_hosts_are_named(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    host = as_bootstrap_host(silent_end)
    with pytest.raises(CommandFailed, match=f"silent: {host}"):
        await scrape_swarms(HASH, options=options(host))
    with pytest.raises(CommandFailed, match=r"nobody answered within 0\.5 s"):
        await scrape_swarms(HASH, options=options(host, timeout=0.5))


async def test_each_swarm_is_measured_once(
    seeded: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = options(*seeded.entry_points(1), as_json=True)
    assert await scrape_swarms(HASH, OTHER, HASH, options=chosen) is ExitCode.DONE
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {it["info_hash"]: it for it in records}
    assert len(records) == len(found) == 2
    one, none = ({"estimate": n, "low": n, "high": n} for n in (1, 0))
    assert found[HASH.hex()]["seeds"] == found[HASH.hex()]["peers"] == one
    assert found[HASH.hex()]["leechers"] == found[OTHER.hex()]["peers"] == none
    assert found[HASH.hex()]["saturated"] is False
    assert found[HASH.hex()]["nodes_asked"] >= found[HASH.hex()]["nodes_answered"] >= 8
    assert found[HASH.hex()]["elapsed_s"] > 0


async def test_people_get_a_line(seeded: Testnet, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scrape_swarms(HASH, options=options(*seeded.entry_points(1))) is ExitCode.DONE
    assert capsys.readouterr().out == f"{HASH.hex()} seeds 1, leechers 0, peers 1\n"


async def test_what_is_beyond_measure_is_said_to_be(
    seeded: Testnet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measured(node: Node, info_hash: InfoHash) -> Scrape:
        size = SwarmSize(Estimate(5, 4, 7), SATURATED, Estimate(None, SIZE_MAX + 4, None))
        return Scrape(info_hash, size, 10, 9)

    monkeypatch.setattr("dht.cli.scraping.scrape", measured)
    chosen = options(*seeded.entry_points(1))
    assert await scrape_swarms(HASH, options=chosen) is ExitCode.DONE
    shown = capsys.readouterr().out
    assert shown == (f"{HASH.hex()} seeds 5 (4 to 7), leechers 6000 or more, peers 6004 or more\n")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(QueryRefused("too much"), "not sent: too much"), (None, "not measured within 5 s")],
)
async def test_what_goes_wrong_with_one_swarm_is_told(
    seeded: Testnet,
    objects: Callable[[], list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    patient_clock: trio.testing.MockClock,
    error: QueryRefused | None,
    reason: str,
) -> None:
    async def failed(node: Node, info_hash: InfoHash) -> Scrape:
        if error is not None:
            raise error
        await trio.sleep_forever()

    monkeypatch.setattr("dht.cli.scraping.scrape", failed)
    chosen = options(*seeded.entry_points(1), as_json=True, timeout=5.0)
    assert await scrape_swarms(HASH, options=chosen) is ExitCode.FAILED
    assert objects() == [{"info_hash": HASH.hex(), "error": reason}]


async def test_what_cannot_be_told_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    async with open_testnet(2) as network:
        chosen = options(*network.entry_points(1))
        assert await scrape_swarms(HASH, options=chosen) is ExitCode.FAILED
    shown = capsys.readouterr().out
    assert shown == f"{HASH.hex()} seeds unknown, leechers unknown, peers unknown\n"
