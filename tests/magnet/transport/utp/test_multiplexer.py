"""Many connections on one socket, and strangers."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.contact import Endpoint, endpoint, parse_endpoint
from magnet.transport.utp.connection import HALF_OPEN_S, State
from magnet.transport.utp.multiplexer import (
    ACCEPTED_MAX,
    ACCEPTED_PER_ADDRESS_MAX,
    HALF_OPEN_MAX,
    RESETS_PER_S,
    Multiplexer,
)
from magnet.transport.utp.packet import Packet, PacketType, decode_packet

STRANGER = parse_endpoint("9.9.9.3:6881")


@pytest.fixture
def machine() -> Multiplexer:
    """One that accepts connections."""
    made = Multiplexer(rng=Random(1), now=0.0)
    made.is_accepting = True
    return made


def sent(machine: Multiplexer, now: float = 0.0) -> list[tuple[Packet, Endpoint]]:
    return [(decode_packet(data), to) for data, to in machine.flush(now=now).datagrams]


def syn(machine: Multiplexer, make_packet: Any, source: Endpoint, id: int = 7) -> None:
    packet = make_packet(type=PacketType.SYN, connection_id=id, seq=1)
    machine.receive(packet.encode(), source, now=0.0)


def open_one(machine: Multiplexer, make_packet: Any, source: Endpoint, id: int = 7) -> None:
    """Let a stranger open a connection in earnest."""
    syn(machine, make_packet, source, id)
    (answer,) = [it for it, to in sent(machine) if to == source]
    packet = make_packet(
        type=PacketType.DATA,
        connection_id=id + 1,
        seq=2,
        ack=(answer.seq - 1) & 0xFFFF,
        payload=b"x",
    )
    machine.receive(packet.encode(), source, now=0.0)


def address(number: int) -> Endpoint:
    return endpoint(f"9.9.{number // 250}.{number % 250}", 6881)


@pytest.mark.parametrize("noise", [b"", b"\x21", b"\x41" * 19, b"d1:y1:qe" * 4])
def test_noise_is_counted_and_not_answered(machine: Multiplexer, noise: bytes) -> None:
    machine.receive(noise, STRANGER, now=0.0)
    assert sent(machine) == []
    assert machine.counts.malformed == 1


def test_strays_are_reset_at_a_bounded_rate(machine: Multiplexer, make_packet: Any) -> None:
    stray = make_packet(type=PacketType.DATA, connection_id=99, seq=5).encode()
    for _ in range(1_000):
        machine.receive(stray, STRANGER, now=0.0)
    answers = sent(machine)
    assert len(answers) == RESETS_PER_S
    assert {(it.type, it.connection_id, it.ack, to) for it, to in answers} == {
        (PacketType.RESET, 99, 5, STRANGER)
    }


def test_a_reset_is_never_reset(machine: Multiplexer, make_packet: Any) -> None:
    machine.receive(make_packet(type=PacketType.RESET).encode(), STRANGER, now=0.0)
    assert sent(machine) == []


def test_nobody_is_accepted_unasked(machine: Multiplexer, make_packet: Any) -> None:
    machine.is_accepting = False
    syn(machine, make_packet, STRANGER)
    ((answer, _),) = sent(machine)
    assert (answer.type, answer.connection_id) == (PacketType.RESET, 7)
    assert len(machine) == 0


def test_one_address_gets_so_many_connections(machine: Multiplexer, make_packet: Any) -> None:
    for id in range(0, 4 * ACCEPTED_PER_ADDRESS_MAX, 2):
        syn(machine, make_packet, STRANGER, id)
    assert len(sent(machine)) == len(machine) == ACCEPTED_PER_ADDRESS_MAX
    assert machine.counts.refused == ACCEPTED_PER_ADDRESS_MAX


def test_an_ipv6_network_counts_as_one_address(machine: Multiplexer, make_packet: Any) -> None:
    for number in range(2 * ACCEPTED_PER_ADDRESS_MAX):
        syn(machine, make_packet, endpoint(f"2620:fe::{number + 1:x}", 6881))
    assert len(machine) == ACCEPTED_PER_ADDRESS_MAX


def test_a_flood_of_forged_syns_keeps_nobody_out(machine: Multiplexer, make_packet: Any) -> None:
    for number in range(10 * HALF_OPEN_MAX):
        syn(machine, make_packet, address(number))
    assert len(machine) == HALF_OPEN_MAX
    sent(machine)
    open_one(machine, make_packet, STRANGER)
    assert [it.remote for it in machine.flush(now=0.0).accepted] == [STRANGER]


def test_accepted_connections_are_bounded(machine: Multiplexer, make_packet: Any) -> None:
    for number in range(ACCEPTED_MAX):
        open_one(machine, make_packet, address(number))
    sent(machine)
    syn(machine, make_packet, STRANGER)
    assert sent(machine) == []
    assert len(machine) == ACCEPTED_MAX


def test_half_open_connections_end_by_themselves(machine: Multiplexer, make_packet: Any) -> None:
    for number in range(10):
        syn(machine, make_packet, address(number))
    sent(machine)
    assert machine.next_deadline() == HALF_OPEN_S
    machine.handle_deadlines(now=HALF_OPEN_S)
    assert sent(machine) == []
    assert len(machine) == 0
    for id in range(0, 2 * ACCEPTED_PER_ADDRESS_MAX, 2):
        syn(machine, make_packet, address(0), id)
    assert len(machine) == ACCEPTED_PER_ADDRESS_MAX


def test_numbers_are_not_shared_by_two_connections_to_one_endpoint(machine: Multiplexer) -> None:
    made = [machine.connect(STRANGER, now=0.0) for _ in range(2_000)]
    assert None not in made
    assert len({it.receive_id for it in made if it is not None}) == 2_000


def test_when_numbers_run_out_it_says_so() -> None:
    class Stuck(Random):
        def getrandbits(self, k: int, /) -> int:
            return 7

    machine = Multiplexer(rng=Stuck(1), now=0.0)
    assert machine.connect(STRANGER, now=0.0)
    assert machine.connect(STRANGER, now=0.0) is None


def test_another_address_cannot_end_a_connection(ends: Any, make_packet: Any) -> None:
    ours, _ = ends.connect()
    reset = make_packet(type=PacketType.RESET, connection_id=ours.receive_id).encode()
    ends.a.receive(reset, STRANGER, now=ends.now)
    assert ours.state is State.CONNECTED


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("name", ["receive_id", "send_id"])
def test_a_reset_may_name_either_number(ends: Any, make_packet: Any, side: str, name: str) -> None:
    connection = ends.connect()["ab".index(side)]
    reset = make_packet(type=PacketType.RESET, connection_id=getattr(connection, name))
    getattr(ends, side).receive(reset.encode(), connection.remote, now=ends.now)
    assert connection.state is State.CLOSED


def test_an_owner_of_what_is_over_may_touch_it(ends: Any) -> None:
    ours, _ = ends.connect()
    ours.abort()
    ends.run(ours)
    ends.a.touch(ours)
    assert ends.a.flush(now=ends.now).changed == []


def test_a_number_that_is_used_again_is_not_the_old_connection() -> None:
    class Stuck(Random):
        def getrandbits(self, k: int, /) -> int:
            return 7

    machine = Multiplexer(rng=Stuck(1), now=0.0)
    old = machine.connect(STRANGER, now=0.0)
    assert old is not None
    old.abort()
    machine.touch(old)
    machine.flush(now=0.0)
    assert machine.connect(STRANGER, now=0.0)
    machine.flush(now=0.0)
    machine.touch(old)
    assert machine.flush(now=0.0).changed == []


def test_both_ends_may_dial_each_other(ends: Any) -> None:
    ends.a.is_accepting = True
    ours, theirs = ends.connect()
    back = ends.b.connect(theirs.remote, now=ends.now)
    ends.run(back)
    back.write(b"back")
    ends.run(back)
    assert ends.accepted[-1].read(9) == b"back"
    assert len(ends.a) == len(ends.b) == 2
    assert ours.read(9) == b""


DATAGRAMS = st.builds(
    lambda kind, id, seq, ack, mask, payload: Packet(
        kind, id, 0, 0, 2**20, seq, ack, mask, payload
    ).encode(),
    st.sampled_from(PacketType),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**32),
    st.binary(max_size=5),
)


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(st.one_of(DATAGRAMS, st.binary(max_size=40)), max_size=40))
def test_whatever_strangers_send_in_the_end_all_is_forgotten(datagrams: list[bytes]) -> None:
    machine = Multiplexer(rng=Random(1), now=0.0)
    machine.is_accepting = True
    now = 0.0
    for datagram in datagrams:
        now += 0.1
        machine.receive(datagram, STRANGER, now=now)
        answers = machine.flush(now=now).datagrams
        # Nobody is sent more than came from him.
        assert sum(len(it) for it, _ in answers) <= max(len(datagram), 20) + 64
    for _ in range(1_000):
        if (now := machine.next_deadline()) == float("inf"):
            break
        machine.handle_deadlines(now=now)
        machine.flush(now=now)
        if now > 100:
            machine.abort_all()
    assert len(machine) == 0
