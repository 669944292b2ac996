"""Sends ten megabytes by uTP through bad paths, and beside a TCP that wants all it can get.

What is allowed to be sent is the rate of the bottleneck; or a window in each round trip, where that
is less. The window is the receiver's, or LEDBAT's where packets are lost at random: with a share p
lost, one that grows by g packets in a round trip and is halved at a loss stays around
sqrt(3 g / 2 p) packets.
"""

import random
import sys
from functools import partial
from math import inf, sqrt
from typing import Final, NamedTuple

from dht.contact import Endpoint, endpoint
from magnet.transport.utp.connection import Connection
from magnet.transport.utp.incoming import WINDOW_BYTES
from magnet.transport.utp.ledbat import GAIN_BYTES
from magnet.transport.utp.multiplexer import Multiplexer
from scripts.options import exit_after, read_options
from scripts.simulations.paths import Bottleneck, Clock, Faults, Way
from scripts.simulations.reno import Reno

PAYLOAD_BYTES: Final = 1_452
"""What a packet carries through Ethernet."""

LINK_BYTES_PER_S: Final = 2_500_000.0
"""20 Mbit/s."""

SHARED_BYTES_PER_S: Final = 625_000.0
"""5 Mbit/s, for uTP and TCP together."""

QUEUE_S: Final = 0.5
"""A home router's queue; so long that TCP alone fills it to far beyond what LEDBAT aims at."""

DUPLICATION: Final = 0.01
REORDERING: Final = 0.01
"""Shares of the datagrams that arrive twice, and late."""

PHASE_S: Final = 30.0
SETTLING_S: Final = 15.0
"""Virtual seconds in which a share is measured, and before."""

WRITE_BYTES: Final = 65_536
LIMIT_S: Final = 3_600.0

NEAR: Final = endpoint("9.9.9.1", 6881)
FAR: Final = endpoint("9.9.9.2", 6881)


class Transfer(NamedTuple):
    """What came of a transfer.

    Attributes:
        is_whole: Whether it arrived, all of it and as it was sent.
        seconds: Virtual seconds it took.
        bytes_per_s: How fast it was.
        allowed: How fast it may be, in the same unit.
        resent: Share of the packets that were sent more than once.
    """

    is_whole: bool
    seconds: float
    bytes_per_s: float
    allowed: float
    resent: float


class End:
    """One end: a multiplexer on a way."""

    def __init__(self, clock: Clock, at: Endpoint, rng: random.Random) -> None:
        """Start with no connection."""
        self._clock = clock
        self._at = at
        self.multiplexer = Multiplexer(rng=rng, now=clock.now)
        self.accepted: list[Connection] = []
        self._alarm_at = inf
        self._sending_on: Way | None = None
        self._other: End | None = None

    def join(self, other: "End", way: Way) -> None:
        """Send to another end, on a way."""
        self._other, self._sending_on = other, way

    def settle(self) -> None:
        """Send what is to be sent, and set the alarm."""
        assert self._other is not None
        assert self._sending_on is not None
        output = self.multiplexer.flush(now=self._clock.now)
        self.accepted += output.accepted
        for datagram, _ in output.datagrams:
            arrive = partial(self._other.receive, datagram, self._at)
            self._sending_on.send(len(datagram), arrive)
        deadline = self.multiplexer.next_deadline()
        if deadline < self._alarm_at:
            self._alarm_at = deadline
            self._clock.at(deadline, self._handle_deadline)

    def receive(self, datagram: bytes, source: Endpoint) -> None:
        """Take a datagram, and do what the owner of a connection would do."""
        self.multiplexer.receive(datagram, source, now=self._clock.now)
        self.serve()
        self.settle()

    def serve(self) -> None:
        """Be an owner that wants nothing; others do more."""

    def _handle_deadline(self) -> None:
        if self._clock.now < self._alarm_at:
            return  # It was put off.
        self._alarm_at = inf
        self.multiplexer.handle_deadlines(now=self._clock.now)
        self.serve()
        self.settle()


class Sender(End):
    """Sends all it has on one connection, and then says that this was all."""

    def __init__(self, clock: Clock, rng: random.Random, content: bytes) -> None:
        """Take what to send."""
        super().__init__(clock, NEAR, rng)
        self._rest = memoryview(content)
        connection = self.multiplexer.connect(FAR, now=clock.now)
        assert connection is not None
        self.connection = connection

    def serve(self) -> None:
        """Keep the buffer full."""
        while taken := self.connection.write(self._rest[:WRITE_BYTES]):
            self._rest = self._rest[taken:]
        if not self._rest:
            self.connection.finish()
        self.multiplexer.touch(self.connection)


class Receiver(End):
    """Takes whatever arrives."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        """Start with nothing."""
        super().__init__(clock, FAR, rng)
        self.multiplexer.is_accepting = True
        self.received = bytearray()

    @property
    def is_ended(self) -> bool:
        """Whether the sender has said that this was all."""
        return any(it.is_eof for it in self.accepted)

    def serve(self) -> None:
        """Read."""
        for connection in self.accepted:
            if data := connection.read(WRITE_BYTES * 16):
                self.received += data
                self.multiplexer.touch(connection)


def transfer(
    seed: int, size: int, faults: Faults, *, bytes_per_s: float = LINK_BYTES_PER_S
) -> Transfer:
    """Send so many bytes through a path of its own, whose faults both directions have."""
    rng, clock = random.Random(seed), Clock()
    content = rng.randbytes(size)
    sender, receiver = Sender(clock, rng, content), Receiver(clock, rng)
    for end, other in ((sender, receiver), (receiver, sender)):
        end.join(other, Way(clock, Bottleneck(clock, bytes_per_s, QUEUE_S), faults, rng))
    sender.serve()
    sender.settle()
    is_over = clock.run_until(lambda: receiver.is_ended, limit_s=LIMIT_S)
    outgoing = sender.connection.outgoing
    return Transfer(
        is_over and receiver.received == content,
        clock.now,
        len(receiver.received) / clock.now,
        allowed(faults, bytes_per_s),
        outgoing.retransmissions * PAYLOAD_BYTES / size,
    )


def allowed(faults: Faults, bytes_per_s: float) -> float:
    """Return how fast one may send on a path, in bytes per second."""
    window = float(WINDOW_BYTES)
    if faults.loss:
        growth = GAIN_BYTES / PAYLOAD_BYTES
        window = min(window, sqrt(3 * growth / (2 * faults.loss)) * PAYLOAD_BYTES)
    return min(bytes_per_s, window / (2 * faults.delay_s))


class Shares(NamedTuple):
    """How a bottleneck was shared; shares of what gets through it.

    Attributes:
        alone: What uTP had before TCP began.
        beside: What uTP had beside TCP.
        tcp: What TCP had meanwhile.
        afterwards: What uTP had when TCP had ended.
        queue_s: How long packets queued at most while uTP was alone and past its beginning.
    """

    alone: float
    beside: float
    tcp: float
    afterwards: float
    queue_s: float


def compete(seed: int) -> Shares:
    """Let uTP send all the time, and TCP in the second of three phases."""
    rng, clock, faults = random.Random(seed), Clock(), Faults()
    endless = bytes(int(SHARED_BYTES_PER_S * 3 * (PHASE_S + SETTLING_S)))
    sender, receiver = Sender(clock, rng, endless), Receiver(clock, rng)
    narrow, back = (Bottleneck(clock, SHARED_BYTES_PER_S, QUEUE_S) for _ in range(2))
    forth, return_way = Way(clock, narrow, faults, rng), Way(clock, back, faults, rng)
    sender.join(receiver, forth)
    receiver.join(sender, return_way)
    tcp = Reno(clock, forth, return_way)

    def share_in_phase() -> tuple[float, float]:
        clock.run_for(SETTLING_S)
        narrow.longest_s = 0.0
        utp_before, tcp_before = len(receiver.received), tcp.delivered
        clock.run_for(PHASE_S)
        capacity = SHARED_BYTES_PER_S * PHASE_S
        utp_bytes, tcp_bytes = len(receiver.received) - utp_before, tcp.delivered - tcp_before
        return utp_bytes / capacity, tcp_bytes / capacity

    sender.serve()
    sender.settle()
    alone, _ = share_in_phase()
    queue_s = narrow.longest_s
    tcp.start()
    beside, tcp_share = share_in_phase()
    tcp.stop()
    afterwards, _ = share_in_phase()
    return Shares(alone, beside, tcp_share, afterwards, queue_s)


def main(arguments: list[str]) -> None:
    """Run it and print the figures."""
    options = read_options(__doc__, size_flag="--megabytes", size=10, arguments=arguments)
    print(f"seed {options.seed}, {options.size} MB over {LINK_BYTES_PER_S * 8e-6:g} Mbit/s")
    exit_after(options.time_limit_s)
    for loss in (0.0, 0.01, 0.05, 0.1):
        for rtt_s in (0.02, 0.1, 0.3):
            faults = Faults(rtt_s / 2, loss, DUPLICATION, REORDERING, rtt_s / 10)
            it = transfer(options.seed, options.size * 1_000_000, faults)
            print(
                f"{loss:4.0%} lost, {rtt_s * 1e3:3.0f} ms: {'whole' if it.is_whole else 'BROKEN'}"
                f" in {it.seconds:6.1f} s, {it.bytes_per_s / 1e3:7.1f} kB/s, "
                f"{it.bytes_per_s / it.allowed:4.0%} of what is allowed; "
                f"{it.resent:.1%} sent again",
                flush=True,
            )
    shares = compete(options.seed)
    print(
        f"alone {shares.alone:.0%} of the link with {shares.queue_s * 1e3:.0f} ms of queue; beside "
        f"TCP {shares.beside:.1%}, and TCP {shares.tcp:.0%}; afterwards {shares.afterwards:.0%}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
