"""Peers that are out for trouble: whatever a stranger's bytes can do to a resolver.

They write their bytes themselves, since our own encoders would refuse to.
"""

import struct
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio

from dht.bencode import BValue, encode
from magnet.peer.extension import LOCAL_IDS, UT_METADATA, UT_PEX
from magnet.peer.handshake import PROTOCOL
from magnet.peer.ut_metadata import METADATA_SIZE_MAX
from tests.magnet.resolve.peers import RAW, Peer

PIECE: Final = 16_384
_OPENING: Final = 68
_SIZE: Final = len(RAW)
_RESERVED: Final = bytes.fromhex("0000000000100004")
_EXTENDED: Final = 20

Scene = Callable[["Impostor"], Awaitable[None]]


class Impostor:
    """One connection, and the means to misuse it."""

    def __init__(self, stream: trio.abc.Stream, greeting: bytes) -> None:
        self.stream = stream
        self.greeting = greeting

    @property
    def reply(self) -> bytes:
        """A handshake that fits what we were greeted with."""
        return PROTOCOL + _RESERVED + self.greeting[28:48] + Random(9).randbytes(20)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def message(self, identifier: int, payload: bytes = b"") -> None:
        await self.send(struct.pack(">IB", 1 + len(payload), identifier) + payload)

    async def extended(self, identifier: int, payload: bytes) -> None:
        await self.message(_EXTENDED, bytes([identifier]) + payload)

    async def hello(self, size: BValue = _SIZE, **others: BValue) -> None:
        offer: dict[bytes, BValue] = {b"m": {b"ut_metadata": 3}, b"metadata_size": size}
        offer |= {key.encode(): value for key, value in others.items()}
        await self.extended(0, encode(dict(sorted(offer.items()))))

    async def data(self, piece: int, content: bytes, total: int = _SIZE) -> None:
        head = encode({b"msg_type": 1, b"piece": piece, b"total_size": total})
        await self.extended(LOCAL_IDS[UT_METADATA], head + content)

    async def introduce(self, size: BValue = _SIZE) -> None:
        """Go through both handshakes."""
        await self.send(self.reply)
        await self.hello(size)

    async def listen(self) -> None:
        """Take whatever comes until the end."""
        while await self.stream.receive_some():
            pass


def impostor(scene: Scene) -> Peer:
    """Return a peer that takes the greeting and then plays a scene."""

    async def converse(stream: trio.abc.Stream) -> None:
        greeting = b""
        while len(greeting) < _OPENING:
            data = await stream.receive_some()
            if not data:
                return
            greeting += data
        await scene(Impostor(stream, greeting))

    return converse


def part(number: int) -> bytes:
    """Return a piece of the true metadata."""
    return RAW[number * PIECE : (number + 1) * PIECE]


async def dribbling_handshake(it: Impostor) -> None:
    for byte in it.reply:
        await it.send(bytes([byte]))
        await trio.sleep(1)


async def truncated_handshake(it: Impostor) -> None:
    await it.send(it.reply[:40])


async def wrong_hash(it: Impostor) -> None:
    await it.send(it.reply[:28] + bytes(20) + it.reply[48:])
    await it.listen()


async def our_own_peer_id(it: Impostor) -> None:
    await it.send(it.reply[:48] + it.greeting[48:68])
    await it.listen()


async def echoing_everything(it: Impostor) -> None:
    await it.send(it.greeting)
    while data := await it.stream.receive_some():
        await it.send(bytes(data))


async def without_extensions(it: Impostor) -> None:
    await it.send(it.reply[:20] + bytes(8) + it.reply[28:])
    await it.listen()


async def never_extending(it: Impostor) -> None:
    await it.send(it.reply)
    await it.listen()


async def absurd_size(it: Impostor) -> None:
    await it.introduce(METADATA_SIZE_MAX + 1)
    await it.listen()


async def size_of_zero(it: Impostor) -> None:
    await it.introduce(0)
    await it.listen()


async def negative_size(it: Impostor) -> None:
    await it.introduce(-1)
    await it.listen()


async def size_that_is_a_text(it: Impostor) -> None:
    await it.introduce(b"1000")
    await it.listen()


async def huge_size_and_nothing_more(it: Impostor) -> None:
    await it.introduce(METADATA_SIZE_MAX)
    await it.listen()


async def size_that_changes(it: Impostor) -> None:
    await it.introduce(PIECE)
    for size in range(1, 2_000):
        await it.hello(size)
    await it.listen()


async def flood_of_hellos(it: Impostor) -> None:
    await it.introduce()
    while True:
        await it.hello()


async def flood_of_haves(it: Impostor) -> None:
    await it.introduce()
    flood = struct.pack(">IBI", 5, 4, 1) * 1_000
    while True:
        await it.send(flood)


async def flood_of_unknown_extensions(it: Impostor) -> None:
    await it.introduce()
    while True:
        await it.extended(200, b"x" * 100)


async def flood_of_peers(it: Impostor) -> None:
    await it.introduce()
    rng = Random(1)
    while True:
        added = b"".join(b"\x7f" + rng.randbytes(5) for _ in range(100))
        await it.extended(LOCAL_IDS[UT_PEX], encode({b"added": added, b"added.f": bytes(100)}))


async def pieces_never_asked_for(it: Impostor) -> None:
    await it.introduce()
    for piece in range(2, 2_000):
        await it.data(piece, b"x" * PIECE)
    await it.listen()


async def pieces_that_are_too_short(it: Impostor) -> None:
    await it.introduce(10 * PIECE)
    for piece in range(10):
        await it.data(piece, b"x" * 100, 10 * PIECE)
    await it.listen()


async def corrupt_pieces(it: Impostor) -> None:
    await it.introduce()
    await it.data(0, bytes(PIECE))
    await it.data(1, bytes(len(RAW) - PIECE))
    await it.listen()


async def one_corrupt_piece_among_good_ones(it: Impostor) -> None:
    await it.introduce()
    await it.data(0, part(0))
    await it.data(1, bytes(len(RAW) - PIECE))
    await it.listen()


async def huge_length_prefix(it: Impostor) -> None:
    await it.introduce()
    await it.send(b"\xff\xff\xff\xff\x14")
    await it.listen()


async def garbage_for_a_hello(it: Impostor) -> None:
    await it.send(it.reply)
    await it.extended(0, b"d1:m" + b"l" * 5_000)
    await it.listen()


async def endless_keepalives(it: Impostor) -> None:
    await it.introduce()
    while True:
        await it.send(bytes(4))
        await trio.sleep(1)


async def hanging_up_in_the_middle_of_a_piece(it: Impostor) -> None:
    await it.introduce()
    await it.send(struct.pack(">IBB", PIECE + 60, 20, LOCAL_IDS[UT_METADATA]) + b"d8:msg_typei1e")


async def never_reading(it: Impostor) -> None:
    await it.introduce()
    await trio.sleep_forever()


async def dribbling_pieces(it: Impostor) -> None:
    await it.introduce()
    await it.send(struct.pack(">IBB", PIECE + 60, 20, LOCAL_IDS[UT_METADATA]))
    while True:
        await it.send(b"d")
        await trio.sleep(1)


SCENES: Final[dict[Scene, str]] = {
    dribbling_handshake: "timed out handshaking",
    truncated_handshake: "hung up handshaking",
    wrong_hash: "breaking the protocol",
    our_own_peer_id: "breaking the protocol",
    echoing_everything: "breaking the protocol",
    without_extensions: "without metadata",
    never_extending: "timed out extending",
    absurd_size: "without metadata",
    size_of_zero: "without metadata",
    negative_size: "without metadata",
    size_that_is_a_text: "without metadata",
    huge_size_and_nothing_more: "timed out requesting",
    size_that_changes: "breaking the protocol",
    flood_of_hellos: "breaking the protocol",
    flood_of_haves: "breaking the protocol",
    flood_of_unknown_extensions: "breaking the protocol",
    flood_of_peers: "breaking the protocol",
    pieces_never_asked_for: "breaking the protocol",
    pieces_that_are_too_short: "breaking the protocol",
    corrupt_pieces: "breaking the protocol",
    one_corrupt_piece_among_good_ones: "breaking the protocol",
    huge_length_prefix: "breaking the protocol",
    garbage_for_a_hello: "breaking the protocol",
    endless_keepalives: "timed out requesting",
    hanging_up_in_the_middle_of_a_piece: "hung up requesting",
    never_reading: "timed out requesting",
    dribbling_pieces: "timed out requesting",
}
"""What hostile peers do, and how an attempt at each ends."""
