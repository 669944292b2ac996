"""The Kademlia node of the mainline DHT: everything that speaks KRPC over UDP."""

__all__: list[str] = []
