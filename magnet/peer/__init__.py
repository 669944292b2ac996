"""The peer protocol: bytes in, events out.

Terms first. A *peer* speaks this protocol over a stream (TCP, or uTP); a node of the DHT is
something else. The *initiator* dialled, the *responder* was dialled. *Metadata* is an info
dictionary in transfer, cut in *pieces* of 16 KiB that have nothing to do with the pieces of the
content.

From the ground up:

- `wire`: the length-prefixed messages (BEP 3, 5, 6, 10, 52) and their incremental decoder;
- `handshake`: the 68 bytes before them (BEP 3, 4, 20);
- `encryption`: what may come before all of it, and disguises it;
- `extension`: the handshake of the extension protocol (BEP 10);
- `ut_metadata`: the three messages of metadata exchange (BEP 9);
- `ut_pex` and `ut_holepunch`: what peers say of other peers, and do to bring them together (BEP 11
  and 55), with the bounds on both;
- `assembly` and `metadata_pool`: what the peers of one swarm have brought together, and whom to ask
  for what next; `allowance`: how much memory that takes over all links;
- `hashes` and `layer_pool`: the same for the piece layers of v2 torrents (BEP 52), of which every
  part can be checked by itself;
- `metadata_server` and `hash_server`: answers to those who ask us;
- `events` and `connection`: one conversation with one peer as a state machine;
- `acquaintances`: what a seeder does between the peers of a swarm, which it names and introduces to
  each other;
- `stream`: the machine on a trio stream, with its deadlines;
- `introductions`: what a resolver hears of other peers, and has arranged, while it fetches;
- `fetch` and `fetch_layers`: the conversations that bring metadata and piece layers.

All but the last four are pure: no sockets, no clock, no dice of their own.
"""

__all__: list[str] = []
