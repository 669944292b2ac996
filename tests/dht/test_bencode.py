from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.bencode import (
    FILE_LIMITS,
    INTEGER_DIGITS_MAX,
    WIRE_LIMITS,
    BValue,
    Limits,
    decode,
    decode_prefix,
    encode,
    encode_trusted,
    is_canonical,
    raw_value,
)
from dht.errors import MalformedBencode
from tests.dht.samples import about, as_bytes, recorded

MALFORMED = recorded("bencode", "malformed")
CANONICAL = recorded("bencode", "canonical")
UNSORTED = recorded("bencode", "unsorted")

LONG = 5_000
"""Bytes that are too many for the shortest way through the decoder."""

STRINGS = st.binary(max_size=12)
VALUES: st.SearchStrategy[BValue] = st.recursive(
    STRINGS | st.integers(-(2**70), 2**70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)
LOOKALIKES = st.text("ilde012:-ab", max_size=24).map(str.encode)
"""Bytes of which a good part are bencoding, or nearly."""


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an encoded value in which some bytes were replaced by others."""
    data = bytearray(encode(draw(VALUES)))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from(b"ilde0129:-\x00\xff"))
    return bytes(data)


BYTES = st.binary(max_size=40) | LOOKALIKES | damaged()


def plain(value: Any) -> BValue:
    """Turn a value of the vectors, where text stands for bytes, into ours."""
    if isinstance(value, str):
        return as_bytes(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {as_bytes(key): plain(item) for key, item in value.items()}
    return int(value)


def read_whole(data: bytes) -> BValue | None:
    """Decode by the scanner's way, which has no shortcut; None if malformed or not all used."""
    try:
        value, end = decode_prefix(data)
    except MalformedBencode:
        return None
    return value if end == len(data) else None


def nested(depth: int) -> bytes:
    return b"l" * depth + b"e" * depth


@pytest.mark.parametrize("vector", MALFORMED, ids=about)
def test_malformed_input_is_refused(vector: dict[str, Any]) -> None:
    data = as_bytes(vector["input"])
    with pytest.raises(MalformedBencode):
        decode(data)
    assert not is_canonical(data)
    assert read_whole(data) is None


@pytest.mark.parametrize("vector", CANONICAL, ids=lambda vector: vector["input"])
def test_canonical_input_is_read_and_written(vector: dict[str, Any]) -> None:
    data, value = as_bytes(vector["input"]), plain(vector["value"])
    assert decode(data) == value
    assert decode_prefix(data + b"i0e") == (value, len(data))
    assert encode(value) == encode_trusted(value) == data
    assert is_canonical(data)


@pytest.mark.parametrize("vector", UNSORTED, ids=lambda vector: vector["input"])
def test_unsorted_keys_are_read_but_not_canonical(vector: dict[str, Any]) -> None:
    data, value = as_bytes(vector["input"]), plain(vector["value"])
    assert decode(data) == value
    assert decode_prefix(data + b"x") == (value, len(data))
    assert not is_canonical(data)
    assert is_canonical(encode(value))


@pytest.mark.parametrize(
    "data",
    [b"l" * 2_000, b"d1:a" * 2_000, nested(33), b"d1:b0:1:a" + nested(32) + b"e"],
    ids=["open lists", "open dictionaries", "33 lists", "33 levels, unsorted"],
)
def test_depth_is_bounded(data: bytes) -> None:
    with pytest.raises(MalformedBencode, match="deeper than 32"):
        decode(data)


@pytest.mark.parametrize("limits", [WIRE_LIMITS, FILE_LIMITS])
def test_the_depth_allowed_is_read(limits: Limits) -> None:
    decode(nested(limits.depth), limits)
    unsorted = b"d1:b0:1:a" + nested(limits.depth - 1) + b"e"
    assert decode(unsorted, limits) == decode(encode(decode(unsorted, limits)), limits)


def test_a_file_is_refused_at_its_own_depth() -> None:
    with pytest.raises(MalformedBencode, match="deeper than 100"):
        decode(nested(101), FILE_LIMITS)


def test_openers_in_strings_are_no_depth() -> None:
    data = b"40:" + b"l" * 40
    assert decode(data) == b"l" * 40


@pytest.mark.parametrize("read", [decode, decode_prefix])
def test_tokens_are_bounded(read: Any) -> None:
    with pytest.raises(MalformedBencode, match="more than 10000 tokens"):
        read(b"l" + b"le" * 5_000 + b"e")
    read(b"l" + b"le" * 4_000 + b"e")


def test_a_narrow_token_bound_holds_for_short_input_too() -> None:
    narrow = Limits(size=1_000, depth=8, tokens=10)
    with pytest.raises(MalformedBencode, match="more than 10 tokens"):
        decode(b"l" + b"i1e" * 10 + b"e", narrow)
    assert decode(b"l" + b"i1e" * 8 + b"e", narrow) == [1] * 8


def test_size_is_bounded() -> None:
    with pytest.raises(MalformedBencode, match="more than 65536 bytes"):
        decode(b"65530:" + bytes(65_531))
    assert len(encode(decode(b"65530:" + bytes(65_530)))) == WIRE_LIMITS.size


def test_size_bounds_the_value_and_not_what_follows_it() -> None:
    narrow = Limits(size=10, depth=8, tokens=10)
    assert decode_prefix(b"4:spam" + bytes(100), narrow) == (b"spam", 6)
    with pytest.raises(MalformedBencode, match="more than 10 bytes"):
        decode_prefix(b"20:" + bytes(100), narrow)


def test_digits_are_bounded() -> None:
    most = b"9" * INTEGER_DIGITS_MAX
    for sign in (b"", b"-"):
        assert decode(b"i" + sign + most + b"e") == int(sign + most)
        with pytest.raises(MalformedBencode, match="too long"):
            decode(b"i" + sign + most + b"9e")


def test_the_fault_is_named_with_its_place() -> None:
    with pytest.raises(MalformedBencode) as caught:
        decode(b"d1:a0:1:a0:e")
    assert (caught.value.fault, caught.value.offset) == ("duplicate key", 8)


def test_long_input_is_read_in_order_and_out_of_order() -> None:
    text = b"x" * LONG
    prefix = f"{LONG}:".encode()
    assert decode(b"d1:a" + prefix + text + b"1:bi1ee") == {b"a": text, b"b": 1}
    assert decode(b"d1:b" + prefix + text + b"1:ai1ee") == {b"a": 1, b"b": text}


@pytest.mark.parametrize(
    "value",
    [
        True,
        "text",
        1.5,
        None,
        (),
        bytearray(b"x"),
        [False],
        {"key": 1},
        {1: 1},
        {b"key": {b"": 0.5}},
    ],
    ids=repr,
)
def test_a_type_without_a_form_is_our_own_mistake(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_a_value_that_holds_itself_is_our_own_mistake() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="too deeply"):
        encode(endless)


@given(BYTES)
def test_strangers_bytes_raise_the_documented_error_only(data: bytes) -> None:
    for read in (decode, decode_prefix, raw_value):
        with suppress(MalformedBencode):
            read(data)


@given(BYTES)
def test_the_short_way_and_the_scanner_agree(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedBencode:
        assert read_whole(data) is None
    else:
        assert read_whole(data) == value


@given(BYTES)
def test_canonical_is_what_encode_would_write(data: bytes) -> None:
    try:
        assert is_canonical(data) == (encode(decode(data)) == data)
    except MalformedBencode:
        assert not is_canonical(data)


@given(VALUES)
def test_a_value_survives_being_written(value: BValue) -> None:
    data = encode(value)
    assert decode(data) == value
    assert decode_prefix(data + b"e") == (value, len(data))
    assert is_canonical(data)


@settings(max_examples=50)
@given(st.dictionaries(STRINGS, VALUES, max_size=3), st.binary(max_size=5))
def test_the_raw_value_of_a_key_is_the_bytes_received(
    fields: dict[bytes, BValue], rest: bytes
) -> None:
    data = encode(fields) + rest
    assert raw_value(data) == encode(fields)
    for key, value in fields.items():
        assert raw_value(data, key) == encode(value)


def test_the_raw_value_of_a_missing_key_is_none() -> None:
    data = b"d1:ad1:vi1ee1:bli1eee"
    assert raw_value(data, b"c") is None
    assert raw_value(data, b"a", b"w") is None
    assert raw_value(data, b"b", b"v") is None
    assert raw_value(data, b"a", b"v", b"x") is None


def test_the_raw_value_is_not_a_re_encoding() -> None:
    data = b"d4:infod1:b0:1:a0:e4:name1:xe"
    assert raw_value(data, b"info") == b"d1:b0:1:a0:e"
    assert raw_value(data, b"info", b"a") == b"0:"


def test_the_raw_value_is_taken_from_well_formed_input_only() -> None:
    with pytest.raises(MalformedBencode):
        raw_value(b"d1:a1:x1:bi03ee", b"a")
    with pytest.raises(MalformedBencode):
        raw_value(nested(40), limits=WIRE_LIMITS)
