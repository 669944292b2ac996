"""Fuzzes the KRPC decoders: messages, the answers in them, compact contacts; and saved states."""

import random
import sys

from dht.contact import CONTACTS_MAX, PEERS_MAX, Contact, Endpoint, Family, decode_contacts
from dht.errors import MalformedBencode, MalformedMessage, StateError
from dht.keyspace import NodeId
from dht.krpc import TOKEN_MAX, Response, decode_message, read_answer
from dht.state import SavedNode, State, decode_state, encode_state
from scripts.fuzzers.corpus import vector_bytes
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    messages = Mutator(vector_bytes("krpc_messages", "packet"), rng).next_input
    contacts = Mutator([rng.randbytes(26 * 8), rng.randbytes(38 * 8), b""], rng).next_input
    states = Mutator([encode_state(saved_state(rng))], rng).next_input
    return [
        Subject("krpc messages", messages, read_message, (MalformedBencode, MalformedMessage)),
        Subject("krpc contacts", contacts, read_contacts, (MalformedMessage,)),
        Subject("saved state", states, decode_state, (StateError,)),
    ]


def read_message(datagram: bytes) -> None:
    """Decode a datagram, and what a response holds for either family, within its bounds."""
    message = decode_message(datagram)
    if isinstance(message, Response):
        for family in Family:
            answer = read_answer(message, family)
            assert len(answer.contacts) <= CONTACTS_MAX
            assert len(answer.peers) <= PEERS_MAX
            assert answer.token is None or len(answer.token) <= TOKEN_MAX


def read_contacts(data: bytes) -> None:
    """Decode contacts of whichever family the length allows; both refuse what fits neither."""
    family = Family.IPV4 if len(data) % Family.IPV4.contact_bytes == 0 else Family.IPV6
    contacts = decode_contacts(data, family)
    again = b"".join(contact.compact() for contact in contacts)
    assert again == data[: CONTACTS_MAX * family.contact_bytes]


def saved_state(rng: random.Random) -> State:
    """Return a state as a node would save it."""
    contacts = tuple(
        Contact(NodeId(rng.randbytes(20)), Endpoint(rng.randbytes(6))) for _ in range(20)
    )
    return {Family.IPV4: SavedNode(NodeId(rng.randbytes(20)), contacts)}


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
