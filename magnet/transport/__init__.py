"""Ways to a peer: a stream to an endpoint, over whatever carries it.

- `carrier`: the contract of what opens streams, which are `tcp`, `utp`, and proxies in `socks`;
- `race`: several carriers at once, of which the first wins;
- `early` and `encrypted`: streams on which something was said already, or all is encrypted;
- `dial`: reaches a peer by carriers and encryption as a policy says;
- `ways`: what a node has to dial with;
- `stages`: deadlines, and what breaks streams, as errors of the peer.
"""

__all__: list[str] = []
