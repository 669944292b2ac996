"""Web servers that are said to have the .torrent: those that have not, first."""

import gzip

import pytest
import trio
import trio.testing

from dht.keyspace import InfoHash
from magnet.metainfo.create import create_file_info
from magnet.metainfo.torrent import build_torrent
from magnet.sources import exact
from magnet.sources.exact import ExactSource
from magnet.sources.http_client import HttpClient
from magnet.sources.source import SourceRecord, Wanted
from magnet.uri import MagnetLink
from tests.magnet.sources.conftest import Findings
from tests.magnet.sources.servers import Request, open_web_server, redirect, response

HOST = "127.0.0.1"
RAW = create_file_info("file.bin", [b"content"], 16_384)
TORRENT = build_torrent(RAW, trackers=[("udp://127.0.0.1:6969",)])
WANTED = Wanted(MagnetLink(info_hash=InfoHash(b"\xaa" * 20)), (InfoHash(b"\xaa" * 20),))


@pytest.fixture
def found() -> Findings:
    return Findings(RAW)


async def run(client: HttpClient, url: str, found: Findings, record: SourceRecord) -> None:
    with trio.fail_after(5):
        await ExactSource(client, url).run(WANTED, found, record)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (response(b"", "404 Not Found"), "HTTP status 404"),
        (response(b"<html></html>"), "no .torrent: "),
        (response(b"d4:infodee"), "no .torrent: "),
        (response(TORRENT[:-1]), "no .torrent: "),
        (redirect("http://8.8.8.8/x.torrent"), "not a URL to go to: "),
    ],
    ids=["404", "page", "empty info", "cut", "led astray"],
)
async def test_what_is_no_torrent(
    client: HttpClient, found: Findings, record: SourceRecord, answer: bytes, words: str
) -> None:
    async with open_web_server(HOST, lambda _: answer) as url:
        await run(client, f"{url}/x.torrent", found, record)
    assert record.error is not None
    assert record.error.startswith(words)
    assert (record.asked, record.answered, record.failed) == (1, 0, 1)
    assert not found.wholes


async def test_file_that_is_too_long(
    client: HttpClient,
    found: Findings,
    record: SourceRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "TORRENT_BYTES_MAX", len(TORRENT) - 1)
    async with open_web_server(HOST, lambda _: response(TORRENT)) as url:
        await run(client, url, found, record)
    assert record.error == f"longer than {len(TORRENT) - 1} bytes"


async def test_another_torrent(client: HttpClient, record: SourceRecord) -> None:
    found = Findings(b"something else")
    async with open_web_server(HOST, lambda _: response(TORRENT)) as url:
        await run(client, url, found, record)
    assert found.wholes == [RAW]
    assert record.error == "the .torrent of another torrent"


async def test_server_that_cannot_be_reached_is_tried_again(
    client: HttpClient, found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "PAUSE_MIN_S", 0.01)
    record = SourceRecord("test")
    with trio.socket.socket() as sock:
        await sock.bind((HOST, 0))
        source = ExactSource(client, f"http://{HOST}:{sock.getsockname()[1]}/")
        with trio.move_on_after(0.1):
            await source.run(WANTED, found, record)
    assert record.failed >= 2
    assert record.error == "connection refused"
    assert record.next_at is not None


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_torrent_brings_the_metadata_whole(
    client: HttpClient, found: Findings, record: SourceRecord, host: str, packed: bool
) -> None:
    asked: list[str] = []

    def respond(request: Request) -> bytes:
        asked.append(request.target)
        if packed:
            return response(gzip.compress(TORRENT), Content_Encoding="gzip")
        return response(TORRENT)

    async with open_web_server(host, respond) as url:
        await run(client, f"{url}/x.torrent?a=%20b", found, record)
    assert found.wholes == [RAW]
    assert asked == ["/x.torrent?a=%20b"]
    assert (record.asked, record.answered, record.error) == (1, 1, None)


async def test_sources_are_asked_one_after_the_other(
    client: HttpClient, autojump_clock: trio.testing.MockClock
) -> None:
    asked_at: list[float] = []

    def respond(_: Request) -> bytes:
        asked_at.append(trio.current_time())
        return response(b"", "404 Not Found")

    async with open_web_server(HOST, respond) as url, trio.open_nursery() as nursery:
        began = trio.current_time()
        urls = [f"{url}/{number}" for number in (1, 2, 3, 1)]
        for source in exact.exact_sources(client, urls):
            nursery.start_soon(source.run, WANTED, Findings(), SourceRecord(source.name))
    assert [at - began for at in asked_at] == [0.0, exact.STAGGER_S, 2 * exact.STAGGER_S]


async def test_password_is_not_shown(client: HttpClient) -> None:
    assert ExactSource(client, "http://me:secret@h.example/x").name == "http://h.example/x"
