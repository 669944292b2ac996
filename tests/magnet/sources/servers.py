"""A small tracker and a small web server on loopback, which answer as a test wants them to."""

import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import trio

from dht.bencode import BValue, encode
from dht.contact import Endpoint, endpoint

CONNECTION: Final = b"connectd"


@dataclass
class Swarms:
    """What a tracker knows, and what it was told.

    Attributes:
        peers: By info-hash.
        said: Event and info-hash of every announce; "scrape" and the hashes of every scrape.
        refusal: What to answer to every announce instead of peers.
        is_mute: Whether to say nothing at all.
        counts_nobody: Whether to answer scrapes with zeros.
    """

    peers: dict[bytes, dict[Endpoint, bool]] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    refusal: str | None = None
    is_mute: bool = False
    counts_nobody: bool = False
    news: trio.Event = field(default_factory=trio.Event)

    def announce(self, event: str, info_hash: bytes, peer: Endpoint, left: int) -> list[Endpoint]:
        """Take in an announce; return the other peers of its family."""
        self._tell(event, info_hash)
        self.left.append(left)
        swarm = self.peers.setdefault(info_hash, {})
        others = [it for it in swarm if it != peer and len(it) == len(peer)]
        if event == "stopped":
            swarm.pop(peer, None)
        elif event != "completed":
            swarm[peer] = left == 0
        return others

    def counts(self, info_hash: bytes) -> tuple[int, int]:
        """Return how many seeds and others a swarm has."""
        swarm = {} if self.counts_nobody else self.peers.get(info_hash, {})
        seeds = sum(swarm.values())
        return seeds, len(swarm) - seeds

    def scrape(self, info_hashes: bytes) -> None:
        """Take in a scrape."""
        self._tell("scrape", info_hashes)

    async def wait_said(self, count: int) -> list[str]:
        """Wait until so much was said; return the kinds of it."""
        with trio.fail_after(5):
            while len(self.said) < count:
                await self.news.wait()
        return [kind for kind, _ in self.said]

    def _tell(self, kind: str, about: bytes) -> None:
        self.said.append((kind, about))
        self.news.set()
        self.news = trio.Event()


# UDP, by BEP 15

_ANNOUNCE: Final = struct.Struct(">QII20s20sQQQIIIiH")
_EVENTS: Final = {0: "regular", 1: "completed", 2: "started", 3: "stopped"}


@asynccontextmanager
async def open_udp_tracker(host: str, swarms: Swarms) -> AsyncIterator[str]:
    """Run a UDP tracker; give its URL."""
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((host, 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_udp, sock, swarms)
            yield f"udp://{_literal(host)}:{sock.getsockname()[1]}/announce"
            nursery.cancel_scope.cancel()


async def _serve_udp(sock: trio.socket.SocketType, swarms: Swarms) -> None:
    while True:
        data, address = await sock.recvfrom(2_048)
        answer = _udp_answer(data, address[0], swarms)
        if answer is not None and not swarms.is_mute:
            await sock.sendto(answer, address)


def _udp_answer(data: bytes, host: str, swarms: Swarms) -> bytes | None:
    action, transaction = data[8:12], data[12:16]
    if action == bytes(4):
        return bytes(4) + transaction + CONNECTION
    if data[:8] != CONNECTION or swarms.refusal is not None:
        words = swarms.refusal or "unknown connection id"
        return bytes([0, 0, 0, 3]) + transaction + words.encode()
    if action == bytes([0, 0, 0, 2]):
        swarms.scrape(data[16:])
        rows = [swarms.counts(data[at : at + 20]) for at in range(16, len(data), 20)]
        return action + transaction + b"".join(struct.pack(">III", s, 0, n) for s, n in rows)
    fields = _ANNOUNCE.unpack_from(data)
    peer = endpoint(host, fields[12])
    others = swarms.announce(_EVENTS[fields[8]], fields[3], peer, fields[6])
    return action + transaction + struct.pack(">III", 1_800, 0, 0) + b"".join(others)


# HTTP

_TLS_HANDSHAKE: Final = b"\x16\x03"


@dataclass(frozen=True)
class Request:
    """What a web server was asked.

    Attributes:
        target: Path and query.
        headers: By name in lower case.
        host: Of the client.
    """

    target: str
    headers: dict[str, str]
    host: str

    @property
    def query(self) -> dict[str, bytes]:
        """The last value of each parameter."""
        pairs = parse_qsl(urlsplit(self.target).query, encoding="latin-1", keep_blank_values=True)
        return {name: value.encode("latin-1") for name, value in pairs}


Respond = Callable[[Request], bytes | None]
"""Gives the whole response, head and all; None for silence."""


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return a response with a body."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def redirect(location: str) -> bytes:
    """Return a response that leads elsewhere."""
    return response(b"", "302 Found", Location=location)


@asynccontextmanager
async def open_web_server(
    host: str, respond: Respond, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run a web server; give the beginning of its URLs."""

    async def serve(stream: trio.SocketStream) -> None:
        client = stream.socket.getpeername()[0]
        speaks = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
        try:
            await _serve_request(speaks, client, respond)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    listeners = await trio.open_tcp_listeners(0, host=host)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://{_literal(host)}:{port}"
        nursery.cancel_scope.cancel()


async def _serve_request(stream: trio.abc.Stream, client: str, respond: Respond) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65_536)
        if not more:
            return
        if more.startswith(_TLS_HANDSHAKE):
            await stream.send_all(response(b"", "400 Bad Request"))
            return
        data += more
    lines = data.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    answer = respond(Request(lines[0].split(" ")[1], headers, client))
    if answer is None:
        await trio.sleep_forever()
    else:
        await stream.send_all(answer)
        await stream.aclose()


def http_tracker(swarms: Swarms) -> Respond:
    """Return a tracker for a web server, by BEP 3, 7, 23 and 48."""

    def respond(request: Request) -> bytes | None:
        query = request.query
        if swarms.is_mute:
            return None
        if swarms.refusal is not None:
            return response(encode({b"failure reason": swarms.refusal.encode()}))
        if urlsplit(request.target).path.endswith("scrape"):
            return response(_scraped(request, swarms))
        peer = endpoint(request.host, int(query["port"]))
        event = query.get("event", b"regular").decode() or "regular"
        others = swarms.announce(event, query["info_hash"], peer, int(query["left"]))
        key = b"peers" if len(peer) == 6 else b"peers6"
        fields: dict[bytes, BValue] = {b"interval": 1_800, b"peers": b"", key: b"".join(others)}
        return response(encode(fields))

    return respond


def _scraped(request: Request, swarms: Swarms) -> bytes:
    pairs = parse_qsl(urlsplit(request.target).query, encoding="latin-1")
    hashes = [value.encode("latin-1") for name, value in pairs if name == "info_hash"]
    swarms.scrape(b"".join(hashes))
    files: dict[bytes, BValue] = {}
    for info_hash in hashes:
        seeds, others = swarms.counts(info_hash)
        files[info_hash] = {b"complete": seeds, b"incomplete": others, b"downloaded": 0}
    return encode({b"files": files})


def _literal(host: str) -> str:
    return f"[{host}]" if ":" in host else host
