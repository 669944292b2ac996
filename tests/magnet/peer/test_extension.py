"""The extension handshake: hostile ones first, then those of real clients."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht import bencode
from dht.contact import parse_endpoint
from magnet.errors import RemoteProtocolError
from magnet.peer.extension import (
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
    merge_ids,
    your_ip_for,
)

MAPPED = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"d",
        b"le",
        b"i1e",
        b"d1:md11:ut_metadatai2e",
        b"d1:v70000:" + b"x" * 70_000 + b"e",
        b"d1:x" + b"l" * 1000 + b"e" * 1001,
    ],
)
def test_what_is_no_small_dictionary_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_extension_handshake(content)


@pytest.mark.parametrize("size", [-1, 0, 2**25 + 1, 2**40, b"abc", [], {}])
def test_impossible_metadata_size_counts_as_absent(size: bencode.BValue) -> None:
    content = bencode.encode({b"m": {b"ut_metadata": 2}, b"metadata_size": size})
    assert decode_extension_handshake(content).metadata_size is None


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ({b"a": 300}, {}),
        ({b"a": -1}, {}),
        ({b"a": b"1"}, {}),
        ({b"a": 3, b"b": 3}, {b"a": 3}),
        ({b"a": 0, b"b": 0}, {b"a": 0, b"b": 0}),
        ({b"a": 1, b"b": 300}, {b"a": 1}),
        ([], {}),
        (7, {}),
        (b"x", {}),
    ],
)
def test_only_usable_ids_are_read(ids: bencode.BValue, read: dict[bytes, int]) -> None:
    assert decode_extension_handshake(bencode.encode({b"m": ids})).ids == read


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"p", 0),
        (b"p", 65_536),
        (b"p", b"6881"),
        (b"v", 7),
        (b"v", b"\x00\x1b"),
        (b"yourip", b"\x01\x02\x03"),
        (b"yourip", 1),
        (b"ipv4", bytes(16)),
        (b"ipv6", bytes(4)),
        (b"reqq", b"250"),
        (b"upload_only", b"0"),
        (b"upload_only", 0),
        (b"upload_only", [1]),
        (b"unknown", {b"deep": [1, 2]}),
    ],
)
def test_unusable_field_counts_as_absent(key: bytes, value: bencode.BValue) -> None:
    assert decode_extension_handshake(bencode.encode({key: value})) == ExtensionHandshake()


def test_request_queue_is_kept_within_bounds() -> None:
    assert decode_extension_handshake(b"d4:reqqi-5ee").request_queue == 1
    assert decode_extension_handshake(b"d4:reqqi99999ee").request_queue == 2000


def test_client_name_is_cut_and_made_printable() -> None:
    assert decode_extension_handshake(b"d1:v5:a\x1b[1me").client == "a[1m"
    assert decode_extension_handshake(b"d1:v4:\xff\xfeabe").client == "\ufffd\ufffdab"
    assert decode_extension_handshake(b"d1:v100:" + b"x" * 100 + b"e").client == "x" * 64


def test_ipv4_mapped_address_counts_as_ipv4() -> None:
    handshake = decode_extension_handshake(bencode.encode({b"yourip": MAPPED}))
    assert handshake.your_ip == b"\xc0\x00\x02\x01"


def test_upload_only_may_be_a_string() -> None:
    assert decode_extension_handshake(b"d11:upload_only1:1e").upload_only


def test_trailing_bytes_and_unsorted_keys_are_overlooked() -> None:
    handshake = decode_extension_handshake(b"d1:pi6881e1:mdee" + b"tail")
    assert handshake == ExtensionHandshake(port=6881)


# BEP 10 "handshake message", completed with the fields of the BEP's table.
EXAMPLE = (
    b"d1:md11:ut_metadatai2e6:ut_pexi1ee1:pi6881e4:reqqi250e1:v3:X 16:yourip4:\xc0\x00\x02\x01e"
)
EXAMPLE_READ = ExtensionHandshake(
    ids={b"ut_metadata": 2, b"ut_pex": 1},
    port=6881,
    request_queue=250,
    client="X 1",
    your_ip=b"\xc0\x00\x02\x01",
)


def test_example_both_ways() -> None:
    assert len(EXAMPLE) == 77
    assert decode_extension_handshake(EXAMPLE) == EXAMPLE_READ
    assert encode_extension_handshake(EXAMPLE_READ) == EXAMPLE


def test_form_of_libtorrent() -> None:
    handshake = decode_extension_handshake(
        b"d12:complete_agoi-1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e"
        b"11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi2000e11:upload_onlyi1e"
        b"1:v14:libtorrent/2.06:yourip4:\xc0\x00\x02\x01e"
    )
    assert handshake.ids[b"ut_metadata"] == 2
    assert len(handshake.ids) == 6
    assert handshake.metadata_size == 31235
    assert handshake.upload_only
    assert handshake.client == "libtorrent/2.0"
    assert handshake.request_queue == 2000


def test_form_of_transmission() -> None:
    handshake = decode_extension_handshake(
        b"d1:ei1e1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi51413e4:reqqi512e"
        b"11:upload_onlyi1e1:v16:Transmission 4.0e"
    )
    assert handshake.ids == {b"ut_metadata": 3, b"ut_pex": 1}
    assert handshake.metadata_size == 31235
    assert handshake.prefers_encryption
    assert handshake.port == 51413


def test_disabling_form_of_the_bep_is_read() -> None:
    assert decode_extension_handshake(b"d1:md11:LT_metadatai0eee").ids == {b"LT_metadata": 0}


def test_later_handshakes_add_replace_and_switch_off() -> None:
    known = {b"a": 1, b"b": 2, b"c": 3}
    assert merge_ids(known, {b"b": 0, b"c": 4, b"d": 5}) == {b"a": 1, b"c": 4, b"d": 5}


def test_later_name_cannot_take_the_id_of_another() -> None:
    assert merge_ids({b"a": 1}, {b"b": 1, b"c": 2}) == {b"a": 1, b"c": 2}


def test_only_a_public_address_is_told() -> None:
    assert your_ip_for(parse_endpoint("8.8.8.8:6881")) == bytes((8, 8, 8, 8))
    assert your_ip_for(parse_endpoint("192.168.1.5:6881")) is None
    assert your_ip_for(parse_endpoint("127.0.0.1:6881")) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_handshake_or_the_one_error(content: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_extension_handshake(content)


VALUES: st.SearchStrategy[bencode.BValue] = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from([b"m", b"metadata_size", b"p", b"v", b"yourip", b"reqq", b"e", b"ipv6"])


@given(st.dictionaries(KEYS, VALUES))
def test_any_value_under_any_key_is_survived(facts: dict[bytes, bencode.BValue]) -> None:
    handshake = decode_extension_handshake(bencode.encode(facts))
    again = decode_extension_handshake(encode_extension_handshake(handshake))
    assert again.ids == handshake.ids
    assert again.metadata_size == handshake.metadata_size


@given(
    st.builds(
        ExtensionHandshake,
        ids=st.dictionaries(st.binary(), st.integers(1, 255), max_size=5).filter(
            lambda ids: len(set(ids.values())) == len(ids)
        ),
        metadata_size=st.none() | st.integers(1, 2**25),
        port=st.none() | st.integers(1, 65535),
        client=st.none() | st.from_regex(r"[!-~]{1,60}", fullmatch=True),
        request_queue=st.none() | st.integers(1, 2000),
        your_ip=st.none() | st.binary(min_size=4, max_size=4),
        upload_only=st.booleans(),
        prefers_encryption=st.booleans(),
    )
)
def test_what_is_encoded_is_canonical_and_decoded(handshake: ExtensionHandshake) -> None:
    content = encode_extension_handshake(handshake)
    assert bencode.is_canonical(content)
    assert decode_extension_handshake(content) == handshake
