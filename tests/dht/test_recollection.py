from hypothesis import given
from hypothesis import strategies as st

from dht.recollection import SWEEPS, Recollection

LIFETIME_S = 10.0
ENTRIES_MAX = 5


def fresh() -> Recollection[str, int]:
    return Recollection(lifetime_s=LIFETIME_S, entries_max=ENTRIES_MAX)


def test_what_was_never_noted_is_not_recalled() -> None:
    memory = fresh()
    assert memory.recall("a", now=0.0) is None
    assert memory.noted_at("a") == float("-inf")
    assert list(memory.values(now=0.0)) == []


def test_what_is_too_old_is_not_recalled_though_nothing_was_noted_since() -> None:
    memory = fresh()
    memory.note("a", 1, now=0.0)
    assert memory.recall("a", now=LIFETIME_S - 0.1) == 1
    assert memory.recall("a", now=LIFETIME_S) is None
    assert list(memory.values(now=LIFETIME_S)) == []


def test_noting_again_replaces_the_value_and_makes_it_young() -> None:
    memory = fresh()
    memory.note("a", 1, now=0.0)
    memory.note("b", 2, now=1.0)
    memory.note("a", 3, now=2.0)
    assert list(memory.values(now=LIFETIME_S)) == [2, 3]
    assert list(memory.values(now=LIFETIME_S + 1.0)) == [3]
    assert memory.noted_at("a") == 2.0


def test_the_entry_noted_longest_ago_makes_way() -> None:
    memory = fresh()
    for serial, key in enumerate("abcdeaf"):
        memory.note(key, serial, now=0.0)
    assert memory.recall("b", now=0.0) is None
    assert memory.recall("a", now=0.0) == 5
    assert len(memory) == ENTRIES_MAX


def test_a_clock_that_steps_back_forgets_nothing() -> None:
    memory = fresh()
    memory.note("a", 1, now=100.0)
    memory.note("b", 2, now=0.0)
    assert (memory.recall("a", now=0.0), memory.recall("b", now=0.0)) == (1, 2)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 2 * LIFETIME_S)), max_size=40))
def test_nothing_is_recalled_or_stays_that_is_too_old(steps: list[tuple[str, float]]) -> None:
    memory, noted, now = fresh(), dict[str, float](), 0.0
    for key, pause in steps:
        now += pause
        memory.note(key, 0, now=now)
        noted.pop(key, None)
        noted[key] = now
        recalled = [it for it in noted if memory.recall(it, now=now) is not None]
        assert recalled == [it for it, at in noted.items() if at + LIFETIME_S > now][-ENTRIES_MAX:]
        swept_s = LIFETIME_S * (1 + 1 / SWEEPS)
        assert len(memory) <= sum(at + swept_s >= now for at in noted.values())
