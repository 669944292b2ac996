"""When a tracker may be asked again: after failures first, then after answers."""

import pytest

from dht.contact import Family, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import Announced, Counts, Event
from magnet.sources.trackers.standing import (
    AGAIN_S,
    ASKED_BURST,
    ASKED_PER_S,
    EMPTY_S,
    PAUSE_MAX_S,
    PEERS_REMEMBERED,
    SWARMS_MAX,
    HostLimit,
    TrackerStanding,
)

A, B = InfoHash(b"a" * 20), InfoHash(b"b" * 20)
SILENCE = SourceError(SourceFault.TIMEOUT, "no answer")
REFUSAL = SourceError(SourceFault.REFUSED, "not registered")
PEER = endpoint("192.0.2.1", 6881)
NEVER = float("inf")


@pytest.fixture
def standing() -> TrackerStanding:
    return TrackerStanding(Family.IPV4)


def ready(standing: TrackerStanding, info_hash: InfoHash = A) -> tuple[float, float]:
    return tuple(standing.ready_at(info_hash, it) for it in (Event.STARTED, Event.REGULAR))  # type: ignore[return-value]


def test_silent_tracker_is_left_alone_for_longer_and_longer(standing: TrackerStanding) -> None:
    pauses = []
    for _ in range(9):
        standing.failed(A, SILENCE, now=100.0)
        pauses.append(standing.ready_at(B, Event.STARTED) - 100.0)
    assert pauses == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]


def test_pause_stays_bounded_after_years(standing: TrackerStanding) -> None:
    for _ in range(2_000):
        standing.silent(now=0.0)
    assert ready(standing) == (PAUSE_MAX_S, PAUSE_MAX_S)


def test_refusal_concerns_one_swarm(standing: TrackerStanding) -> None:
    standing.failed(A, REFUSAL, now=100.0)
    standing.failed(A, REFUSAL, now=100.0)
    assert ready(standing) == (220.0, 220.0)
    assert standing.ready_at(B, Event.STARTED) < 100.0


def test_tracker_that_wants_peace_has_it_from_all(standing: TrackerStanding) -> None:
    standing.failed(A, SourceError(SourceFault.REFUSED, "busy", 300.0), now=100.0)
    assert standing.ready_at(B, Event.STARTED) == 400.0
    standing.failed(A, SourceError(SourceFault.REFUSED, "gone", NEVER), now=500.0)
    standing.announced(B, Announced(), now=501.0)
    assert standing.ready_at(B, Event.STARTED) == NEVER


def test_answer_ends_the_pauses(standing: TrackerStanding) -> None:
    standing.silent(now=0.0)
    standing.silent(now=0.0)
    standing.announced(B, Announced(), now=130.0)
    assert ready(standing)[0] < 130.0
    standing.silent(now=200.0)
    assert ready(standing)[0] == 260.0


@pytest.mark.parametrize(
    ("answer", "started", "regular"),
    [
        (Announced((), 1_800.0), AGAIN_S, 1_800.0),
        (Announced((), 60.0), 60.0, 60.0),
        (Announced((), 1_800.0, 900.0), 900.0, 1_800.0),
        (Announced((), 60.0, 900.0), 900.0, 900.0),
    ],
)
def test_intervals_are_honoured(
    standing: TrackerStanding, answer: Announced, started: float, regular: float
) -> None:
    standing.announced(A, answer, now=1_000.0)
    assert ready(standing) == (1_000.0 + started, 1_000.0 + regular)
    assert ready(standing, B)[0] < 1_000.0


def test_peers_of_the_last_answer_are_remembered(standing: TrackerStanding) -> None:
    assert standing.remembered_peers(A) == []
    other_family = endpoint("2001:db8::1", 6881)
    standing.announced(A, Announced((PEER, other_family)), now=0.0)
    assert standing.remembered_peers(A) == [PEER]
    many = tuple(endpoint("192.0.2.1", port) for port in range(1, 300))
    standing.announced(A, Announced(many), now=0.0)
    assert standing.remembered_peers(A) == list(many[:PEERS_REMEMBERED])


def test_tracker_id_is_kept_until_there_is_another(standing: TrackerStanding) -> None:
    assert standing.tracker_id(A) is None
    standing.announced(A, Announced(tracker_id=b"x"), now=0.0)
    standing.announced(A, Announced(), now=0.0)
    assert standing.tracker_id(A) == b"x"


def test_swarms_remembered_are_bounded(standing: TrackerStanding) -> None:
    for number in range(2 * SWARMS_MAX):
        standing.announced(InfoHash(number.to_bytes(20)), Announced(), now=0.0)
    assert len(standing._swarms) == SWARMS_MAX


def test_zeros_are_not_believed_of_one_who_cannot_count(standing: TrackerStanding) -> None:
    standing.scraped([A, B], {A: Counts(0, 0, 0)}, now=100.0)
    assert ready(standing)[0] < 100.0
    assert not standing.knows_nobody(A)


def test_swarm_without_peers_is_not_asked_for(standing: TrackerStanding) -> None:
    counts = {A: Counts(0, 0, 9), B: Counts(1, 0, 0)}
    standing.scraped([A, B, InfoHash(b"c" * 20)], counts, now=100.0)
    assert ready(standing) == (100.0 + EMPTY_S, 100.0 + EMPTY_S)
    assert ready(standing, InfoHash(b"c" * 20))[0] == 100.0 + EMPTY_S
    assert ready(standing, B)[0] < 100.0
    assert standing.knows_nobody(A)
    assert not standing.knows_nobody(B)


def test_host_is_asked_at_a_pace() -> None:
    limit = HostLimit(now=0.0)
    assert sum(limit.take(now=0.0) for _ in range(100)) == ASKED_BURST
    assert limit.ready_at(now=0.0) == pytest.approx(1 / ASKED_PER_S)
    assert limit.take(now=limit.ready_at(now=0.0))
