"""The house as it stands keeps every rule."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.source import Module

RULES = [
    rules.wing_violations,
    rules.purity_violations,
    rules.entrance_violations,
    rules.cycle_violations,
    rules.size_violations,
    rules.name_violations,
    rules.docstring_violations,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(
    rule: Callable[[list[Module]], list[rules.Violation]], modules: list[Module]
) -> None:
    assert rule(modules) == []


def test_rules_see_both_wings(modules: list[Module]) -> None:
    assert {"dht", "magnet", "dht.errors"} <= {module.name for module in modules}


def test_public_surface_is_the_pinned_one(modules: list[Module]) -> None:
    pinned = Path(__file__).with_name("surface.txt").read_text("utf-8").split()
    assert rules.surface(modules) == pinned


def test_nothing_unexpected_at_the_top(root: Path) -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    assert rules.top_level_violations(found.stdout.splitlines()) == []
