"""Peers that a link names by host name."""

import pytest
import trio

from dht.contact import endpoint
from dht.keyspace import InfoHash
from magnet.hosts import HostPort
from magnet.sources.hostnames import HostNames
from magnet.sources.named_peers import NAME, NamedPeersSource
from magnet.sources.source import Candidate, SourceRecord, Wanted
from magnet.uri import MagnetLink
from tests.magnet.sources.conftest import Findings, NameService

KEY = InfoHash(b"\xaa" * 20)


def wanted(*hosts: str) -> Wanted:
    peers = tuple(HostPort(host, 6_881) for host in hosts)
    return Wanted(MagnetLink(info_hash=KEY, peers=peers), (KEY,))


async def run(names: HostNames, link: Wanted, found: Findings, record: SourceRecord) -> None:
    with trio.fail_after(5):
        await NamedPeersSource(names).run(link, found, record)


@pytest.mark.parametrize("address", [None, "8.8.8.8", "192.168.1.1"])
async def test_name_that_leads_nowhere(
    names: HostNames,
    name_service: NameService,
    found: Findings,
    record: SourceRecord,
    address: str | None,
) -> None:
    if address is not None:
        name_service.names["peer.example"] = [address]
    await run(names, wanted("peer.example"), found, record)
    assert not found.candidates
    assert (record.asked, record.answered, record.failed) == (1, 0, 1)
    assert record.error is not None


async def test_name_is_looked_up_in_both_families(
    names: HostNames, name_service: NameService, found: Findings, record: SourceRecord
) -> None:
    name_service.names["peer.example"] = ["127.0.0.1", "::1"]
    await run(names, wanted("no.example", "peer.example", "127.0.0.2"), found, record)
    assert found.candidates == [
        Candidate(endpoint(host, 6_881), KEY, NAME) for host in ("127.0.0.1", "::1")
    ]
    assert (record.asked, record.answered, record.failed, record.peers) == (2, 1, 1, 2)
    # The literal address is the business of another source.
    assert sorted(name_service.asked) == ["no.example", "peer.example"]
