"""Sampling the info-hashes that other nodes store: what an answer says, and who may be asked when.

A node that answers says after how many seconds it has new samples; before that it is never asked
again. A `SampleSchedule` remembers this for each endpoint, and whatever else is a reason to wait:
that a node has no more than it showed, does not know the method, says nonsense, or is silent. It
forgets no wait before its end; when it is full, strangers have to wait instead.

BEP 51 leaves the interval to be kept per node. It is kept per endpoint here, whatever id a node
claims, since an id costs nothing to change.

Spec: BEP 51.
"""

import heapq
from collections.abc import Mapping
from typing import Final, NamedTuple

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.errors import MalformedMessage
from dht.keyspace import ID_BYTES, InfoHash

SAMPLE_INFOHASHES: Final = b"sample_infohashes"

INTERVAL_MAX_S: Final = 21_600
"""Longest interval that a node may ask for, in seconds. Spec: BEP 51 "interval"."""

INTERVAL_MIN_S: Final = 60
"""Seconds between two queries to one node, however soon it invites the next."""

UNSUPPORTED_S: Final = 86_400.0
"""Seconds until a node that does not know the method is tried again: people update seldom."""

FAILURE_S: Final = 300.0
"""Seconds to wait after a first silence; after the second, twice as long."""

FAILURES_MAX: Final = 3
"""Silences in a row after which a node counts as one that does not know the method."""

SAMPLES_READ_MAX: Final = 50
"""Info-hashes read from one answer: 1,000 bytes, all that fits where BEP 32 bounds a datagram."""

ENDPOINTS_MAX: Final = 200_000
"""Endpoints remembered, about 50 MB; one interval's worth of a crawl at 10 nodes a second."""

_NO_HASH: Final = InfoHash(bytes(ID_BYTES))


class Samples(NamedTuple):
    """What a node says that it stores.

    Attributes:
        info_hashes: Some of it: distinct, at most `SAMPLES_READ_MAX`. A claim, not a fact.
        total: How many it stores. A claim, too.
        interval_s: After how many seconds others are shown, 0 to `INTERVAL_MAX_S`.
    """

    info_hashes: tuple[InfoHash, ...]
    total: int
    interval_s: int

    @property
    def is_all(self) -> bool:
        """Whether the node stores no more than it showed."""
        return self.total <= len(self.info_hashes)


def read_samples(values: Mapping[bytes, BValue]) -> Samples | None:
    """Read the values of an answer to sample_infohashes.

    Returns:
        None if there are no samples, not even an empty string: the node took the query for another.

    Raises:
        MalformedMessage: A field is missing, of the wrong shape, or out of range; then none of them
            can be believed.

    Spec: BEP 51 "Response".
    """
    samples = values.get(b"samples")
    if samples is None:
        return None
    if not isinstance(samples, bytes) or len(samples) % ID_BYTES:
        raise MalformedMessage("samples")
    total, interval = values.get(b"num"), values.get(b"interval")
    if not isinstance(total, int) or total < 0:
        raise MalformedMessage("num")
    if not isinstance(interval, int) or not 0 <= interval <= INTERVAL_MAX_S:
        raise MalformedMessage("interval")
    end = min(len(samples), SAMPLES_READ_MAX * ID_BYTES)
    hashes = dict.fromkeys(InfoHash(samples[i : i + ID_BYTES]) for i in range(0, end, ID_BYTES))
    hashes.pop(_NO_HASH, None)
    return Samples(tuple(hashes), total, interval)


class _Record(NamedTuple):
    due_at: float
    failures: int


class SampleSchedule:
    """Which endpoints may be asked for samples, and when.

    Attributes:
        early_visits: Queries that were sent before their time; stays 0 unless a caller does not ask
            first.
    """

    def __init__(self, *, endpoints_max: int = ENDPOINTS_MAX) -> None:
        """Start with nobody to wait for.

        Args:
            endpoints_max: How many endpoints to remember.
        """
        self.early_visits = 0
        self._endpoints_max = endpoints_max
        self._records: dict[Endpoint, _Record] = {}
        self._by_due: list[tuple[float, Endpoint]] = []

    def __len__(self) -> int:
        """Return how many endpoints are remembered."""
        return len(self._records)

    def due_at(self, endpoint: Endpoint, *, now: float) -> float:
        """Return when an endpoint may be asked: `now` or later, in monotonic seconds."""
        record = self._records.get(endpoint)
        if record is not None:
            return max(now, record.due_at)
        self._make_room(now)
        return now if len(self._records) < self._endpoints_max else max(now, self._by_due[0][0])

    def asked(self, endpoint: Endpoint, *, now: float) -> None:
        """Note that a query is being sent: no other may follow until its outcome is known."""
        if self.due_at(endpoint, now=now) > now:
            self.early_visits += 1
        self._wait(endpoint, INTERVAL_MIN_S, now, failures=self._failures(endpoint))

    def answered(self, endpoint: Endpoint, samples: Samples | None, *, now: float) -> None:
        """Note what `read_samples` made of an answer."""
        if samples is None:
            self._wait(endpoint, UNSUPPORTED_S, now)
        elif samples.is_all:
            self._wait(endpoint, INTERVAL_MAX_S, now)
        else:
            self._wait(endpoint, max(samples.interval_s, INTERVAL_MIN_S), now)

    def malformed(self, endpoint: Endpoint, *, now: float) -> None:
        """Note an answer that `read_samples` refused: its interval is taken for the longest."""
        self._wait(endpoint, INTERVAL_MAX_S, now)

    def refused(self, endpoint: Endpoint, *, now: float) -> None:
        """Note an error response: the node does not know the method."""
        self._wait(endpoint, UNSUPPORTED_S, now)

    def failed(self, endpoint: Endpoint, *, now: float) -> None:
        """Note that no answer came."""
        failures = self._failures(endpoint) + 1
        if failures >= FAILURES_MAX:
            self._wait(endpoint, UNSUPPORTED_S, now)
        else:
            self._wait(endpoint, FAILURE_S * failures, now, failures=failures)

    def _failures(self, endpoint: Endpoint) -> int:
        record = self._records.get(endpoint)
        return record.failures if record is not None else 0

    def _wait(self, endpoint: Endpoint, wait_s: float, now: float, *, failures: int = 0) -> None:
        due_at = now + wait_s
        self._records[endpoint] = _Record(due_at, failures)
        heapq.heappush(self._by_due, (due_at, endpoint))
        if len(self._by_due) > 4 * self._endpoints_max:
            self._by_due = [(it.due_at, at) for at, it in self._records.items()]
            heapq.heapify(self._by_due)

    def _make_room(self, now: float) -> None:
        """When full, forget whoever may be asked anyway, the longest due first."""
        while len(self._records) >= self._endpoints_max:
            due_at, endpoint = self._by_due[0]
            record = self._records.get(endpoint)
            is_current = record is not None and record.due_at == due_at
            if is_current and due_at > now:
                return
            heapq.heappop(self._by_due)
            if is_current:
                del self._records[endpoint]
