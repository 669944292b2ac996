"""Local service discovery: peers in the same network find each other by multicast, without a DHT.

A `Neighbourhood` listens on the interfaces of the addresses it is given, and nowhere else. It hears
which torrents the neighbours have or want, and announces what it is asked to. What it sends does
not leave the local network (its time to live is 1), and what it believes has to come from there: an
address that the whole world can reach is none of a neighbour. So it takes no global addresses.

A search of BEP 14 has no answer: whoever hears of a torrent that it has connects, or announces it
in turn, if it may at that time. Who takes no connections has nothing to announce, and only listens.

Spec: BEP 14.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from random import Random
from typing import Final, TypeAlias

import trio

from dht.background import open_background
from dht.contact import Endpoint, address_of, scope_of
from dht.keyspace import InfoHash
from dht.ratelimit import TokenBucket
from magnet.errors import RemoteProtocolError
from magnet.sources.lsd.message import LocalSearch, decode_local_search, encode_local_search
from magnet.sources.lsd.multicast import MulticastSocket, is_local
from magnet.sources.lsd.schedule import AnnounceSchedule
from magnet.sources.source import LSD, Candidate, Findings, SourceRecord, Wanted

HEARD_PER_S: Final = 10.0
HEARD_BURST: Final = 50.0
"""Messages read on one interface; Transmission reads ten a second too."""

Heard: TypeAlias = Callable[[InfoHash, Endpoint], None]
"""Takes what was heard: which torrent, and where a neighbour takes connections for it."""


class Neighbourhood:
    """Hears the neighbours and speaks to them; made by `open_neighbourhood`.

    As a source of peers it is shared by all links.
    """

    def __init__(
        self, sockets: Sequence[MulticastSocket], *, port: int | None, rng: Random
    ) -> None:
        """Bring everything together; nothing happens until `listen` and `announce`.

        Args:
            sockets: One for each interface.
            port: Where we take connections, on TCP; None if nowhere.
            rng: Makes the cookie.
        """
        self._sockets = tuple(sockets)
        self._port = port
        self._cookie = f"{rng.getrandbits(32):08x}".encode()
        self._schedule = AnnounceSchedule(now=trio.current_time())
        self._news = trio.Event()
        self._announced: Counter[InfoHash] = Counter()
        self._served: Counter[InfoHash] = Counter()
        self._hearers: dict[InfoHash, list[Heard]] = {}

    @property
    def name(self) -> str:
        """What the source is called in reports."""
        return LSD

    @property
    def is_populated(self) -> bool:
        """Whether there is a local network in which neighbours could be."""
        return bool(self._sockets)

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Report each neighbour that announces a torrent, until cancelled. Spec: BEP 14."""
        if not self._sockets:
            record.error = "no address in a local network"
            return

        def heard(key: InfoHash, neighbour: Endpoint) -> None:
            record.answered += 1
            record.peers += 1
            found.peer(Candidate(neighbour, key, LSD))

        with ExitStack() as stack:
            for key in wanted.keys:
                stack.enter_context(self._hearing(key, heard))
                stack.enter_context(self._announcing(key))
            await trio.sleep_forever()

    @contextmanager
    def serving(self, keys: Iterable[InfoHash]) -> Iterator[None]:
        """Announce torrents that we have, for the time of the block: now and then, and if asked."""
        with ExitStack() as stack:
            for key in keys:
                stack.enter_context(self._announcing(key))
                stack.enter_context(_counted(self._served, key))
            yield

    async def listen(self, to: MulticastSocket) -> None:
        """Take in what the neighbours on one interface say, for ever."""
        bucket = TokenBucket(HEARD_PER_S, HEARD_BURST, now=trio.current_time())
        while True:
            datagram, source = await to.receive()
            if bucket.take(now=trio.current_time()) and scope_of(source) is scope_of(to.at):
                self._take(datagram, source)

    async def announce(self) -> None:
        """Say what is to be said when it is time for it, for ever."""
        while True:
            self._news = trio.Event()
            with trio.move_on_at(self._schedule.ready_at(now=trio.current_time())):
                await self._news.wait()
            keys = self._schedule.take(now=trio.current_time())
            if keys and self._port is not None:
                search = LocalSearch(self._port, keys, self._cookie)
                for sock in self._sockets:
                    await sock.send(encode_local_search(search, sock.group))

    def _take(self, datagram: bytes, source: Endpoint) -> None:
        try:
            search = decode_local_search(datagram)
        except RemoteProtocolError:
            return  # Anybody may send anything to a group.
        if search.cookie == self._cookie:
            return
        neighbour = Endpoint(address_of(source) + search.port.to_bytes(2))
        for key in search.info_hashes:
            if key in self._served:
                self._schedule.hasten(key)
                self._news.set()
            for heard in tuple(self._hearers.get(key, ())):
                heard(key, neighbour)

    @contextmanager
    def _hearing(self, key: InfoHash, heard: Heard) -> Iterator[None]:
        hearers = self._hearers.setdefault(key, [])
        hearers.append(heard)
        try:
            yield
        finally:
            hearers.remove(heard)
            if not hearers:
                del self._hearers[key]

    @contextmanager
    def _announcing(self, key: InfoHash) -> Iterator[None]:
        with _counted(self._announced, key):
            self._schedule.add(key)
            self._news.set()
            try:
                yield
            finally:
                if self._announced[key] == 1:
                    self._schedule.remove(key)


@asynccontextmanager
async def open_neighbourhood(
    hosts: Iterable[str], *, port: int | None = None, rng: Random
) -> AsyncIterator[Neighbourhood]:
    """Take part in local service discovery for the time of the block.

    Args:
        hosts: Literal addresses of ours, one of each interface and family; global and unspecified
            ones are left out, and so are those whose interface has no multicast.
        port: Where we take connections, on TCP; None if nowhere: then nothing is announced.
        rng: Makes the cookie, by which we know what we said ourselves.

    Raises:
        ValueError: A host is no literal address.
    """
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(sock)
            for host in hosts
            if is_local(host) and (sock := MulticastSocket.try_open(host)) is not None
        ]
        neighbourhood = Neighbourhood(sockets, port=port, rng=rng)
        async with open_background() as background:
            for sock in sockets:
                background.start_soon(neighbourhood.listen, sock)
            background.start_soon(neighbourhood.announce)
            yield neighbourhood


@contextmanager
def _counted(counter: Counter[InfoHash], key: InfoHash) -> Iterator[None]:
    """Count a key while the block runs; a key that nobody counts is not kept."""
    counter[key] += 1
    try:
        yield
    finally:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]
