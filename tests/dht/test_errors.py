import pytest

from dht.errors import (
    CannotListen,
    DhtError,
    ErrorResponse,
    LocalProtocolError,
    MalformedBencode,
    MalformedMessage,
    NodeClosed,
    NotBootstrapped,
    QueryError,
    QueryRefused,
    QueryTimeout,
    RemoteProtocolError,
    StateError,
)


@pytest.mark.parametrize("error", [MalformedBencode("bad", 3), MalformedMessage("bad")])
def test_what_a_decoder_raises_is_the_strangers_fault(error: DhtError) -> None:
    assert isinstance(error, RemoteProtocolError)
    assert not isinstance(error, LocalProtocolError | QueryError)


@pytest.mark.parametrize(
    "error", [QueryTimeout(2.0), ErrorResponse(201, "no"), QueryRefused("address not allowed")]
)
def test_a_query_without_a_useful_answer_is_nobodys_fault(error: DhtError) -> None:
    assert isinstance(error, QueryError)
    assert not isinstance(error, LocalProtocolError | RemoteProtocolError)


@pytest.mark.parametrize("kind", [LocalProtocolError, NotBootstrapped, NodeClosed])
def test_every_error_is_a_dht_error(kind: type[DhtError]) -> None:
    with pytest.raises(DhtError):
        raise kind


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MalformedBencode("duplicate key", 8), "duplicate key at byte 8"),
        (MalformedMessage("kind of message"), "kind of message"),
        (QueryTimeout(2.04), "no answer within 2.0 s"),
        (ErrorResponse(203, "bad token"), "error 203: bad token"),
        (QueryRefused("address not allowed"), "not sent: address not allowed"),
        (StateError("cut short"), "unusable state: cut short"),
        (CannotListen("192.0.2.1:1", "port taken"), "cannot listen on 192.0.2.1:1: port taken"),
    ],
)
def test_the_message_is_built_from_the_fields(error: DhtError, text: str) -> None:
    assert str(error) == text
