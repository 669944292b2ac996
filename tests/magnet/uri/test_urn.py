import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.uri.urn import (
    format_btih,
    format_btmh,
    format_btpk,
    parse_btih,
    parse_btmh,
    parse_btpk,
    parse_salt,
)


@pytest.mark.parametrize("digits", ["", "a", "ab" * 19, "ab" * 21, "ab" * 32, "zz" * 20, "0" * 32])
def test_a_bad_v1_hash_is_refused(digits: str) -> None:
    with pytest.raises(ValueError, match="btih"):
        parse_btih(f"urn:btih:{digits}")


@pytest.mark.parametrize("digits", ["", "1220", "1220" + "ab" * 31, "1114" + "ab" * 20, "ab" * 32])
def test_a_bad_multihash_is_refused(digits: str) -> None:
    with pytest.raises(ValueError, match="btmh"):
        parse_btmh(f"urn:btmh:{digits}")


@pytest.mark.parametrize("text", ["6", "zz", " 6e", "6e" * 65])
def test_a_bad_salt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="salt"):
        parse_salt(text)


@given(st.binary(min_size=32, max_size=32))
def test_reading_undoes_writing(data: bytes) -> None:
    assert parse_btih(format_btih(data[:20])) == data[:20]
    assert parse_btmh(format_btmh(data)) == data
    assert parse_btpk(format_btpk(data).replace("urn", "URN")) == data
    assert parse_salt(data.hex().upper()) == data
