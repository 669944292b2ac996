"""The examination of nodes on loopback; `tests/interop/test_nat.py` has real routers."""

import pytest
import trio.testing

from dht import doctor
from dht.bootstrap import BootstrapHost
from dht.contact import Endpoint, Family, port_of
from dht.diagnosis import Check, Finding, Verdict
from dht.doctor import examine
from dht.errors import NodeClosed
from dht.node import NodeSettings, open_node
from dht.testnet import Testnet

BOTH = [("127.0.0.1", 0), ("::1", 0)]


def verdicts(findings: list[Finding]) -> dict[tuple[Check, Family | None], Verdict]:
    return {(it.check, it.family): it.verdict for it in findings}


async def test_who_knows_nobody_is_at_fault(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    silent = BootstrapHost("127.0.0.1", port_of(silent_end))
    async with open_node(NodeSettings(bind=BOTH[:1], bootstrap=[silent])) as node:
        found = verdicts(await examine(node))
    assert found[Check.UDP_OUT, Family.IPV4] is Verdict.FAULT
    assert found[Check.BOOTSTRAP, None] is Verdict.FAULT
    assert found[Check.NETWORK, None] is Verdict.FAULT


async def test_a_closed_node_is_not_examined() -> None:
    async with open_node(NodeSettings(bind=BOTH[:1], bootstrap=())) as node:
        pass
    with pytest.raises(NodeClosed):
        await examine(node)


async def test_a_clock_that_jumps_is_noticed(
    testnet: Testnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([(1_800_000_000.0, 10.0), (1_800_003_600.0, 11.0)])
    monkeypatch.setattr(doctor, "_read_clocks", lambda: doctor._Clocks(*next(times)))
    found = {it.check: it for it in await examine(testnet.nodes[-1])}
    assert found[Check.CLOCK].verdict is Verdict.WARNING
    assert found[Check.CLOCK].facts["drift_s"] == 3_599.0


async def test_a_node_on_loopback_is_well(
    testnet: Testnet, patient_clock: trio.testing.MockClock
) -> None:
    settings = NodeSettings(bind=BOTH, bootstrap=testnet.entry_points(), map_ports=True)
    async with open_node(settings) as node:
        findings = await examine(node)
    found = verdicts(findings)
    for family in Family:
        assert found[Check.UDP_OUT, family] is Verdict.OK
        assert found[Check.NAT, family] is Verdict.OK
        assert found[Check.UDP_IN, family] is Verdict.UNKNOWN
    assert found[Check.PORT_MAPPING, Family.IPV4] is Verdict.UNKNOWN
    (mapping,) = (it for it in findings if it.check is Check.PORT_MAPPING)
    assert mapping.facts["phase"] == "off"
    hosts = next(it.facts for it in findings if it.check is Check.BOOTSTRAP)
    assert set(hosts) == {str(it) for it in testnet.entry_points()}
    assert all(isinstance(it, float) and it < 1.0 for it in hosts.values())
