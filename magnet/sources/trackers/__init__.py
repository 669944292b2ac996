"""Peers from the trackers of a link, asked politely: `source` is what the resolver runs.

`pool` knows all trackers of all links, and has a `station` for each in each address family, which
asks at the pace that `standing` allows. `lines` are the two ways there: `udp_client`, on the pure
`udp_exchange` and `udp`, and `http`, through `magnet.sources.http_client`. `announce` is what both
say, and `url` what they may lead to.

Spec: BEP 3, 7, 12, 15, 23, 41, 48.
"""
