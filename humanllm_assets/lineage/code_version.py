"""The version of the science code behind an asset: hashes of syntax trees.

An edited comment, docstring or line break changes nothing; an edited constant, condition or query does. An asset's version covers
its own function in the stage's `assets.py` with the names of that file that it uses, and every science module that these import,
directly or through others.

The rule of what is science is one about folders: every module of a stage folder but its `assets.py`, of `asking/`, and of
`resources/prompting/`. Everything else is machinery (storing, running, showing) and in no identity: a faster store must not make
a data set stale. A module is the unit, so a helper stands where only those who use its result depend on it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import symtable
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "humanllm_assets"
SCIENCE = (
    *(f"{PACKAGE}.{stage}" for stage in ("sources", "filtering", "synthesis", "quality", "tasks", "training", "evaluation")),
    f"{PACKAGE}.asking",
    "resources.prompting",
)
_ROOT = Path(__file__).resolve().parent.parent.parent


def _file(module: str) -> Path | None:
    """The file of a science module; None for anything else."""
    parts = module.split(".")
    if parts[-1] == "assets" or not any(module.startswith(f"{folder}.") for folder in SCIENCE):
        return None
    path = _ROOT.joinpath(*parts).with_suffix(".py")
    return path if path.is_file() else None


def _parse(text: str) -> ast.Module:
    """The syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _hash(*trees: ast.AST) -> str:
    return hashlib.sha256("\n".join(map(ast.dump, trees)).encode()).hexdigest()[:16]


def source_hash(text: str) -> str:
    """Hash of a module's syntax tree without docstrings, positions and comments."""
    return _hash(_parse(text))


def _imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """(local name, module, name in the module) of every absolute import below a node; a module's own name in it is ""."""
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            yield from ((a.asname or a.name.split(".")[0], a.name, "") for a in n.names)
        elif isinstance(n, ast.ImportFrom) and n.module and not n.level:
            yield from ((a.asname or a.name, n.module, a.name) for a in n.names)


def _science_imports(node: ast.AST) -> set[str]:
    names = {candidate for _, module, name in _imported(node) for candidate in (module, f"{module}.{name}")}
    return {n for n in names if _file(n)}


@cache
def _module(module: str) -> tuple[str, frozenset[str]]:
    path = _file(module)
    if path is None:
        raise ValueError(f"{module} is no science module of {PACKAGE}; list modules of {', '.join(SCIENCE)}")
    tree = _parse(path.read_text(encoding="utf-8"))
    return _hash(tree), frozenset(_science_imports(tree))


@cache
def module_versions(*modules: str) -> dict[str, str]:
    """Versions of the named science modules and of those they import: module -> 16 hexadecimal digits.

    Raises:
        ValueError: a name is not a science module of this project.
    """
    todo, seen = list(modules), {}
    while todo:
        name = todo.pop()
        if name not in seen:
            seen[name], imported = _module(name)
            todo.extend(imported)
    return dict(sorted(seen.items()))


@cache
def _definitions(path: Path) -> tuple[dict[str, ast.stmt], dict[str, tuple[str, str]]]:
    """What a file defines at its top level, by name, and what its imports bind: name -> (module, name there)."""
    tree = _parse(path.read_text(encoding="utf-8"))
    defined: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {t.id: node for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)}
    return defined, {local: (module, name) for local, module, name in _imported(tree)}


def _names_used(definition: ast.stmt) -> set[str]:
    """Names of the module that a definition uses; a local variable that is called like one of them is none."""
    todo, used = [symtable.symtable(ast.unparse(definition), "definition", "exec")], set[str]()
    while todo:
        scope = todo.pop()
        todo += scope.get_children()
        outermost = scope.get_type() == "module"
        used |= {s.get_name() for s in scope.get_symbols() if s.is_referenced() and (outermost or s.is_global())}
    return used


def _assets_file(module: str) -> Path | None:
    parts = module.split(".")
    return _ROOT.joinpath(*parts).with_suffix(".py") if parts[0] == PACKAGE and parts[-1] == "assets" else None


def function_versions(function: Callable[..., Any]) -> dict[str, str]:
    """Versions of an asset's function: `module:function` for what its own file contributes, and the science modules it uses.

    A name is followed through its file and through other `assets.py` files; a science module counts as a whole.
    """
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__func__", function).__code__
    return _function_versions(function.__module__, function.__qualname__.split(".")[0], Path(code.co_filename))


@cache
def _function_versions(module: str, name: str, file: Path) -> dict[str, str]:
    todo, reached, science = [(module, name, file)], {}, set[str]()
    while todo:
        where, wanted, path = todo.pop()
        defined, imports = _definitions(path)
        if (where, wanted) in reached:
            continue
        if wanted in defined:
            tree = reached[where, wanted] = defined[wanted]
            science |= _science_imports(tree)
            todo += [(where, used, path) for used in _names_used(tree)]
        elif wanted in imports:
            source, theirs = imports[wanted]
            science |= {m for m in (source, f"{source}.{theirs}") if _file(m)}
            if other := _assets_file(source):
                todo.append((source, theirs, other))
    own = _hash(*(tree for _, tree in sorted(reached.items())))
    return {f"{module}:{name}": own, **module_versions(*sorted(science))}
