"""The key exchange: unusable keys first, then an example that was derived step by step."""

from random import Random

import pytest

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError
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

# Computed from the specification with integers and hashlib alone.
PRIVATE_A = 0x0102030405060708090A0B0C0D0E0F1011121314
PRIVATE_B = 0x2122232425262728292A2B2C2D2E2F3031323334
PUBLIC_A = bytes.fromhex(
    "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556"
    "b0918db2b4c658e02a87f7e5fb14b18a553e084cbf3dad2d30f16596ccb982d4"
    "06258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693"
)
PUBLIC_B = bytes.fromhex(
    "8f9c9f400fe9b3258f3e48598a95c7805cc90c995cd770283322679d132ebdae"
    "09b75eeadc01de698ef86945cf38314a95fad08c2ad5641802bd5f658eb3ea0d"
    "b2712c04aa5efed03deecc5104f75d869d2d197e4336c61f0d71d763bee99416"
)
SECRET = bytes.fromhex(
    "cd8536d5f2c98f01f8f5a648f69f6f2d6a6aafd044666b01fc8beb81f63ddbea"
    "0a862b2b6306431f7a308b063f795d181ca711b22ab0602a9c4b5d1c53269837"
    "773ff53a4de47d9aace6b6a1b789ea37077507842742eb7581ea180b16748826"
)
NAME = bytes.fromhex("ff86a5c7383cb12b4912f17768e0688bd072e568")
OTHER_HASH = InfoHash(b"\xbb" * 20)


@pytest.mark.parametrize("public", [0, 1, PRIME - 1, PRIME, 2**768 - 1])
def test_key_that_makes_the_secret_guessable_is_refused(public: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unusable"):
        KeyExchange(PRIVATE_A).secret(public.to_bytes(KEY_BYTES))


def test_torrent_that_is_not_here_is_not_found(info_hash: InfoHash) -> None:
    assert StreamKeys([]).find(NAME, SECRET) is None
    assert StreamKeys([OTHER_HASH]).find(NAME, SECRET) is None
    assert StreamKeys([info_hash]).find(NAME, PUBLIC_A) is None


def test_derived_example(info_hash: InfoHash) -> None:
    a, b = KeyExchange(PRIVATE_A), KeyExchange(PRIVATE_B)
    assert (a.public, b.public) == (PUBLIC_A, PUBLIC_B)
    assert a.secret(b.public) == b.secret(a.public) == SECRET
    assert sync_mark(SECRET).hex() == "361e3668027ecec9d1086d5f839d191781e8de17"
    assert stream_name(info_hash, SECRET) == NAME
    assert initiator_key(info_hash, SECRET).hex() == "2728d4e3c6ce40c04c6a0e8840c4c3585efa66b5"
    assert responder_key(info_hash, SECRET).hex() == "fc9d9cdf956d0a9e9672dd31fe9dd5f92987ee8c"


def test_torrent_is_found_among_many(info_hash: InfoHash) -> None:
    many = [InfoHash(number.to_bytes(20)) for number in range(1_000)]
    assert StreamKeys([*many, info_hash]).find(NAME, SECRET) == info_hash


def test_small_keys_are_padded_on_the_left() -> None:
    assert KeyExchange(3).public == bytes(95) + b"\x08"


def test_every_exchange_has_its_own_key() -> None:
    rng = Random(1)
    assert KeyExchange.generate(rng).public != KeyExchange.generate(rng).public
