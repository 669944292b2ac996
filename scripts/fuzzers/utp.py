"""Fuzzes uTP: packets, and a multiplexer amid damaged packets of strangers and of its own peers.

Meanwhile a neighbour with good manners sends bytes over a connection of its own and must get every
one of them back, and what the multiplexer holds must stay within its bounds.
"""

import random
import sys
from typing import Final

from dht.contact import Endpoint, endpoint
from magnet.transport.utp.connection import Connection, State
from magnet.transport.utp.incoming import AHEAD_MAX, WINDOW_BYTES
from magnet.transport.utp.multiplexer import ACCEPTED_MAX, Multiplexer
from magnet.transport.utp.packet import MalformedPacket, Packet, PacketType, decode_packet, is_utp
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

STEP_S: Final = 0.01
"""Virtual seconds between two datagrams."""

TALK_EVERY: Final = 50
"""Datagrams between two words of the neighbour."""

WORD_BYTES: Final = 3_000
SILENCE_MAX: Final = 2_000
"""Datagrams after which a word of the neighbour must be back, whatever happened meanwhile."""

DIALLED_MAX: Final = 20
"""Connections of our own at once; nobody honest is at their other ends."""

SENT_MAX: Final = 2_048
"""Packets that are kept to be damaged."""

OVERSHOOT_BYTES: Final = 131_072
"""By how much the one packet may pass the window that all others wait for."""

HERE: Final = endpoint("9.9.9.1", 6881)
NEIGHBOUR: Final = endpoint("9.9.9.9", 6881)
STRANGERS: Final = tuple(endpoint(f"8.8.{number}.8", 6881) for number in range(40))


class Siege:
    """A multiplexer that echoes, and everybody who talks to it."""

    def __init__(self, rng: random.Random) -> None:
        """Start with one good connection, which the neighbour has begun."""
        self._rng = rng = random.Random(rng.getrandbits(64))
        self._now = 0.0
        self._fed = 0
        self._source = STRANGERS[0]
        self._mutator = Mutator([it.encode() for it in packets(rng)], rng)
        self._answers: list[tuple[bytes, Endpoint]] = []
        self._dialled: list[Connection] = []
        self._accepted: list[Connection] = []
        self._machine = Multiplexer(rng=rng, now=0.0)
        self._machine.is_accepting = True
        self._neighbour = Multiplexer(rng=rng, now=0.0)
        self._line = self._call()
        self._awaited = bytearray()
        self._said_at = 0

    def next_input(self) -> bytes:
        """Return a datagram: something damaged, or a fitting answer to what was sent, damaged."""
        if self._answers and self._rng.random() < 0.7:
            at = self._rng.randrange(len(self._answers))
            answer, self._source = self._answers.pop(at)
            return self._mutator.damage(answer) if self._rng.random() < 0.3 else answer
        self._source = self._rng.choice(STRANGERS)
        return self._mutator.next_input()

    def feed(self, datagram: bytes) -> None:
        """Let the multiplexer receive a datagram, and look after it."""
        self._fed += 1
        self._now += STEP_S
        self._machine.receive(datagram, self._source, now=self._now)
        if self._fed % TALK_EVERY == 0:
            self._talk()
            self._dial()
        self._let_time_pass()
        self._check()

    def _let_time_pass(self) -> None:
        for machine in (self._machine, self._neighbour):
            machine.handle_deadlines(now=self._now)
            assert machine.next_deadline() > self._now or machine is self._neighbour
        self._exchange()

    def _exchange(self) -> None:
        """Carry datagrams between the neighbour and the multiplexer; keep those to strangers."""
        for _ in range(20):
            output = self._machine.flush(now=self._now)
            self._accepted += output.accepted
            for datagram, to in output.datagrams:
                assert is_utp(datagram)
                if to == NEIGHBOUR:
                    self._neighbour.receive(datagram, HERE, now=self._now)
                else:
                    self._answers += [(it, to) for it in self._replies(datagram)]
            del self._answers[:-SENT_MAX]
            self._echo()
            replies = self._neighbour.flush(now=self._now).datagrams
            for datagram, _ in replies:
                self._machine.receive(datagram, NEIGHBOUR, now=self._now)
            if not replies and not output.datagrams:
                return

    def _echo(self) -> None:
        """Give everybody back what came from him, as far as he takes it."""
        for connection in self._accepted:
            if room := connection.outgoing.room:
                data = connection.read(min(room, WORD_BYTES))
                connection.write(data)
                if connection.is_eof:
                    connection.close(now=self._now)
                if data or connection.is_eof:
                    self._machine.touch(connection)
        self._accepted = [it for it in self._accepted if it.state is not State.CLOSED]

    # The neighbour

    def _call(self) -> Connection:
        line = self._neighbour.connect(HERE, now=self._now)
        assert line is not None
        return line

    def _talk(self) -> None:
        """Hear what came back, and say the next word when the last is back."""
        heard = self._line.read(WINDOW_BYTES)
        assert self._awaited.startswith(heard), "the neighbour got back what it did not say"
        del self._awaited[: len(heard)]
        assert self._line.failure is None, f"the neighbour's {self._line.failure}"
        if not self._awaited:
            self._awaited += self._rng.randbytes(WORD_BYTES)
            assert self._line.write(bytes(self._awaited)) == WORD_BYTES
            self._said_at = self._fed
        self._neighbour.touch(self._line)
        assert self._fed - self._said_at < SILENCE_MAX, "the neighbour waits for its bytes"

    # Everybody else

    def _dial(self) -> None:
        """Dial a stranger, and write to those who have answered."""
        self._dialled = [it for it in self._dialled if it.state is not State.CLOSED]
        if len(self._dialled) < DIALLED_MAX:
            connection = self._machine.connect(self._rng.choice(STRANGERS), now=self._now)
            assert connection is not None
            self._dialled.append(connection)
        for connection in self._dialled:
            connection.write(bytes(WORD_BYTES))
            self._machine.touch(connection)

    def _replies(self, datagram: bytes) -> list[bytes]:
        """Answer a packet as a client would that acknowledges, sends, or hangs up as it likes."""
        packet, rng = decode_packet(datagram), self._rng
        id = packet.connection_id
        # Whoever dialled sends with the next number, and is sent to with his own.
        id = id if packet.type is PacketType.SYN else id + rng.choice((1, -1, 0))
        kind = rng.choice((PacketType.STATE, PacketType.DATA, PacketType.DATA, PacketType.FIN))
        reply = Packet(
            PacketType.RESET if rng.random() < 0.02 else kind,
            id & 0xFFFF,
            rng.getrandbits(32),
            rng.choice((0, rng.getrandbits(32), rng.randrange(200_000))),
            rng.choice((0, 100, 2**20, 2**32 - 1)),
            (packet.ack + rng.choice((1, 1, 2, 3, 900, 0))) & 0xFFFF,
            (packet.seq - rng.choice((0, 0, 1, 2))) & 0xFFFF,
            rng.choice((0, 0, rng.getrandbits(64))),
            rng.randbytes(rng.choice((0, 1, 1_400))),
        )
        return [reply.encode()] * rng.choice((1, 1, 2))

    def _check(self) -> None:
        assert len(self._machine) <= ACCEPTED_MAX + DIALLED_MAX
        for connection in (*self._accepted, *self._dialled):
            incoming = connection.incoming
            assert incoming.held.bit_length() < AHEAD_MAX
            assert incoming.readable <= WINDOW_BYTES + OVERSHOOT_BYTES
            assert connection.outgoing.in_flight >= 0


def packets(rng: random.Random) -> list[Packet]:
    """Return sound packets of all kinds."""
    made = [
        Packet(kind, rng.randrange(8), 1_000, 2_000, 2**20, seq, 0, mask, rng.randbytes(size))
        for kind in PacketType
        for seq in (0, 1, 65_535)
        for mask in (0, 0b101)
        for size in (0, 20)
    ]
    return [*made, made[0]._replace(selective_ack=2**1_000)]


def read_packet(datagram: bytes) -> None:
    """Decode a datagram; what is understood can be sent, and read, again."""
    packet = decode_packet(datagram)
    assert is_utp(datagram)
    if packet.selective_ack.bit_length() <= 1_024:
        assert decode_packet(packet.encode()) == packet


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    siege = Siege(rng)
    sound = Mutator([it.encode() for it in packets(rng)], rng).next_input
    return [
        Subject("uTP packets", sound, read_packet, (MalformedPacket,)),
        Subject("uTP multiplexer", siege.next_input, siege.feed),
    ]


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
