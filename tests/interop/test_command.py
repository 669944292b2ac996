"""The `magnet` command as a user runs it, with libtorrent as the only peer."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import libtorrent as lt
import pytest
import trio

from dht.testnet import Testnet
from magnet.metainfo.info import Version
from magnet.uri import format_magnet
from tests.interop.client import PATIENCE_S
from tests.interop.seeding import seeded

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MAGNET = Path(sys.executable).with_name("magnet")


async def run_magnet(
    host: str, testnet: Testnet, arguments: Sequence[str]
) -> CompletedProcess[bytes]:
    """Run the command to its end, with some nodes of the testnet as its only way in."""
    bind = f"[{host}]" if ":" in host else host
    bootstrap = [f"--bootstrap={it}" for it in testnet.entry_points()]
    command = [str(MAGNET), *arguments, f"--bind={bind}", "--state=none", *bootstrap]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TRACKERLESS_")
    }
    with trio.fail_after(PATIENCE_S):
        return await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=environment
        )


def written_to(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


async def test_link_without_peers_fails_with_the_reason(
    host: str, testnet: Testnet, tmp_path: Path
) -> None:
    arguments = ["resolve", "aa" * 20, f"--output={tmp_path}", "--timeout=1", "--json"]
    ended = await run_magnet(host, testnet, arguments)
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert told["status"] == "failed"
    assert "no peers found" in told["reason"]
    assert written_to(tmp_path) == []


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_link_becomes_a_file_that_libtorrent_loads(
    host: str,
    testnet: Testnet,
    make_torrent: Callable[[Version], bytes],
    content: Path,
    version: Version,
    tmp_path: Path,
) -> None:
    original = make_torrent(version)
    async with seeded(host, testnet, original, content) as link:
        arguments = ["resolve", format_magnet(link), f"--output={tmp_path}", "--json"]
        ended = await run_magnet(host, testnet, arguments)
    assert ended.returncode == 0, ended.stderr.decode()
    told = json.loads(ended.stdout)
    assert told["status"] == "resolved"
    (written,) = written_to(tmp_path)
    assert Path(told["torrent"]) == written
    theirs, ours = lt.load_torrent_buffer(original), lt.load_torrent_file(str(written))
    assert ours.info_hashes == theirs.info_hashes
