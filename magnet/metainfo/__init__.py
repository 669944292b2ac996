"""Torrents: what an info dictionary and a .torrent file say, checked before anyone believes it.

The *info dictionary* names the content, cuts it into pieces and gives their hashes; its own hash is
the torrent's identity. While it travels between peers it is called *metadata*. A .torrent file, or
*metainfo*, wraps it together with trackers and other hints.

    paths     names of files that are safe to create anywhere
    layout    which files there are, in which order, and where pieces lie
    info      the info dictionary: checks, hashes
    merkle    the hash trees of v2
    layers    the piece layers, which stand beside the info dictionary of v2
    torrent   the .torrent file around it, read and written
    create    info dictionaries for content of our own

Hashes are taken over the bytes received, never over a re-encoding.
"""
