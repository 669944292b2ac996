import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue
from dht.bloom import AddressFilter
from dht.contact import Endpoint, address_of
from dht.errors import QueryTimeout
from dht.krpc import GET_PEERS, Answer
from dht.scrape import ScrapeSwarm, Statement, read_statement
from tests.dht.samples import answer, contact, public

SEEDS = AddressFilter.of([address_of(public(1))])
LEECHERS = AddressFilter.of([address_of(public(2))])
NOBODY = frozenset[bytes]()


def saying(values: dict[bytes, BValue], *peers: Endpoint) -> Answer:
    """An answer with these values."""
    plain = answer(peers=peers)
    return plain._replace(response=plain.response._replace(values=values))


def test_peers_that_the_filters_do_not_have_are_a_contradiction() -> None:
    values: dict[bytes, BValue] = {b"BFsd": SEEDS.to_bytes(), b"BFpe": LEECHERS.to_bytes()}
    assert read_statement(saying(values, public(1), public(3))) is None
    assert read_statement(saying({b"BFpe": AddressFilter().to_bytes()}, public(1))) is None


@pytest.mark.parametrize("value", [b"", bytes(255), bytes(257), 1, [], {}])
def test_a_filter_of_another_shape_is_ignored(value: BValue) -> None:
    statement = read_statement(saying({b"BFsd": value, b"BFpe": value}, public(1)))
    assert statement == Statement(None, None, frozenset([address_of(public(1))]))
    assert not statement.has_filters


def test_filters_need_no_peers() -> None:
    values: dict[bytes, BValue] = {b"BFsd": SEEDS.to_bytes(), b"BFpe": LEECHERS.to_bytes()}
    assert read_statement(saying(values)) == Statement(SEEDS, LEECHERS, NOBODY)


def test_one_filter_is_better_than_none() -> None:
    statement = read_statement(saying({b"BFpe": LEECHERS.to_bytes()}))
    assert statement == Statement(None, LEECHERS, NOBODY)
    assert statement.has_filters


def test_the_misspelt_key_is_read_where_the_right_one_is_missing() -> None:
    """The node of Vuze and BiglyBT says BFse."""
    misspelt: dict[bytes, BValue] = {b"BFse": SEEDS.to_bytes()}
    assert read_statement(saying(misspelt)) == Statement(SEEDS, None, NOBODY)
    both = misspelt | {b"BFsd": LEECHERS.to_bytes()}
    assert read_statement(saying(both)) == Statement(LEECHERS, None, NOBODY)


@given(st.dictionaries(st.sampled_from([b"BFsd", b"BFse", b"BFpe"]), st.binary(max_size=300)))
def test_whatever_a_node_sends_is_read(values: dict[bytes, bytes]) -> None:
    read_statement(saying(dict(values), public(1)))


def test_a_scrape_asks_for_filters_and_keeps_what_is_said() -> None:
    purpose, target = ScrapeSwarm(), bytes(20)
    assert purpose.question(target) == (GET_PEERS, {b"info_hash": target, b"scrape": 1})
    purpose.take(contact(1), saying({b"BFpe": LEECHERS.to_bytes()}))
    purpose.take(contact(2), saying({b"BFpe": LEECHERS.to_bytes()}, public(1)))
    assert purpose.testimony == {contact(1): Statement(None, LEECHERS, NOBODY)}


def test_a_scrape_writes_nothing_and_finds_no_peers() -> None:
    purpose = ScrapeSwarm()
    assert purpose.writes(bytes(20), []) == []
    purpose.accepted(contact(1))
    purpose.refused(public(1), QueryTimeout(1.0))
    assert purpose.take_findings() == []
