"""Trackers to meet libtorrent at: programs of other projects where they are installed, and ours.

Each has a loopback address of its own where it can. For libtorrent keeps the connection ids of UDP
trackers by address, whatever the port, and a second tracker refuses those of the first.
"""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
import trio

from dht.background import open_background
from dht.keyspace import InfoHash
from magnet.sources.trackers.udp import encode_connect
from tests.magnet.sources.servers import Swarms, http_tracker, open_udp_tracker, open_web_server

STARTED_S: Final = 10.0
"""Seconds for a program to start."""

OpenTracker = Callable[[str, str, Sequence[InfoHash], Path], AbstractAsyncContextManager[str]]
"""Runs a tracker of a scheme on a host, for some swarms, with a folder for what it needs; gives its
URL."""


@asynccontextmanager
async def open_own(
    scheme: str, host: str, swarms: Sequence[InfoHash], folder: Path
) -> AsyncIterator[str]:
    """Run the small tracker of our tests, which is there on every machine."""
    host = host if ":" in host else "127.0.0.3"
    if scheme == "udp":
        async with open_udp_tracker(host, Swarms()) as url:
            yield url
    else:
        async with open_web_server(host, http_tracker(Swarms())) as url:
            yield f"{url}/announce"


@asynccontextmanager
async def open_opentracker(
    scheme: str, host: str, swarms: Sequence[InfoHash], folder: Path
) -> AsyncIterator[str]:
    """Run opentracker. Debian's serves IPv4 only, and only the swarms on a list."""
    program = _found("opentracker")
    if ":" in host:
        pytest.skip("opentracker as Debian builds it serves IPv4 only")
    host = "127.0.0.2"
    port = _free_port(host)
    (folder / "swarms").write_text("".join(f"{it.hex()}\n" for it in swarms))
    (folder / "config").write_text(f"listen.tcp_udp {host}:{port}\naccess.whitelist swarms\n")
    # It gives up its rights and then looks for the list.
    folder.chmod(0o755)
    command = [program, "-f", "config", "-d", str(folder)]
    async with _running(command, folder, host, port, swarms):
        yield f"{scheme}://{host}:{port}/announce"


@asynccontextmanager
async def open_webtorrent_tracker(
    scheme: str, host: str, swarms: Sequence[InfoHash], folder: Path
) -> AsyncIterator[str]:
    """Run the tracker of WebTorrent, `bittorrent-tracker` of the npm registry.

    By UDP it listens everywhere, whatever it is told, and so answers from 127.0.0.1 only.
    """
    program = _found("bittorrent-tracker")
    if scheme == "udp" and ":" in host:
        pytest.skip("bittorrent-tracker names no IPv6 peers by UDP")
    port = _free_port(host)
    names = ("--http-hostname", "--udp6-hostname" if ":" in host else "--udp-hostname")
    where = [word for name in names for word in (name, host)]
    command = [program, "--port", str(port), "--http", "--udp", "--silent", *where]
    async with _running(command, folder, host, port, swarms):
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/announce"


TRACKERS: Final[dict[str, OpenTracker]] = {
    "ours": open_own,
    "opentracker": open_opentracker,
    "bittorrent-tracker": open_webtorrent_tracker,
}


def _found(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def _running(
    command: list[str], folder: Path, host: str, port: int, swarms: Sequence[InfoHash]
) -> AsyncIterator[None]:
    """Run a program from when it serves both ways until the end of the block."""
    run = partial(
        trio.run_process,
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    async with open_background() as background:
        process: trio.Process = await background.start(run)
        with trio.fail_after(STARTED_S):
            while not await _serves(host, port, swarms[0]):
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                await trio.sleep(0.02)
        yield


async def _serves(host: str, port: int, swarm: InfoHash) -> bool:
    """Tell whether a tracker knows a swarm by HTTP, and answers a connect by UDP."""
    target = f"/announce?info_hash={quote(swarm)}&peer_id={'x' * 20}&port=1&left=1&event=stopped"
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return False
    async with stream:
        await stream.send_all(f"GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b"".join([chunk async for chunk in stream])
    return b"interval" in answer and await _answers_connect(host, port)


async def _answers_connect(host: str, port: int) -> bool:
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock, trio.move_on_after(0.2):
        await sock.sendto(encode_connect(1), (host, port))
        return len(await sock.recv(100)) == 16
    return False
