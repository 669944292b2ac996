"""SOCKS5: streams and datagrams by way of a proxy.

- `messages`: what goes over the wire, as pure functions;
- `proxy`: a proxy as the carrier of streams;
- `relay`: a UDP socket whose datagrams go through a proxy.

Whoever uses a proxy so as not to be seen must use it for everything: nothing here falls back to a
direct way.

Spec: RFC 1928; RFC 1929 for user names and passwords.
"""

__all__: list[str] = []
