from collections.abc import Iterable

from dht.contact import Contact, Endpoint
from dht.errors import ErrorResponse, QueryTimeout
from dht.inquiry import Inquiry, PeersNamed, Request
from dht.keyspace import InfoHash, NodeId
from dht.krpc import ANNOUNCE_PEER, FIND_NODE, GET_PEERS, Answer
from dht.lookup import ALPHA, Lookup
from dht.routing import K
from dht.search import (
    PEERS_PER_SEARCH_MAX,
    Announcement,
    FindNodes,
    FindPeers,
    Purpose,
    Search,
)
from tests.dht.samples import ZERO_ID, answer, contact, public

HASH = InfoHash(ZERO_ID)
TIMEOUT = QueryTimeout(2.0)
ROUTERS = [public(60_000), public(60_001)]
HERE = Announcement(port=6881)


def node_search(
    target: bytes, seeds: Iterable[Contact] = (), routers: Iterable[Endpoint] = ()
) -> Search[FindNodes]:
    return Search(FindNodes(), Lookup(target, seeds), routers=routers)


def peer_search(info_hash: InfoHash, announcement: Announcement | None = None) -> Search[FindPeers]:
    return Search(FindPeers(announcement), Lookup(info_hash))


def ladder(count: int) -> list[Contact]:
    return [contact(bits) for bits in range(count)]


def is_done(inquiry: Inquiry) -> bool:
    return inquiry.is_done


def send(search: Search[Purpose]) -> Request:
    request = search.next_request()
    assert request is not None
    search.sent(request)
    return request


def send_all(search: Search[Purpose]) -> list[Request]:
    requests = []
    while search.next_request() is not None:
        requests.append(send(search))
    return requests


def reply(search: Search[Purpose], it: Contact, with_answer: Answer) -> None:
    search.answered(it, with_answer, rtt_s=0.1)


def walk(search: Search[Purpose], *, token: bytes | None = b"token") -> list[Request]:
    """Let all candidates answer, each with a token; return what was asked of them."""
    contacts = {contact(bits).endpoint: contact(bits) for bits in range(40)}
    asked = []
    while not search.lookup.is_done:
        request = send(search)
        reply(search, contacts[request.endpoint], answer(token=token))
        asked.append(request)
    return asked


def announcing(announcement: Announcement, candidates: int = K) -> Search[FindPeers]:
    search = peer_search(HASH, announcement)
    search.lookup.add(ladder(candidates))
    return search


# Searches


def test_a_search_with_nobody_to_ask_is_done() -> None:
    search = node_search(ZERO_ID)
    assert search.next_request() is None
    assert is_done(search)


def test_a_search_for_nodes_asks_find_node() -> None:
    search = node_search(ZERO_ID, ladder(1))
    assert send(search) == Request(contact(0).endpoint, FIND_NODE, {b"target": ZERO_ID})


def test_a_search_for_peers_asks_get_peers_and_reports_each_peer_once() -> None:
    search = peer_search(HASH)
    search.lookup.add(ladder(2))
    requests = send_all(search)
    assert requests[0] == Request(contact(1).endpoint, GET_PEERS, {b"info_hash": HASH})
    reply(search, contact(1), answer(peers=[public(1), public(2), public(1)]))
    reply(search, contact(0), answer(peers=[public(2), public(3)]))
    assert search.take_findings() == [
        PeersNamed(contact(1), (public(1), public(2))),
        PeersNamed(contact(0), (public(3),)),
    ]
    assert search.take_findings() == []
    assert list(search.purpose.peers) == [public(1), public(2), public(3)]


def test_an_answer_without_news_is_not_reported() -> None:
    search = peer_search(HASH)
    search.lookup.add(ladder(1))
    send(search)
    reply(search, contact(0), answer())
    assert search.take_findings() == []


def test_so_many_peers_are_reported_and_no_more() -> None:
    search = peer_search(HASH)
    search.lookup.add(ladder(2))
    send_all(search)
    invented = [public(serial) for serial in range(PEERS_PER_SEARCH_MAX + 100)]
    reply(search, contact(1), answer(peers=invented[:1_500]))
    reply(search, contact(0), answer(peers=invented[1_000:]))
    assert list(search.purpose.peers) == invented[:PEERS_PER_SEARCH_MAX]
    assert sum(len(found.peers) for found in search.take_findings()) == PEERS_PER_SEARCH_MAX


def test_a_slow_node_lets_another_be_asked() -> None:
    search = node_search(ZERO_ID, ladder(ALPHA + 1))
    assert len(send_all(search)) == ALPHA
    search.slow(contact(ALPHA).endpoint)
    assert send_all(search) == [Request(contact(0).endpoint, FIND_NODE, {b"target": ZERO_ID})]


# Routers


def test_routers_are_left_alone_while_those_known_suffice() -> None:
    search = node_search(ZERO_ID, ladder(K), ROUTERS)
    asked = walk(search)
    assert {request.endpoint for request in asked}.isdisjoint(ROUTERS)
    assert is_done(search)


def test_routers_are_asked_all_at_once_when_nobody_is_known() -> None:
    search = node_search(ZERO_ID, routers=[*ROUTERS, ROUTERS[0]])
    requests = send_all(search)
    assert requests == [Request(it, FIND_NODE, {b"target": ZERO_ID}) for it in ROUTERS]
    assert not is_done(search)


def test_whom_a_router_names_is_asked_and_the_router_is_no_result() -> None:
    search = node_search(ZERO_ID, routers=ROUTERS)
    send_all(search)
    reply(search, Contact(ZERO_ID, ROUTERS[0]), answer(ladder(2), token=b"no"))
    assert list(search.answers_from_routers) == [ROUTERS[0]]
    assert {request.endpoint for request in send_all(search)} == {it.endpoint for it in ladder(2)}
    for it in ladder(2):
        reply(search, it, answer())
    assert not is_done(search)
    search.slow(ROUTERS[1])
    search.failed(ROUTERS[1], TIMEOUT)
    assert search.silent_routers == [ROUTERS[1]]
    assert is_done(search)
    assert set(search.lookup.closest()) == set(ladder(2))


def test_routers_are_asked_when_too_few_of_those_known_answered() -> None:
    search = node_search(ZERO_ID, ladder(2), ROUTERS)
    for request in send_all(search):
        assert request.endpoint not in ROUTERS
        search.failed(request.endpoint, TIMEOUT)
    assert [request.endpoint for request in send_all(search)] == ROUTERS


def test_routers_are_asked_when_all_those_known_seem_to_be_dead() -> None:
    search = node_search(ZERO_ID, ladder(20), ROUTERS)
    for _ in range(K):
        request = send(search)
        assert request.endpoint not in ROUTERS
        search.slow(request.endpoint)
    assert [request.endpoint for request in send_all(search)][:2] == ROUTERS


def test_a_router_whose_name_was_resolved_later_is_asked_once() -> None:
    search = node_search(ZERO_ID, routers=ROUTERS[:1])
    send_all(search)
    search.add_routers([*ROUTERS, ROUTERS[1]])
    assert [request.endpoint for request in send_all(search)] == ROUTERS[1:]
    search.failed(ROUTERS[0], TIMEOUT)
    reply(search, Contact(ZERO_ID, ROUTERS[1]), answer())
    search.add_routers(ROUTERS)
    assert search.next_request() is None
    assert is_done(search)


# Announcing


def test_nothing_is_announced_to_nodes_that_gave_no_token() -> None:
    search = announcing(HERE)
    walk(search, token=None)
    assert send_all(search) == []
    assert is_done(search)
    assert search.purpose.announced_to == []


def test_an_announcement_waits_for_the_end_of_the_walk() -> None:
    search = announcing(HERE, candidates=2)
    send_all(search)
    reply(search, contact(1), answer(token=b"one"))
    assert search.next_request() is None
    assert not is_done(search)
    search.failed(contact(0).endpoint, TIMEOUT)
    assert send(search).endpoint == contact(1).endpoint


def test_an_announcement_goes_to_the_k_closest_holders_each_with_its_own_token() -> None:
    """BEP 5 "announce_peer"."""
    search = announcing(Announcement(port=7, implied_port=True, seed=True), candidates=K + 4)
    while not search.lookup.is_done:
        endpoint = send(search).endpoint
        it = next(it for it in ladder(K + 4) if it.endpoint == endpoint)
        reply(search, it, answer(token=endpoint))
    writes = send_all(search)
    assert [write.endpoint for write in writes] == [it.endpoint for it in ladder(K + 4)[:3:-1]]
    for write in writes:
        assert write.method == ANNOUNCE_PEER
        assert write.arguments == {
            b"implied_port": 1,
            b"info_hash": HASH,
            b"port": 7,
            b"seed": 1,
            b"token": bytes(write.endpoint),
        }


def test_an_announcement_is_over_when_every_holder_has_answered_or_failed() -> None:
    search = announcing(HERE, candidates=3)
    walk(search)
    writes = send_all(search)
    assert [write.arguments[b"implied_port"] for write in writes] == [0, 0, 0]
    reply(search, contact(2), answer())
    search.slow(contact(1).endpoint)
    search.failed(contact(1).endpoint, ErrorResponse(203, "bad token"))
    assert not is_done(search)
    reply(search, contact(0), answer())
    assert is_done(search)
    assert search.purpose.announced_to == [contact(2), contact(0)]


def test_a_late_answer_that_prolongs_the_walk_does_not_disturb_the_announcing() -> None:
    """A node that was slow names a nearer one while announcements wait for their turn."""
    search = announcing(HERE)
    late = contact(30)
    far = Contact(NodeId(b"\xff" * 20), public(59_999))
    search.lookup.add([far])
    search.lookup.asked(far.endpoint)
    search.slow(far.endpoint)
    walk(search)
    send(search)
    reply(search, far, answer([late]))
    request = send(search)
    assert (request.endpoint, request.method) == (late.endpoint, GET_PEERS)
    reply(search, late, answer(token=b"late"))
    writes = send_all(search)
    assert [write.method for write in writes] == [ANNOUNCE_PEER] * (K - 1)
    for it in ladder(K):
        reply(search, it, answer())
    assert is_done(search)
    assert set(search.purpose.announced_to) == set(ladder(K))


# A router's lost datagram


def test_a_slow_router_is_asked_once_more_and_then_no_more() -> None:
    search = node_search(ZERO_ID, routers=ROUTERS[:1])
    send(search)
    search.slow(ROUTERS[0])
    assert send(search).endpoint == ROUTERS[0]
    search.slow(ROUTERS[0])
    assert search.next_request() is None
    search.failed(ROUTERS[0], TIMEOUT)
    assert not is_done(search)
    search.failed(ROUTERS[0], TIMEOUT)
    assert is_done(search)
    assert search.silent_routers == ROUTERS[:1]


def test_a_router_that_answers_the_second_time_has_answered() -> None:
    search = node_search(ZERO_ID, routers=ROUTERS[:1])
    send(search)
    search.slow(ROUTERS[0])
    send(search)
    reply(search, Contact(ZERO_ID, ROUTERS[0]), answer([contact(1)]))
    search.failed(ROUTERS[0], TIMEOUT)
    assert list(search.answers_from_routers) == ROUTERS[:1]
    assert search.silent_routers == []
    assert send(search).endpoint == contact(1).endpoint


def test_no_slow_router_is_asked_again_when_another_has_answered() -> None:
    search = node_search(ZERO_ID, routers=ROUTERS)
    send_all(search)
    reply(search, Contact(ZERO_ID, ROUTERS[1]), answer([contact(1)]))
    search.slow(ROUTERS[0])
    assert [it.endpoint for it in send_all(search)] == [contact(1).endpoint]


def test_a_router_that_is_a_node_too_is_asked_as_one_and_settles() -> None:
    search = node_search(ZERO_ID, routers=[contact(1).endpoint])
    send(search)
    reply(search, contact(1), answer([contact(1)]))
    assert send(search).endpoint == contact(1).endpoint
    reply(search, contact(1), answer())
    assert is_done(search)
    assert search.lookup.closest() == [contact(1)]
