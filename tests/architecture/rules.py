"""The rules of the house: each takes modules and returns what breaks it, so [] is a pass."""

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from tests.architecture import house
from tests.architecture.source import Import, Module, imports_of, within

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Documented: TypeAlias = ast.ClassDef | Function


class Violation(NamedTuple):
    """Where a rule is broken, and how."""

    module: str
    line: int
    fault: str


def wing_violations(modules: Iterable[Module]) -> list[Violation]:
    """`dht` never imports `magnet`; of `dht`, `magnet` imports what is open to it."""
    return [
        Violation(module.name, found.line, f"imports {_dotted(found)}")
        for module in modules
        for found in imports_of(module)
        if not _may_cross(module.name, found)
    ]


def purity_violations(modules: Iterable[Module]) -> list[Violation]:
    """A pure module reaches no clock, socket, file, log or global randomness, nor a shell."""
    return [
        Violation(module.name, line, fault)
        for module in modules
        if not within(module.name, house.SHELLS) and module.name not in house.WINGS
        for line, fault in (*_impure_imports(module), *_impure_calls(module))
    ]


def entrance_violations(modules: Iterable[Module]) -> list[Violation]:
    """A third-party package enters only through the modules named for it."""
    return [
        Violation(module.name, found.line, f"imports {found.module}")
        for module in modules
        for found in imports_of(module)
        if (package := found.module.partition(".")[0]) not in house.WINGS
        if package not in sys.stdlib_module_names
        if not within(module.name, house.ENTRANCES.get(package, frozenset()))
    ]


def cycle_violations(modules: Iterable[Module]) -> list[Violation]:
    """No module reaches itself through imports, whatever guards or functions they hide in."""
    modules = list(modules)
    names = {module.name for module in modules}
    graph = {
        module.name: {_target(found, names) for found in imports_of(module)} & names
        for module in modules
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # graphlib follows "is needed by"; read backwards it is "imports".
        cycle: list[str] = error.args[1][::-1]
        return [Violation(cycle[0], 1, "imports itself: " + " -> ".join(cycle))]
    return []


def size_violations(modules: Iterable[Module]) -> list[Violation]:
    """No module and no function is longer than can be read in one go."""
    return [
        found for module in modules for found in (*_long_module(module), *_long_functions(module))
    ]


def name_violations(modules: Iterable[Module]) -> list[Violation]:
    """No module or package is called by a name that fits anything."""
    return [
        Violation(module.name, 1, f"called {part}")
        for module in modules
        for part in module.name.split(".")
        if part in house.EMPTY_NAMES
    ]


def docstring_violations(modules: Iterable[Module]) -> list[Violation]:
    """Every public module, class, function and method says what a caller must know."""
    return [
        Violation(module.name, line, f"{name} has no docstring")
        for module in modules
        for line, name in _undocumented(module)
    ]


def surface(modules: Iterable[Module]) -> list[str]:
    """Return the public names of both packages, as `package.name`, in order."""
    return sorted(
        f"{module.name}.{name}"
        for module in modules
        if module.name in house.WINGS
        for name in _exported(module.tree)
    )


def top_level_violations(paths: Iterable[str]) -> list[str]:
    """Return the entries at the top of the repository that have no business there."""
    entries = {path.partition("/")[0] for path in paths}
    return sorted(name for name in entries - house.TOP_LEVEL if not name.startswith("."))


def _may_cross(importer: str, found: Import) -> bool:
    here, there = importer.partition(".")[0], found.module.partition(".")[0]
    if here == "dht":
        return there != "magnet"
    return there != "dht" or _dotted(found) == "dht" or _is_open(found)


def _is_open(found: Import) -> bool:
    return within(found.module, house.MAGNET_MAY_USE) or within(
        _dotted(found), house.MAGNET_MAY_USE
    )


def _impure_imports(module: Module) -> Iterator[tuple[int, str]]:
    for found in imports_of(module):
        if within(found.module, house.IMPURE):
            yield found.line, f"imports {found.module}"
        elif found.module == "random" and found.name not in (None, "Random"):
            yield found.line, f"imports random.{found.name}"
        elif within(found.module, house.SHELLS) or within(_dotted(found), house.SHELLS):
            yield found.line, f"imports the shell {_dotted(found)}"


def _impure_calls(module: Module) -> Iterator[tuple[int, str]]:
    aliases = _names_of_random(module.tree)
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in aliases:
                if attribute != "Random":
                    yield node.lineno, f"uses random.{attribute}"
            case ast.Call(func=ast.Name(id=name)) if name in house.IMPURE_CALLS:
                yield node.lineno, f"calls {name}()"


def _names_of_random(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "random"
    }


def _dotted(found: Import) -> str:
    return found.module if found.name is None else f"{found.module}.{found.name}"


def _target(found: Import, names: set[str]) -> str:
    return _dotted(found) if _dotted(found) in names else found.module


def _long_module(module: Module) -> Iterator[Violation]:
    lines = len(module.text.splitlines())
    if lines > house.MODULE_LINES_MAX:
        yield Violation(module.name, 1, f"has {lines} lines")


def _long_functions(module: Module) -> Iterator[Violation]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > house.FUNCTION_LINES_MAX:
                yield Violation(module.name, node.lineno, f"{node.name} has {lines} lines")


def _undocumented(module: Module) -> Iterator[tuple[int, str]]:
    if ast.get_docstring(module.tree) is None:
        yield 1, module.name
    for node in _public(module.tree):
        if ast.get_docstring(node) is None:
            yield node.lineno, node.name


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[Documented]:
    """Public definitions, at any depth of classes and of conditions but not inside functions."""
    for node in _statements(scope.body):
        if isinstance(node, Documented) and not node.name.startswith("_") and not _is_echo(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _statements([*node.body, *node.orelse])


def _is_echo(node: Documented) -> bool:
    """A setter or an overload repeats a name whose meaning is told elsewhere."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"setter", "deleter", "overload", "override"})


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return list(ast.literal_eval(value))
    return []
