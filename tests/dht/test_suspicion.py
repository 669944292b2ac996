"""Each rule, and a search that it alone saves: it fails when no rule applies."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue
from dht.contact import Contact, Endpoint
from dht.engine import Engine
from dht.keyspace import InfoHash, NodeId, random_id_sharing
from dht.krpc import ANNOUNCE_PEER, GET_PEERS
from dht.peerstore import PeerStore
from dht.ratelimit import ASKED_BURST, WRITES_BURST
from dht.routing import K
from dht.search import Announcement, FindPeers, Search
from dht.suspicion import (
    IDS_WITHIN_S,
    IGNORED_S,
    PLAUSIBLE_BITS,
    POSING_MIN,
    REMEMBERED_MAX,
    SAME_PEERS_MIN,
    SAME_PEERS_WITHIN_S,
    Rule,
    Scrutiny,
    Suspicion,
)
from tests.dht.samples import ZERO_ID, answer, contact, node_id, public
from tests.dht.wire import HERE, Datagram, Stranger, Wire

HASH = InfoHash(ZERO_ID)
OTHER_HASH = InfoHash(b"\xff" * 20)
LIAR = contact(3)
PEER = public(40_000)
PEERS = [public(30_000 + serial) for serial in range(SAME_PEERS_MIN)]


def judged(
    suspicion: Suspicion,
    contacts: Iterable[Contact] = (),
    peers: Iterable[Endpoint] = (),
    *,
    sender: Contact = LIAR,
    target: bytes = HASH,
    now: float = 0.0,
) -> tuple[list[Contact], list[Endpoint]]:
    found = suspicion.believable(answer(contacts, peers), sender, target, now=now)
    return found.contacts, found.peers


# The rules


def test_a_third_id_within_ten_minutes_is_one_too_many() -> None:
    suspicion = Suspicion()
    for serial in range(2):
        judged(suspicion, sender=Contact(node_id(serial), LIAR.endpoint), now=100.0 * serial)
        assert not suspicion.ignores(LIAR.endpoint, now=100.0 * serial)
    heard = judged(suspicion, [contact(9)], [PEER], sender=LIAR, now=300.0)
    assert heard == ([], [])
    assert suspicion.ignores(LIAR.endpoint, now=300.0 + IGNORED_S - 1)
    assert not suspicion.ignores(LIAR.endpoint, now=300.0 + IGNORED_S)
    assert suspicion.counts == {Rule.CHANGING_IDS: 1}


def test_a_node_may_change_its_id_now_and_then() -> None:
    suspicion = Suspicion()
    for serial in range(20):
        sender = Contact(node_id(serial), LIAR.endpoint)
        judged(suspicion, sender=sender, now=serial * (IDS_WITHIN_S / 2 + 1))
    assert not suspicion.counts


def test_an_endpoint_under_two_ids_is_under_neither() -> None:
    suspicion = Suspicion()
    twice = [Contact(node_id(bits), public(7)) for bits in (5, 6)]
    assert judged(suspicion, [*twice, contact(9)])[0] == [contact(9)]
    assert suspicion.counts == {Rule.MANY_IDS: 1}


@pytest.mark.parametrize(("nodes", "believed"), [(2, 2), (3, 0)])
def test_two_nodes_may_share_an_address_but_not_three(nodes: int, believed: int) -> None:
    named = [Contact(node_id(serial), public(7, port=serial + 1)) for serial in range(nodes)]
    assert len(judged(Suspicion(), named)[0]) == believed


def test_peers_that_are_nodes_of_the_same_answer_are_none() -> None:
    suspicion = Suspicion()
    contacts = [contact(bits) for bits in range(8)]
    posing = [it.endpoint for it in contacts]
    assert judged(suspicion, contacts, posing) == (contacts, [])
    assert suspicion.counts == {Rule.NODES_AS_PEERS: 1}


@pytest.mark.parametrize("posing", [POSING_MIN - 1, POSING_MIN])
def test_some_peers_may_be_nodes_as_well(posing: int) -> None:
    contacts = [contact(bits) for bits in range(8)]
    peers = [it.endpoint for it in contacts[:posing]]
    peers += PEERS[: len(peers)] if posing >= POSING_MIN else []
    assert judged(Suspicion(), contacts, peers)[1] == peers


def test_the_same_peers_for_another_info_hash_are_made_up() -> None:
    suspicion = Suspicion()
    assert judged(suspicion, peers=PEERS)[1] == PEERS
    assert judged(suspicion, peers=PEERS)[1] == PEERS
    assert judged(suspicion, peers=reversed(PEERS), target=OTHER_HASH)[1] == []
    assert suspicion.ignores(LIAR.endpoint, now=0.0)
    assert suspicion.counts == {Rule.SAME_PEERS: 1}


def test_a_list_of_peers_is_remembered_for_an_hour() -> None:
    for later_s, believed in ((SAME_PEERS_WITHIN_S - 1, []), (SAME_PEERS_WITHIN_S, PEERS)):
        suspicion = Suspicion()
        judged(suspicion, peers=PEERS)
        assert judged(suspicion, peers=PEERS, target=OTHER_HASH, now=later_s)[1] == believed


def test_a_few_peers_may_share_two_torrents() -> None:
    suspicion = Suspicion()
    for target in (HASH, OTHER_HASH):
        assert judged(suspicion, peers=PEERS[:-1], target=target)[1] == PEERS[:-1]


def test_one_node_may_stand_at_the_target_but_not_two() -> None:
    suspicion = Suspicion()
    scrutiny = suspicion.scrutiny()
    assert scrutiny.admits(public(1), 0)
    assert not scrutiny.admits(public(2), 1)
    assert scrutiny.admits(public(3), 1 << (160 - PLAUSIBLE_BITS))
    assert suspicion.counts == {Rule.NEAR_IDS: 1}


def test_one_network_has_one_candidate() -> None:
    scrutiny = Scrutiny()
    assert scrutiny.admits(public(1, host=1), 1 << 159)
    assert not scrutiny.admits(public(1, host=2), 1 << 158)
    scrutiny.forget(public(1, host=1))
    assert scrutiny.admits(public(1, host=2), 1 << 158)


def test_memory_fades() -> None:
    suspicion = Suspicion()
    for serial in range(10):
        for target in (HASH, OTHER_HASH):
            sender = Contact(ZERO_ID, public(100 + serial))
            judged(suspicion, peers=PEERS, sender=sender, target=target)
    day_s = 86_400.0
    for target in (HASH, OTHER_HASH):
        judged(suspicion, peers=PEERS, target=target, now=day_s)
    assert [len(suspicion._shown), len(suspicion._named), len(suspicion._ignored)] == [1, 1, 1]


def test_memory_is_bounded() -> None:
    suspicion = Suspicion()
    for serial in range(REMEMBERED_MAX + 10):
        at = Endpoint(b"\x08" + serial.to_bytes(3) + b"\0\1")
        for target in (HASH, OTHER_HASH):
            judged(suspicion, peers=PEERS, sender=Contact(ZERO_ID, at), target=target)
    sizes = [len(suspicion._shown), len(suspicion._named), len(suspicion._ignored)]
    assert sizes == [REMEMBERED_MAX] * 3


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 3)), max_size=32),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=50),
)
def test_nothing_is_believed_that_was_not_said(
    named: list[tuple[int, int, int]], peers: list[tuple[int, int]]
) -> None:
    contacts = [Contact(node_id(bits), public(place, port)) for bits, place, port in named]
    endpoints = [public(place, port) for place, port in peers]
    kept, kept_peers = judged(Suspicion(), contacts, endpoints)
    assert [it for it in contacts if it in kept] == kept
    assert kept_peers in ([], endpoints)
    assert judged(Suspicion(()), contacts, endpoints) == (contacts, endpoints)


# The searches

GUIDE = Contact(node_id(1), public(1))
"""Tells of the holder, but is far away, and so slow that a liar is heard before it."""

HOLDER = Contact(node_id(12), public(2))
"""The only node that knows the peer."""

BYSTANDERS = [Contact(node_id(6, serial), public(10 + serial)) for serial in range(K)]
"""Honest nodes that know nothing, but are nearer than the liar."""


def saying(sender: NodeId, **values: BValue) -> Stranger:
    """Return a stranger who says this to get_peers, and no more than its id to anything else."""

    def reply(datagram: Datagram) -> dict[bytes, BValue] | None:
        if not datagram.is_query():
            return None
        fields: dict[bytes, BValue] = {b"id": sender, b"token": b"t"}
        if datagram.is_query(GET_PEERS):
            fields |= {key.encode(): value for key, value in values.items()}
        return {b"r": fields, b"t": datagram.fields[b"t"], b"y": b"r"}

    return reply


def compact(contacts: Iterable[Contact]) -> bytes:
    return b"".join(it.compact() for it in contacts)


class Stage:
    """A node that knows a liar, and a guide to the only holder of a peer."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Set up everybody but the liar."""
        self.wire = Wire()
        self.suspicion = Suspicion(rules)
        self.engine: Engine = self.wire.add(suspicion=self.suspicion)
        for it in BYSTANDERS:
            self.wire.strangers[it.endpoint] = saying(it.id)
        named = compact([*BYSTANDERS, HOLDER])
        self.wire.strangers[GUIDE.endpoint] = saying(GUIDE.id, nodes=named)
        self.wire.strangers[HOLDER.endpoint] = saying(HOLDER.id, values=[bytes(PEER)])
        self.wire.fault = self._delay
        self.engine.ping(GUIDE.endpoint, now=0.0)
        self.wire.run_for(1.0)

    def _delay(self, datagram: Datagram) -> list[Datagram]:
        late = 0.15 if datagram.source == GUIDE.endpoint else 0.0
        return [datagram._replace(arrives_at=datagram.arrives_at + late)]

    def meet(self, liar: Stranger) -> None:
        """Let the engine meet the liar."""
        self.wire.strangers[LIAR.endpoint] = liar
        self.engine.ping(LIAR.endpoint, now=self.wire.now)
        self.wire.run_for(1.0)
        assert self.engine.table.find(LIAR.endpoint)

    def search(self, target: InfoHash = HASH) -> Search[FindPeers]:
        """Search to the end."""
        search = self.engine.get_peers(target, now=self.wire.now)
        self.wire.run_for(60.0)
        assert search.is_done
        return search


def near_ids(stage: Stage) -> None:
    """Eight colluding nodes say that they stand at the target."""
    sybils = [Contact(node_id(100, serial), public(100 + serial)) for serial in range(8)]
    collude(stage, sybils)


def one_network(stage: Stage) -> None:
    """Eight colluding nodes of one network stand as near as many an honest node."""
    sybils = [Contact(node_id(20, serial), public(100, host=serial)) for serial in range(8)]
    collude(stage, sybils)


def collude(stage: Stage, sybils: list[Contact]) -> None:
    for sybil in sybils:
        stage.wire.strangers[sybil.endpoint] = saying(sybil.id, nodes=compact(sybils))
    stage.meet(saying(LIAR.id, nodes=compact(sybils)))


def many_ids(stage: Stage) -> None:
    """The liar names the holder under wrong ids, so that it seems to be far away."""
    wrong = [Contact(node_id(0, serial), HOLDER.endpoint) for serial in range(2)]
    stage.meet(saying(LIAR.id, nodes=compact([*BYSTANDERS, *wrong])))


def changing_ids(stage: Stage) -> None:
    """The liar does so, and has another id each time."""
    wrong = compact([*BYSTANDERS, Contact(node_id(0), HOLDER.endpoint)])
    serials = iter(range(1, 1_000))

    def lie(datagram: Datagram) -> dict[bytes, BValue] | None:
        return saying(node_id(3, next(serials)), nodes=wrong)(datagram)

    stage.meet(lie)
    for _ in range(2):
        stage.engine.ping(LIAR.endpoint, now=stage.wire.now)
        stage.wire.run_for(1.0)


def nodes_as_peers(stage: Stage) -> None:
    """The liar sends us to harass nodes that are no peers."""
    victims = [Contact(node_id(2, serial), public(100 + serial)) for serial in range(8)]
    values: list[BValue] = [bytes(it.endpoint) for it in victims]
    stage.meet(saying(LIAR.id, nodes=compact(victims), values=values))


def same_peers(stage: Stage) -> None:
    """The liar has the same peers for whatever is asked."""
    values: list[BValue] = [bytes(it) for it in PEERS]
    stage.meet(saying(LIAR.id, values=values))
    stage.search(OTHER_HASH)


def crowd(stage: Stage) -> None:
    """Eight colluding nodes stand nearer than anybody, but each where a node may well be."""
    # As if other searches had shown a network of some 2,000 nodes.
    stage.suspicion.density.learn(1 << 152)
    collude(stage, [Contact(node_id(30, serial), public(100 + serial)) for serial in range(8)])


def several(stage: Stage) -> None:
    """Eight colluding nodes of one network say that they stand at the target."""
    sybils = [Contact(node_id(100, serial), public(100, host=serial)) for serial in range(8)]
    collude(stage, sybils)


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        (near_ids, Rule.NEAR_IDS),
        (one_network, Rule.CROWDING),
        (many_ids, Rule.MANY_IDS),
        (changing_ids, Rule.CHANGING_IDS),
        (nodes_as_peers, Rule.NODES_AS_PEERS),
        (same_peers, Rule.SAME_PEERS),
        (crowd, Rule.DENSITY),
        (several, Rule.SEVERAL),
    ],
)
def test_a_rule_alone_saves_the_search(lie: Callable[[Stage], None], rule: Rule) -> None:
    fooled, saved = Stage(()), Stage({rule})
    lie(fooled)
    lie(saved)
    assert list(fooled.search().purpose.peers) != [PEER]
    assert list(saved.search().purpose.peers) == [PEER]
    counts = saved.engine.statistics(now=saved.wire.now).counts
    assert counts[f"lies: {rule.value}"] > 0


def test_forged_answers_from_elsewhere_do_not_end_a_query() -> None:
    stage = Stage(())

    def forge(datagram: Datagram) -> list[Datagram]:
        if datagram.source != HOLDER.endpoint:
            return [datagram]
        forged = datagram._replace(source=public(66), data=b"d1:rd2:id20:" + bytes(20) + b"e")
        forged = forged._replace(data=forged.data + b"1:t4:" + datagram.fields[b"t"] + b"1:y1:re")
        return [forged, datagram._replace(arrives_at=datagram.arrives_at + 0.1)]

    stage.wire.fault = forge
    assert list(stage.search().purpose.peers) == [PEER]
    assert stage.engine.statistics(now=stage.wire.now).counts["dropped: wrong address"] > 0


@pytest.mark.parametrize(("burst", "found"), [(1_000.0, False), (WRITES_BURST, True)])
def test_a_limit_on_writes_alone_saves_a_node_from_a_token_flood(
    burst: float, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dht.ratelimit.WRITES_BURST", burst)
    wire = Wire()
    store = PeerStore(swarms_max=100)
    holder = wire.add(store=store)
    announced: list[InfoHash] = []

    def flood(info_hash: InfoHash) -> None:
        arguments: dict[bytes, BValue] = {b"id": LIAR.id, b"info_hash": info_hash}
        wire.say(query(GET_PEERS, arguments), LIAR.endpoint, HERE)
        announced.append(info_hash)

    def announce(datagram: Datagram) -> None:
        fields = datagram.fields
        if fields[b"y"] == b"r" and b"token" in fields[b"r"]:
            arguments: dict[bytes, BValue] = {b"id": LIAR.id, b"port": 1}
            arguments |= {b"info_hash": announced[-1], b"token": fields[b"r"][b"token"]}
            wire.say(query(ANNOUNCE_PEER, arguments), LIAR.endpoint, HERE)

    wire.strangers[LIAR.endpoint] = announce
    for serial in range(120):
        flood(InfoHash(serial.to_bytes(20)))
        wire.run_for(0.5)
    assert (len(store) < 100) is found
    honest = wire.add(public(3))
    honest.join([HERE], now=wire.now)
    honest.get_peers(OTHER_HASH, now=wire.now, announcement=Announcement(6_881))
    wire.run_for(30.0)
    search = wire.add(public(4)).get_peers(OTHER_HASH, now=wire.now)
    wire.engines[public(4)].join([HERE], now=wire.now)
    wire.run_for(30.0)
    assert (list(search.purpose.peers) == [public(3, port=6_881)]) is found
    assert ("dropped: token flood" in holder.statistics(now=wire.now).counts) is found


def query(method: bytes, arguments: dict[bytes, BValue]) -> dict[bytes, BValue]:
    return {b"a": arguments, b"q": method, b"t": b"aa", b"y": b"q"}


def test_an_ignored_node_leaves_the_table_and_is_not_heard() -> None:
    stage = Stage(Rule)
    stage.wire.strangers[LIAR.endpoint] = saying(LIAR.id)
    for serial in range(3):
        stage.wire.strangers[LIAR.endpoint] = saying(node_id(3, serial))
        stage.engine.ping(LIAR.endpoint, now=stage.wire.now)
        stage.wire.run_for(1.0)
    assert stage.engine.table.find(LIAR.endpoint) is None
    ping: dict[bytes, BValue] = {b"a": {b"id": LIAR.id}, b"q": b"ping", b"t": b"aa", b"y": b"q"}
    stage.wire.say(ping, LIAR.endpoint, stage.wire.endpoint_of(stage.engine))
    stage.wire.run_for(1.0)
    counts = stage.engine.statistics(now=stage.wire.now).counts
    assert counts["dropped: source ignored"] == 1
    assert "queries answered" not in counts


def test_an_address_is_not_asked_more_than_ten_times_in_ten_seconds() -> None:
    stage = Stage(Rule)
    stage.wire.run_for(10.0)
    before = len(stage.wire.sent_by(stage.wire.endpoint_of(stage.engine)))
    calls = [stage.engine.ping(GUIDE.endpoint, now=stage.wire.now) for _ in range(30)]
    stage.wire.run_for(0.1)
    sent = stage.wire.sent_by(stage.wire.endpoint_of(stage.engine))
    assert 3 <= len(sent) - before <= ASKED_BURST
    stage.wire.run_for(9.8)
    sent = stage.wire.sent_by(stage.wire.endpoint_of(stage.engine))
    assert len(sent) - before <= 10
    stage.wire.run_for(60.0)
    assert all(call.sender for call in calls)


def test_random_neighbours_of_the_target_are_believed() -> None:
    wire = Wire()
    lookup = wire.add().find_node(ZERO_ID, now=0.0).lookup
    crowd = [
        Contact(random_id_sharing(HASH, bits, wire.rng), public(bits + 1))
        for bits in range(PLAUSIBLE_BITS)
    ]
    lookup.add(crowd)
    assert lookup.next_query() == crowd[-1]
