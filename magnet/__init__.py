"""Links, torrents and peers: everything above the DHT."""

__all__: list[str] = []
