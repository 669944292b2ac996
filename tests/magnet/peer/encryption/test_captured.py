"""Handshakes with libtorrent as they were captured, heard again."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dht.keyspace import InfoHash
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.encryption.initiator import InitiatorHandshake
from magnet.peer.encryption.keys import StreamKeys
from magnet.peer.encryption.responder import ResponderHandshake

Dice = Callable[[int, int], Random]

CAPTURED = json.loads((Path(__file__).parents[3] / "vectors/mse.json").read_text())
PRIVATE_A = 0x0102030405060708090A0B0C0D0E0F1011121314
PRIVATE_B = 0x2122232425262728292A2B2C2D2E2F3031323334


def joined(lines: list[str]) -> bytes:
    return bytes.fromhex("".join(lines))


@pytest.mark.parametrize("capture", CAPTURED["initiator"], ids=lambda it: it["method"])
def test_libtorrent_has_dialled(loaded: Dice, info_hash: InfoHash, capture: dict[str, Any]) -> None:
    handshake = ResponderHandshake(StreamKeys([info_hash]), rng=loaded(PRIVATE_B, 0))
    handshake.receive_data(joined(capture["stream"]))
    assert handshake.session is not None
    assert handshake.session.method is CryptoMethod(capture["method"])
    assert handshake.session.early.hex() == capture["opening"]


@pytest.mark.parametrize("capture", CAPTURED["responder"], ids=lambda it: it["method"])
def test_libtorrent_was_dialled(loaded: Dice, info_hash: InfoHash, capture: dict[str, Any]) -> None:
    handshake = InitiatorHandshake(info_hash, opening=bytes(68), rng=loaded(PRIVATE_A, 0))
    handshake.receive_data(joined(capture["stream"]))
    assert handshake.session is not None
    assert handshake.session.method is CryptoMethod(capture["method"])
    assert handshake.session.early == joined(capture["answer"])
