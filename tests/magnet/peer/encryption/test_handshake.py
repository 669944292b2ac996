"""Both ends of the encryption handshake: what must be refused, then what must connect."""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.keyspace import InfoHash
from magnet.errors import LocalProtocolError, RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod, Rc4, Session
from magnet.peer.encryption.handshake import PADDING_BYTES_MAX, Handshake
from magnet.peer.encryption.initiator import InitiatorHandshake
from magnet.peer.encryption.keys import (
    KEY_BYTES,
    PRIME,
    KeyExchange,
    StreamKeys,
    initiator_key,
    responder_key,
    stream_name,
    sync_mark,
)
from magnet.peer.encryption.responder import PREFERENCE, ResponderHandshake

Dice: TypeAlias = Callable[[int, int], Random]

HASH = InfoHash(b"\xaa" * 20)
OTHER_HASH = InfoHash(b"\xbb" * 20)
OPENING = bytes(range(68))
PRIVATE_A = 0x0102030405060708090A0B0C0D0E0F1011121314
PRIVATE_B = 0x2122232425262728292A2B2C2D2E2F3031323334
THEIRS = KeyExchange(0x55)
NOISE = Random(7).randbytes(2_000)

PLAIN, RC4 = CryptoMethod.PLAINTEXT, CryptoMethod.RC4


def responder(keys: Iterable[InfoHash] = (HASH,)) -> ResponderHandshake:
    return ResponderHandshake(StreamKeys(keys), rng=Random(2))


def initiator(opening: bytes = b"", offer: CryptoMethod = PLAIN | RC4) -> InitiatorHandshake:
    return InitiatorHandshake(HASH, opening=opening, offer=offer, rng=Random(1))


def talk(one: Handshake, other: Handshake, cuts: Sequence[int] = ()) -> tuple[Session, Session]:
    """Carry bytes to and fro, in portions of these sizes, until both are through."""
    sizes = iter(cuts)
    while one.session is None or other.session is None:
        for speaker, listener in ((one, other), (other, one)):
            data = speaker.data_to_send()
            while data:
                size = next(sizes, len(data))
                listener.receive_data(data[:size])
                data = data[size:]
    return one.session, other.session


def offer_for(handshake: ResponderHandshake, sealed: bytes, name_of: InfoHash = HASH) -> bytes:
    """Greet a responder; return what an initiator would then say, with any content."""
    handshake.receive_data(THEIRS.public)
    secret = THEIRS.secret(handshake.data_to_send()[:KEY_BYTES])
    cipher = Rc4(initiator_key(HASH, secret))
    return sync_mark(secret) + stream_name(name_of, secret) + cipher.apply(sealed)


def selection_for(handshake: InitiatorHandshake, sealed: bytes) -> bytes:
    """Answer an initiator with any content."""
    secret = THEIRS.secret(handshake.data_to_send()[:KEY_BYTES])
    return THEIRS.public + Rc4(responder_key(HASH, secret)).apply(sealed)


@pytest.mark.parametrize("public", [0, 1, PRIME - 1, PRIME, 2**768 - 1])
@pytest.mark.parametrize("end", [initiator, responder])
def test_unusable_key_is_refused(end: Callable[[], Handshake], public: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unusable"):
        end().receive_data(public.to_bytes(KEY_BYTES))


@pytest.mark.parametrize(
    ("end", "limit"),
    [(initiator, KEY_BYTES + PADDING_BYTES_MAX + 8), (responder, KEY_BYTES + 512 + 20)],
)
def test_noise_is_refused_at_the_limit(end: Callable[[], Handshake], limit: int) -> None:
    handshake = end()
    handshake.receive_data(NOISE[: limit - 1])
    with pytest.raises(RemoteProtocolError, match="not the encryption handshake"):
        handshake.receive_data(NOISE[limit - 1 : limit])


@pytest.mark.parametrize("end", [initiator, responder])
def test_much_noise_is_refused_at_once(end: Callable[[], Handshake]) -> None:
    with pytest.raises(RemoteProtocolError, match="not the encryption handshake"):
        end().receive_data(NOISE * 50)


@pytest.mark.parametrize("keys", [[], [OTHER_HASH]])
def test_torrent_that_is_not_here_is_refused(keys: Sequence[InfoHash]) -> None:
    handshake = responder(keys)
    with pytest.raises(RemoteProtocolError, match="not here"):
        handshake.receive_data(offer_for(handshake, bytes(16)))


def test_torrent_under_the_keys_of_another_is_refused() -> None:
    handshake = responder([HASH, OTHER_HASH])
    with pytest.raises(RemoteProtocolError, match="not the encryption handshake"):
        handshake.receive_data(offer_for(handshake, bytes(16), name_of=OTHER_HASH))


@pytest.mark.parametrize(
    ("sealed", "fault"),
    [
        ("0000000000000001 00000003 0000 0000", "not the encryption handshake"),
        ("0000000000000000 00000003 0201", "too much padding"),
        ("0000000000000000 00000003 ffff", "too much padding"),
        ("0000000000000000 00000000 0000 0000", "offers no encryption"),
        ("0000000000000000 fffffffc 0000 0000", "offers no encryption"),
    ],
)
def test_faulty_offer_is_refused(sealed: str, fault: str) -> None:
    handshake = responder()
    with pytest.raises(RemoteProtocolError, match=fault):
        handshake.receive_data(offer_for(handshake, bytes.fromhex(sealed)))


@pytest.mark.parametrize("accepted", [[], [PLAIN]])
def test_method_that_we_do_not_accept_is_refused(accepted: Sequence[CryptoMethod]) -> None:
    handshake = ResponderHandshake(StreamKeys([HASH]), accepted=accepted, rng=Random(2))
    offer = bytes(8) + RC4.to_bytes(4) + bytes(4)
    with pytest.raises(RemoteProtocolError, match="offers no encryption"):
        handshake.receive_data(offer_for(handshake, offer))


@pytest.mark.parametrize(
    ("sealed", "fault"),
    [
        ("0000000000000000 00000002 0201", "too much padding"),
        ("0000000000000000 00000000 0000", "not offered"),
        ("0000000000000000 00000001 0000", "not offered"),
        ("0000000000000000 00000003 0000", "not offered"),
        ("0000000000000000 00000006 0000", "not offered"),
        ("0000000000000000 80000002 0000", "not offered"),
    ],
)
def test_faulty_selection_is_refused(sealed: str, fault: str) -> None:
    handshake = initiator(offer=RC4)
    with pytest.raises(RemoteProtocolError, match=fault):
        handshake.receive_data(selection_for(handshake, bytes.fromhex(sealed)))


def test_nothing_is_taken_after_the_end() -> None:
    failed = responder()
    with pytest.raises(RemoteProtocolError):
        failed.receive_data(bytes(KEY_BYTES))
    done = initiator()
    talk(done, responder())
    for handshake in (failed, done):
        with pytest.raises(LocalProtocolError):
            handshake.receive_data(b"x")


def test_silent_stranger_costs_nothing() -> None:
    handshake = responder()
    handshake.receive_data(NOISE[: KEY_BYTES - 1])
    assert not handshake.data_to_send()
    assert handshake.session is None


def test_derived_example(loaded: Dice) -> None:
    a = InitiatorHandshake(HASH, rng=loaded(PRIVATE_A, 0))
    b = ResponderHandshake(StreamKeys([HASH]), rng=loaded(PRIVATE_B, 0))
    b.receive_data(a.data_to_send())
    a.receive_data(b.data_to_send())
    offer = a.data_to_send()
    assert offer.hex() == (
        "361e3668027ecec9d1086d5f839d191781e8de17"
        "ff86a5c7383cb12b4912f17768e0688bd072e568"
        "cb54a65b377d988493cbbe06d20b9705"
    )
    b.receive_data(offer)
    selection = b.data_to_send()
    assert selection.hex() == "5c8a3690b2051725a0ae37c265d5"
    a.receive_data(selection)
    assert a.session is not None
    assert b.session is not None
    assert a.session.method is b.session.method is RC4


@pytest.mark.parametrize("padding_length", [0, 1, PADDING_BYTES_MAX])
def test_padding_of_any_length_is_skipped(loaded: Dice, padding_length: int) -> None:
    a = InitiatorHandshake(HASH, opening=OPENING, rng=loaded(PRIVATE_A, padding_length))
    b = ResponderHandshake(StreamKeys([HASH]), rng=loaded(PRIVATE_B, padding_length))
    _, theirs = talk(a, b)
    assert theirs.early == OPENING


@pytest.mark.parametrize(
    ("offer", "accepted", "selected"),
    [
        (PLAIN, PREFERENCE, PLAIN),
        (RC4, PREFERENCE, RC4),
        (PLAIN | RC4, PREFERENCE, RC4),
        (PLAIN | RC4, [PLAIN, RC4], PLAIN),
        (PLAIN | RC4, [PLAIN], PLAIN),
    ],
)
def test_method_is_the_first_of_ours_that_is_offered(
    offer: CryptoMethod, accepted: Sequence[CryptoMethod], selected: CryptoMethod
) -> None:
    other = ResponderHandshake(StreamKeys([HASH]), accepted=accepted, rng=Random(2))
    ours, theirs = talk(initiator(offer=offer), other)
    assert ours.method is theirs.method is selected
    assert theirs.decrypt(ours.encrypt(b"and so on")) == b"and so on"
    assert ours.decrypt(theirs.encrypt(b"and so on")) == b"and so on"
    assert (ours.encrypt(b"and so on") == b"and so on") is (selected is PLAIN)


@pytest.mark.parametrize("length", [0, 68, 69, 65_535])
def test_opening_comes_along(length: int) -> None:
    ours, theirs = talk(initiator(opening=bytes(length)), responder())
    assert theirs.early == bytes(length)
    assert ours.early == b""


@pytest.mark.parametrize("method", CryptoMethod)
def test_what_follows_at_once_is_not_lost(method: CryptoMethod) -> None:
    """An initiator may go on before it knows the method only where there is just one."""
    a, b = initiator(OPENING, offer=method), responder()
    b.receive_data(a.data_to_send())
    a.receive_data(b.data_to_send())
    b.receive_data(a.data_to_send())
    assert b.session is not None
    a.receive_data(b.data_to_send() + b.session.encrypt(b"answer"))
    assert a.session is not None
    assert a.session.early == b"answer"


@given(cuts=st.lists(st.integers(1, 700), max_size=30), seed=st.integers(0, 2**32))
def test_portions_do_not_matter(cuts: list[int], seed: int) -> None:
    a = InitiatorHandshake(HASH, opening=OPENING, rng=Random(seed))
    b = ResponderHandshake(StreamKeys([HASH]), rng=Random(seed + 1))
    ours, theirs = talk(a, b, cuts)
    assert ours.method is theirs.method is RC4
    assert theirs.early == OPENING
    assert theirs.decrypt(ours.encrypt(OPENING)) == OPENING


def test_single_bytes_are_enough() -> None:
    _, theirs = talk(initiator(OPENING), responder(), [1] * 4_000)
    assert theirs.early == OPENING


@given(data=st.binary(max_size=1_000), size=st.integers(1, 400))
def test_strangers_raise_nothing_else(data: bytes, size: int) -> None:
    for handshake in (initiator(OPENING), responder()):
        try:
            for at in range(0, len(data), size):
                handshake.receive_data(data[at : at + size])
        except RemoteProtocolError:
            pass
        assert handshake.session is None
