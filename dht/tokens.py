"""Write tokens: proof that whoever announces or stores can receive at the address it sends from.

A token is a keyed hash over the address and the key it was asked for, so nothing is remembered per
querier. The secret changes every five minutes and the two before it stay valid: every token lives
ten to fifteen minutes whatever the phase of the rotation, where keeping one old secret, as is
common, would let some die after five. It is not bound to the port, since NATs rebind between two
queries.

Spec: BEP 5 "get_peers", "announce_peer".
"""

import hmac
import random
from hashlib import blake2b
from typing import Final

ROTATION_S: Final = 300.0
"""Seconds between new secrets. Spec: BEP 5."""

TOKEN_BYTES: Final = 8
"""Length of our tokens; one client keeps at most 20 bytes, and nobody guesses 64 bits remotely."""

_SECRETS_KEPT: Final = 3
_SECRET_BYTES: Final = 16


class Tokens:
    """Makes and checks write tokens."""

    def __init__(self, rng: random.Random, *, now: float) -> None:
        """Draw the first secrets.

        Args:
            rng: Where secrets come from; must be cryptographically strong outside simulations.
            now: Monotonic seconds.
        """
        self._rng = rng
        self._secrets = [self._fresh_secret() for _ in range(_SECRETS_KEPT)]
        self._rotates_at = now + ROTATION_S

    def make(self, address: bytes, key: bytes, *, now: float) -> bytes:
        """Return the token for an address and an info-hash or target.

        Args:
            address: 4 or 16 bytes, without the port.
            key: The 20 bytes asked for.
            now: Monotonic seconds.
        """
        if now >= self._rotates_at:
            self._rotate(now)
        return _token(self._secrets[0], address, key)

    def is_valid(self, token: bytes, address: bytes, key: bytes, *, now: float) -> bool:
        """Tell whether `token` was made for this address and key in the last 10 to 15 minutes."""
        if now >= self._rotates_at:
            self._rotate(now)
        for secret in self._secrets:
            if hmac.compare_digest(token, _token(secret, address, key)):
                return True
        return False

    def _rotate(self, now: float) -> None:
        while now >= self._rotates_at:
            missed = min(int((now - self._rotates_at) / ROTATION_S) + 1, _SECRETS_KEPT)
            fresh = [self._fresh_secret() for _ in range(missed)]
            self._secrets = (fresh + self._secrets)[:_SECRETS_KEPT]
            self._rotates_at = max(self._rotates_at + missed * ROTATION_S, now)

    def _fresh_secret(self) -> blake2b:
        """Return a hash that has taken in a secret, to be copied for each token."""
        return blake2b(self._rng.randbytes(_SECRET_BYTES), digest_size=TOKEN_BYTES)


def _token(secret: blake2b, address: bytes, key: bytes) -> bytes:
    keyed = secret.copy()
    keyed.update(address + key)
    return keyed.digest()
