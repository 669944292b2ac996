"""Ways to a peer: a stream to an endpoint, over whatever carries it."""
