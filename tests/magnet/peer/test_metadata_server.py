"""Serving: what is refused first."""

import pytest

from dht.errors import MalformedBencode
from magnet.peer.metadata_server import SERVINGS_MAX, MetadataServer
from magnet.peer.ut_metadata import (
    METADATA_SIZE_MAX,
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
)

RAW = b"d4:name6:public6:pieces40000:" + b"x" * 40_000 + b"e"
PRIVATE = b"d4:name6:secret7:privatei1ee"


def test_without_metadata_every_request_is_rejected() -> None:
    server = MetadataServer(None)
    session = server.open_session()
    assert server.metadata_size is None
    answers = [session.answer(MetadataRequest(piece)) for piece in (0, 0, 1)]
    assert answers == [MetadataReject(0), MetadataReject(0), MetadataReject(1)]
    assert (session.served, session.rejected) == (0, 3)


@pytest.mark.parametrize("flag", [b"i1e", b"i-1e", b"i2e"])
def test_private_metadata_is_neither_announced_nor_given(flag: bytes) -> None:
    server = MetadataServer(PRIVATE.replace(b"i1e", flag))
    assert server.metadata_size is None
    assert server.open_session().answer(MetadataRequest(0)) == MetadataReject(0)


@pytest.mark.parametrize("flag", [b"i0e", b"1:1", b"le"])
def test_private_flag_of_another_form_means_nothing(flag: bytes) -> None:
    assert MetadataServer(PRIVATE.replace(b"i1e", flag)).metadata_size is not None


@pytest.mark.parametrize("piece", [-1, 3, 2**40])
def test_piece_out_of_range_is_rejected_by_its_own_number(piece: int) -> None:
    session = MetadataServer(RAW).open_session()
    assert session.answer(MetadataRequest(piece)) == MetadataReject(piece)


def test_a_burst_draws_no_more_than_its_share() -> None:
    session = MetadataServer(RAW).open_session()
    answers = [session.answer(MetadataRequest(i % 3)) for i in range(1000)]
    served = [answer for answer in answers if isinstance(answer, MetadataPiece)]
    assert len(served) == session.served == SERVINGS_MAX * 3
    assert session.rejected == 1000 - len(served)


def test_one_greedy_connection_costs_the_others_nothing() -> None:
    server = MetadataServer(RAW)
    greedy = server.open_session()
    for _ in range(100):
        greedy.answer(MetadataRequest(0))
    assert isinstance(server.open_session().answer(MetadataRequest(0)), MetadataPiece)


def test_what_is_not_bencoded_or_too_large_is_our_error() -> None:
    with pytest.raises(MalformedBencode):
        MetadataServer(b"not bencoded")
    with pytest.raises(ValueError, match="more than peers accept"):
        MetadataServer(b"x" * (METADATA_SIZE_MAX + 1))


def test_pieces_add_up_to_the_whole() -> None:
    server = MetadataServer(RAW)
    session = server.open_session()
    answers = [session.answer(MetadataRequest(piece)) for piece in range(3)]
    pieces = [answer for answer in answers if isinstance(answer, MetadataPiece)]
    assert b"".join(piece.data for piece in pieces) == RAW
    assert {piece.total_size for piece in pieces} == {len(RAW)} == {server.metadata_size}
