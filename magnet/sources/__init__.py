"""Where peers come from: each source in a module of its own, all under one contract.

`source` is the contract, and pure: what is looked for, what is found, and the record of what a
source did. The sources run side by side for one link, and what they find goes into one ranked list
(`magnet.resolve.ranking`). `usual` chooses them.

- `dht` searches the DHT, `updatable` follows a public key in it, `link` reads the peers that a link
  itself names by address.
- `named` holds what the texts of a link lead to: `trackers` by UDP and HTTP, web servers that have
  the .torrent (`exact`), and peers named by host name (`named_peers`). All that leads out goes by
  names resolved in `hostnames`, through `http_client` where it is HTTP, and no further than `reach`
  allows.
- `lsd` asks the local network. What peers say of each other is heard by `magnet.peer`.
"""
