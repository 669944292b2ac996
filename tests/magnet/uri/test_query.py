import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.text import printable
from magnet.uri.query import decode, decode_name, encode, encode_name, split_query


@pytest.mark.parametrize("raw", ["%", "a%2", "%zz", "%ff", "%C3"])
def test_a_broken_value_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"percent-encoding|UTF-8"):
        decode(raw)


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("&&=&a&=b&1=c&a b=d", []),
        ("A.1=x&X.PE.2=y&x.pe=z", [("a", "x"), ("x.pe", "y"), ("x.pe", "z")]),
        ("a=b=c&d=", [("a", "b=c"), ("d", "")]),
        ("a=1;b=2;c", [("a", "1"), ("b", "2;c")]),
        ("a=1;b=2&c=3", [("a", "1;b=2"), ("c", "3")]),
        ("a=1&amp;b=2&#x26;c=3&AMP;AMP;d=4", [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
        ("a=1#f&b=2#f#g", [("a", "1#f"), ("b", "2")]),
    ],
)
def test_a_query_is_taken_apart(query: str, pairs: list[tuple[str, str]]) -> None:
    assert list(split_query(query)) == pairs


@given(st.text())
def test_decoding_undoes_encoding(text: str) -> None:
    assert decode(encode(text)) == text.strip()


@given(st.text() | st.text(alphabet="%25a0 +"))
def test_a_name_is_given_back(text: str) -> None:
    name = printable(text, 60)
    assert decode_name(encode_name(name, 60), 60) == name
