"""Conversations with UDP trackers in virtual time: silence and lies first, then the timelines."""

import struct
from random import Random

import pytest

from dht.contact import Endpoint, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import Announce, Announced, Counts, Event
from magnet.sources.trackers.udp import Action, Scrape, Scraped
from magnet.sources.trackers.udp_exchange import TRACKERS_KEPT, Ticket, UdpExchange

TRACKER = endpoint("192.0.2.1", 1337)
OTHER = endpoint("192.0.2.2", 1337)
HASH = InfoHash(b"\xaa" * 20)
ANNOUNCE = Announce(HASH, b"-XX0001-abcdefghijkl", 1, 6881, Event.STARTED)
SCRAPE = Scrape((HASH,))
PEER = endpoint("198.51.100.1", 6881)
ANSWER = Announced((PEER,), 1_800.0)


class World:
    """An exchange, a clock, and what has been sent when."""

    def __init__(self, *, retransmissions_max: int = 8) -> None:
        self.exchange = UdpExchange(Random(1), retransmissions_max=retransmissions_max)
        self.now = 0.0
        self.sent: list[tuple[float, str]] = []
        self.last: dict[str, bytes] = {}

    def start(self, request: Announce | Scrape = ANNOUNCE, to: Endpoint = TRACKER) -> Ticket:
        ticket = self.exchange.start(to, request, now=self.now)
        self.collect()
        return ticket

    def collect(self) -> None:
        for datagram, to in self.exchange.take_datagrams():
            assert to in (TRACKER, OTHER)
            kind = Action(int.from_bytes(datagram[8:12])).name.lower()
            self.sent.append((self.now, kind))
            self.last[kind] = datagram

    def run_until(self, end: float) -> None:
        while (deadline := self.exchange.next_deadline()) is not None and deadline <= end:
            self.now = deadline
            self.exchange.handle_timeouts(now=self.now)
            self.collect()
        self.now = end

    def answer(self, kind: str, body: bytes, *, source: Endpoint = TRACKER, tid: int = 0) -> None:
        """Answer the last request of a kind."""
        transaction = int.from_bytes(self.last[kind][12:16]) ^ tid
        action = Action[kind.upper()] if body is not REFUSAL else Action.ERROR
        head = struct.pack(">II", action, transaction)
        self.exchange.receive(head + body, source, now=self.now)
        self.collect()

    def connect(self, connection: int = 7, *, source: Endpoint = TRACKER, tid: int = 0) -> None:
        self.answer("connect", connection.to_bytes(8), source=source, tid=tid)

    def finished(self) -> list[Ticket]:
        return self.exchange.take_finished()


REFUSAL = b"Connection ID missmatch."
ANNOUNCED = struct.pack(">III", 1_800, 1, 2) + PEER
SCRAPED = struct.pack(">III", 2, 13, 1)


def test_silence_is_an_error_after_the_last_wait() -> None:
    world = World(retransmissions_max=3)
    ticket = world.start()
    world.run_until(224.9)
    assert not world.finished()
    world.run_until(225.0)
    assert world.finished() == [ticket]
    with pytest.raises(SourceError, match="no answer in 225 s") as caught:
        ticket.result()
    assert caught.value.fault is SourceFault.TIMEOUT
    assert world.exchange.next_deadline() is None


def test_silence_after_a_connect_is_an_error_too() -> None:
    world = World(retransmissions_max=1)
    ticket = world.start()
    world.connect()
    world.run_until(45)
    assert world.finished() == [ticket]
    assert str(ticket.outcome) == "no answer in 45 s"
    assert [kind for _, kind in world.sent] == ["connect", "announce", "announce"]


def test_unfinished_ticket_has_no_answer_yet() -> None:
    with pytest.raises(SourceError, match="no answer yet"):
        World().start().result()


def test_answers_of_strangers_are_ignored() -> None:
    world = World()
    ticket = world.start()
    world.connect(source=OTHER)
    world.connect(source=endpoint("192.0.2.1", 1338))
    world.connect(tid=1)
    assert [kind for _, kind in world.sent] == ["connect"]
    world.connect()
    world.answer("announce", ANNOUNCED, source=OTHER)
    world.answer("announce", ANNOUNCED, tid=1)
    world.answer("announce", ANNOUNCED[:-7])
    world.exchange.receive(b"", TRACKER, now=world.now)
    assert not world.finished()
    world.answer("announce", ANNOUNCED)
    assert world.finished() == [ticket]


def test_answer_of_another_kind_is_ignored() -> None:
    world = World()
    ticket = world.start()
    transaction = world.last["connect"][12:16]
    world.exchange.receive(bytes([0, 0, 0, 2]) + transaction + SCRAPED, TRACKER, now=0)
    world.connect()
    transaction = world.last["announce"][12:16]
    world.exchange.receive(bytes([0, 0, 0, 2]) + transaction + SCRAPED, TRACKER, now=0)
    assert not world.finished()
    world.answer("announce", ANNOUNCED)
    assert ticket.result() == ANSWER
    # A second answer comes too late to mean anything.
    world.answer("announce", ANNOUNCED)
    assert world.finished() == [ticket]


def test_refused_connect_ends_all_that_waited() -> None:
    world = World()
    tickets = [world.start(), world.start(SCRAPE)]
    world.answer("connect", REFUSAL)
    assert world.finished() == tickets
    with pytest.raises(SourceError, match="missmatch") as caught:
        tickets[0].result()
    assert caught.value.fault is SourceFault.REFUSED
    assert world.exchange.next_deadline() is None


def test_refused_announce_is_not_repeated() -> None:
    world = World()
    ticket = world.start()
    world.connect()
    world.answer("announce", REFUSAL)
    assert world.finished() == [ticket]
    assert [kind for _, kind in world.sent] == ["connect", "announce"]


def test_forgotten_connection_id_is_renewed_once() -> None:
    world = World()
    world.start()
    world.connect()
    world.answer("announce", ANNOUNCED)
    world.run_until(10)
    ticket = world.start()
    world.answer("announce", REFUSAL)
    world.connect(8)
    assert world.last["announce"][:8] == (8).to_bytes(8)
    world.answer("announce", REFUSAL)
    assert isinstance(ticket.outcome, SourceError)
    assert [kind for _, kind in world.sent][2:] == ["announce", "connect", "announce"]


def test_cancelled_request_leaves_nothing() -> None:
    world = World()
    world.exchange.cancel(world.start())
    assert world.exchange.next_deadline() is None
    ticket = world.start()
    world.connect()
    world.exchange.cancel(ticket)
    world.exchange.cancel(ticket)
    assert world.exchange.next_deadline() is None
    world.answer("announce", ANNOUNCED)
    assert not world.finished()
    # Its tracker may be forgotten by now.
    UdpExchange(Random(1)).cancel(ticket)


def test_trackers_that_mean_nothing_any_more_are_forgotten() -> None:
    exchange = UdpExchange(Random(1))
    for number in range(2 * TRACKERS_KEPT):
        exchange.cancel(exchange.start(endpoint("192.0.2.9", number + 1), ANNOUNCE, now=0.0))
    assert len(exchange._trackers) <= TRACKERS_KEPT


def test_farewell_needs_a_connection_id() -> None:
    world = World()
    stopped = ANNOUNCE._replace(event=Event.STOPPED)
    assert not world.exchange.tell(TRACKER, stopped, now=0.0)
    world.start()
    world.connect()
    assert world.exchange.tell(TRACKER, stopped, b"\x02\x01/", now=59.0)
    assert not world.exchange.tell(TRACKER, stopped, now=60.0)
    world.collect()
    assert world.last["announce"][80:84] == bytes([0, 0, 0, 3])
    assert world.last["announce"].endswith(b"\x02\x01/")


# The examples of BEP 15 "time outs"


def test_normal_announce() -> None:
    world = World()
    ticket = world.start()
    world.run_until(1)
    world.connect()
    world.run_until(2)
    world.answer("announce", ANNOUNCED)
    assert ticket.result() == ANSWER
    assert world.sent == [(0, "connect"), (1, "announce")]
    assert world.exchange.next_deadline() is None


def test_connect_times_out() -> None:
    world = World()
    world.start()
    world.run_until(10_000)
    times = [0, 15, 45, 105, 225, 465, 945, 1_905, 3_825]
    assert world.sent == [(at, "connect") for at in times]
    (ticket,) = world.finished()
    assert str(ticket.outcome) == "no answer in 7665 s"


def test_announce_times_out() -> None:
    world = World()
    world.run_until(0)
    world.start()
    world.run_until(1)
    world.connect()
    world.run_until(300)
    # The BEP lets a second pass between the answer and the announce.
    assert world.sent == [
        (0, "connect"),
        (1, "announce"),
        (16, "announce"),
        (46, "announce"),
        (106, "connect"),
        (226, "connect"),
    ]


def test_multiple_requests_share_a_connection_for_a_minute() -> None:
    world = World()
    world.start()
    world.run_until(1)
    world.connect()
    world.answer("announce", ANNOUNCED)
    world.run_until(60)
    world.start()
    world.answer("announce", ANNOUNCED)
    world.run_until(62)
    tickets = [world.start(), world.start(SCRAPE), world.start(SCRAPE), world.start()]
    world.run_until(63)
    world.connect()
    assert world.sent == [
        (0, "connect"),
        (1, "announce"),
        (60, "announce"),
        (62, "connect"),
        (63, "announce"),
        (63, "scrape"),
        (63, "scrape"),
        (63, "announce"),
    ]
    world.answer("scrape", SCRAPED)
    assert tickets[2].result() == Scraped((Counts(2, 1, 13),))


def test_late_answer_to_a_connect_counts() -> None:
    world = World()
    ticket = world.start()
    world.run_until(50)
    world.connect()
    world.answer("announce", ANNOUNCED)
    assert ticket.result() == ANSWER


def test_two_trackers_do_not_mix() -> None:
    world = World()
    first, second = world.start(), world.start(to=OTHER)
    world.answer("connect", (9).to_bytes(8), source=OTHER)
    world.answer("announce", ANNOUNCED, source=OTHER)
    assert world.finished() == [second]
    assert first.outcome is None
