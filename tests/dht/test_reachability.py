from dht.contact import address_of
from dht.reachability import (
    ANSWERS_MIN,
    LATELY_S,
    PATIENCE_S,
    TRIAL_AFTER_S,
    Reachability,
)
from tests.dht.samples import public

NEVER = float("-inf")
GUEST, SECOND_GUEST = address_of(public(1)), address_of(public(2))


def online(*, now: float = 0.0) -> Reachability:
    reachability = Reachability(now=now)
    answer_all(reachability)
    return reachability


def answer_all(reachability: Reachability) -> None:
    for _ in range(ANSWERS_MIN):
        reachability.answered()


def shut() -> Reachability:
    reachability = online()
    assert not reachability.is_open(now=PATIENCE_S)
    return reachability


def test_whoever_is_not_visited_for_a_quarter_of_an_hour_is_shut() -> None:
    reachability = online()
    assert reachability.is_open(now=PATIENCE_S - 1)
    assert not reachability.is_open(now=PATIENCE_S)


def test_whoever_was_offline_is_not() -> None:
    reachability = Reachability(now=0.0)
    assert reachability.is_open(now=10 * PATIENCE_S)


def test_an_uninvited_query_keeps_it_open() -> None:
    reachability = online()
    reachability.queried(GUEST, invited_at=NEVER, now=500.0)
    answer_all(reachability)
    assert reachability.is_open(now=500.0 + PATIENCE_S - 1)
    assert not reachability.is_open(now=500.0 + PATIENCE_S)


def test_a_query_through_the_hole_that_we_made_does_not() -> None:
    reachability = online()
    reachability.queried(GUEST, invited_at=600.0 - LATELY_S + 1, now=600.0)
    assert not reachability.is_open(now=PATIENCE_S)


def test_two_guests_open_it_again() -> None:
    reachability, now = shut(), PATIENCE_S + 1
    reachability.queried(GUEST, invited_at=NEVER, now=now)
    reachability.queried(GUEST, invited_at=NEVER, now=now)
    assert not reachability.is_open(now=now)
    reachability.queried(SECOND_GUEST, invited_at=NEVER, now=now)
    assert reachability.is_open(now=now)


def test_it_shows_itself_for_a_trial_after_an_hour() -> None:
    reachability, trial = shut(), PATIENCE_S + TRIAL_AFTER_S
    assert not reachability.is_open(now=trial - 1)
    assert reachability.is_open(now=trial)
    answer_all(reachability)
    assert reachability.is_open(now=trial + PATIENCE_S - 1)
    assert not reachability.is_open(now=trial + PATIENCE_S)


def test_uninvited_queries_are_counted_invited_ones_are_not() -> None:
    reachability = Reachability(now=0.0)
    reachability.queried(GUEST, invited_at=400.0, now=400.0 + LATELY_S - 1)
    assert reachability.uninvited == 0
    reachability.queried(GUEST, invited_at=400.0, now=400.0 + LATELY_S)
    reachability.queried(SECOND_GUEST, invited_at=NEVER, now=800.0)
    assert reachability.uninvited == 2
