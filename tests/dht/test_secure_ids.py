"""Ids that fit their address: our own, and those of others."""

import random

import pytest

from dht.bencode import BValue
from dht.contact import Contact, Endpoint, Family, Scope, address_of, has_secure_id
from dht.external import VOTERS_MIN
from dht.keyspace import InfoHash, NodeId, is_secure, secure_id
from dht.reachability import ANSWERS_MIN, PATIENCE_S
from dht.routing import FAILURES_BAD, REPLACEMENTS_MAX, K, RoutingTable
from dht.suspicion import Suspicion
from tests.dht.samples import ZERO_ID, contact, loopback, node_id, public
from tests.dht.wire import HERE, Datagram, Stranger, Wire

HASH = InfoHash(ZERO_ID)
RTT_S = 0.1


def secure_contact(at: Endpoint, *, shared_bits: int = 0) -> Contact:
    """Return a contact with a secure id that shares that many bits, at most 8, with `ZERO_ID`."""
    rng = random.Random(1)
    wanted = 1 << (7 - shared_bits)
    while True:
        own_id = secure_id(address_of(at), rng)
        if own_id[0] & ~(wanted - 1) == wanted:
            return Contact(own_id, at)


def table_of(contacts: list[Contact], *, strict_ids: bool = False) -> RoutingTable:
    table = RoutingTable(ZERO_ID, Family.IPV4, now=0.0, strict_ids=strict_ids)
    for it in contacts:
        table.answered(it, rtt_s=RTT_S, now=0.0)
    return table


def full_table() -> RoutingTable:
    """Return a table whose farthest bucket is full of good nodes without secure ids."""
    return table_of([*(contact(1, it) for it in range(K)), *(contact(0, it) for it in range(K))])


# The table


def test_a_secure_node_takes_the_place_of_one_that_is_not() -> None:
    table = full_table()
    newcomer = secure_contact(public(60_000))
    assert table.answered(newcomer, rtt_s=RTT_S, now=1.0)
    assert table.find(newcomer.endpoint)
    assert len(table) == 2 * K


def test_it_takes_that_of_a_bad_one_first() -> None:
    table = full_table()
    for _ in range(FAILURES_BAD):
        table.failed(contact(0, 3).endpoint)
    table.answered(secure_contact(public(60_000)), rtt_s=RTT_S, now=1.0)
    assert table.find(contact(0, 3).endpoint) is None
    assert len(table) == 2 * K


def test_a_node_without_a_secure_id_takes_nobodys_place() -> None:
    table = full_table()
    assert not table.answered(contact(0, 100), rtt_s=RTT_S, now=1.0)


def test_secure_nodes_give_way_to_nobody() -> None:
    table = table_of([contact(1, it) for it in range(K)])
    settled = [secure_contact(public(50_000 + it)) for it in range(K)]
    for it in settled:
        assert table.answered(it, rtt_s=RTT_S, now=0.0)
    assert not table.answered(secure_contact(public(60_000)), rtt_s=RTT_S, now=1.0)
    assert all(table.find(it.endpoint) for it in settled)


def test_a_secure_replacement_goes_first() -> None:
    table = table_of([contact(1, it) for it in range(K)])
    settled = [secure_contact(public(50_000 + it)) for it in range(K)]
    waiting = [secure_contact(public(60_000)), *(contact(0, it) for it in range(K))]
    for it in [*settled, *waiting[:REPLACEMENTS_MAX]]:
        table.answered(it, rtt_s=RTT_S, now=0.0)
    for _ in range(FAILURES_BAD):
        table.failed(settled[0].endpoint)
    assert table.find(waiting[0].endpoint)


def test_local_nodes_are_as_good_as_secure_ones() -> None:
    assert has_secure_id(Contact(node_id(1), loopback(1)))
    assert not has_secure_id(contact(1))


def test_a_strict_table_holds_secure_nodes_and_local_ones_only() -> None:
    secure, local = secure_contact(public(60_000)), Contact(node_id(2), loopback(1))
    table = table_of([contact(0), secure, local], strict_ids=True)
    assert {node.contact for node in table} == {secure, local}


def test_another_centre_keeps_the_nodes_there_is_room_for() -> None:
    table = full_table()
    table.recentre(node_id(0, 5_000), now=10.0)
    kept = {node.contact for node in table}
    assert kept <= {contact(bits, it) for bits in (0, 1) for it in range(K)}
    assert len(kept) == 2 * K
    assert table.closest(contact(1, 3).id, 1, now=10.0) == [contact(1, 3)]


# The engine


def saying(sender: NodeId, **values: BValue) -> Stranger:
    def reply(datagram: Datagram) -> dict[bytes, BValue] | None:
        if not datagram.is_query():
            return None
        fields: dict[bytes, BValue] = {b"id": sender, b"token": b"t"}
        fields |= {key.encode(): value for key, value in values.items()}
        return {b"ip": HERE, b"r": fields, b"t": datagram.fields[b"t"], b"y": b"r"}

    return reply


@pytest.mark.parametrize("strict_ids", [False, True])
def test_strict_searches_pass_through_others_but_trust_and_write_to_secure_ones_only(
    strict_ids: bool,
) -> None:
    wire = Wire()
    secure = secure_contact(public(60_000))
    wire.strangers[contact(9).endpoint] = saying(contact(9).id, nodes=secure.compact())
    wire.strangers[secure.endpoint] = saying(secure.id)
    engine = wire.add(suspicion=Suspicion(strict_ids=strict_ids))
    engine.join(known=[contact(9)], now=0.0)
    search = engine.get_peers(HASH, now=0.0)
    wire.run_for(60.0)
    assert search.lookup.closest() == ([secure] if strict_ids else [contact(9), secure])
    assert {node.contact for node in engine.table} == set(search.lookup.closest())


def outside(network: int) -> Endpoint:
    """Return a place in a /16 of its own."""
    return Endpoint(bytes([60, network, 1, 1, 26, 225]))


def test_the_engine_takes_an_id_that_fits_the_address_told_and_keeps_its_acquaintances() -> None:
    wire = Wire()
    engine = wire.add(own_id=node_id(0))
    known = [secure_contact(outside(it)) for it in range(VOTERS_MIN)]
    for it in known:
        wire.strangers[it.endpoint] = saying(it.id)
        engine.ping(it.endpoint, now=0.0)
    wire.run_for(5.0)
    assert is_secure(engine.own_id, address_of(HERE))
    assert engine.table.own_id == engine.own_id
    assert {node.contact for node in engine.table} <= set(known)
    assert len(engine.table) >= K
    statistics = engine.statistics(now=wire.now)
    assert statistics.counts["own id changed"] == 1
    assert statistics.external_address == address_of(HERE)
    last = wire.sent_by(HERE)[-1]
    assert last.fields[b"a"][b"id"] == engine.own_id


@pytest.mark.parametrize(
    ("bound", "becomes"), [(Scope.GLOBAL, True), (Scope.LOOPBACK, False)], ids=["public", "local"]
)
def test_an_engine_that_nobody_visits_says_that_it_is_read_only(
    bound: Scope, becomes: bool
) -> None:
    wire = Wire()
    place = public if bound is Scope.GLOBAL else loopback
    engine = wire.add(place(50_000), bound=bound)
    for serial in range(ANSWERS_MIN):
        wire.strangers[place(serial + 1)] = saying(node_id(serial % 40, serial))
        engine.ping(place(serial + 1), now=0.0)
    wire.run_for(PATIENCE_S + 60.0)
    (*_, last) = wire.sent_by(place(50_000))
    assert (last.fields.get(b"ro") == 1) is becomes
    assert engine.statistics(now=wire.now).is_read_only is becomes
