import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.text import is_utf8, printable, printable_bytes, quoted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\0b\r\nc\x1b[31m\x7f\u0085", "abc[31m"),
        ("\u202eabc\u202c \u2066x\u2069\u200b\ufeff", "abc x"),
        (" a\u2028b ", "ab"),
        ("\ud800", "\ufffd" * 3),
        ("\u4f60\u597d", "\u4f60\u597d"),
    ],
)
def test_what_cannot_be_seen_is_taken_out(text: str, clean: str) -> None:
    assert printable(text, 100) == clean


@given(st.text(), st.integers(0, 40))
def test_a_second_time_changes_nothing(text: str, bytes_max: int) -> None:
    once = printable(text, bytes_max)
    assert len(once.encode()) <= bytes_max
    assert printable(once, bytes_max) == once


def test_bytes_that_are_no_utf8() -> None:
    assert printable_bytes(b"a\xff", 10) == "a\ufffd"
    assert (is_utf8(b"\xc0\xaf"), is_utf8(b"\xc3\xa9")) == (False, True)


def test_quoted_text_is_one_short_line() -> None:
    assert quoted("abc") == '"abc"'
    assert quoted("a\nb") == '"ab…"'
    assert quoted("a" * 1_000) == f'"{"a" * 80}…"'
