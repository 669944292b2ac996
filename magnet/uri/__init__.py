"""Magnet links: what they say, and how they are written.

urn        what `xt` names: hashes in hexadecimal and base32, multihashes, keys
query      splitting and percent-encoding
selection  which files are wanted
link       the link as a whole, read and written
"""

from magnet.uri.link import LINK_BYTES_MAX, MagnetLink, format_magnet, parse_magnet

__all__ = ["LINK_BYTES_MAX", "MagnetLink", "format_magnet", "parse_magnet"]
