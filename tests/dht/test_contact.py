import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import (
    CONTACTS_MAX,
    Contact,
    Endpoint,
    Family,
    Scope,
    address_of,
    decode_contacts,
    endpoint,
    family_of,
    format_endpoint,
    host_of,
    is_allowed,
    network_of,
    parse_endpoint,
    port_of,
    scope_of,
)
from dht.errors import MalformedMessage
from dht.keyspace import NodeId
from tests.dht.samples import PLACE, QUERIER

PORTS = st.integers(0, 65_535)
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))

SCOPES = """
    global         8.8.8.8 1.1.1.1 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1
    global         169.253.0.1 223.255.255.255 2a00:1450::1 2001:1::1 3fff:ffff::1
    global         192.0.1.1 192.88.98.1 198.17.0.1 198.20.0.1 3fff:1000::1
    private        10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255
    private        fc00::1 fdff::1
    link-local     169.254.1.1 fe80::1 febf::1
    loopback       127.0.0.1 127.255.255.254 ::1
    documentation  192.0.2.1 198.51.100.7 203.0.113.255 2001:db8::1
    documentation  3fff::1 3fff:fff:ffff::1
    forbidden      0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    forbidden      192.0.0.8 192.0.0.170 192.88.99.1 198.18.0.1 198.19.255.255
    forbidden      :: ::2 ff02::1 64:ff9b::1 2002:c000:201::1 2001::1
"""
PLACED = [
    (host, Scope(name))
    for name, *hosts in map(str.split, SCOPES.strip().splitlines())
    for host in hosts
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "192.0.2.1",
        "192.0.2.1:",
        ":6881",
        "192.0.2.1:x",
        "192.0.2.1:-1",
        "192.0.2.1:65536",
        "192.0.2.1: 6881",
        "192.0.2.1:6_881",
        "192.0.2.1:٦٨٨١",
        "192.0.2.1:" + "9" * 5_000,
        "192.0.2:6881",
        "192.0.2.256:6881",
        "2001:db8::1:6881",
        "[2001:db8::1]",
        "[2001:db8::1:6881",
        "[2001:db8::g]:6881",
        "[]:6881",
        "localhost:6881",
        "router.example.org:6881",
    ],
)
def test_what_is_no_literal_address_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - ours and that of `ipaddress` alike
        parse_endpoint(text)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 65535"):
        endpoint("192.0.2.1", port)


@pytest.mark.parametrize(
    ("text", "packed"),
    [("192.0.2.1:6881", "c00002011ae1"), ("[2001:db8::1]:6881", "20010db8" + "0" * 23 + "11ae1")],
)
def test_the_compact_form_is_that_of_the_specs(text: str, packed: str) -> None:
    """BEP 5 "Contact Encoding"; BEP 32 "nodes6"."""
    at = parse_endpoint(text)
    assert at == bytes.fromhex(packed)
    assert format_endpoint(at) == text


@given(ADDRESSES, PORTS)
def test_an_endpoint_survives_being_written(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    at = endpoint(str(address), port)
    assert parse_endpoint(format_endpoint(at)) == at
    assert (host_of(at), port_of(at), address_of(at)) == (str(address), port, address.packed)
    assert family_of(at) is (Family.IPV4 if address.version == 4 else Family.IPV6)
    assert len(at) == family_of(at).endpoint_bytes


def test_a_mapped_address_counts_as_ipv4() -> None:
    assert endpoint("::ffff:192.0.2.1", 6881) == PLACE


def test_a_zone_index_is_dropped() -> None:
    assert host_of(endpoint("fe80::1%eth0", 6881)) == "fe80::1"


@pytest.mark.parametrize(("host", "scope"), PLACED)
def test_an_address_has_the_scope_of_its_registry(host: str, scope: Scope) -> None:
    assert scope_of(endpoint(host, 6881)) is scope


def test_an_address_that_embeds_ipv4_is_forbidden_on_the_wire() -> None:
    for text in ("::ffff:8.8.8.8", "::8.8.8.8"):
        at = Endpoint(ipaddress.IPv6Address(text).packed + b"\x1a\xe1")
        assert scope_of(at) is Scope.FORBIDDEN


@pytest.mark.parametrize("bound", Scope)
def test_port_zero_is_never_allowed(bound: Scope) -> None:
    assert not any(is_allowed(endpoint(host, 0), bound) for host, _ in PLACED)


@pytest.mark.parametrize("bound", Scope)
def test_the_forbidden_is_never_allowed(bound: Scope) -> None:
    assert not any(
        is_allowed(endpoint(host, 1), bound) for host, scope in PLACED if scope is Scope.FORBIDDEN
    )


@pytest.mark.parametrize("bound", set(Scope) - {Scope.FORBIDDEN})
def test_the_own_scope_and_the_world_are_allowed(bound: Scope) -> None:
    allowed = {scope for host, scope in PLACED if is_allowed(endpoint(host, 6881), bound)}
    assert allowed == {bound, Scope.GLOBAL}.difference(
        {Scope.GLOBAL} if bound is Scope.LOOPBACK else ()
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("8.8.8.1:1", "8.8.8.255:2", True),
        ("8.8.8.1:1", "8.8.9.1:1", False),
        ("[2a00:1:2:3::1]:1", "[2a00:1:2:3:ffff::1]:2", True),
        ("[2a00:1:2:3::1]:1", "[2a00:1:2:4::1]:1", False),
    ],
)
def test_a_network_is_a_24_or_a_64(one: str, other: str, same: bool) -> None:
    assert (network_of(parse_endpoint(one)) == network_of(parse_endpoint(other))) is same


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("excess", [-1, 1])
def test_contacts_of_a_broken_length_are_refused(family: Family, excess: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_contacts(bytes(2 * family.contact_bytes + excess), family)


def test_a_contact_is_an_id_and_an_endpoint() -> None:
    """BEP 5 "Contact Encoding"."""
    data = QUERIER + bytes.fromhex("c00002011ae1")
    assert decode_contacts(data, Family.IPV4) == [Contact(QUERIER, PLACE)]


@pytest.mark.parametrize("family", Family)
def test_so_many_contacts_are_read_and_no_more(family: Family) -> None:
    entry = QUERIER + bytes(family.endpoint_bytes)
    assert len(decode_contacts(entry * CONTACTS_MAX, family)) == CONTACTS_MAX
    assert len(decode_contacts(entry * (CONTACTS_MAX + 1), family)) == CONTACTS_MAX
    assert decode_contacts(b"", family) == []


@given(st.binary(max_size=200), st.sampled_from(Family))
def test_contacts_of_strangers_raise_the_documented_error_only(data: bytes, family: Family) -> None:
    try:
        contacts = decode_contacts(data, family)
    except MalformedMessage:
        assert len(data) % family.contact_bytes
    else:
        assert b"".join(it.compact() for it in contacts) == data
        for it in contacts:
            is_allowed(it.endpoint, Scope.GLOBAL)


def test_a_contact_writes_its_wire_form() -> None:
    assert Contact(NodeId(b"x" * 20), PLACE).compact() == b"x" * 20 + PLACE
