"""What is right and wrong with a node's connection, told from evidence.

The evidence is what a node saw of itself and of others within some seconds; `dht.doctor` collects
it. Each check gives one finding: a verdict, and a sentence that says what is the case and, where
something can be done about it, what. What the evidence does not show is `UNKNOWN`, and no fault.

Reports of strangers are believed as far as most of them agree, as everywhere in this package.

Spec: RFC 4787 (how NATs behave), in the words of its sections 4.1 and 5; BEP 42 "ip"; BEP 43.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from dht.contact import Endpoint, Family, Scope, address_of, format_endpoint, port_of
from dht.mapping.status import MappingStatus, Phase
from dht.routing import K

REPORTS_MIN: Final = 4
"""Hosts that must have told how they see us before it says anything of a NAT: one may lie."""

SLOW_HOST_S: Final = 2.0
"""Seconds after which an answer is slow: a round trip to the antipodes takes 0.3."""

CLOCK_DRIFT_S: Final = 2.0
"""Seconds by which the clock on the wall may move against the steady one while we look."""

DATE_MIN: Final = 1_767_225_600.0
"""1 January 2026 in Unix time: this was written later."""

DATE_MAX: Final = 4_102_444_800.0
"""1 January 2100 in Unix time."""

Fact: TypeAlias = str | int | float | bool | None
"""A figure behind a finding, as JSON has it."""


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well as it might."""
    FAULT = "fault"
    """It does not work."""
    UNKNOWN = "unknown"
    """The evidence does not tell."""


class Check(StrEnum):
    """What is looked at, by a name that stays."""

    UDP_OUT = "udp-out"
    """Whether others hear us, and we their answers."""
    UDP_IN = "udp-in"
    """Whether strangers reach us uninvited."""
    NAT = "nat"
    """Whether a NAT stands between, and of what kind it seems."""
    BOOTSTRAP = "bootstrap"
    """Which hosts to begin with answered, and how fast."""
    NETWORK = "network"
    """How many nodes are known."""
    CLOCK = "clock"
    """Whether the clock can be right, and runs evenly."""
    PORT_MAPPING = "port-mapping"
    """Whether the router lets strangers in because we asked it to."""
    BUDGET = "budget"
    """How many new remote endpoints a second are allowed."""


class Finding(NamedTuple):
    """The outcome of one check.

    Attributes:
        check: What was looked at.
        family: In which family; None for what concerns the machine.
        verdict: How it came out.
        sentence: What is the case, and what to do, for people.
        facts: The figures behind it, for programs.
    """

    check: Check
    family: Family | None
    verdict: Verdict
    sentence: str
    facts: Mapping[str, Fact]


class FamilyEvidence(NamedTuple):
    """What was seen in one family.

    Attributes:
        family: Which.
        bound: How far the address reaches that our socket is bound to.
        local: The endpoint that our datagrams leave this machine from; None if there is no route.
        sent: Datagrams sent.
        answers: Answers to our queries.
        unsent: Datagrams that the system did not send, by the name of its error.
        nodes: Entries of the routing table.
        reports: Our endpoint as others see it, by who reports it; a host has one report.
        uninvited: Queries from addresses that we had left alone.
        is_read_only: Whether the node has found out in a quarter of an hour that nobody reaches it.
        watched_s: For how long it was watched whether somebody comes.
    """

    family: Family
    bound: Scope
    local: Endpoint | None
    sent: int
    answers: int
    unsent: Mapping[str, int]
    nodes: int
    reports: Mapping[Endpoint, Endpoint]
    uninvited: int
    is_read_only: bool
    watched_s: float


class HostEvidence(NamedTuple):
    """What became of a bootstrap host.

    Attributes:
        host: As configured.
        fate: In a word or two.
        rtt_s: Seconds it took to answer; None if it did not.
        was_needed: Whether it was of any use to ask it.
    """

    host: str
    fate: str
    rtt_s: float | None
    was_needed: bool


class Evidence(NamedTuple):
    """All that was seen.

    Attributes:
        families: Those in which we have a socket.
        hosts: The bootstrap hosts.
        wall_s: The clock on the wall, in Unix time.
        drift_s: By how much it moved against the steady one meanwhile.
        mapping: How it goes with having our IPv4 port mapped.
        endpoints_per_s: The budget: new remote endpoints a second; infinite for no limit.
        flows: Remote endpoints spoken to within half a minute.
    """

    families: Sequence[FamilyEvidence]
    hosts: Sequence[HostEvidence]
    wall_s: float
    drift_s: float
    mapping: MappingStatus
    endpoints_per_s: float
    flows: int


def diagnose(evidence: Evidence) -> list[Finding]:
    """Return what the evidence shows, family by family, and then of the machine.

    Of a family in which nobody answers, that is all there is to tell.
    """
    works = any(it.answers for it in evidence.families)
    findings: list[Finding] = []
    for seen in evidence.families:
        findings.append(_udp_out(seen, works))
        if seen.answers:
            findings += [_nat(seen), _udp_in(seen)]
    return [
        *findings,
        _port_mapping(evidence),
        _bootstrap(evidence.hosts, works),
        _network(evidence.families),
        _clock(evidence),
        _budget(evidence),
    ]


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is broken; a warning is no fault."""
    return all(it.verdict is not Verdict.FAULT for it in findings)


def _udp_out(seen: FamilyEvidence, works_elsewhere: bool) -> Finding:
    facts: dict[str, Fact] = {"sent": seen.sent, "answers": seen.answers, **seen.unsent}
    if seen.answers:
        verdict, sentence = Verdict.OK, "UDP gets out and is answered."
    else:
        verdict = Verdict.WARNING if works_elsewhere else Verdict.FAULT
        sentence = _silence(seen, works_elsewhere)
    return Finding(Check.UDP_OUT, seen.family, verdict, sentence, facts)


def _silence(seen: FamilyEvidence, works_elsewhere: bool) -> str:
    if seen.local is None or not seen.sent:
        errors = f" ({', '.join(seen.unsent)})" if seen.unsent else ""
        rest = "there is only the other family" if works_elsewhere else "connect the machine"
        return f"Nothing could be sent{errors}: {rest}."
    if works_elsewhere:
        return "Nobody answered in this family, though the other works: name a host that has it."
    return "Datagrams leave, but nobody answers: a firewall may block UDP, or all hosts are dead."


def _udp_in(seen: FamilyEvidence) -> Finding:
    facts: dict[str, Fact] = {
        "uninvited_queries": seen.uninvited,
        "watched_s": round(seen.watched_s, 1),
    }
    if seen.uninvited:
        verdict, sentence = Verdict.OK, "Strangers reach us uninvited."
    elif seen.bound is not Scope.GLOBAL:
        verdict, sentence = Verdict.UNKNOWN, "Bound to a local address, where no stranger comes."
    elif seen.is_read_only:
        verdict = Verdict.WARNING
        sentence = "No stranger reaches us: forward the UDP port in the router, and bind to it."
    else:
        verdict = Verdict.UNKNOWN
        waited = f"{seen.watched_s:.0f} s"
        sentence = f"No stranger came within {waited}, which may be chance: watch for longer."
    return Finding(Check.UDP_IN, seen.family, verdict, sentence, facts)


def _nat(seen: FamilyEvidence) -> Finding:
    reports = seen.reports
    facts: dict[str, Fact] = {"reports": len(reports)}
    if len(reports) < REPORTS_MIN:
        sentence = f"Only {len(reports)} hosts told how they see us; {REPORTS_MIN} would be enough."
        return Finding(Check.NAT, seen.family, Verdict.UNKNOWN, sentence, facts)
    claimed = Counter(address_of(it) for it in reports.values())
    address, votes = claimed.most_common(1)[0]
    if 3 * votes < 2 * len(reports):
        facts["addresses"] = len(claimed)
        sentence = "Hosts see us at different addresses: the NAT uses several, or they lie."
        return Finding(Check.NAT, seen.family, Verdict.WARNING, sentence, facts)
    agreed = [it for it in reports.values() if address_of(it) == address]
    return _nat_by_ports(seen, agreed, facts)


def _nat_by_ports(
    seen: FamilyEvidence, agreed: Sequence[Endpoint], facts: dict[str, Fact]
) -> Finding:
    """Judge from the external endpoints, all of one address."""
    endpoint, votes = Counter(agreed).most_common(1)[0]
    facts |= {"external": format_endpoint(endpoint), "ports": len(set(agreed))}
    is_steady = 3 * votes >= 2 * len(agreed)
    if is_steady and endpoint == seen.local:
        verdict, sentence = Verdict.OK, "No NAT: others see the address of this machine."
    elif is_steady:
        kept = "the same" if seen.local and port_of(seen.local) == port_of(endpoint) else "another"
        verdict = Verdict.OK
        sentence = f"A NAT that shows everybody one endpoint, with {kept} port: peers can meet us."
    elif 2 * len(set(agreed)) >= len(agreed):
        verdict = Verdict.WARNING
        sentence = (
            "A NAT that shows each host another port, so that peers cannot be introduced to us: "
            "let it map the port, or forward it."
        )
    else:
        verdict, sentence = Verdict.UNKNOWN, "Hosts disagree on our port: the NAT may have changed."
    return Finding(Check.NAT, seen.family, verdict, sentence, facts)


def _port_mapping(evidence: Evidence) -> Finding:
    status = evidence.mapping
    external = format_endpoint(status.external) if status.external is not None else None
    facts: dict[str, Fact] = {
        "phase": status.phase,
        "method": status.method,
        "external": external,
        "failures": status.failures,
    }
    match status.phase:
        case Phase.MAPPED:
            verdict, sentence = _mapped(status, evidence.families)
        case Phase.FAILED:
            verdict = Verdict.UNKNOWN if _is_open(evidence.families) else Verdict.WARNING
            sentence = f"No router maps our port ({'; '.join(status.reasons)})."
        case Phase.TRYING:
            verdict, sentence = Verdict.UNKNOWN, "The router has not answered yet."
        case _:
            verdict, sentence = Verdict.UNKNOWN, "Nothing is to be mapped here."
    return Finding(Check.PORT_MAPPING, Family.IPV4, verdict, sentence, facts)


def _mapped(status: MappingStatus, families: Sequence[FamilyEvidence]) -> tuple[Verdict, str]:
    """Judge a mapping: whether the address that the router gave is the one that others see."""
    ours = address_of(status.external) if status.external is not None else b""
    seen = [
        address_of(it)
        for family in families
        if family.family is Family.IPV4
        for it in family.reports.values()
    ]
    if len(seen) >= REPORTS_MIN and 3 * seen.count(ours) < 2 * len(seen):
        sentence = "Others see another address than our router has: a second NAT stands behind it."
        return Verdict.WARNING, sentence
    return Verdict.OK, f"The router maps our port ({status.method})."


def _is_open(families: Sequence[FamilyEvidence]) -> bool:
    """Tell whether nothing needs to be mapped: strangers come anyway, or there is no NAT."""
    return any(
        it.uninvited or it.local in it.reports.values()
        for it in families
        if it.family is Family.IPV4
    )


def _bootstrap(hosts: Sequence[HostEvidence], works: bool) -> Finding:
    facts: dict[str, Fact] = {
        it.host: round(it.rtt_s, 3) if it.rtt_s is not None else it.fate for it in hosts
    }
    asked = [it for it in hosts if it.was_needed]
    dead = [it.host for it in asked if it.rtt_s is None]
    slow = [it.host for it in asked if it.rtt_s is not None and it.rtt_s > SLOW_HOST_S]
    if not asked:
        verdict = Verdict.UNKNOWN
        sentence = "No bootstrap host was asked." if hosts else "No bootstrap host is named."
    elif len(dead) == len(asked):
        verdict = Verdict.WARNING if works else Verdict.FAULT
        sentence = f"No bootstrap host answered ({', '.join(dead)}): name others."
    elif dead or slow:
        bad = [f"silent: {', '.join(dead)}"] * bool(dead) + [f"slow: {', '.join(slow)}"] * bool(
            slow
        )
        verdict = Verdict.WARNING
        sentence = f"{len(asked) - len(dead)} of {len(asked)} hosts answered ({'; '.join(bad)})."
    else:
        verdict, sentence = Verdict.OK, f"All {len(asked)} bootstrap hosts asked answered."
    return Finding(Check.BOOTSTRAP, None, verdict, sentence, facts)


def _network(families: Sequence[FamilyEvidence]) -> Finding:
    facts: dict[str, Fact] = {it.family.name.lower(): it.nodes for it in families}
    nodes = max((it.nodes for it in families), default=0)
    if not nodes:
        verdict, sentence = Verdict.FAULT, "No node of the DHT is known: nothing can be searched."
    elif nodes < K:
        verdict = Verdict.WARNING
        sentence = (
            f"Only {nodes} nodes are known: this is a tiny network, or most answers are lost."
        )
    else:
        verdict, sentence = Verdict.OK, f"The network is there: {nodes} nodes are known."
    return Finding(Check.NETWORK, None, verdict, sentence, facts)


def _clock(evidence: Evidence) -> Finding:
    facts: dict[str, Fact] = {
        "unix_time": round(evidence.wall_s),
        "drift_s": round(evidence.drift_s, 3),
    }
    if not DATE_MIN <= evidence.wall_s <= DATE_MAX:
        verdict = Verdict.FAULT
        sentence = "The clock is wrong by years, so that no certificate is valid: set it."
    elif abs(evidence.drift_s) > CLOCK_DRIFT_S:
        verdict = Verdict.WARNING
        sentence = (
            f"The clock moved by {evidence.drift_s:+.1f} s: it was set, or the machine slept."
        )
    else:
        verdict, sentence = Verdict.OK, "The date is plausible, and the clock runs evenly."
    return Finding(Check.CLOCK, None, verdict, sentence, facts)


def _budget(evidence: Evidence) -> Finding:
    limit = evidence.endpoints_per_s
    facts: dict[str, Fact] = {
        "endpoints_per_s": limit if limit != float("inf") else None,
        "flows": evidence.flows,
    }
    rate = "any number of" if limit == float("inf") else f"{limit:g}"
    sentence = f"The budget allows {rate} new remote endpoints a second; {evidence.flows} are open."
    return Finding(Check.BUDGET, None, Verdict.OK, sentence, facts)
