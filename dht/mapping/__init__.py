"""Asking the router to let strangers in: one interface, three protocols.

A router with a NAT forwards to us what comes to one of its ports, if asked to. `lease` has the
words: what is wished for, what is granted, when to renew; `status` tells how it goes. `natpmp` and
`pcp` are codecs, and `routes` reads the system's table of routes; these are pure. `exchange` asks
over UDP, again and again, `gateway` finds whom to ask, `unicast` and `upnp` are the mappers, and
`keeper` tries one after the other, renews at half the lifetime, and gives the port back at the end.

Only IPv4 is mapped: IPv6 has no NAT to speak of, and firewalls that PCP could open are rare.

What a router says is our address is shown, and not a vote on it: votes are counted by network, and
a private network has none (`dht.external`).

Spec: RFC 6886 (NAT-PMP), RFC 6887 (PCP), UPnP IGD WANIPConnection.
"""
