"""Reading samples, and the times before which no node is asked again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, decode
from dht.errors import MalformedMessage
from dht.keyspace import InfoHash
from dht.sampling import (
    FAILURE_S,
    INTERVAL_MAX_S,
    INTERVAL_MIN_S,
    SAMPLES_READ_MAX,
    UNSUPPORTED_S,
    Samples,
    SampleSchedule,
    read_samples,
)
from tests.dht.samples import PLACE, public

ONE, TWO = InfoHash(b"abcdefghij0123456789"), InfoHash(b"mnopqrstuvwxyz123456")

ANSWER = (
    b"d2:id20:mnopqrstuvwxyz1234568:intervali21600e5:nodes26:abcdefghij0123456789\xc0\x00\x02\x01"
    b"\x1a\xe13:numi2e7:samples40:abcdefghij0123456789mnopqrstuvwxyz123456e"
)
"""Composed from BEP 51 "Response", which gives no example, and the ids of BEP 5's."""


def values(**changes: BValue) -> dict[bytes, BValue]:
    return {
        b"samples": ONE + TWO,
        b"num": 7,
        b"interval": 300,
        **{name.encode(): value for name, value in changes.items()},
    }


@pytest.mark.parametrize("size", [1, 19, 21, 39])
def test_samples_of_another_size_are_malformed(size: int) -> None:
    with pytest.raises(MalformedMessage, match="samples"):
        read_samples(values(samples=bytes(size)))


@pytest.mark.parametrize("samples", [[ONE], 7, {}])
def test_samples_that_are_no_string_are_malformed(samples: BValue) -> None:
    with pytest.raises(MalformedMessage, match="samples"):
        read_samples(values(samples=samples))


@pytest.mark.parametrize("interval", [-1, INTERVAL_MAX_S + 1, 1 << 70, b"300", []])
def test_an_interval_out_of_range_is_malformed(interval: BValue) -> None:
    with pytest.raises(MalformedMessage, match="interval"):
        read_samples(values(interval=interval))


@pytest.mark.parametrize("num", [-1, b"7", []])
def test_a_number_that_is_none_is_malformed(num: BValue) -> None:
    with pytest.raises(MalformedMessage, match="num"):
        read_samples(values(num=num))


@pytest.mark.parametrize("missing", [b"num", b"interval"])
def test_samples_come_with_number_and_interval(missing: bytes) -> None:
    fields = values()
    del fields[missing]
    with pytest.raises(MalformedMessage):
        read_samples(fields)


def test_an_answer_without_samples_is_none() -> None:
    """BEP 51: `samples` is there even if there is nothing to show."""
    assert read_samples({b"nodes": b"", b"num": 1, b"interval": 1}) is None
    assert read_samples(values(samples=b"")) == Samples((), 7, 300)


def test_an_answer_is_read() -> None:
    fields = decode(ANSWER)
    assert isinstance(fields, dict)
    samples = read_samples(fields)
    assert samples == Samples((ONE, TWO), 2, INTERVAL_MAX_S)
    assert samples.is_all


def test_zeros_and_repetitions_are_left_out() -> None:
    samples = read_samples(values(samples=TWO + bytes(20) + ONE + TWO))
    assert samples is not None
    assert samples.info_hashes == (TWO, ONE)


def test_no_more_is_read_than_fits_in_a_datagram() -> None:
    many = b"".join(i.to_bytes(20) for i in range(1, 1_000))
    samples = read_samples(values(samples=many))
    assert samples is not None
    assert len(samples.info_hashes) == SAMPLES_READ_MAX


_VALUES = st.recursive(
    st.integers() | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=3), inner),
)


@given(
    st.dictionaries(st.sampled_from([b"samples", b"num", b"interval", b"x"]), _VALUES, max_size=4)
)
def test_whatever_comes_is_read_or_malformed(fields: dict[bytes, BValue]) -> None:
    try:
        samples = read_samples(fields)
    except MalformedMessage:
        return
    assert samples is None or 0 <= samples.interval_s <= INTERVAL_MAX_S


# Who may be asked when


def asked(schedule: SampleSchedule) -> None:
    assert schedule.due_at(PLACE, now=0.0) == 0.0
    schedule.asked(PLACE, now=0.0)


@pytest.mark.parametrize(
    ("interval", "due_at"),
    [(0, INTERVAL_MIN_S), (1, INTERVAL_MIN_S), (300, 300.0), (21_600, 21_600.0)],
)
def test_a_node_is_left_alone_for_its_interval(interval: int, due_at: float) -> None:
    schedule = SampleSchedule()
    asked(schedule)
    schedule.answered(PLACE, Samples((ONE,), 7, interval), now=0.0)
    assert schedule.due_at(PLACE, now=1.0) == due_at
    assert schedule.due_at(PLACE, now=due_at) == due_at
    assert schedule.due_at(public(1), now=1.0) == 1.0


def test_a_node_that_showed_all_is_left_alone_for_long() -> None:
    schedule = SampleSchedule()
    asked(schedule)
    schedule.answered(PLACE, Samples((ONE,), 1, 0), now=0.0)
    assert schedule.due_at(PLACE, now=1.0) == INTERVAL_MAX_S


def test_a_node_that_answers_nonsense_is_left_alone_for_long() -> None:
    schedule = SampleSchedule()
    asked(schedule)
    schedule.malformed(PLACE, now=0.0)
    assert schedule.due_at(PLACE, now=1.0) == INTERVAL_MAX_S


def test_a_node_that_does_not_know_the_method_is_left_alone_for_a_day() -> None:
    schedule = SampleSchedule()
    asked(schedule)
    schedule.answered(PLACE, None, now=0.0)
    schedule.refused(public(1), now=0.0)
    assert schedule.due_at(PLACE, now=1.0) == schedule.due_at(public(1), now=1.0) == UNSUPPORTED_S


def test_a_silent_node_is_left_alone_for_longer_and_longer() -> None:
    schedule, now, waits = SampleSchedule(), 0.0, []
    for _ in range(4):
        schedule.asked(PLACE, now=now)
        schedule.failed(PLACE, now=now)
        due_at = schedule.due_at(PLACE, now=now)
        waits.append(due_at - now)
        now = due_at
    assert waits == [FAILURE_S, 2 * FAILURE_S, UNSUPPORTED_S, FAILURE_S]
    assert schedule.early_visits == 0


def test_a_node_is_not_asked_while_it_has_yet_to_answer() -> None:
    schedule = SampleSchedule()
    asked(schedule)
    assert schedule.due_at(PLACE, now=1.0) == INTERVAL_MIN_S


def test_an_early_visit_is_counted() -> None:
    schedule = SampleSchedule()
    schedule.asked(PLACE, now=0.0)
    schedule.asked(PLACE, now=INTERVAL_MIN_S - 1.0)
    assert schedule.early_visits == 1


def test_when_full_strangers_wait_and_nobody_is_forgotten_before_its_time() -> None:
    schedule = SampleSchedule(endpoints_max=2)
    for serial, interval in ((1, 300), (2, 600)):
        schedule.asked(public(serial), now=0.0)
        schedule.answered(public(serial), Samples((ONE,), 7, interval), now=0.0)
    assert schedule.due_at(PLACE, now=1.0) == 300.0
    assert schedule.due_at(PLACE, now=300.0) == 300.0
    assert len(schedule) == 1
    assert schedule.due_at(public(2), now=300.0) == 600.0


def test_any_number_of_visits_takes_bounded_memory_and_none_is_early() -> None:
    schedule, rng = SampleSchedule(endpoints_max=50), random.Random(1)
    due: dict[int, float] = {}
    for step in range(5_000):
        now, serial = step * 10.0, rng.randrange(200)
        if schedule.due_at(public(serial), now=now) > now:
            continue
        assert due.get(serial, 0.0) <= now
        interval = rng.randrange(3_000)
        schedule.asked(public(serial), now=now)
        schedule.answered(public(serial), Samples((ONE,), 7, interval), now=now)
        due[serial] = now + max(interval, INTERVAL_MIN_S)
    assert len(schedule) <= 50
    assert len(due) == 200
    assert schedule.early_visits == 0
