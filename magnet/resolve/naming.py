"""How .torrent files are called: a template of the user's, filled with what a stranger chose.

A template is a relative path without the suffix; `{name}` stands for the torrent's name, `{hash}`
for its info-hash and `{hash2}` for its v2 info-hash, in hexadecimal. A torrent of one version has
that version's hash for both. Whatever the name is, each element of the result passes the cleaning
that every path of a torrent passes, so it stays where the template puts it.
"""

import re
from typing import Final

from magnet.metainfo.info import Info
from magnet.metainfo.paths import DEPTH_MAX, Path, safe_element

SUFFIX: Final = ".torrent"

DEFAULT_TEMPLATE: Final = "{name}"

_ELEMENT_BYTES_MAX: Final = 200
"""Bytes of an element: with a hash, the suffix, and what marks an unfinished file, that fits into
255, which is what common file systems allow."""

_HASH_DIGITS: Final = 40
"""Digits of a hash that tell torrents of one name apart."""

_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def check_template(template: str) -> None:
    """Check a template before anything is resolved.

    Raises:
        ValueError: It is empty, absolute or too deep, or names a field that does not exist.
    """
    elements = template.split("/")
    if not template.strip() or "" in elements or {".", ".."} & set(elements):
        raise ValueError(f"{template!r} is not a relative path")
    if len(elements) > DEPTH_MAX:
        raise ValueError(f"{template!r} is deeper than {DEPTH_MAX}")
    unknown = [name for name in _FIELD.findall(template) if name not in _FIELDS]
    if unknown or re.search(r"[{}]", _FIELD.sub("", template)):
        wrong = f"{{{unknown[0]}}}" if unknown else "a brace alone"
        raise ValueError(f"{template!r} has {wrong}; there are {{name}}, {{hash}} and {{hash2}}")


def file_path(info: Info, template: str = DEFAULT_TEMPLATE, *, marked: bool = False) -> Path:
    """Return the elements of the path of a torrent's file, from the output folder down.

    Args:
        info: Gives name and hashes.
        template: A template that `check_template` has passed.
        marked: Whether to add the hash, because the name alone is taken.
    """
    *folders, last = (_filled(element, info) for element in template.split("/"))
    mark = f".{_hash(info)[:_HASH_DIGITS]}" if marked else ""
    return (*folders, f"{last}{mark}{SUFFIX}")


def file_paths(info: Info, template: str = DEFAULT_TEMPLATE) -> tuple[Path, ...]:
    """Return the paths that a torrent's file may have, as of `file_path`, the best first.

    All but the first bear the hash, so nobody but the torrent itself has a claim to them. The last
    lies in the output folder itself, for where a file has the name of a folder of the template.
    """
    paths = [
        file_path(info, template),
        file_path(info, template, marked=True),
        file_path(info, marked=True),
    ]
    return tuple(dict.fromkeys(paths))


def _filled(element: str, info: Info) -> str:
    filled = _FIELD.sub(lambda field: _FIELDS[field[1]](info), element)
    return safe_element(filled.encode()).encode()[:_ELEMENT_BYTES_MAX].decode(errors="ignore")


def _hash(info: Info) -> str:
    return (info.info_hash or info.info_hash_v2 or b"").hex()


def _hash_v2(info: Info) -> str:
    return (info.info_hash_v2 or info.info_hash or b"").hex()


_FIELDS: Final = {"name": lambda info: info.name, "hash": _hash, "hash2": _hash_v2}
