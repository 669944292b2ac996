"""The story of a resolve: the failures that it has to explain first."""

import json

import pytest

from dht.contact import endpoint
from magnet.errors import (
    LayersRejected,
    LocalProtocolError,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    ProxyError,
    RemoteProtocolError,
)
from magnet.resolve.report import DELIVERED, NOT_NEEDED, Report, outcome_of
from magnet.sources.source import SourceRecord

PEERS = [endpoint("192.0.2.1", port) for port in range(1, 5)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PeerTimeout("connecting", 5.0), "timed out connecting"),
        (PeerTimeout("handshaking", 10.0), "timed out handshaking"),
        (PeerDisconnected("connecting", "Connection refused"), "refused"),
        (PeerDisconnected("connecting", "No route to host"), "unreachable"),
        (PeerDisconnected("handshaking"), "hung up handshaking"),
        (MetadataRejected(), "without metadata"),
        (MetadataRejected(0), "rejecting requests"),
        (LayersRejected(speaks_v2=False), "without piece layers"),
        (LayersRejected(speaks_v2=True), "rejecting hash requests"),
        (RemoteProtocolError("not the BitTorrent protocol"), "breaking the protocol"),
        (ProxyError("hangs up"), "not reached by the proxy"),
        (LocalProtocolError("two conversations with one peer"), "failed"),
    ],
    ids=str,
)
def test_every_end_has_a_name(error: PeerError, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_nothing_known_yet() -> None:
    assert Report().reason() == "the DHT was not reached: no answer yet"


def test_dht_not_reached() -> None:
    searches = [SourceRecord("dht", error="first"), SourceRecord("dht v2", error="last")]
    assert Report(searches).reason() == "the DHT was not reached: last"


def test_no_peers() -> None:
    report = Report([SourceRecord("dht", asked=7, answered=5), SourceRecord("dht v2", asked=3)])
    assert report.reason() == (
        "no peers found: 10 nodes asked, 5 answered, none of them knows a peer"
    )


def test_peers_that_are_all_still_being_tried() -> None:
    report = Report(peers_found=1, trying=1)
    assert report.reason() == "1 peer found, none gave the metadata: none answered in time"


def test_commonest_outcome_comes_first() -> None:
    report = Report(peers_found=4)
    report.add_attempt(PEERS[0], "dht", MetadataRejected(), elapsed_s=1)
    for peer in PEERS[1:]:
        report.add_attempt(peer, "dht", PeerTimeout("connecting", 5.0), elapsed_s=5)
    assert list(report.outcomes()) == ["timed out connecting", "without metadata"]
    assert report.reason() == (
        "4 peers found, none gave the metadata: 3 timed out connecting, 1 without metadata"
    )


def test_only_errors_are_failures() -> None:
    report = Report()
    error = PeerDisconnected("connecting", "Connection refused")
    report.add_attempt(PEERS[0], "link", DELIVERED, elapsed_s=0.2)
    report.add_attempt(PEERS[1], "dht", NOT_NEEDED, elapsed_s=0.2)
    report.add_attempt(PEERS[2], "dht", error, elapsed_s=0.1)
    assert report.failures() == (("192.0.2.1:3", error, 0.1),)


def test_lines_for_people() -> None:
    report = Report()
    report.add_attempt(PEERS[0], "link", DELIVERED, elapsed_s=0.25)
    report.add_attempt(PEERS[1], "dht", PeerTimeout("connecting", 5.0), elapsed_s=5.01)
    assert report.attempt_lines() == [
        "192.0.2.1:1 delivered (0.2 s)",
        "192.0.2.1:2 timed out while connecting (5.0 s) (5.0 s)",
    ]


def test_json_has_numbers_and_texts_only() -> None:
    source = SourceRecord("dht", 9, 8, 1, 2, next_at=12.5, first_peer_s=0.0123456)
    report = Report([source], peers_found=2, first_peer_s=0.0123456, joined_s=0)
    report.add_attempt(PEERS[0], "link", DELIVERED, began_s=0.5, elapsed_s=1 / 3, way="TCP")
    told = json.loads(json.dumps(report.as_json(now=10.0)))
    assert told == {
        "nodes_asked": 9,
        "nodes_answered": 8,
        "peers_found": 2,
        "peers_tried": 1,
        "outcomes": {"delivered": 1},
        "joined_s": 0,
        "first_peer_s": 0.012,
        "first_connection_s": None,
        "metadata_s": None,
        "shortfall": None,
        "sources": [
            {
                "name": "dht",
                "asked": 9,
                "answered": 8,
                "failed": 1,
                "peers": 2,
                "error": None,
                "first_peer_s": 0.012,
                "elapsed_s": None,
                "next_try_s": 2.5,
            }
        ],
        "attempts": [
            {
                "peer": "192.0.2.1:1",
                "source": "link",
                "outcome": "delivered",
                "detail": "delivered",
                "way": "TCP",
                "began_s": 0.5,
                "elapsed_s": 0.333,
            }
        ],
    }
