"""Fuzzes what strangers say of other peers: peer exchange, holepunch, local discovery."""

import random
import sys
from contextlib import ExitStack
from typing import Final

from dht.contact import Endpoint, Family, is_allowed, parse_endpoint, scope_of
from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
from magnet.peer import wire
from magnet.peer.acquaintances import Acquaintance, Acquaintances
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.extension import (
    LOCAL_IDS,
    UT_HOLEPUNCH,
    UT_PEX,
    ExtensionHandshake,
    encode_extension_handshake,
)
from magnet.peer.handshake import PeerId, encode_handshake
from magnet.peer.ut_holepunch import (
    Connect,
    HolepunchError,
    HolepunchFailed,
    Rendezvous,
    decode_holepunch_message,
    encode_holepunch_message,
)
from magnet.peer.ut_pex import (
    INTERVAL_S,
    TAKEN_PER_MESSAGE_MAX,
    PexFlags,
    PexIntake,
    PexMessage,
    PexPeer,
    decode_pex_message,
    encode_pex_message,
)
from magnet.sources.lsd.message import (
    GROUPS,
    LocalSearch,
    decode_local_search,
    encode_local_search,
)
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

HASH: Final = InfoHash(bytes(range(20)))
OUR_ID: Final = PeerId(b"-TK0001-aaaaaaaaaaaa")
THEIR_ID: Final = PeerId(b"-XX0001-bbbbbbbbbbbb")
US: Final = parse_endpoint("9.9.9.9:6881")
GUESTS: Final = tuple(parse_endpoint(f"8.8.8.{number}:6881") for number in range(1, 5))
FAR: Final = tuple(parse_endpoint(f"[2600::{number:x}]:6881") for number in range(1, 4))
HELLO: Final = ExtensionHandshake(ids=LOCAL_IDS, port=6881)

PEX: Final = tuple(
    encode_pex_message(message)
    for message in (
        PexMessage(tuple(PexPeer(at, PexFlags(index)) for index, at in enumerate(GUESTS + FAR))),
        PexMessage((PexPeer(US),), GUESTS),
        PexMessage(dropped=FAR),
    )
)
PUNCHES: Final = tuple(
    encode_holepunch_message(message)
    for at in (GUESTS[0], GUESTS[1], FAR[0], US)
    for message in (Rendezvous(at), Connect(at), HolepunchFailed(at, HolepunchError.NO_SELF))
)
SEARCHES: Final = tuple(
    encode_local_search(LocalSearch(6881, hashes, cookie), GROUPS[family])
    for family in Family
    for hashes in ((HASH,), (HASH, InfoHash(bytes(20))))
    for cookie in (None, b"0a0b0c0d")
)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    refusal = (RemoteProtocolError,)
    pex, punches = Mutator(PEX, rng).next_input, Mutator(PUNCHES, rng).next_input
    searches = Mutator(SEARCHES, rng).next_input
    parties = Mutator(_speeches(rng), rng).next_input
    return [
        Subject("ut_pex", pex, read_pex, refusal),
        Subject("ut_holepunch", punches, read_punch, refusal),
        Subject("local search", searches, read_search, refusal),
        Subject("acquaintances", parties, Party(rng).hear, refusal),
    ]


def read_pex(content: bytes) -> None:
    """Decode a message; what is understood can be said again, and is believed within bounds."""
    message = decode_pex_message(content)
    assert decode_pex_message(encode_pex_message(message)) == message
    taken = PexIntake(US).take(message, now=0.0)
    assert len(taken) <= TAKEN_PER_MESSAGE_MAX
    assert all(is_allowed(peer.endpoint, scope_of(US)) for peer in taken)


def read_punch(content: bytes) -> None:
    """Decode a message; what is understood can be said again."""
    message = decode_holepunch_message(content)
    if message is not None:
        assert decode_holepunch_message(encode_holepunch_message(message)) == message


def read_search(datagram: bytes) -> None:
    """Decode a datagram; what is understood can be said again."""
    search = decode_local_search(datagram)
    again = LocalSearch(search.port, search.info_hashes[:2])
    assert decode_local_search(encode_local_search(again, GROUPS[Family.IPV4])) == again


class Party:
    """Peers of one swarm around a seeder of ours, one of whom says what it likes."""

    def __init__(self, rng: random.Random) -> None:
        """Take where times come from."""
        self._rng = random.Random(rng.getrandbits(64))

    def hear(self, stream: bytes) -> None:
        """Let the first of the guests say something; whom it harms must be itself."""
        dialled: list[Endpoint] = []
        swarm, now = Acquaintances(dialled.append), 1000.0
        with ExitStack() as stack:
            guests = [_arrive(stack, swarm, at, now) for at in GUESTS]
            connection, member = guests[0]
            connection.receive_data(stream)
            for event in connection.events():
                member.hear(event, now=now)
                now += self._rng.choice((0.0, 0.1, INTERVAL_S))
            swarm.tell_all(now=now)
            assert all(is_allowed(to, scope_of(GUESTS[0])) for to in dialled)
            assert all(len(it.data_to_send()) < 10_000 for it, _ in guests[1:])


def _arrive(
    stack: ExitStack, swarm: Acquaintances, at: Endpoint, now: float
) -> tuple[PeerConnection, Acquaintance]:
    connection = PeerConnection.responder(OUR_ID)
    member = stack.enter_context(swarm.meeting(connection, at, now=now))
    hello = wire.Extended(0, encode_extension_handshake(HELLO)).encode()
    connection.receive_data(encode_handshake(FEATURES, HASH, THEIR_ID) + hello)
    connection.next_event()
    connection.accept(HELLO)
    for event in connection.events():
        member.hear(event, now=now)
    return connection, member


def _speeches(rng: random.Random) -> list[bytes]:
    said = [wire.Extended(LOCAL_IDS[UT_PEX], content).encode() for content in PEX]
    said += [wire.Extended(LOCAL_IDS[UT_HOLEPUNCH], content).encode() for content in PUNCHES]
    return [b"".join(rng.sample(said, len(said))) for _ in range(8)]


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
