"""Peers in the local network: `source` is what the resolver runs.

`message` and `schedule` are pure: what is said, and how often. `multicast` is the sockets.

Spec: BEP 14.
"""
