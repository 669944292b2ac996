"""Our side of a conversation with servers on loopback, in each address family."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import trio

from dht.contact import Endpoint, Family, endpoint
from dht.keyspace import InfoHash
from dht.testnet import LOOPBACK
from magnet.sources import hostnames
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import HttpClient, open_http_client
from magnet.sources.reach import Reach
from magnet.sources.source import Candidate, SourceRecord
from tests.magnet.sources.servers import Swarms

Resolve = Callable[[dict[str, list[str]]], None]


class Findings:
    """Keeps what a source finds."""

    def __init__(self, metadata: bytes = b"") -> None:
        self.metadata_wanted = metadata
        self.candidates: list[Candidate] = []
        self.wholes: list[bytes] = []
        self._news = trio.Event()

    def peer(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)
        self._news.set()

    def metadata(self, raw_info: bytes, piece_layers: Mapping[bytes, bytes] | None = None) -> bool:
        self.wholes.append(raw_info)
        return raw_info == self.metadata_wanted

    @property
    def peers(self) -> list[Endpoint]:
        return [it.endpoint for it in self.candidates]

    async def wait_peers(self, count: int = 1) -> list[Endpoint]:
        with trio.fail_after(5):
            while len(self.candidates) < count:
                await self._news.wait()
                self._news = trio.Event()
        return self.peers


class NameService:
    """Knows what a test tells it; the system is not asked."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.is_silent = False

    async def ask(
        self, name: str, threads: trio.CapacityLimiter, begin: Callable[[], None]
    ) -> tuple[str, ...]:
        async with threads:
            begin()
            self.asked.append(name)
            if self.is_silent:
                await trio.sleep_forever()
            if name not in self.names:
                raise OSError("no such name")
            return tuple(dict.fromkeys(self.names[name]))


@pytest.fixture(params=Family, ids=lambda family: LOOPBACK[family])
def family(request: pytest.FixtureRequest) -> Family:
    chosen: Family = request.param
    return chosen


@pytest.fixture
def host(family: Family) -> str:
    return LOOPBACK[family]


@pytest.fixture
def reach() -> Reach:
    return Reach({it: endpoint(host, 0) for it, host in LOOPBACK.items()})


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> NameService:
    service = NameService()
    monkeypatch.setattr(hostnames, "ask_system", service.ask)
    return service


@pytest.fixture
async def names(reach: Reach) -> HostNames:
    return HostNames(reach)


@pytest.fixture
def admitted() -> list[Endpoint]:
    """Whom we opened flows to."""
    return []


@pytest.fixture
def admission(admitted: list[Endpoint]) -> Callable[[Endpoint], Awaitable[None]]:
    async def admit(to: Endpoint) -> None:
        admitted.append(to)
        await trio.lowlevel.checkpoint()

    return admit


@pytest.fixture
async def client(
    reach: Reach, names: HostNames, admission: Callable[[Endpoint], Awaitable[None]]
) -> AsyncIterator[HttpClient]:
    async with open_http_client(reach, names, admission) as opened:
        yield opened


@pytest.fixture
def found() -> Findings:
    return Findings()


@pytest.fixture
def record() -> SourceRecord:
    return SourceRecord("test")


@pytest.fixture
async def swarms() -> Swarms:
    return Swarms()


@pytest.fixture
def info_hash() -> InfoHash:
    return InfoHash(b"\xaa" * 20)
