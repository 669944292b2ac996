"""What arrives is put in order, and bounded."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from magnet.transport.utp.incoming import AHEAD_MAX, WINDOW_BYTES, Incoming
from magnet.transport.utp.sequence import after

LARGE = bytes(60_000)


def incoming(ack: int = 100) -> Incoming:
    return Incoming(ack)


def take(half: Incoming, seq: int, payload: bytes = b"x", *, is_last: bool = False) -> None:
    half.receive(seq & 0xFFFF, payload, is_last=is_last)


def test_repeats_change_nothing() -> None:
    half = incoming()
    for seq in (101, 101, 103, 103, 101):
        take(half, seq)
    assert (half.ack, half.held, half.readable) == (101, 0b1, 1)


def test_what_is_too_far_ahead_is_dropped() -> None:
    half = incoming()
    take(half, 100 + AHEAD_MAX + 1)
    assert half.held == 0
    take(half, 100 + AHEAD_MAX)
    assert half.held.bit_length() == AHEAD_MAX - 1


def test_what_does_not_fit_into_the_window_is_dropped() -> None:
    half = incoming()
    for seq in range(102, 120):
        take(half, seq, LARGE)
    assert half.held.bit_count() == WINDOW_BYTES // len(LARGE)
    assert half.window < len(LARGE)


def test_the_packet_that_all_wait_for_always_fits() -> None:
    half = incoming()
    for seq in range(102, 120):
        take(half, seq, LARGE)
    take(half, 101, LARGE)
    assert half.held == 0
    assert half.ack == 101 + WINDOW_BYTES // len(LARGE)
    assert half.window == 0


def test_a_full_window_takes_no_more_until_something_is_read() -> None:
    half = incoming()
    for seq in range(101, 120):
        take(half, seq, LARGE)
    full_at = half.ack
    take(half, full_at + 1)
    assert half.ack == full_at
    assert len(half.read(2**30)) == half.offer() - half.window + (full_at - 100) * len(LARGE)
    take(half, full_at + 1)
    assert half.ack == full_at + 1


def test_nothing_comes_after_the_last() -> None:
    half = incoming()
    take(half, 102, b"", is_last=True)
    take(half, 103)
    take(half, 101, b"end")
    take(half, 103)
    assert half.is_ended
    assert half.read(10) == b"end"


def test_an_end_before_what_is_here_is_the_end_all_the_same() -> None:
    half = incoming()
    take(half, 103, b"never")
    take(half, 102, b"", is_last=True)
    take(half, 101, b"end")
    assert half.is_ended
    assert half.read(10) == b"end"


def test_another_end_does_not_move_it() -> None:
    half = incoming()
    take(half, 103, b"", is_last=True)
    take(half, 102, b"", is_last=True)
    take(half, 101)
    assert half.ack == 103
    assert half.is_ended


def test_the_last_packet_may_carry_something() -> None:
    half = incoming()
    take(half, 101, b"bye", is_last=True)
    assert half.is_ended
    assert half.read(10) == b"bye"


def test_reading_stops_where_it_is_told() -> None:
    half = incoming()
    take(half, 101, b"abc")
    take(half, 102, b"def")
    assert [half.read(4), half.read(4), half.read(4)] == [b"abcd", b"ef", b""]


def test_the_peer_is_told_when_much_was_read() -> None:
    half = incoming()
    for seq in range(101, 108):
        take(half, seq, LARGE)
    half.offer()
    told = []
    for size in (WINDOW_BYTES // 2 - 1, 1, 0):
        half.read(size)
        told.append(half.has_news)
    assert told == [False, True, True]
    assert half.offer() == half.window
    assert not half.has_news


@given(st.integers(0, 65_535), st.integers(1, 40), st.integers())
def test_every_order_gives_the_same_bytes(ack: int, count: int, seed: int) -> None:
    half, order = incoming(ack), list(range(1, count + 1))
    Random(seed).shuffle(order)
    for number in order:
        take(half, after(ack, number), bytes([number]) * number, is_last=number == count)
        # A selective acknowledgement says what is here, and nothing else.
        here = {it for it in range(1, count + 1) if it in order[: order.index(number) + 1]}
        missing = next(it for it in range(1, count + 2) if it not in here)
        assert half.ack == after(ack, missing - 1)
        assert half.held == sum(1 << it - missing - 1 for it in here if it > missing)
    assert half.is_ended
    assert half.read(2**20) == b"".join(bytes([it]) * it for it in range(1, count + 1))
