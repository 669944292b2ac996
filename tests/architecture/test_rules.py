"""Each rule fails on a small house that breaks it, and passes one that nearly does."""

import pytest

from tests.architecture import house, rules
from tests.architecture.source import Module, imports_of, parse


def faults(violations: list[rules.Violation]) -> list[str]:
    return [f"{found.module}:{found.line} {found.fault}" for found in violations]


def lines(count: int) -> str:
    return "x = 1\n" * count


def function(count: int) -> str:
    return "def f():\n" + "    x = 1\n" * (count - 1)


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("dht.node", "import magnet"),
        ("dht.node", "from magnet.uri import parse_magnet"),
        ("dht.node", "def f():\n    import magnet.uri"),
        ("magnet.uri", "from dht.engine import Engine"),
        ("magnet.uri", "from dht import routing"),
        ("magnet.uri", "import dht.lookup"),
    ],
)
def test_wing_rule_refuses(importer: str, text: str) -> None:
    assert len(rules.wing_violations([parse(importer, text)])) == 1


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("magnet.uri", "from dht.keyspace import InfoHash"),
        ("magnet.uri", "from dht import contact"),
        ("magnet.resolve.resolver", "import dht.node"),
        ("magnet.resolve.resolver", "import dht"),
        ("magnet.uri", "from magnet.errors import MagnetError"),
        ("dht.engine", "from dht.routing import Table"),
        ("dht.engine", "import magnetism"),
    ],
)
def test_wing_rule_allows(importer: str, text: str) -> None:
    assert rules.wing_violations([parse(importer, text)]) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import time", "imports time"),
        ("import os.path", "imports os.path"),
        ("from socket import AF_INET", "imports socket"),
        ("def f():\n    from asyncio import sleep", "imports asyncio"),
        ("if TYPE_CHECKING:\n    import ssl", "imports ssl"),
        ("from random import shuffle", "imports random.shuffle"),
        ("import random\nrandom.random()", "uses random.random"),
        ("import random as dice\nf = dice.choice", "uses random.choice"),
        ("import random\nrandom.SystemRandom()", "uses random.SystemRandom"),
        ("open('x')", "calls open()"),
        ("print('x')", "calls print()"),
        ("from dht.udp import Socket", "imports the shell dht.udp.Socket"),
        ("from dht import node", "imports the shell dht.node"),
    ],
)
def test_purity_rule_refuses(text: str, fault: str) -> None:
    found = rules.purity_violations([parse("dht.routing", text)])
    assert [violation.fault for violation in found] == [fault]


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("dht.routing", "import random\ndef f(rng: random.Random): rng.shuffle([])"),
        ("dht.routing", "from random import Random"),
        ("dht.routing", "stream.open()"),
        ("dht.routing", "import timeit"),
        ("dht.udp", "import socket, time\nopen('x')"),
        ("dht", "from dht.node import open_node"),
    ],
)
def test_purity_rule_allows(importer: str, text: str) -> None:
    assert rules.purity_violations([parse(importer, text)]) == []


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("dht.krpc", "import bencode2"),
        ("magnet.metainfo.torrent", "from bencodepy import decode"),
        ("dht.routing", "import trio"),
        ("dht.node", "import rich.progress"),
        ("dht.node", "import requests"),
        ("magnet.peer", "from cryptography.hazmat import primitives"),
    ],
)
def test_entrance_rule_refuses(importer: str, text: str) -> None:
    assert len(rules.entrance_violations([parse(importer, text)])) == 1


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("dht.bencode", "import bencode2"),
        ("dht.node", "import trio.lowlevel"),
        ("magnet.sources.lsd.source", "import trio"),
        ("magnet.cli.progress", "from rich.progress import Progress"),
        ("dht.routing", "import hashlib\nfrom collections import abc"),
    ],
)
def test_entrance_rule_allows(importer: str, text: str) -> None:
    assert rules.entrance_violations([parse(importer, text)]) == []


@pytest.mark.parametrize(
    "back",
    [
        "import dht.a",
        "from dht import a",
        "from dht.a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dht.a import X",
        "def f():\n    from dht.a import x",
        "from . import a",
        "from .a import x",
    ],
)
def test_cycle_rule_refuses(back: str) -> None:
    modules = [parse("dht.a", "import dht.b"), parse("dht.b", "import dht.c"), parse("dht.c", back)]
    (found,) = rules.cycle_violations(modules)
    assert "dht.a -> dht.b -> dht.c" in f"{found.fault} -> {found.fault.partition(': ')[2]}"


def test_cycle_rule_refuses_a_part_that_imports_its_facade() -> None:
    facade = parse("dht", "from dht.a import x", is_package=True)
    assert rules.cycle_violations([facade, parse("dht.a", "from dht import y")])


def test_cycle_rule_allows_a_diamond() -> None:
    modules = [
        parse("dht", "from dht.a import x", is_package=True),
        parse("dht.a", "from dht import b, c"),
        parse("dht.b", "import dht.d"),
        parse("dht.c", "import dht.d"),
        parse("dht.d", ""),
    ]
    assert rules.cycle_violations(modules) == []


def test_relative_imports_are_resolved_from_a_package_and_from_a_module() -> None:
    package = parse("magnet.peer", "from .wire import x", is_package=True)
    module = parse("magnet.peer.wire", "from ..errors import x")
    assert [found.module for found in imports_of(package)] == ["magnet.peer.wire"]
    assert [found.module for found in imports_of(module)] == ["magnet.errors"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lines(house.MODULE_LINES_MAX), []),
        (lines(house.MODULE_LINES_MAX + 1), ["dht.a:1 has 501 lines"]),
        (function(house.FUNCTION_LINES_MAX), []),
        (function(house.FUNCTION_LINES_MAX + 1), ["dht.a:1 f has 71 lines"]),
        ("async " + function(house.FUNCTION_LINES_MAX + 1), ["dht.a:1 f has 71 lines"]),
    ],
)
def test_size_rule(text: str, expected: list[str]) -> None:
    assert faults(rules.size_violations([parse("dht.a", text)])) == expected


@pytest.mark.parametrize("name", ["dht.utils", "magnet.common.wire", "magnet.peer.manager"])
def test_name_rule_refuses(name: str) -> None:
    assert len(rules.name_violations([parse(name, "")])) == 1


@pytest.mark.parametrize("name", ["dht.routing", "magnet.peer.connection"])
def test_name_rule_allows(name: str) -> None:
    assert rules.name_violations([parse(name, "")]) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x = 1", "dht.a"),
        ("'''A.'''\ndef f(): ...", "f"),
        ("'''A.'''\nasync def f(): ...", "f"),
        ("'''A.'''\nclass C: ...", "C"),
        ("'''A.'''\nclass C:\n    '''A.'''\n    def m(self): ...", "m"),
        ("'''A.'''\nclass C:\n    '''A.'''\n    class D: ...", "D"),
        ("'''A.'''\nif True:\n    def f(): ...", "f"),
    ],
)
def test_docstring_rule_refuses(text: str, name: str) -> None:
    found = rules.docstring_violations([parse("dht.a", text)])
    assert [violation.fault for violation in found] == [f"{name} has no docstring"]


@pytest.mark.parametrize(
    "text",
    [
        "def _f(): ...",
        "def f():\n    '''A.'''\n    def g(): ...",
        "class _C:\n    def m(self): ...",
        "class C:\n    '''A.'''\n    def __init__(self): ...",
        "class C:\n    '''A.'''\n    @x.setter\n    def x(self, value): ...",
        "@typing.overload\ndef f(): ...",
    ],
)
def test_docstring_rule_allows(text: str) -> None:
    assert rules.docstring_violations([parse("dht.a", f"'''A.'''\n{text}")]) == []


@pytest.mark.parametrize(
    "text", ["__all__ = ['b', 'a']", "__all__: list[str] = ['b', 'a']", "__all__ = ('a', 'b')"]
)
def test_surface_is_read_in_order(text: str) -> None:
    inner: Module = parse("dht.node", "__all__ = ['hidden']")
    assert rules.surface([parse("dht", text), inner]) == ["dht.a", "dht.b"]


def test_top_level_rule() -> None:
    paths = ["README.md", "dht/node.py", ".ci/run", ".gitignore", "notes.txt", "tools/x"]
    assert rules.top_level_violations(paths) == ["notes.txt", "tools"]
