"""What a v2 torrent needs besides its metadata: the piece layers, or the reason why it lacks them.

The metadata alone tells what the content is, so it is never held back for long: for a while the
peers are asked for layers too, and then the torrent is given as it is. Whoever loads such a file
has to get the layers from peers.

Spec: BEP 52 "piece layers".
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from dht.contact import Endpoint
from magnet.errors import InvalidMetainfo, PeerError
from magnet.metainfo.info import Info, parse_info
from magnet.peer.layer_pool import LayerPool
from magnet.resolve.report import outcome_of

PATIENCE_S: Final = 20.0
"""Seconds after the metadata for which peers are asked for layers: time for one that sleeps, and
for another after it."""

PATIENCE_V1_S: Final = 5.0
"""The same where the link names a v1 hash only: for those who know the torrent by that, nothing is
lacking."""


class Completion:
    """The second half of the work on one link; `begin` it when the metadata is there.

    Attributes:
        info: What the metadata says; None until then, and when it cannot be used.
        error: What is wrong with it, or with the layers that it demands.
        pool: Where the layers are put together; None while there is nothing to put together.
        ends_at: Until when peers are asked, in monotonic seconds.
    """

    def __init__(self) -> None:
        """Wait for the metadata."""
        self.info: Info | None = None
        self.error: InvalidMetainfo | None = None
        self.pool: LayerPool | None = None
        self.ends_at = float("inf")
        self._has_begun = False
        self._endings: dict[Endpoint, str] = {}

    def begin(self, raw_info: bytes, *, knows_v2: bool, now: float) -> None:
        """Find out which layers are needed; again, this does nothing.

        Args:
            raw_info: The metadata, which has the right hash.
            knows_v2: Whether the link names a v2 hash.
            now: Monotonic seconds.
        """
        if self._has_begun:
            return
        self._has_begun = True
        self.ends_at = now + (PATIENCE_S if knows_v2 else PATIENCE_V1_S)
        try:
            self.info = parse_info(raw_info)
            self.pool = LayerPool.of(self.info)
        except InvalidMetainfo as error:
            self.error = error

    def is_over(self, *, now: float) -> bool:
        """Tell whether there is nothing more to wait for."""
        nothing_missing = self.pool is None or self.pool.is_complete
        return self._has_begun and (nothing_missing or now >= self.ends_at)

    def failed(self, peer: Endpoint, error: PeerError) -> None:
        """Note why a peer gave no layers, or not all."""
        self._endings[peer] = outcome_of(error)

    @property
    def liars(self) -> frozenset[Endpoint]:
        """Peers that gave false hashes."""
        return frozenset() if self.pool is None else self.pool.liars

    def layers(self) -> Mapping[bytes, bytes]:
        """Return the layers that are there, by pieces root."""
        return {} if self.pool is None else self.pool.layers()

    def shortfall(self) -> str | None:
        """Say in one line what is lacking, and why; None when nothing is."""
        if self.pool is None:
            return None if self.error is None else str(self.error)
        if self.pool.is_complete:
            return None
        outcomes = Counter(self._endings.values()).most_common()
        ends = ", ".join(f"{count} {outcome}" for outcome, count in outcomes)
        missing = self.pool.missing_layers
        files = "1 file" if missing == 1 else f"{missing} files"
        return f"metadata without the piece layers of {files}: {ends or 'none answered in time'}"
