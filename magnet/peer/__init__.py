"""The peer protocol: bytes in, events out.

Terms first. A *peer* speaks this protocol over a stream (TCP, or uTP); a node of the DHT is
something else. The *initiator* dialled, the *responder* was dialled. *Metadata* is an info
dictionary in transfer, cut in *pieces* of 16 KiB that have nothing to do with the pieces of the
content.

From the ground up:

- `wire`: the length-prefixed messages (BEP 3, 5, 6, 10) and their incremental decoder;
- `handshake`: the 68 bytes before them (BEP 3, 4, 20);
- `extension`: the handshake of the extension protocol (BEP 10);
- `ut_metadata`: the three messages of metadata exchange (BEP 9);
- `assembly` and `metadata_pool`: what the peers of one swarm have brought together, and whom to ask
  for what next;
- `metadata_server`: answers to those who ask us;
- `events` and `connection`: one conversation with one peer as a state machine;
- `stream`: that machine on a trio stream, with its deadlines;
- `fetch`: the conversation that brings metadata.

All but the last two are pure: no sockets, no clock, no dice of their own.
"""

__all__: list[str] = []
