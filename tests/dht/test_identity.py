import random

from dht.contact import Endpoint, address_of, parse_endpoint
from dht.external import VOTERS_MIN
from dht.identity import CHANGE_AGAIN_S, Identity
from dht.keyspace import is_secure
from dht.reachability import ANSWERS_MIN, PATIENCE_S
from tests.dht.samples import ZERO_ID, public

US = parse_endpoint("8.8.4.4:6881")
MOVED = parse_endpoint("9.9.9.9:6881")


def identity(*, is_public: bool = True, read_only: bool = False) -> Identity:
    return Identity(ZERO_ID, random.Random(1), is_public=is_public, read_only=read_only, now=0.0)


def tell(us: Identity, claimed: Endpoint, *, now: float) -> int:
    """Let enough networks tell our address; return how often our id changes."""
    networks = [Endpoint(bytes([60, it, 1, 1, 26, 225])) for it in range(VOTERS_MIN)]
    return sum(us.answered(reporter, claimed, now=now) for reporter in networks)


def test_the_id_fits_the_address_once_it_is_known() -> None:
    us = identity()
    assert tell(us, US, now=0.0) == 1
    assert is_secure(us.own_id, address_of(US))
    assert us.external_address(now=0.0) == address_of(US)
    assert tell(us, US, now=10.0) == 0


def test_it_does_not_change_twice_in_half_an_hour() -> None:
    us = identity()
    tell(us, US, now=0.0)
    assert tell(us, MOVED, now=CHANGE_AGAIN_S - 1) == 0
    assert tell(us, MOVED, now=CHANGE_AGAIN_S) == 1
    assert is_secure(us.own_id, address_of(MOVED))


def test_one_network_does_not_change_it() -> None:
    us = identity()
    assert not any(us.answered(public(it), US, now=0.0) for it in range(200))
    assert us.own_id == ZERO_ID


def test_a_local_node_keeps_its_id_and_is_never_unreachable() -> None:
    us = identity(is_public=False)
    assert tell(us, US, now=0.0) == 0
    for _ in range(ANSWERS_MIN):
        us.answered(public(1), None, now=0.0)
    assert not us.reconsider(now=PATIENCE_S)


def test_whom_nobody_reaches_becomes_read_only() -> None:
    us = identity()
    for _ in range(ANSWERS_MIN):
        us.answered(public(1), None, now=0.0)
    assert not us.reconsider(now=PATIENCE_S - 1)
    assert us.reconsider(now=PATIENCE_S)
    assert us.is_read_only
    for serial in (1, 2):
        us.queried(public(serial), invited_at=float("-inf"), now=PATIENCE_S)
    assert not us.reconsider(now=PATIENCE_S)


def test_whoever_is_to_be_read_only_stays_so() -> None:
    us = identity(read_only=True)
    for serial in range(10):
        us.queried(public(serial), invited_at=float("-inf"), now=0.0)
    assert us.reconsider(now=0.0)
