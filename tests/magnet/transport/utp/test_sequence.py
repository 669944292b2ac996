"""Numbers that begin again at zero."""

from hypothesis import given
from hypothesis import strategies as st

from magnet.transport.utp.sequence import after, steps_from

NUMBERS = st.integers(0, 65_535)


def test_the_last_number_is_followed_by_zero() -> None:
    assert after(65_535) == 0
    assert after(0, -1) == 65_535


def test_half_way_round_is_behind() -> None:
    assert steps_from(0, 32_767) == 32_767
    assert steps_from(0, 32_768) == -32_768


@given(NUMBERS, st.integers(-32_768, 32_767))
def test_so_many_steps_lead_there(number: int, steps: int) -> None:
    assert steps_from(number, after(number, steps)) == steps
