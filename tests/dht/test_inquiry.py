from dht.errors import QueryTimeout
from dht.inquiry import Inquiry, Request, ping
from dht.krpc import PING
from tests.dht.samples import answer, contact, public

TIMEOUT = QueryTimeout(2.0)


def is_done(inquiry: Inquiry) -> bool:
    return inquiry.is_done


def test_a_ping_without_an_answer_keeps_the_reason() -> None:
    call = ping(public(1))
    call.sent(Request(public(1), PING, {}))
    call.slow(public(1))
    assert call.next_request() is None
    assert not is_done(call)
    call.failed(public(1), TIMEOUT)
    assert is_done(call)
    assert (call.sender, call.rtt_s, call.error) == (None, None, TIMEOUT)


def test_a_ping_keeps_who_answered() -> None:
    call = ping(contact(1).endpoint)
    request = call.next_request()
    assert request == Request(contact(1).endpoint, PING, {})
    call.sent(request)
    call.answered(contact(1), answer(), rtt_s=0.1)
    assert is_done(call)
    assert (call.sender, call.rtt_s, call.error) == (contact(1), 0.1, None)
    assert call.take_findings() == []
