"""What an engine tells of itself in figures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What an engine has done since it was made.

    Attributes:
        nodes: Entries of the routing table.
        good_nodes: Those of them that are good.
        buckets: Depth of the table.
        in_flight: Queries without an answer yet.
        swarms: Info-hashes for which peers are stored.
        counts: Datagrams by what became of them, such as `queries sent`, `answers received`,
            `dropped: rate limit`.
        slow_after_s: After how many seconds a query counts as slow at present.
        external_address: Ours as others see it, 4 or 16 bytes; None while that is undecided.
        is_read_only: Whether we say that we answer no queries. Spec: BEP 43.
        uninvited_queries: Queries from addresses that we had left alone, which no NAT lets in of
            itself; counted as long as it is open whether strangers reach us.
    """

    nodes: int
    good_nodes: int
    buckets: int
    in_flight: int
    swarms: int
    counts: dict[str, int]
    slow_after_s: float
    external_address: bytes | None
    is_read_only: bool
    uninvited_queries: int
