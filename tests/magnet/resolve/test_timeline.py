"""The story in sentences: failures first."""

from dht.contact import endpoint
from magnet.errors import MetadataRejected, PeerDisconnected, PeerTimeout
from magnet.resolve.report import DELIVERED, Report
from magnet.resolve.timeline import timeline
from magnet.sources.source import SourceRecord

PEERS = [endpoint("192.0.2.1", port) for port in range(1, 9)]


def test_nothing_happened() -> None:
    assert timeline(Report(elapsed_s=0.25), now=0) == [
        "has not joined the DHT",
        "no metadata after 0.2 s: the DHT was not reached: no answer yet",
    ]


def test_source_that_fails_says_why_and_when_it_tries_again() -> None:
    tracker = SourceRecord(
        "udp://tracker.example:1337", asked=3, failed=3, error="no answer", next_at=45.0
    )
    dht = SourceRecord("dht", asked=8, answered=8, next_at=10.4)
    lines = timeline(Report([dht, tracker], elapsed_s=60, joined_s=0), now=10)
    assert lines == [
        "had joined the DHT before",
        "dht: 8 asked, 8 answered, 0 failed; no peers; next try in 0.4 s",
        "udp://tracker.example:1337: 3 asked, 0 answered, 3 failed; no peers; no answer; "
        "next try in 35 s",
        "no metadata after 60 s: "
        "no peers found: 8 nodes asked, 8 answered, none of them knows a peer",
    ]


def test_story_is_told_stage_by_stage() -> None:
    report = Report(
        [
            SourceRecord("link", peers=1, first_peer_s=0.0),
            SourceRecord("dht", asked=14, answered=9, failed=5, peers=6, first_peer_s=0.512),
        ],
        peers_found=6,
        joined_s=0.41,
        first_peer_s=0.0,
        first_connection_s=0.7,
        metadata_s=0.93,
        elapsed_s=0.94,
    )
    for peer in PEERS[:2]:
        refused = PeerDisconnected("connecting", "Connection refused")
        report.add_attempt(peer, "dht", refused, elapsed_s=0.1)
    report.add_attempt(PEERS[2], "dht", PeerTimeout("connecting", 5.0), elapsed_s=5)
    report.add_attempt(PEERS[3], "dht", MetadataRejected(), elapsed_s=0.3, way="TCP")
    report.add_attempt(PEERS[4], "dht", DELIVERED, elapsed_s=0.4, way="TCP, encrypted")
    assert timeline(report, now=1) == [
        "joined the DHT in 0.4 s",
        "link: 1 peer, the first after 0.0 s",
        "dht: 14 asked, 9 answered, 5 failed; 6 peers, the first after 0.5 s",
        "tried 5 of 6 peers: 2 refused, 1 timed out connecting, 1 without metadata, 1 delivered",
        "first peer reached after 0.7 s; 1 by TCP; 1 by TCP, encrypted",
        "whole metadata after 0.9 s, from 192.0.2.1:5",
    ]


def test_metadata_may_come_from_no_peer_at_all() -> None:
    assert timeline(Report(metadata_s=12.4), now=0)[-1] == "whole metadata after 12 s"
