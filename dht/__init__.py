"""The Kademlia node of the mainline DHT: everything that speaks KRPC over UDP.

    async with open_node() as node:
        with node.find_peers(info_hash) as peers:
            async for peer in peers:
                print(format_endpoint(peer))

Terms
-----

A *node* speaks UDP and keeps the table; a *peer* speaks TCP or uTP and has pieces of a torrent. The
DHT tells which peers there are for an *info-hash*. Nodes and info-hashes are points of one 160-bit
*key space*, and their *distance* is the XOR of the two. An *endpoint* is an address and a port, a
*contact* an endpoint with the id of the node there. A *query* gets an answer, an error, or nothing,
and is matched to it by its *transaction*. A *token* is what a node hands out with an answer and
wants back before it stores an *announce*. An *item* is a small value that the DHT keeps under the
hash of it, or of the key that signed it. A *router* or *bootstrap host* is where a node begins that
knows nobody.

The rooms, from the ground up
-----------------------------

The ground floor is pure: no socket, clock, file, log or global randomness. Time is an argument
(`now`, monotonic seconds), and so is chance (`rng`).

- Values: `errors`, `keyspace`, `bencode`, `contact`, `krpc`, `items`. What is on the wire, and what
  may be believed of it.
- Machines, one concept each: `routing` (whom we know), `transactions` (what we wait for), `lookup`
  (whom to ask next), `tokens`, `peerstore`, `itemstore` and `ratelimit` (what we grant others),
  `sampling` (when another may be asked what it stores), `suspicion` (whom not to believe) with
  `density` (when nodes are nearer than they can be) and `disjoint` (other ways to a target then),
  `identity` (who we are to others) with `external` (our address, by vote) and `reachability`
  (whether strangers reach us); all that they remember of others is a `recollection`, which forgets.
  `figures` tell how an engine fares.
- Asking: an `inquiry` is something to find out with queries, such as a ping; a `search` is a lookup
  with a purpose; the `inquirer` carries both out, within limits.
- Answering: `services` know what to say, a module for each group of methods, with `prepared`
  answers where that pays; the `responder` wraps and refuses. `upkeep` says what the table needs.
- `engine` is a node on a socket that is not there: datagrams and time go in; datagrams, events and
  the next deadline come out. It owns the machines and no algorithm. One engine has one family, one
  id and one table (BEP 32, BEP 45).
- `state` is the form in which a node is remembered. `diagnosis` tells from what a node saw of
  itself what is right and wrong with its connection.

The upper floor is thin, and runs on trio. It waits, sends and saves, and decides nothing.

- `udp` is a socket that several protocols may share; `driver` runs an engine on one.
- `bootstrap` finds the first hosts, `memory` keeps the state in a file, `logs` is how shells log,
  and `background` is the nursery they start their tasks in.
- `node` runs one or two engines, and is what programs use; `joint` searches both DHTs at once.
  `testnet` runs many nodes on loopback. `publishing` gets, puts and keeps items,
  and `sampler` asks what others store. `mapping` is a room where routers are asked to let strangers
  in. `doctor` examines a running node: `findings = await examine(node)` gives a list of
  `diagnosis.Finding`s, each with a check, a verdict and a sentence, and `diagnosis.is_healthy`
  sums them up; `magnet` may use both. `measure` is a room of its own: how large swarms are, and
  the DHT itself.
- `commandline` is what all commands have in common, those of `magnet` too; `cli` is `dht`.

Imports run downwards, and nothing here imports `magnet`.

How a search runs
-----------------

`Node.find_peers` has each engine start a `Search` and sends what it wants sent. When an answer
arrives, the driver feeds it to the engine, which learns from it who is alive, and hands it to the
search that asked; its lookup ranks the nodes named in it, and the next queries go out in the same
step. New peers become an event, which the node puts into the channel that the caller reads. There
is no task per query, and a search that is left is forgotten at once.
"""

from dht.bootstrap import BootstrapHost
from dht.contact import Contact, Endpoint, Family, format_endpoint, parse_endpoint
from dht.errors import (
    CannotListen,
    DhtError,
    NodeClosed,
    NotBootstrapped,
    QueryError,
    QueryRefused,
)
from dht.joint import PeerStream
from dht.keyspace import InfoHash, NodeId
from dht.node import Node, NodeSettings, NodeStatistics, open_node
from dht.ratelimit import Budget
from dht.testnet import Testnet, open_testnet

__all__ = [
    "BootstrapHost",
    "Budget",
    "CannotListen",
    "Contact",
    "DhtError",
    "Endpoint",
    "Family",
    "InfoHash",
    "Node",
    "NodeClosed",
    "NodeId",
    "NodeSettings",
    "NodeStatistics",
    "NotBootstrapped",
    "PeerStream",
    "QueryError",
    "QueryRefused",
    "Testnet",
    "format_endpoint",
    "open_node",
    "open_testnet",
    "parse_endpoint",
]
