import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from dht.contact import Contact, Endpoint, Family, Scope, endpoint, parse_endpoint
from dht.engine import Engine
from dht.errors import ErrorResponse, QueryRefused, QueryTimeout
from dht.inquiry import Ended, Found, JoinEnded
from dht.keyspace import InfoHash, NodeId, distance
from dht.krpc import ANNOUNCE_PEER, FIND_NODE, GET_PEERS, PING, encode_query
from dht.peerstore import PeerStore
from dht.ratelimit import QUERIES_BURST, FlowBudget, SourceLimiter
from dht.routing import GOOD_FOR_S, K
from dht.search import Announcement
from dht.transactions import FAIL_MAX_S
from tests.dht.samples import (
    PLACE,
    QUERIER,
    RESPONDER,
    about,
    as_bytes,
    loopback,
    node_id,
    public,
    public6,
    recorded,
)
from tests.dht.wire import LATENCY_S, Datagram, Stranger, Wire

HASH = InfoHash(b"mnopqrstuvwxyz123456")
PACKETS = [
    as_bytes(row["packet"])
    for group in ("examples", "answered", "refused", "dropped", "answers", "errors")
    for row in recorded("krpc_messages", group)
]
NOBODY = public(65_000)
MINUTE = 60.0
HOUR = 3_600.0


def lone_engine(bound: Scope = Scope.DOCUMENTATION, **options: Any) -> Engine:
    rng = random.Random(1)
    return Engine(RESPONDER, Family.IPV4, bound=bound, rng=rng, now=0.0, **options)


def counts(engine: Engine) -> dict[str, int]:
    return engine.statistics(now=0.0).counts


def dropped(engine: Engine) -> list[str]:
    """Return the reasons for which datagrams were dropped."""
    return [key.removeprefix("dropped: ") for key in counts(engine) if key.startswith("dropped")]


def ping_from(id: bytes = QUERIER, *, read_only: bool = False) -> bytes:
    return encode_query(b"aa", PING, {b"id": id}, read_only=read_only)


def saying(**values: BValue) -> Stranger:
    """Return a stranger that answers every query with these values, and an id of its own."""

    def answer(datagram: Datagram) -> dict[bytes, BValue] | None:
        if not datagram.is_query():
            return None
        fields: dict[bytes, BValue] = {b"id": RESPONDER}
        fields |= {key.encode(): value for key, value in values.items()}
        return {b"r": fields, b"t": datagram.fields[b"t"], b"y": b"r"}

    return answer


# What is dropped


@pytest.mark.parametrize("vector", recorded("krpc_messages", "dropped"), ids=about)
def test_a_faulty_datagram_is_counted_and_dropped(vector: dict[str, Any]) -> None:
    engine = lone_engine()
    engine.receive_datagram(as_bytes(vector["packet"]), PLACE, now=0.0)
    assert engine.datagrams_to_send() == []
    assert len(dropped(engine)) == 1


@pytest.mark.parametrize("size", [0, 19, 20, 1_025, 1_500, 65_507, 100_000])
@pytest.mark.parametrize("head", [b"", b"d", b"d1:ad2:id20:"])
def test_noise_of_any_size_is_dropped(size: int, head: bytes) -> None:
    engine = lone_engine()
    engine.receive_datagram((head + random.Random(1).randbytes(size))[:size], PLACE, now=0.0)
    assert engine.datagrams_to_send() == []
    assert len(dropped(engine)) == 1


def test_a_long_query_is_answered() -> None:
    engine = lone_engine()
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"z": bytes(60_000)}
    engine.receive_datagram(encode_query(b"aa", PING, arguments), PLACE, now=0.0)
    assert len(engine.datagrams_to_send()) == 2


@pytest.mark.parametrize(
    ("source", "bound"),
    [
        ("192.0.2.1:0", Scope.DOCUMENTATION),
        ("0.0.0.0:6881", Scope.GLOBAL),
        ("224.0.0.1:6881", Scope.GLOBAL),
        ("127.0.0.1:6881", Scope.GLOBAL),
        ("192.168.1.1:6881", Scope.GLOBAL),
        ("8.8.8.8:6881", Scope.LOOPBACK),
    ],
)
def test_a_query_from_where_nobody_can_be_is_dropped(source: str, bound: Scope) -> None:
    engine = lone_engine(bound)
    engine.receive_datagram(ping_from(), parse_endpoint(source), now=0.0)
    assert engine.datagrams_to_send() == []
    assert dropped(engine) == ["source not allowed"]


def test_a_read_only_node_answers_nothing() -> None:
    """BEP 43."""
    engine = lone_engine(read_only=True)
    engine.receive_datagram(ping_from(), PLACE, now=0.0)
    assert engine.datagrams_to_send() == []
    assert dropped(engine) == ["query to a read-only node"]


def test_a_flood_is_answered_up_to_the_burst_and_costs_its_sender_only() -> None:
    """60 pings in 5 s from one address."""
    engine = lone_engine(Scope.GLOBAL)
    for index in range(60 * 5):
        engine.receive_datagram(ping_from(), public(1), now=index / 60)
    assert QUERIES_BURST <= counts(engine)["queries answered"] < 2 * QUERIES_BURST
    assert dropped(engine) == ["rate limit"]
    before = counts(engine)["queries answered"]
    engine.receive_datagram(ping_from(), public(2), now=5.0)
    assert counts(engine)["queries answered"] == before + 1


@given(
    st.lists(st.sampled_from(PACKETS) | st.binary(max_size=50), max_size=5),
    st.integers(0, 2**32),
)
def test_whatever_comes_nothing_is_raised_and_nobody_else_is_written_to(
    packets: list[bytes], seed: int
) -> None:
    rng = random.Random(seed)
    engine = lone_engine()
    for packet in packets:
        data = bytearray(packet)
        for _ in range(rng.randrange(3) if data else 0):
            data[rng.randrange(len(data))] = rng.randrange(256)
        engine.receive_datagram(bytes(data), PLACE, now=0.0)
    assert {to for _, to in engine.datagrams_to_send()} <= {PLACE}
    assert counts(engine).get("received", 0) == len(packets)


# What is refused


@pytest.mark.parametrize(
    "to",
    [
        endpoint("192.0.2.2", 0),
        endpoint("192.0.2.9", 6881),
        endpoint("10.0.0.1", 6881),
        endpoint("127.0.0.1", 6881),
        endpoint("2001:db8::1", 6881),
    ],
    ids=["port 0", "ourselves", "private", "loopback", "other family"],
)
def test_a_ping_to_where_we_may_not_send_is_refused(to: Endpoint) -> None:
    engine = lone_engine(own_endpoint=endpoint("192.0.2.9", 6881))
    with pytest.raises(QueryRefused, match="address not allowed"):
        engine.ping(to, now=0.0)
    assert engine.datagrams_to_send() == []


def test_inquiries_are_bounded_but_strangers_and_upkeep_are_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dht.engine.INQUIRIES_MAX", 2)
    engine = lone_engine()
    engine.ping(PLACE, now=0.0)
    engine.find_node(NodeId(HASH), now=0.0)
    for call in (
        lambda: engine.ping(PLACE, now=0.0),
        lambda: engine.find_node(NodeId(HASH), now=0.0),
        lambda: engine.get_peers(HASH, now=0.0),
    ):
        with pytest.raises(QueryRefused, match="too many inquiries"):
            call()
    engine.receive_datagram(ping_from(), endpoint("192.0.2.2", 6881), now=0.0)
    assert len(engine.datagrams_to_send()) == 3
    engine.join([PLACE], now=0.0)
    for now in (0.0, 20.0, 40.0):
        engine.handle_deadlines(now=now)


def test_a_query_beyond_those_in_flight_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dht.transactions.IN_FLIGHT_MAX", 1)
    engine = lone_engine()
    engine.ping(PLACE, now=0.0)
    second = engine.ping(endpoint("192.0.2.2", 6881), now=0.0)
    assert isinstance(second.error, QueryRefused)
    assert engine.take_events() == [Ended(second)]


# Answers that are none


def test_an_unanswered_ping_fails_at_its_hard_deadline() -> None:
    wire = Wire()
    engine = wire.add()
    ping = engine.ping(NOBODY, now=0.0)
    wire.run_for(FAIL_MAX_S)
    assert isinstance(ping.error, QueryTimeout)
    assert Ended(ping) in wire.events
    assert counts(engine)["queries unanswered"] == 1


@pytest.mark.parametrize("elsewhere", [public(1, port=7), public(9)], ids=["port", "address"])
def test_an_answer_from_elsewhere_is_dropped_and_the_query_stays_open(elsewhere: Endpoint) -> None:
    wire = Wire()
    wire.fault = lambda it: [it if it.is_query() else it._replace(source=elsewhere)]
    wire.strangers[public(1)] = saying()
    engine = wire.add()
    ping = engine.ping(public(1), now=0.0)
    wire.run_for(3 * LATENCY_S)
    assert dropped(engine) == ["wrong address"]
    assert not ping.is_done
    assert engine.statistics(now=wire.now).in_flight == 1
    wire.run_for(FAIL_MAX_S)
    assert isinstance(ping.error, QueryTimeout)
    assert engine.table.find(elsewhere) is None


def test_a_repeated_answer_is_dropped() -> None:
    wire = Wire()
    wire.fault = lambda it: [it] if it.is_query() else [it, it]
    wire.add(public(1))
    engine = wire.add(public(2))
    ping = engine.ping(public(1), now=0.0)
    wire.run_for(1.0)
    assert ping.sender is not None
    assert counts(engine)["dropped: answer to nothing asked"] == 1
    assert wire.events.count(Ended(ping)) == 1


def test_a_late_answer_is_dropped_and_brings_nobody_into_the_table() -> None:
    wire = Wire()
    wire.add(public(1))
    engine = wire.add(public(2))
    ping = engine.ping(public(1), now=0.0)
    wire.fault = lambda it: [it._replace(arrives_at=it.arrives_at + FAIL_MAX_S)]
    wire.run_for(3.5 * FAIL_MAX_S)
    assert isinstance(ping.error, QueryTimeout)
    assert "answer to nothing asked" in dropped(engine)
    assert len(engine.table) == 0


@pytest.mark.parametrize(
    "fields",
    [{b"r": {b"id": b"abc"}}, {b"r": {}}, {b"r": []}, {b"y": b"x"}],
    ids=["short id", "no id", "no values", "no kind"],
)
def test_a_malformed_answer_is_no_answer(fields: dict[bytes, BValue]) -> None:
    wire = Wire()
    wire.strangers[public(1)] = lambda it: {b"t": it.fields[b"t"], b"y": b"r", **fields}
    engine = wire.add()
    ping = engine.ping(public(1), now=0.0)
    wire.run_for(FAIL_MAX_S)
    assert isinstance(ping.error, QueryTimeout)
    assert len(engine.table) == 0


def test_an_error_ends_a_ping_and_says_nothing_about_the_node() -> None:
    """BEP 5 "Errors"."""
    wire = Wire()
    wire.strangers[public(1)] = lambda it: {
        b"e": [202, b"busy"],
        b"t": it.fields[b"t"],
        b"y": b"e",
    }
    engine = wire.add()
    ping = engine.ping(public(1), now=0.0)
    wire.run_for(1.0)
    assert isinstance(ping.error, ErrorResponse)
    assert (ping.error.code, ping.error.text) == (202, "busy")
    assert counts(engine)["errors received"] == 1
    assert len(engine.table) == 0


def test_nobody_is_asked_where_nobody_can_be() -> None:
    wire = Wire()
    texts = ["127.0.0.1:6881", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "192.168.1.1:1"]
    forbidden = [*map(parse_endpoint, texts), public(7, port=0), public(2)]
    listed = [Contact(node_id(bits), at) for bits, at in enumerate(forbidden)]
    honest = Contact(node_id(9), public(9))
    wire.strangers[public(1)] = saying(
        nodes=b"".join(it.compact() for it in [*listed, honest]),
        values=[bytes(at) for at in [*forbidden[:-1], public(8)]],
        token=b"t",
    )
    engine = wire.add(public(2))
    engine.join([public(1)], now=0.0)
    search = engine.get_peers(HASH, now=0.0)
    wire.run_for(30.0)
    assert {it.to for it in wire.sent_by(public(2))} == {public(1), honest.endpoint}
    assert list(search.purpose.peers) == [public(8)]


def test_nobody_of_the_other_family_is_asked() -> None:
    wire = Wire()
    nodes = [Contact(node_id(1), parse_endpoint("[::1]:1")), Contact(node_id(2), public6(3))]
    mapped = Endpoint(bytes(10) + b"\xff\xff\x08\x08\x08\x08\x1a\xe1")
    nodes.append(Contact(node_id(3), mapped))
    wire.strangers[public6(1)] = saying(nodes6=b"".join(it.compact() for it in nodes))
    engine = wire.add(public6(2))
    engine.join([public6(1), public(1)], now=0.0)
    wire.run_for(30.0)
    assert {it.to for it in wire.sent_by(public6(2))} == {public6(1), public6(3)}


def test_a_node_that_names_us_or_bears_our_id_does_not_lead_us_to_ourselves() -> None:
    wire = Wire()
    engine = wire.add(public(2), own_id=QUERIER)
    us = [Contact(QUERIER, public(5)), Contact(node_id(3), public(2))]
    wire.strangers[public(1)] = saying(nodes=b"".join(it.compact() for it in us))
    engine.join([public(1)], now=0.0)
    wire.run_for(30.0)
    assert {it.to for it in wire.sent_by(public(2))} == {public(1)}


# Acquaintances


def test_a_read_only_querier_is_answered_and_otherwise_left_alone() -> None:
    """BEP 43."""
    wire = Wire()
    engine = wire.add(public(1))
    reader = wire.add(public(2), read_only=True)
    ping = reader.ping(public(1), now=0.0)
    wire.run_for(1.0)
    assert ping.sender == wire.contact_of(engine)
    assert wire.sent_by(public(2))[0].fields[b"ro"] == 1
    assert wire.sent_by(public(1)) == []
    assert len(engine.table) == 0


def test_a_querier_is_pinged_once_and_enters_only_when_it_answers() -> None:
    """BEP 5 "Routing Table": having answered one of our queries makes a node good."""
    wire = Wire()
    engine = wire.add(public(1))
    silent, alive = public(2), public(3)
    wire.strangers[alive] = saying(id=QUERIER)
    for _ in range(5):
        for at, id in ((silent, RESPONDER), (alive, QUERIER)):
            wire.send(Datagram(ping_from(id), at, public(1), wire.now))
        wire.run_for(1.0)
    assert [it.to for it in wire.sent_by(public(1))] == [silent, alive]
    assert [node.contact for node in engine.table] == [Contact(QUERIER, alive)]


@pytest.mark.parametrize("id", [RESPONDER, b"short", bytes(21)], ids=["ours", "short", "long"])
def test_a_querier_with_an_unusable_id_is_not_pinged(id: bytes) -> None:
    engine = lone_engine()
    engine.receive_datagram(ping_from(id), PLACE, now=0.0)
    assert len(engine.datagrams_to_send()) == 1


def test_a_node_that_answers_under_a_new_id_loses_its_entry_and_gets_another() -> None:
    wire = Wire()
    engine = wire.add(public(1))
    for id in (QUERIER, RESPONDER):
        wire.strangers[public(2)] = saying(id=id)
        engine.ping(public(2), now=wire.now)
        wire.run_for(1.0)
        assert [node.contact for node in engine.table] == [Contact(id, public(2))]


def test_bootstrap_hosts_are_asked_and_never_kept() -> None:
    """BEP 5: a router is no entry of a table."""
    wire = Wire()
    router = wire.add(public(1))
    (other, engine) = wire.add(public(2)), wire.add(public(3))
    for it in (other, engine):
        it.join([public(1)], routers=[public(1)], now=wire.now)
        wire.run_for(5.0)
    assert {it.to for it in wire.sent_by(public(3), FIND_NODE)} == {public(1), public(2)}
    assert router.table.find(public(3)) is not None
    assert engine.table.find(public(1)) is None
    assert [node.contact for node in engine.table] == [wire.contact_of(other)]


def test_a_querying_bootstrap_host_is_not_pinged() -> None:
    engine = lone_engine()
    engine.join(routers=[PLACE], now=0.0)
    engine.receive_datagram(ping_from(), PLACE, now=0.0)
    assert len(engine.datagrams_to_send()) == 1


# Joining


def test_a_join_without_anybody_ends_and_is_tried_again() -> None:
    wire = Wire()
    engine = wire.add()
    engine.join(now=0.0)
    wire.run_for(HOUR)
    joins = [it for it in wire.events if isinstance(it, JoinEnded)]
    assert 6 <= len(joins) <= 30
    assert wire.carried == []
    assert engine.statistics(now=wire.now).nodes == 0


def test_a_lost_join_is_repeated() -> None:
    wire = Wire()
    wire.add(public(1))
    engine = wire.add(public(2))
    wire.fault = lambda it: []
    engine.join([public(1)], now=0.0)
    wire.run_for(MINUTE)
    assert len(engine.table) == 0
    wire.fault = lambda it: [it]
    wire.run_for(2 * MINUTE)
    assert engine.table.find(public(1)) is not None


def test_twelve_nodes_get_to_know_each_other() -> None:
    wire = Wire()
    for engine in wire.add_network(12):
        statistics = engine.statistics(now=wire.now)
        assert statistics.good_nodes == statistics.nodes >= K
        assert statistics.buckets == engine.table.depth
        assert statistics.swarms == statistics.in_flight == 0
        assert statistics.counts["answers received"] == statistics.counts["queries sent"]
        assert 0.1 <= statistics.slow_after_s <= 1.0


def test_saved_contacts_are_asked_before_any_host() -> None:
    wire = Wire()
    known = [wire.contact_of(it) for it in wire.add_network(12)]
    engine = wire.add(public(99))
    wire.carried.clear()
    engine.join([NOBODY], routers=[NOBODY], known=known, now=wire.now)
    wire.run_for(10.0)
    assert len(engine.table) >= K
    assert all(it.to != NOBODY for it in wire.carried)


def test_hosts_are_asked_when_saved_contacts_are_dead() -> None:
    wire = Wire()
    wire.add_network(12)
    engine = wire.add(public(99))
    dead = [Contact(node_id(bits), public(1_000 + bits)) for bits in range(20)]
    engine.join([public(1)], known=dead, now=wire.now)
    wire.run_for(MINUTE)
    assert len(engine.table) >= K


def test_an_entry_point_found_later_is_used_by_the_join_under_way() -> None:
    wire = Wire()
    wire.add_network(12)
    engine = wire.add(public(99))
    engine.join([NOBODY], now=wire.now)
    wire.run_for(0.5)
    engine.join([NOBODY, public(1)], now=wire.now)
    wire.run_for(2.0)
    assert len(engine.table) >= K


def test_an_entry_point_found_after_a_join_begins_another() -> None:
    wire = Wire()
    wire.add_network(12)
    engine = wire.add(public(99))
    engine.join(now=wire.now)
    wire.run_for(0.1)
    engine.join([public(1)], now=wire.now)
    wire.run_for(2.0)
    assert len(engine.table) >= K


def test_an_entry_point_found_when_others_are_known_is_kept_for_later() -> None:
    wire = Wire()
    engine = wire.add_network(9)[0]
    wire.carried.clear()
    engine.join([NOBODY], now=wire.now)
    wire.run_for(5.0)
    assert all(it.to != NOBODY for it in wire.carried)


# Searches


def test_a_search_waits_for_the_first_join() -> None:
    wire = Wire()
    wire.add_network(12)
    engine = wire.add(public(99))
    search = engine.find_node(NodeId(HASH), now=wire.now)
    assert Ended(search) not in wire.events
    engine.join([public(1)], now=wire.now)
    wire.run_for(5.0)
    assert Ended(search) in wire.events
    assert len(search.lookup.closest()) >= K


def test_a_search_ends_empty_when_a_join_finds_nobody() -> None:
    wire = Wire()
    engine = wire.add()
    search = engine.get_peers(HASH, now=0.0)
    engine.join([NOBODY], now=0.0)
    wire.run_for(MINUTE)
    assert Ended(search) in wire.events
    assert search.lookup.closest() == []


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_search_finds_the_closest_nodes(family: Family, loss: float) -> None:
    wire = Wire()
    network = wire.add_network(30, family=family)
    wire.fault = lambda it: [] if wire.rng.random() < loss else [it]
    search = network[-1].find_node(NodeId(HASH), now=wire.now)
    wire.run_for(MINUTE)
    assert Ended(search) in wire.events
    others = [wire.contact_of(it) for it in network[:-1]]
    nearest = sorted(others, key=lambda it: distance(it.id, HASH))[:K]
    assert len(set(search.lookup.closest()[:K]) & set(nearest)) >= (K if loss == 0.0 else K - 2)


def test_slow_nodes_do_not_hold_up_a_search() -> None:
    wire = Wire()
    network = wire.add_network(30)
    slow = {wire.endpoint_of(it) for it in network[5:10]}
    wire.fault = lambda it: [it._replace(arrives_at=it.arrives_at + 5.0 * (it.to in slow))]
    search = network[-1].find_node(NodeId(HASH), now=wire.now)
    wire.run_for(FAIL_MAX_S)
    assert Ended(search) in wire.events
    assert len(search.lookup.closest()) >= K


def test_an_announced_peer_is_found_by_others() -> None:
    """BEP 5 "get_peers", "announce_peer"."""
    wire = Wire()
    network = wire.add_network(20)
    wire.carried.clear()
    seeder = network[3].get_peers(HASH, now=wire.now, announcement=Announcement(port=7))
    wire.run_for(10.0)
    assert len(seeder.purpose.announced_to) == K
    here = wire.endpoint_of(network[3])
    writes = wire.sent_by(here, ANNOUNCE_PEER)
    assert {it.to for it in writes} == {it.endpoint for it in seeder.lookup.closest()[:K]}
    assert len({it.fields[b"a"][b"token"] for it in writes}) == K
    search = network[11].get_peers(HASH, now=wire.now)
    wire.run_for(10.0)
    assert list(search.purpose.peers) == [Endpoint(here[:4] + b"\0\7")]
    found = [it for it in wire.events if isinstance(it, Found) and it.inquiry is search]
    assert len(found) == 1
    assert wire.events.index(found[0]) < wire.events.index(Ended(search))


def test_an_announced_peer_is_forgotten_after_half_an_hour() -> None:
    wire = Wire()
    network = wire.add_network(12)
    network[3].get_peers(HASH, now=wire.now, announcement=Announcement(port=7, implied_port=True))
    wire.run_for(29 * MINUTE)
    early = network[5].get_peers(HASH, now=wire.now)
    wire.run_for(2 * MINUTE)
    late = network[5].get_peers(HASH, now=wire.now)
    wire.run_for(10.0)
    assert list(early.purpose.peers) == [wire.endpoint_of(network[3])]
    assert list(late.purpose.peers) == []


@pytest.mark.parametrize("started", [True, False])
def test_a_cancelled_search_is_heard_of_no_more(started: bool) -> None:
    wire = Wire()
    network = wire.add_network(12)
    engine = network[-1] if started else wire.add(public(99))
    search = engine.get_peers(HASH, now=wire.now)
    wire.run_for(LATENCY_S)
    engine.cancel(search)
    engine.cancel(search)
    wire.run_for(MINUTE)
    assert all(search not in event for event in wire.events)
    assert engine.statistics(now=wire.now).in_flight == 0


def test_a_dual_stack_node_names_nodes_of_both_families() -> None:
    """BEP 32 "want"."""
    wire = Wire()
    over_ipv4 = wire.add_network(9)[0]
    over_ipv6 = wire.add_network(9, family=Family.IPV6)[0]
    over_ipv4.lend(over_ipv6.table)
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"target": HASH, b"want": [b"n4", b"n6"]}
    query = encode_query(b"aa", FIND_NODE, arguments, read_only=True)
    wire.send(Datagram(query, public(99), wire.endpoint_of(over_ipv4), wire.now))
    wire.run_for(1.0)
    (answer,) = [it for it in wire.carried if it.to == public(99)]
    values = answer.fields[b"r"]
    assert (len(values[b"nodes"]), len(values[b"nodes6"])) == (K * 26, K * 38)


# Upkeep


def test_an_outage_of_our_own_does_not_empty_the_table() -> None:
    wire = Wire()
    network = wire.add_network(9)
    before = [len(engine.table) for engine in network]
    wire.fault = lambda it: []
    wire.run_for(GOOD_FOR_S + 10 * MINUTE)
    assert [len(engine.table) for engine in network] == before
    wire.fault = lambda it: [it]
    wire.run_for(10 * MINUTE)
    assert all(it.statistics(now=wire.now).good_nodes >= K for it in network)


@pytest.mark.slow
def test_the_dead_leave_the_tables_of_even_a_quiet_network() -> None:
    """Silence counts only when others are heard meanwhile, which in so small a network is rare."""
    wire = Wire()
    network = wire.add_network(12)
    dead = [wire.endpoint_of(it) for it in network[1:4]]
    for at in dead:
        del wire.engines[at]
    wire.run_for(2 * HOUR)
    for engine in wire.engines.values():
        assert all(engine.table.find(at) is None for at in dead)
        assert engine.statistics(now=wire.now).good_nodes >= K


def test_quiet_hours_cost_little() -> None:
    """A bucket refresh is one search, and a node is pinged when it has been silent, not before."""
    wire = Wire()
    network = wire.add_network(9)
    wire.carried.clear()
    wire.run_for(HOUR)
    assert all(len(it.data) < 1_024 for it in wire.carried)
    assert len(wire.carried) / 2 / len(network) / 60 < 6
    for engine in network:
        assert engine.statistics(now=wire.now).good_nodes >= K


def test_stale_buckets_are_refreshed() -> None:
    wire = Wire()
    engine = wire.add_network(12)[0]
    assert engine.table.stale_prefixes(now=wire.now + GOOD_FOR_S + 10.0) != []
    wire.run_for(HOUR)
    assert engine.table.stale_prefixes(now=wire.now) == []


# Budget


def test_new_endpoints_are_opened_no_faster_than_the_budget() -> None:
    wire = Wire()
    wire.add_network(20)
    engine = wire.add(public(99), budget=FlowBudget(2.0, now=wire.now))
    wire.carried.clear()
    engine.join([public(1)], now=wire.now)
    start = wire.now
    searches = [engine.find_node(node_id(bits), now=wire.now) for bits in range(3)]
    wire.run_for(MINUTE)
    met: dict[Endpoint, float] = {}
    for it in wire.sent_by(public(99)):
        met.setdefault(it.to, it.arrives_at - LATENCY_S - start)
    assert all(index <= 2.0 + 2.0 * at + 0.001 for index, at in enumerate(met.values(), start=1))
    assert len(met) > 10
    assert all(Ended(search) in wire.events for search in searches)


def test_a_budget_used_up_is_no_busy_loop_and_a_starved_search_can_be_cancelled() -> None:
    wire = Wire()
    budget = FlowBudget(0.01, now=0.0)
    engine = wire.add(public(1), budget=budget)
    first, second = engine.ping(public(2), now=0.0), engine.ping(public(3), now=0.0)
    third = engine.ping(public(4), now=0.0)
    assert engine.next_deadline(now=0.0) > 0.0
    engine.cancel(second)
    wire.run_for(250.0)
    assert [it.to for it in wire.sent_by(public(1), PING)] == [public(2), public(4)]
    assert Ended(first) in wire.events
    assert Ended(third) in wire.events
    assert Ended(second) not in wire.events


def test_answering_is_not_charged_to_the_budget() -> None:
    engine = lone_engine(budget=FlowBudget(0.001, now=0.0), limiter=SourceLimiter(rate=1e9))
    for serial in range(50):
        at = endpoint("192.0.2.1", 1_000 + serial)
        engine.receive_datagram(ping_from(read_only=True), at, now=0.0)
    assert len(engine.datagrams_to_send()) == 50


# The whole


def test_the_same_seed_gives_the_same_bytes() -> None:
    def run(seed: int) -> list[Datagram]:
        wire = Wire(seed)
        network = wire.add_network(9)
        wire.fault = lambda it: [] if wire.rng.random() < 0.2 else [it]
        network[3].get_peers(HASH, now=wire.now, announcement=Announcement(port=7))
        wire.run_for(MINUTE)
        return wire.carried

    assert run(1) == run(1) != run(2)


def test_two_engines_of_one_node_share_a_store() -> None:
    wire = Wire()
    store = PeerStore()
    over_ipv4, over_ipv6 = wire.add(public(1), store=store), wire.add(public6(1), store=store)
    assert over_ipv4.store is over_ipv6.store
    assert over_ipv4.statistics(now=0.0).swarms == 0


def test_a_loopback_network_works_within_loopback() -> None:
    wire = Wire()
    network = [wire.add(loopback(serial), bound=Scope.LOOPBACK) for serial in range(1, 11)]
    for engine in network:
        engine.join([loopback(1)], now=wire.now)
        wire.run_for(1.0)
    assert len(network[-1].table) >= K
    wire.say({b"a": {b"id": QUERIER}, b"q": PING, b"t": b"aa", b"y": b"q"}, public(1), loopback(1))
    wire.run_for(1.0)
    assert dropped(network[0]) == ["source not allowed"]


def test_a_query_for_peers_goes_out_as_the_spec_shows_it() -> None:
    """BEP 5 "get_peers"."""
    wire = Wire()
    wire.strangers[public(1)] = saying()
    engine = wire.add(public(2), own_id=QUERIER)
    engine.join([public(1)], now=0.0)
    wire.run_for(5.0)
    engine.get_peers(HASH, now=wire.now)
    wire.run_for(1.0)
    (query,) = wire.sent_by(public(2), GET_PEERS)
    assert query.data == encode(
        {
            b"a": {b"id": QUERIER, b"info_hash": HASH},
            b"q": b"get_peers",
            b"t": query.fields[b"t"],
            b"v": query.fields[b"v"],
            b"y": b"q",
        }
    )
