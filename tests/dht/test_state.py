"""The saved form of a node: refused unless whole and of our version."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from dht.contact import Contact, Endpoint, Family, endpoint
from dht.errors import StateError
from dht.keyspace import NodeId
from dht.state import CONTACTS_SAVED_MAX, VERSION, SavedNode, State, decode_state, encode_state

ID = NodeId(bytes(range(20)))
FOUR = Contact(NodeId(b"4" * 20), endpoint("45.0.0.1", 6881))
SIX = Contact(NodeId(b"6" * 20), endpoint("2a00::1", 6881))
BOTH: State = {Family.IPV4: SavedNode(ID, (FOUR,)), Family.IPV6: SavedNode(ID, (SIX, SIX))}


def form(version: BValue = VERSION, **nodes: BValue) -> bytes:
    return encode({b"nodes": {k.encode(): v for k, v in nodes.items()}, b"version": version})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"le",
        b"de",
        b"d7:versioni1ee",
        form(VERSION + 1),
        form(0),
        form(b"1"),
        encode({b"nodes": [], b"version": VERSION}),
        form(ipv4=b""),
        form(ipv4={b"contacts": b""}),
        form(ipv4={b"contacts": b"", b"id": b"short"}),
        form(ipv4={b"contacts": 1, b"id": ID}),
        form(ipv4={b"contacts": bytes(27), b"id": ID}),
        form(ipv6={b"contacts": bytes(26), b"id": ID}),
        b"d" * 1_000,
        encode_state(BOTH) + b"e",
        bytes(100_000),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        decode_state(data)


def test_a_file_that_was_cut_short_is_refused_wherever_it_was_cut() -> None:
    whole = encode_state(BOTH)
    for length in range(len(whole)):
        with pytest.raises(StateError):
            decode_state(whole[:length])


@given(st.binary())
@example(b"d5:nodesdee")
def test_only_the_documented_error_is_raised(data: bytes) -> None:
    with suppress(StateError):
        decode_state(data)


@given(
    st.dictionaries(
        st.just(Family.IPV4),
        st.builds(
            SavedNode,
            st.binary(min_size=20, max_size=20).map(NodeId),
            st.lists(
                st.builds(
                    Contact,
                    st.binary(min_size=20, max_size=20).map(NodeId),
                    st.binary(min_size=6, max_size=6).map(Endpoint),
                ),
                max_size=5,
            ).map(tuple),
        ),
    )
)
def test_a_state_is_read_as_it_was_saved(state: State) -> None:
    assert decode_state(encode_state(state)) == state


def test_both_families_are_remembered() -> None:
    assert decode_state(encode_state(BOTH)) == BOTH


def test_a_family_that_is_not_known_yet_is_passed_over() -> None:
    assert decode_state(form(ipv8={b"contacts": b"", b"id": ID})) == {}


def test_contacts_are_bounded_when_saved_and_when_read() -> None:
    many = SavedNode(ID, (FOUR,) * (CONTACTS_SAVED_MAX + 1))
    saved = encode_state({Family.IPV4: many})
    assert len(decode_state(saved)[Family.IPV4].contacts) == CONTACTS_SAVED_MAX
    longer = form(ipv4={b"contacts": FOUR.compact() * (CONTACTS_SAVED_MAX + 1), b"id": ID})
    assert len(decode_state(longer)[Family.IPV4].contacts) == CONTACTS_SAVED_MAX
