"""uTP: streams over UDP that make way for everybody else, on the port of the DHT node.

    async with open_node() as node, open_utp(node) as utp:
        stream = await utp.connect(peer)

The rooms, from the ground up; all but the last two are pure, and are told the time.

- `packet` reads and writes packets, and `sequence` counts them.
- `rtt`, `delay`, `ledbat` and `mtu` learn about the path: how long an answer takes, how long
  packets queue, how many may be on the way, and how large they may be.
- `incoming` puts in order what arrives; `outgoing` sends until it has arrived, each packet as a
  `segment`, and `loss` says when to send one again.
- `connection` joins the two, from the first packet to the last.
- `multiplexer` keeps many connections apart, and strangers within bounds.
- `stream` is a connection as a trio stream; `socket` runs it all on the sockets of a node.

Where others differ, this does: a packet probes the path by padding, not by what it carries, so that
no loss of a probe matters; what arrives in one turn is acknowledged together and at once; a
direction can be ended while the other goes on.

Spec: BEP 29; RFC 6817 LEDBAT.
"""
