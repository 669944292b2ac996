"""What evidence shows, and what it does not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Endpoint, Family, Scope, endpoint
from dht.diagnosis import (
    CLOCK_DRIFT_S,
    DATE_MIN,
    REPORTS_MIN,
    SLOW_HOST_S,
    Check,
    Evidence,
    FamilyEvidence,
    Finding,
    HostEvidence,
    Verdict,
    diagnose,
    is_healthy,
)
from dht.mapping.status import NOT_MAPPED, MappingStatus, Phase
from tests.dht.samples import public

OK, WARNING, FAULT, UNKNOWN = Verdict
LOCAL = endpoint("192.168.1.2", 6881)
OUTSIDE = endpoint("45.9.0.2", 6881)


def reports(*seen: Endpoint) -> dict[Endpoint, Endpoint]:
    return {public(serial): it for serial, it in enumerate(seen)}


def outside(port: int, host: int = 2) -> Endpoint:
    return endpoint(f"45.9.0.{host}", port)


SEEN = FamilyEvidence(
    family=Family.IPV4,
    bound=Scope.GLOBAL,
    local=LOCAL,
    sent=100,
    answers=80,
    unsent={},
    nodes=60,
    reports=reports(*[OUTSIDE] * 16),
    uninvited=3,
    is_read_only=False,
    watched_s=20.0,
)
SIX = SEEN._replace(family=Family.IPV6, local=None, reports={})
HOST = HostEvidence("a:1", "answered", 0.05, True)
DEAD = HostEvidence("b:2", "silent", None, True)
EVIDENCE = Evidence(
    families=[SEEN],
    hosts=[HOST],
    wall_s=DATE_MIN + 1,
    drift_s=0.0,
    mapping=MappingStatus(Phase.MAPPED, "PCP", OUTSIDE, grants=1),
    endpoints_per_s=80.0,
    flows=12,
)


def finding(check: Check, evidence: Evidence = EVIDENCE, **seen: Any) -> Finding:
    """Return one finding, after some change of what was seen in IPv4."""
    if seen:
        first, *others = evidence.families
        evidence = evidence._replace(families=[first._replace(**seen), *others])
    return next(it for it in diagnose(evidence) if it.check is check)


def silent(**seen: Any) -> Evidence:
    nothing = {"answers": 0, "nodes": 0, "reports": {}, "uninvited": 0}
    return EVIDENCE._replace(families=[SEEN._replace(**{**nothing, **seen})], hosts=[DEAD])


# What is wrong


def test_silence_is_a_fault_and_hides_what_cannot_be_known() -> None:
    found = {it.check: it.verdict for it in diagnose(silent())}
    assert found[Check.UDP_OUT] is found[Check.BOOTSTRAP] is found[Check.NETWORK] is FAULT
    assert Check.NAT not in found
    assert Check.UDP_IN not in found
    assert not is_healthy(diagnose(silent()))


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({"sent": 5}, "firewall"),
        ({"sent": 0, "unsent": {"error ENETUNREACH": 4}}, "ENETUNREACH"),
        ({"local": None}, "Nothing could be sent"),
    ],
)
def test_the_reason_of_silence_is_told(seen: dict[str, Any], word: str) -> None:
    assert word in finding(Check.UDP_OUT, silent(**seen)).sentence


def test_silence_of_one_family_is_a_warning() -> None:
    both = EVIDENCE._replace(families=[SEEN, SIX._replace(answers=0)])
    out = [it for it in diagnose(both) if it.check is Check.UDP_OUT]
    assert [(it.family, it.verdict) for it in out] == [(Family.IPV4, OK), (Family.IPV6, WARNING)]
    assert "there is only the other family" in out[1].sentence
    assert is_healthy(diagnose(both))


def test_hosts_of_the_other_family_only_are_told() -> None:
    six = SIX._replace(answers=0, local=endpoint("2a00::1", 6881))
    found = diagnose(EVIDENCE._replace(families=[SEEN, six]))
    (sentence,) = (it.sentence for it in found if it.family is Family.IPV6)
    assert "name a host that has it" in sentence


@pytest.mark.parametrize("wall_s", [0.0, DATE_MIN - 1, 5e9])
def test_an_impossible_date_is_a_fault(wall_s: float) -> None:
    assert finding(Check.CLOCK, EVIDENCE._replace(wall_s=wall_s)).verdict is FAULT


@pytest.mark.parametrize("drift_s", [-CLOCK_DRIFT_S - 0.1, CLOCK_DRIFT_S + 0.1])
def test_a_clock_that_is_moved_is_a_warning(drift_s: float) -> None:
    found = finding(Check.CLOCK, EVIDENCE._replace(drift_s=drift_s))
    assert found.verdict is WARNING
    assert f"{drift_s:+.1f} s" in found.sentence


# Hosts


@pytest.mark.parametrize(
    ("hosts", "verdict"),
    [
        ([], UNKNOWN),
        ([DEAD._replace(was_needed=False)], UNKNOWN),
        ([DEAD], WARNING),  # Others answered: they were remembered.
        ([HOST, DEAD], WARNING),
        ([HOST, HOST._replace(host="c:3", rtt_s=SLOW_HOST_S + 1)], WARNING),
        ([HOST, DEAD._replace(was_needed=False)], OK),
        ([HOST], OK),
    ],
)
def test_bootstrap_hosts(hosts: list[HostEvidence], verdict: Verdict) -> None:
    found = finding(Check.BOOTSTRAP, EVIDENCE._replace(hosts=hosts))
    assert found.verdict is verdict
    assert set(found.facts) == {it.host for it in hosts}


@pytest.mark.parametrize(("nodes", "verdict"), [(0, FAULT), (1, WARNING), (7, WARNING), (8, OK)])
def test_a_network_has_nodes(nodes: int, verdict: Verdict) -> None:
    assert finding(Check.NETWORK, nodes=nodes).verdict is verdict


# The NAT

STEADY = [OUTSIDE] * 12
MANY_PORTS = [outside(10_000 + serial) for serial in range(12)]


@pytest.mark.parametrize(
    ("seen", "verdict", "word"),
    [
        ([], UNKNOWN, "Only 0 hosts"),
        ([OUTSIDE] * (REPORTS_MIN - 1), UNKNOWN, f"{REPORTS_MIN} would be enough"),
        ([outside(1, host) for host in range(1, 9)], WARNING, "different addresses"),
        (MANY_PORTS, WARNING, "each host another port"),
        ([outside(1), outside(2)] * 6, UNKNOWN, "disagree"),
        (STEADY, OK, "with the same port"),
        ([outside(7)] * 12, OK, "with another port"),
        ([LOCAL] * 12, OK, "No NAT"),
    ],
)
def test_the_kind_of_nat(seen: list[Endpoint], verdict: Verdict, word: str) -> None:
    found = finding(Check.NAT, reports=reports(*seen))
    assert found.verdict is verdict
    assert word in found.sentence


@pytest.mark.parametrize("honest", [STEADY, MANY_PORTS, [LOCAL] * 12])
@given(lies=st.lists(st.integers(0, 2**48 - 1), max_size=4))
def test_a_few_liars_do_not_change_it(honest: list[Endpoint], lies: list[int]) -> None:
    told = [Endpoint(it.to_bytes(6)) for it in lies]
    found = finding(Check.NAT, reports=reports(*told, *honest))
    assert found.sentence == finding(Check.NAT, reports=reports(*honest)).sentence


# Strangers


@pytest.mark.parametrize(
    ("seen", "verdict", "word"),
    [
        ({"uninvited": 0}, UNKNOWN, "within 20 s"),
        ({"uninvited": 0, "is_read_only": True}, WARNING, "forward the UDP port"),
        ({"uninvited": 0, "bound": Scope.LOOPBACK}, UNKNOWN, "local address"),
        ({"uninvited": 1}, OK, "Strangers reach us"),
    ],
)
def test_whether_strangers_come(seen: dict[str, Any], verdict: Verdict, word: str) -> None:
    found = finding(Check.UDP_IN, **seen)
    assert found.verdict is verdict
    assert word in found.sentence


FAILED = MappingStatus(Phase.FAILED, failures=3, reasons=("PCP: no", "UPnP: no router answers"))


@pytest.mark.parametrize(
    ("status", "seen", "verdict", "word"),
    [
        (NOT_MAPPED, {}, UNKNOWN, "Nothing is to be mapped"),
        (MappingStatus(Phase.TRYING), {}, UNKNOWN, "not answered yet"),
        (FAILED, {"uninvited": 0}, WARNING, "PCP: no; UPnP: no router answers"),
        (FAILED, {}, UNKNOWN, "No router maps our port"),
        (FAILED, {"uninvited": 0, "local": OUTSIDE}, UNKNOWN, "No router maps our port"),
        (EVIDENCE.mapping, {}, OK, "maps our port (PCP)"),
        (EVIDENCE.mapping, {"reports": reports(*[outside(1, 7)] * 8)}, WARNING, "second NAT"),
    ],
)
def test_port_mapping(
    status: MappingStatus, seen: dict[str, Any], verdict: Verdict, word: str
) -> None:
    found = finding(Check.PORT_MAPPING, EVIDENCE._replace(mapping=status), **seen)
    assert found.verdict is verdict
    assert word in found.sentence


# What is right


def test_all_is_well() -> None:
    findings = diagnose(EVIDENCE)
    assert {it.check for it in findings} == set(Check)
    assert {it.verdict for it in findings} == {OK}
    assert is_healthy(findings)


@pytest.mark.parametrize(("limit", "word"), [(20.0, "20 new"), (float("inf"), "any number of new")])
def test_the_budget_is_told(limit: float, word: str) -> None:
    found = finding(Check.BUDGET, EVIDENCE._replace(endpoints_per_s=limit))
    assert word in found.sentence
    assert found.facts["endpoints_per_s"] in (limit, None)
