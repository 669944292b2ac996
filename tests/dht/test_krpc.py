from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, decode, encode, is_canonical
from dht.contact import PEERS_MAX, Endpoint, Family, format_endpoint, parse_endpoint
from dht.errors import MalformedBencode, MalformedMessage, RemoteProtocolError
from dht.krpc import (
    ANNOUNCE_PEER,
    FIND_NODE,
    GET_PEERS,
    PING,
    TRANSACTION_ID_MAX,
    VERSION_MAX,
    BadQuery,
    ErrorCode,
    ErrorMessage,
    Query,
    Response,
    decode_message,
    encode_error,
    encode_query,
    encode_response,
    flag_argument,
    id_argument,
    port_argument,
    read_answer,
    wanted_families,
)
from tests.dht.samples import PLACE, QUERIER, RESPONDER, about, as_bytes, recorded

EXAMPLES = recorded("krpc_messages", "examples")
ANSWERS = recorded("krpc_messages", "answers")
ERRORS = recorded("krpc_messages", "errors")
PACKETS = [
    as_bytes(row["packet"])
    for group in ("examples", "answered", "refused", "dropped", "answers", "errors")
    for row in recorded("krpc_messages", group)
]
UNREADABLE = [
    row
    for row in recorded("krpc_messages", "dropped")
    if not row["about"].endswith(("nothing asked", "third party"))
]
FAMILIES = {4: Family.IPV4, 6: Family.IPV6}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a recorded message with some bytes replaced, cut off or doubled."""
    data = bytearray(draw(st.sampled_from(PACKETS)))
    for _ in range(draw(st.integers(0, 4)) if data else 0):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        if not data:
            break
    return bytes(data)


def query(arguments: dict[bytes, BValue]) -> Query:
    return Query(b"aa", PING, arguments, read_only=False)


def response(**values: BValue) -> Response:
    fields = {key.encode(): value for key, value in values.items()}
    return Response(b"aa", RESPONDER, fields, external=None, version=b"", raw=b"")


@pytest.mark.parametrize("vector", UNREADABLE, ids=about)
def test_what_is_no_message_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_message(as_bytes(vector["packet"]))


@given(damaged() | st.binary(min_size=20, max_size=60).map(lambda data: b"d" + data))
def test_strangers_bytes_raise_the_documented_errors_only(datagram: bytes) -> None:
    try:
        message = decode_message(datagram)
    except (MalformedBencode, MalformedMessage):
        return
    assert len(message.transaction_id) <= TRANSACTION_ID_MAX
    if isinstance(message, Response):
        for family in Family:
            answer = read_answer(message, family)
            assert all(len(peer) == family.endpoint_bytes for peer in answer.peers)
    elif isinstance(message, Query):
        wanted_families(message, Family.IPV4)
        with suppress(BadQuery):
            assert len(id_argument(message, b"id")) == 20
        with suppress(BadQuery):
            assert 0 < port_argument(message, PLACE) <= 65_535


@pytest.mark.parametrize("vector", EXAMPLES, ids=about)
def test_an_example_of_the_spec_is_read(vector: dict[str, Any]) -> None:
    packet = as_bytes(vector["packet"])
    assert is_canonical(packet)
    assert decode_message(packet).transaction_id == b"aa"


@pytest.mark.parametrize(
    ("about", "method", "arguments"),
    [
        ("BEP 5 ping", PING, {b"id": QUERIER}),
        ("BEP 5 find_node", FIND_NODE, {b"id": QUERIER, b"target": RESPONDER}),
        ("BEP 5 get_peers", GET_PEERS, {b"id": QUERIER, b"info_hash": RESPONDER}),
        (
            "BEP 5 announce_peer",
            ANNOUNCE_PEER,
            {b"id": QUERIER, b"info_hash": RESPONDER, b"implied_port": 1, b"port": 6881}
            | {b"token": b"aoeusnth"},
        ),
    ],
)
def test_a_query_is_written_as_the_spec_shows_it_and_says_our_version(
    about: str, method: bytes, arguments: dict[bytes, BValue]
) -> None:
    example = next(as_bytes(row["packet"]) for row in EXAMPLES if row["about"] == about)
    assert decode_message(example) == Query(b"aa", method, arguments, False, raw=example)
    ours = example.replace(b"1:t2:aa1:y", b"1:t2:aa1:v4:TK\x00\x011:y")
    assert encode_query(b"aa", method, arguments) == ours


def test_a_read_only_query_says_so() -> None:
    """BEP 43."""
    expected = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:v4:TK\x00\x011:y1:qe"
    datagram = encode_query(b"aa", PING, {b"id": QUERIER}, read_only=True)
    assert datagram == expected
    assert decode_message(datagram) == Query(b"aa", PING, {b"id": QUERIER}, True, raw=datagram)


@pytest.mark.parametrize(("flag", "read_only"), [(b"i0e", False), (b"i7e", True), (b"1:1", False)])
def test_read_only_is_an_integer_other_than_zero(flag: bytes, read_only: bool) -> None:
    datagram = b"d1:ade1:q4:ping2:ro" + flag + b"1:t2:aa1:y1:qe"
    message = decode_message(datagram)
    assert isinstance(message, Query)
    assert message.read_only is read_only


def test_a_response_tells_the_querier_its_endpoint() -> None:
    """BEP 42 "ip"."""
    datagram = encode_response(b"aa", {b"id": RESPONDER}, PLACE)
    assert datagram == (
        b"d2:ip6:\xc0\x00\x02\x01\x1a\xe11:rd2:id20:mnopqrstuvwxyz123456e"
        b"1:t2:aa1:v4:TK\x00\x011:y1:re"
    )
    assert decode_message(datagram) == Response(
        b"aa", RESPONDER, {b"id": RESPONDER}, external=PLACE, version=b"TK\0\1", raw=datagram
    )


def test_an_error_is_a_code_and_a_text() -> None:
    """BEP 5 "Errors"."""
    datagram = encode_error(b"aa", ErrorCode.PROTOCOL, "bad token", PLACE)
    assert datagram == (
        b"d1:eli203e9:bad tokene2:ip6:\xc0\x00\x02\x01\x1a\xe11:t2:aa1:v4:TK\x00\x011:y1:ee"
    )
    assert decode_message(datagram) == ErrorMessage(b"aa", 203, "bad token")


@pytest.mark.parametrize("vector", ERRORS, ids=about)
def test_an_error_of_any_shape_is_read(vector: dict[str, Any]) -> None:
    message = decode_message(as_bytes(vector["packet"]))
    assert message == ErrorMessage(b"aa", vector["code"], vector["text"])


def test_a_long_text_of_an_error_is_cut() -> None:
    datagram = encode({b"e": [201, b"x" * 1_000], b"t": b"aa", b"y": b"e"})
    message = decode_message(datagram)
    assert isinstance(message, ErrorMessage)
    assert message.text == "x" * 256


@pytest.mark.parametrize(
    ("external", "version"), [(b"4:abcd", b"i1e"), (b"i7e", b"le"), (b"0:", b"de")]
)
def test_extras_of_the_wrong_shape_are_as_good_as_missing(external: bytes, version: bytes) -> None:
    datagram = b"d2:ip%b1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:v%b1:y1:re" % (external, version)
    message = decode_message(datagram)
    assert isinstance(message, Response)
    assert (message.external, message.version) == (None, b"")


def test_a_long_version_is_cut() -> None:
    message = decode_message(
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:v20:" + b"x" * 20 + b"1:y1:re"
    )
    assert isinstance(message, Response)
    assert message.version == b"x" * VERSION_MAX


@pytest.mark.parametrize("vector", ANSWERS, ids=about)
def test_an_answer_gives_what_can_be_used(vector: dict[str, Any]) -> None:
    message = decode_message(as_bytes(vector["packet"]))
    assert isinstance(message, Response)
    answer = read_answer(message, FAMILIES[vector["family"]])
    assert [format_endpoint(it.endpoint) for it in answer.contacts] == vector["contacts"]
    assert [format_endpoint(peer) for peer in answer.peers] == vector["peers"]
    assert answer.token == (None if vector["token"] is None else as_bytes(vector["token"]))


def test_so_many_values_are_read_and_no_more() -> None:
    answer = read_answer(response(values=[bytes(PLACE)] * (PEERS_MAX + 50)), Family.IPV4)
    assert len(answer.peers) == PEERS_MAX


@pytest.mark.parametrize(
    "arguments", [{}, {b"id": 7}, {b"id": b"x" * 19}, {b"id": b"x" * 21}, {b"id": []}]
)
def test_an_id_of_the_wrong_shape_is_refused(arguments: dict[bytes, BValue]) -> None:
    with pytest.raises(BadQuery, match="missing or invalid id") as caught:
        id_argument(query(arguments), b"id")
    assert caught.value.code is ErrorCode.PROTOCOL


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {b"port": 0},
        {b"port": -1},
        {b"port": 65_536},
        {b"port": b"6881"},
        {b"implied_port": 0},
        {b"implied_port": b"1"},
        {b"implied_port": b"1", b"port": 0},
    ],
)
def test_a_port_of_the_wrong_shape_is_refused(arguments: dict[bytes, BValue]) -> None:
    with pytest.raises(BadQuery, match="missing or invalid port"):
        port_argument(query(arguments), PLACE)


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        ({b"port": 1}, 1),
        ({b"port": 65_535}, 65_535),
        ({b"implied_port": 0, b"port": 7}, 7),
        ({b"implied_port": 1, b"port": 7}, 6881),
        ({b"implied_port": 1, b"port": 0}, 6881),
        ({b"implied_port": 1}, 6881),
    ],
)
def test_the_implied_port_is_that_of_the_source(arguments: dict[bytes, BValue], port: int) -> None:
    """BEP 5 "announce_peer"."""
    assert port_argument(query(arguments), PLACE) == port


@pytest.mark.parametrize(
    ("value", "flag"),
    [(None, False), (0, False), (2, False), (b"1", False), ([], False), (1, True)],
)
def test_a_flag_is_the_integer_one(value: BValue | None, flag: bool) -> None:
    arguments = {} if value is None else {b"seed": value}
    assert flag_argument(query(arguments), b"seed") is flag


@pytest.mark.parametrize(
    ("want", "families"),
    [
        (None, (Family.IPV6,)),
        (b"n4", (Family.IPV6,)),
        ([], (Family.IPV6,)),
        ([4, [], b"n5"], (Family.IPV6,)),
        ([b"n4"], (Family.IPV4,)),
        ([b"n6", b"n4", b"n6"], (Family.IPV4, Family.IPV6)),
    ],
)
def test_the_wanted_families_are_those_named_or_that_of_the_datagram(
    want: BValue | None, families: tuple[Family, ...]
) -> None:
    """BEP 32 "want"."""
    arguments = {} if want is None else {b"want": want}
    assert wanted_families(query(arguments), Family.IPV6) == families


@given(st.binary(max_size=8), st.dictionaries(st.binary(max_size=8), st.integers(), max_size=4))
def test_what_we_write_is_canonical_and_read_back(
    transaction_id: bytes, extra: dict[bytes, BValue]
) -> None:
    values = {**extra, b"id": RESPONDER}
    for datagram, kind in (
        (encode_query(transaction_id, PING, values), Query),
        (encode_response(transaction_id, values, PLACE), Response),
        (encode_error(transaction_id, ErrorCode.GENERIC, "no", PLACE), ErrorMessage),
    ):
        assert encode(decode(datagram)) == datagram
        message = decode_message(datagram)
        assert isinstance(message, kind)
        assert message.transaction_id == transaction_id


def test_an_endpoint_of_either_family_is_told() -> None:
    over_ipv6 = parse_endpoint("[2001:db8::1]:6881")
    message = decode_message(encode_response(b"aa", {b"id": RESPONDER}, over_ipv6))
    assert isinstance(message, Response)
    assert message.external == Endpoint(over_ipv6)
