"""Python source as the rules see it: parsed, never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.house import WINGS


class Module(NamedTuple):
    """One source file: its dotted name, its text, its tree, and whether it is an `__init__`."""

    name: str
    text: str
    tree: ast.Module
    is_package: bool = False


class Import(NamedTuple):
    """One imported name: `import a.b` is ("a.b", None), `from a import b` is ("a", "b")."""

    line: int
    module: str
    name: str | None


def parse(name: str, text: str, *, is_package: bool = False) -> Module:
    """Return the module of that name with that text."""
    return Module(name, text, ast.parse(text), is_package)


def read_wings(root: Path) -> list[Module]:
    """Return every module of both packages under a repository's root."""
    return [_read(root, path) for wing in WINGS for path in sorted((root / wing).rglob("*.py"))]


def imports_of(module: Module) -> Iterator[Import]:
    """Yield every import, wherever it stands: at the top, in a function, under TYPE_CHECKING."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from (Import(node.lineno, base, alias.name) for alias in node.names)


def within(name: str, places: frozenset[str]) -> bool:
    """Return whether a dotted name is one of the places or lies inside one."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in places for end in range(1, len(parts) + 1))


def _read(root: Path, path: Path) -> Module:
    parts = list(path.relative_to(root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return parse(name, path.read_text("utf-8"), is_package=is_package)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*base, *([node.module] if node.module else [])])
