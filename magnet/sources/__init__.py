"""Where peers come from: each source in a module of its own, all under one contract.

`source` is the contract, and pure: what is looked for, what is found, and the record of what a
source did. The sources run side by side for one link, and what they find goes into one ranked list
(`magnet.resolve.ranking`). `usual` chooses them.

- `dht` searches the DHT, `updatable` follows a public key in it, `link` reads the peers that a link
  itself names by address.
- `named` holds what the texts of a link lead to: trackers by UDP and HTTP, web servers that have
  the .torrent, and peers named by host name.
- `lsd` asks the local network. What peers say of each other is heard by `magnet.peer`.

What a link names besides is opened as one in `named`, for all links of a resolver. `trackers` asks
them through the `tracker_pool`, a `tracker_station` for each in each address family, at the pace
that `tracker_standing` allows; `tracker_lines` are the two ways there: `udp_client`, on the pure
`udp_exchange` and `udp_tracker`, and `http_tracker`, through `http_client`. `announce` is what both
say. `exact` fetches a .torrent, `named_peers` looks up host names, and `updatable` asks the DHT
what a public key stands for. All that leads out goes by names resolved in `hostnames`, and no
further than `reach` allows.
"""
