"""Whom not to believe: one rule for each way in which nodes are known to lie.

A lie that an answer proves costs its author what it told; one that an honest node cannot tell by
mistake also costs it our attention, for a while. Only answers to our own queries are judged, since
anything else may come under a forged address, and would turn a ban into a weapon.

`Suspicion` is the memory of one engine. `Scrutiny` is what one lookup will hear of its candidates.
All tables are bounded, and every rule counts how often it applied.

Spec: BEP 42 (secure ids), BEP 45 (changing ids); one node a network is libtorrent's practice. See
also Wang and Kangasharju, "Real-World Sybil Attacks in BitTorrent Mainline DHT" (2012).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Final, TypeAlias

from dht.contact import (
    Contact,
    Endpoint,
    address_of,
    has_secure_id,
    is_global,
    network_of,
)
from dht.density import EXPECTED_MIN, Density
from dht.keyspace import ID_BITS, NodeId
from dht.krpc import Answer
from dht.recollection import Recollection

IDS_MAX: Final = 2
"""Ids that one endpoint may show within `IDS_WITHIN_S`: its own, and another after a restart."""

IDS_WITHIN_S: Final = 600.0
"""Seconds for which a shown id is remembered."""

IGNORED_S: Final = 3_600.0
"""Seconds for which a proven liar is ignored: in an hour the address may be somebody else's."""

PLAUSIBLE_BITS: Final = 36
"""Leading bits that an honest node may share with a target.

The network has less than 2^25 nodes, so two of them share more than these once in ten million
searches. One is let pass: it may be the very node that is searched for.
"""

IDS_PER_ADDRESS_MAX: Final = 2
"""Ids that an answer may give to one public address: two nodes may live behind one router."""

POSING_MIN: Final = 4
"""Peers that must be nodes of the same answer before they count as posing.

Clients use one port for both, so a node next to a swarm it is in is nothing unusual.
"""

SAME_PEERS_MIN: Final = 8
"""Shortest list of peers that proves something when it is given for two info-hashes."""

SAME_PEERS_WITHIN_S: Final = 3_600.0
"""Seconds for which a node's last such list is remembered: twice as long as peers are stored."""

REMEMBERED_MAX: Final = 10_000
"""Endpoints of which each kind of thing is remembered; the one seen longest ago goes first."""

_ShownId: TypeAlias = tuple[NodeId, float]
"""An id and when it was shown last."""

_NEAR: Final = 1 << (ID_BITS - PLAUSIBLE_BITS)


class Rule(Enum):
    """A lie, by its name in the statistics."""

    CHANGING_IDS = "changing ids"
    NEAR_IDS = "ids too near the target"
    MANY_IDS = "one address under many ids"
    CROWDING = "crowding by one network"
    NODES_AS_PEERS = "nodes posing as peers"
    SAME_PEERS = "same peers for another info-hash"
    DENSITY = "more nodes near the target than there are"
    SEVERAL = "several lies in one lookup"


class Suspicion:
    """What an engine remembers of liars.

    Attributes:
        counts: How often each rule applied.
        density: How near the nearest nodes usually are.
    """

    def __init__(self, rules: Iterable[Rule] = Rule, *, strict_ids: bool = False) -> None:
        """Begin with an open mind.

        Args:
            rules: Those that apply.
            strict_ids: Whether the results of lookups must have secure ids. Spec: BEP 42.
        """
        self.counts: Counter[Rule] = Counter()
        self.density = Density()
        self.strict_ids = strict_ids
        self._rules = frozenset(rules)
        self._ignored: Recollection[Endpoint, None] = Recollection(
            lifetime_s=IGNORED_S, entries_max=REMEMBERED_MAX
        )
        self._shown: Recollection[Endpoint, tuple[_ShownId, ...]] = Recollection(
            lifetime_s=IDS_WITHIN_S, entries_max=REMEMBERED_MAX
        )
        self._named: Recollection[Endpoint, tuple[bytes, bytes]] = Recollection(
            lifetime_s=SAME_PEERS_WITHIN_S, entries_max=REMEMBERED_MAX
        )

    def scrutiny(self) -> "Scrutiny":
        """Return the judge of candidates for a new lookup."""
        return Scrutiny(self)

    def ignores(self, endpoint: Endpoint, *, now: float) -> bool:
        """Tell whether nothing is to be heard from an endpoint, or asked there, for the time."""
        return self._ignored.noted_at(endpoint) + IGNORED_S > now

    def applies(self, rule: Rule) -> bool:
        """Count that a rule was broken; tell whether it is in force."""
        if rule not in self._rules:
            return False
        self.counts[rule] += 1
        return True

    def _identify(self, sender: Contact, now: float) -> None:
        """Note under which id an endpoint has answered; whoever shows a third is ignored."""
        id, endpoint = sender
        before = self._shown.recall(endpoint, now=now)
        if before is None or (len(before) == 1 and before[0][0] == id):
            return self._shown.note(endpoint, ((id, now),), now=now)
        others = [it for it in before if it[0] != id and it[1] + IDS_WITHIN_S > now]
        self._shown.note(endpoint, (*others, (id, now)), now=now)
        if len(others) >= IDS_MAX and self.applies(Rule.CHANGING_IDS):
            self._ignored.note(endpoint, None, now=now)

    def believable(
        self, answer: Answer, sender: Contact, target: bytes | None, *, now: float
    ) -> Answer:
        """Leave out of an answer what is a lie on the face of it.

        Args:
            answer: As it was read.
            sender: Who gave it.
            target: What the search is for that asked; None if it was no search.
            now: Monotonic seconds.
        """
        self._identify(sender, now)
        if self.ignores(sender.endpoint, now=now):
            return answer._replace(contacts=[], peers=[], token=None)
        peers = answer.peers
        if len(peers) >= POSING_MIN and self._are_nodes(peers, answer.contacts):
            peers = []
        if len(peers) >= SAME_PEERS_MIN and target is not None:
            peers = self._unless_same(peers, sender.endpoint, target, now)
        contacts = answer.contacts
        if len({contact.endpoint[:-2] for contact in contacts}) < len(contacts):
            contacts = self._of_one_id(contacts)
        if contacts is answer.contacts and peers is answer.peers:
            return answer
        return answer._replace(contacts=contacts, peers=peers)

    def _of_one_id(self, contacts: list[Contact]) -> list[Contact]:
        """Leave out the contacts at endpoints, and public addresses, that have too many ids.

        None of the ids can be told from the right one, and asking under a wrong id would cost the
        lookup a node that somebody else may name properly.
        """
        ids: defaultdict[bytes, set[NodeId]] = defaultdict(set)
        for contact in contacts:
            ids[contact.endpoint].add(contact.id)
            if is_global(contact.endpoint):
                ids[address_of(contact.endpoint)].add(contact.id)
        kept = [
            contact
            for contact in contacts
            if len(ids[contact.endpoint]) == 1
            and len(ids.get(address_of(contact.endpoint), ())) <= IDS_PER_ADDRESS_MAX
        ]
        return kept if len(kept) < len(contacts) and self.applies(Rule.MANY_IDS) else contacts

    def _are_nodes(self, peers: list[Endpoint], contacts: list[Contact]) -> bool:
        nodes = {contact.endpoint for contact in contacts}
        posing = sum(peer in nodes for peer in peers)
        return (
            posing >= POSING_MIN and 2 * posing > len(peers) and self.applies(Rule.NODES_AS_PEERS)
        )

    def _unless_same(
        self, peers: list[Endpoint], endpoint: Endpoint, target: bytes, now: float
    ) -> list[Endpoint]:
        """Return the peers, or none if the node gave the same ones for another info-hash."""
        digest = blake2b(b"".join(sorted(peers)), digest_size=16).digest()
        before = self._named.recall(endpoint, now=now)
        self._named.note(endpoint, (target, digest), now=now)
        is_same = before is not None and before[0] != target and before[1] == digest
        if is_same and self.applies(Rule.SAME_PEERS):
            self._ignored.note(endpoint, None, now=now)
            return []
        return peers


class Scrutiny:
    """What one lookup believes of the candidates it is told of.

    Attributes:
        suspicion: Which rules are in force, and where they are counted.
    """

    def __init__(self, suspicion: Suspicion | None = None) -> None:
        """Begin without candidates.

        Args:
            suspicion: Which rules are in force, and where they are counted; None for all.
        """
        self.suspicion = suspicion if suspicion is not None else Suspicion()
        self._broken: set[Rule] = set()
        self._networks: dict[bytes, Endpoint] = {}
        self._nearest: Endpoint | None = None

    def admits(self, at: Endpoint, distance: int) -> bool:
        """Tell whether somebody may become a candidate, and note it if so.

        Args:
            at: Where it is said to be.
            distance: From its alleged id to the target.
        """
        is_near = distance < _NEAR
        if is_near and self._nearest not in (None, at) and self._applies(Rule.NEAR_IDS):
            return False
        if is_global(at):
            holder = self._networks.setdefault(network_of(at), at)
            if holder != at and self._applies(Rule.CROWDING):
                return False
        if is_near:
            self._nearest = at
        return True

    def forget(self, at: Endpoint) -> None:
        """Give free what a candidate holds that is none any more."""
        self._networks.pop(network_of(at), None)

    def counts(self, contact: Contact) -> bool:
        """Tell whether a node that answered may be part of the result. Spec: BEP 42."""
        return not self.suspicion.strict_ids or has_secure_id(contact)

    def suspects(self, nearest: Sequence[int]) -> bool:
        """Tell whether the end of the lookup looks like an attack on its target.

        Args:
            nearest: Distances of the K nearest nodes that answered, in order.
        """
        expected = self.suspicion.density.expected_within(nearest[-1])
        if len(self._broken) > 1:
            return self._applies(Rule.SEVERAL)
        if expected is not None and expected < EXPECTED_MIN:
            return self._applies(Rule.DENSITY)
        self.suspicion.density.learn(nearest[-1])
        return False

    def _applies(self, rule: Rule) -> bool:
        self._broken.add(rule)
        return self.suspicion.applies(rule)
