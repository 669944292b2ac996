"""RC4 against RFC 6229, and sessions with each method."""

import pytest

from magnet.peer.encryption.cipher import CryptoMethod, Rc4, Session

DATA = bytes(range(256)) * 9

# RFC 6229, section 2: the key stream from byte 1,024 on.
VECTORS = {
    "0102030405": "30abbcc7c20b01609f23ee2d5f6bb7df",
    "0102030405060708090a0b0c0d0e0f10": "bdf0324e6083dcc6d3cedd3ca8c53c16",
}


@pytest.mark.parametrize("key", VECTORS)
def test_key_stream_begins_behind_the_discarded_bytes(key: str) -> None:
    assert Rc4(bytes.fromhex(key)).apply(bytes(16)).hex() == VECTORS[key]


def test_stream_goes_on_where_it_was_left() -> None:
    whole, parts = Rc4(bytes(20)), Rc4(bytes(20))
    assert whole.apply(DATA) == b"".join(parts.apply(DATA[at : at + 7]) for at in range(0, 2304, 7))


def test_plaintext_session_leaves_everything_as_it_is() -> None:
    session = Session(CryptoMethod.PLAINTEXT, Rc4(bytes(20)), Rc4(bytes(20)))
    assert session.encrypt(DATA) == DATA == session.decrypt(DATA)


def test_encrypted_session_has_a_stream_for_each_direction() -> None:
    here = Session(CryptoMethod.RC4, Rc4(b"a" * 20), Rc4(b"b" * 20))
    there = Session(CryptoMethod.RC4, Rc4(b"b" * 20), Rc4(b"a" * 20))
    assert here.encrypt(DATA) not in (DATA, there.encrypt(DATA))
    assert there.decrypt(here.encrypt(DATA)) != DATA  # one direction is ahead by now
    assert here.early == b""
