import random

from dht.contact import Contact, Endpoint
from dht.errors import QueryTimeout
from dht.inquirer import Inquirer
from dht.inquiry import Ended, Inquiry
from dht.keyspace import InfoHash
from dht.krpc import Answer, Query, Response, decode_message
from dht.lookup import Lookup
from dht.ratelimit import FlowBudget
from dht.routing import K
from dht.search import FindNodes, Search
from dht.transactions import Transaction
from tests.dht.samples import RESPONDER, node_id, public

TARGET = InfoHash(bytes(20))
NEARER, *NEAREST = [Contact(node_id(20 - rank), public(rank)) for rank in range(1, K + 3)]


class Asked:
    """An inquirer, and what it sent to whom."""

    def __init__(self) -> None:
        self.inquirer = Inquirer(
            RESPONDER, random.Random(1), FlowBudget(float("inf"), now=0.0), read_only=False
        )
        self.sent: dict[Endpoint, bytes] = {}

    def search(self) -> Search[FindNodes]:
        search = Search(FindNodes(), Lookup(TARGET, NEAREST))
        self.inquirer.start(search, now=0.0)
        return search

    def take(self, contact: Contact, *, now: float) -> Transaction[Inquiry]:
        """Take the query to a contact, as an answer of it does."""
        for datagram, to in self.inquirer.take_datagrams():
            message = decode_message(datagram)
            assert isinstance(message, Query)
            self.sent[to] = message.transaction_id
        endpoint = contact.endpoint
        transaction = self.inquirer.match(endpoint, self.sent.pop(endpoint), now=now)
        assert transaction is not None
        return transaction

    def answer(self, contact: Contact, *named: Contact, now: float) -> None:
        response = Response(b"", contact.id, {}, None, b"", b"")
        transaction = self.take(contact, now=now)
        self.inquirer.answered(
            transaction, contact, Answer(list(named), [], None, response), now=now
        )


def ended_with_one_in_flight() -> tuple[Asked, Search[FindNodes]]:
    """A search whose K nearest were slow but answered, while one more was asked beside them."""
    asked = Asked()
    search = asked.search()
    now = 0.0
    while asked.inquirer.in_flight <= K:
        now = asked.inquirer.next_deadline(now=now)
        assert asked.inquirer.handle_deadlines(now=now) == []
    for contact in NEAREST[:K]:
        asked.answer(contact, now=now)
    assert asked.inquirer.take_events() == [Ended(search)]
    return asked, search


def test_a_late_answer_changes_nothing_about_a_search_that_is_over() -> None:
    asked, search = ended_with_one_in_flight()
    asked.answer(NEAREST[K], NEARER, now=1.0)
    assert search.is_done
    assert search.closest() == NEAREST[:K]
    assert asked.inquirer.take_datagrams() == []
    assert asked.inquirer.take_events() == []


def test_a_late_refusal_or_silence_changes_nothing_either() -> None:
    asked, search = ended_with_one_in_flight()
    asked.inquirer.refused(asked.take(NEAREST[K], now=1.0), QueryTimeout(1.0), now=1.0)
    assert (search.is_done, search.lookup.failed_count) == (True, 0)
    asked, search = ended_with_one_in_flight()
    assert asked.inquirer.handle_deadlines(now=1_000.0)
    assert asked.inquirer.in_flight == 0
    assert (search.is_done, search.lookup.failed_count) == (True, 0)
