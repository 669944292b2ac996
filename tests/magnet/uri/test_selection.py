import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.uri.selection import FILE_INDEX_MAX, format_selection, parse_selection


@pytest.mark.parametrize(
    "text", ["", ",", "a", "1 2", "\u0661", "5-3", "1-2-3", "10001", "9" * 5_000]
)
def test_a_selection_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"selects|characters"):
        parse_selection(text)


def test_many_overlapping_ranges_cost_no_more_than_one() -> None:
    text = ",".join(["0-10000"] * 2_000)
    assert parse_selection(text) == tuple(range(FILE_INDEX_MAX + 1))


@given(st.sets(st.integers(0, FILE_INDEX_MAX), min_size=1, max_size=50))
def test_reading_undoes_writing(indices: set[int]) -> None:
    assert parse_selection(format_selection(sorted(indices))) == tuple(sorted(indices))


def test_runs_become_ranges() -> None:
    """BEP 53, its example."""
    assert format_selection([0, 2, 4, 6, 7, 8]) == "0,2,4,6-8"
